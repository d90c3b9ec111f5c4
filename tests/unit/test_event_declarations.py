"""What events hold is declared once: for those who make them, in OpenAPI, and in the guide.

Whether what really happens is as declared is checked by every laboratory when it closes
(``support.declared``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import ValidationError

from support.declared import check_declared
from wavisor.actors.instance import chat_payloads
from wavisor.domain import EventType
from wavisor.event_data import EVENT_DATA
from wavisor.http.application import ROUTERS
from wavisor.http.event_models import event_models
from wavisor.http.event_table import event_table
from wavisor.http.openapi import describe
from wavisor.storage import EventRecord
from wavisor.webhooks import body_of, sample_body
from wavisor.whatsapp.events import CallOffered, MessageReceived, Person
from wavisor.whatsapp.inbound import InboundContent

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANN = Person(jid="15550199@s.whatsapp.net", phone="+15550199")
CALL = CallOffered(
    instance="ins_1",
    call_id="C",
    caller=ANN,
    origin=ANN.jid,
    timestamp=NOW,
    video=True,
    group=False,
)
TEXT = MessageReceived(
    instance="ins_1",
    message_id="3EB0",
    chat=ANN,
    sender=ANN,
    from_me=False,
    is_group=False,
    timestamp=NOW,
    content=InboundContent(type="text", raw_type="conversation", text="hello"),
)


def event(kind: EventType, data: Any) -> EventRecord:
    return EventRecord(
        position=1,
        id="evt_1",
        subscription_id="sub_1",
        instance_id="ins_1",
        seq=7,
        type=kind.value,
        timestamp=NOW,
        data=data,
    )


OFFERED = event(EventType.CALL_OFFERED, chat_payloads.call_offered(CALL, rejected=False))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(ROUTERS, event_models())


def test_every_type_is_declared() -> None:
    assert set(EVENT_DATA) == set(EventType)
    assert list(event_models()) == [*(kind.value for kind in EventType), "webhook:test"]


def test_what_is_as_declared_passes_and_nothing_else() -> None:
    check_declared([OFFERED])
    without = {name: value for name, value in OFFERED.data.items() if name != "video"}
    for wrong in (without, {**OFFERED.data, "more": 1}, {**OFFERED.data, "video": "maybe"}):
        with pytest.raises(ValidationError):
            check_declared([replace(OFFERED, data=wrong)])


def test_the_document_tells_of_webhooks_and_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert list(document["webhooks"]) == list(event_models())
    operations = [path["post"]["operationId"] for path in document["webhooks"].values()]
    assert len(set(operations)) == len(operations)
    for event_type, path in document["webhooks"].items():
        told = path["post"]
        headers = {one["name"] for one in told["parameters"] if one["required"]}
        assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert {"2XX", "410"} <= set(told["responses"])
        assert told["description"], event_type
        assert told["security"] == []


@pytest.mark.parametrize(
    "body",
    [
        body_of(OFFERED, None),
        body_of(event(EventType.MESSAGE_RECEIVED, chat_payloads.message_received(TEXT)), None),
        sample_body("wh_1", None, NOW).encode(),
    ],
    ids=["call", "message", "trial"],
)
def test_a_delivery_fits_the_schema_that_an_outside_reader_finds(
    document: dict[str, Any], body: bytes
) -> None:
    told = json.loads(body)
    content = document["webhooks"][told["type"]]["post"]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    validator = Draft202012Validator(schema)
    validator.validate(told)
    assert list(validator.iter_errors({**told, "type": "message:edited"}))
    assert list(validator.iter_errors({**told, "data": {}}))


def test_the_guide_is_current_and_tells_of_every_type() -> None:
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    assert page == event_table(), "run `make docs`"
    for event_type in event_models():
        assert f"\n### {event_type}\n" in page

"""The events of every type as wire models: the envelope that all have, and each type's own data.

Made when the OpenAPI document or a guide is asked for, and not before: the gateway itself has no
use for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import Field, create_model
from typing_extensions import TypedDict

from wavisor.event_data import EVENT_DATA
from wavisor.http.instances.schemas import EventModel
from wavisor.webhooks.payload import TEST_EVENT

__all__ = ["event_models", "model_name"]


class WebhookTest(TypedDict):
    """Somebody asked for a trial of the webhook; nothing happened."""

    webhookId: str


def model_name(event_type: str) -> str:
    """Return the name of a type's schema: ``MessageReceivedEvent`` of ``message:received``."""
    return "".join(word.capitalize() for word in event_type.split(":")) + "Event"


@cache
def event_models() -> Mapping[str, type[EventModel]]:
    """Return the model of an event of each type, that of a trial included, by type."""
    models = {kind.value: _model(kind.value, data) for kind, data in EVENT_DATA.items()}
    trial = _model(
        TEST_EVENT,
        WebhookTest,
        instance_id=(str | None, Field(description="Null for a webhook of all instances.")),
        seq=(int | None, Field(description="Always null: it is no event of an instance.")),
    )
    return {**models, TEST_EVENT: trial}


def _model(event_type: str, data: Any, **fields: Any) -> type[EventModel]:
    only: Any = Literal[event_type]  # known at run time only
    fields |= {"type": (only, ...), "data": (data, ...)}
    name = model_name(event_type)
    return create_model(name, __base__=EventModel, __doc__=data.__doc__, **fields)

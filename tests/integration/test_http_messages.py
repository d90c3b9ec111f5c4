"""Sending over HTTP: stored first, sent by the instance's actor, followed by receipts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from support.gateway import GatewayLab, NewGateway, locked
from support.http import Answer, Member
from support.scripted_sessions import NotesAndCrashes
from wavisor.domain import Role
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.scripted import ScriptedSession
from wavisor.whatsapp.scripted_defects import SlowSession

TO = "+1 555 0199"
CHAT = "15550199@s.whatsapp.net"


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def send(
    gateway: GatewayLab, sender: Member, instance: str, text: str = "hello", **more: Any
) -> Answer:
    headers = {"X-Instance-Id": instance, **more.pop("headers", {})}
    body = {"to": TO, "text": text, **more}
    return gateway.post("/api/messages/text", body, token=sender.token, headers=headers)


def test_a_text_is_accepted_sent_and_delivered(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    answer = send(gateway, owner, instance)
    assert answer.status == 202
    assert answer.json["to"] == CHAT
    assert answer.json["instanceId"] == instance
    message = answer.json["id"]
    assert answer.headers["Location"] == f"/api/messages/{message}"

    gateway.wait_message(message, "sent")
    (command,) = session.commands(SendMessage)
    assert (command.to, command.content.text) == (CHAT, "hello")
    stored = gateway.get(f"/api/messages/{message}", token=owner.token).json
    assert stored["status"] == "sent"
    assert stored["whatsappId"].startswith("3EB0")

    for kind in ("delivered", "read"):
        gateway.receipt(instance, stored["whatsappId"], kind)
        gateway.wait_message(message, kind)
    final = gateway.get(f"/api/messages/{message}", token=owner.token).json
    assert final["status"] == "read"
    assert final["deliveredAt"] is not None


def test_a_text_for_an_instance_that_is_down_waits_until_it_is_connected(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    sent = [send(gateway, owner, instance, f"text {number}") for number in range(3)]
    assert [one.json["status"] for one in sent] == ["queued"] * 3
    session = gateway.link(owner, instance)
    gateway.wait_message(sent[-1].json["id"], "sent")
    assert [one.content.text for one in session.commands(SendMessage)] == [
        "text 0",
        "text 1",
        "text 2",
    ]


def test_prefer_wait_holds_the_answer_until_the_message_is_sent(
    gateway_on_both: GatewayLab,
) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    answer = send(gateway, owner, instance, headers={"Prefer": "respond-async, wait=10"})
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.json["status"] == "sent"
    assert answer.json["sentAt"] is not None
    assert gateway.application.message_waits.count == 0


def test_prefer_wait_ends_when_the_time_is_up(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    started = time.monotonic()
    answer = send(gateway, owner, instance, headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - started < 5
    assert answer.json["status"] == "queued"
    assert gateway.application.message_waits.count == 0


def test_a_preference_that_is_not_understood_is_ignored(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    answer = send(gateway, owner, instance, headers={"Prefer": "wait=soon"})
    assert answer.status == 202
    assert "Preference-Applied" not in answer.headers


def test_nobody_can_hold_an_answer_for_ever(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    answer = send(gateway, owner, instance, headers={"Prefer": "wait=999999999"})
    assert answer.headers["Preference-Applied"] == "wait=60"


def test_a_client_that_leaves_is_waited_for_no_longer(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    body = b'{"to":"+15550199","text":"hello"}'
    head = (
        "POST /api/messages/text HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {owner.token}\r\nX-Instance-Id: {instance}\r\n"
        f"Prefer: wait=60\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    async def leave() -> bool:
        waits = gateway.application.message_waits
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode() + body)
        await writer.drain()
        async with asyncio.timeout(10):
            while waits.count == 0:  # noqa: ASYNC110 - nothing tells of this
                await asyncio.sleep(0)  # lets the server go on
            writer.close()
            while waits.count > 0:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)  # lets the server go on
        return True

    assert gateway.run(leave())


def test_those_who_wait_are_answered_when_the_server_stops(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)

    async def stop_meanwhile() -> Answer:
        asked = asyncio.ensure_future(
            gateway.send(
                "POST",
                "/api/messages/text",
                json={"to": TO, "text": "hello"},
                token=owner.token,
                headers={"X-Instance-Id": instance, "Prefer": "wait=60"},
            )
        )
        async with asyncio.timeout(10):
            while gateway.application.message_waits.count == 0:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)  # lets the server go on
        await gateway.server.stop(3.0)
        return await asked

    assert gateway.run(stop_meanwhile()).json["status"] == "queued"


class RefusesSends(ScriptedSession):
    def on_command(self, command: Any) -> None:
        if isinstance(command, SendMessage):
            from wavisor.whatsapp.events import Failure

            failure = Failure(reason="not_on_whatsapp", detail="no such account")
            self.emit(self.answer(command.id, failure=failure))
        else:
            super().on_command(command)


def test_a_failure_has_its_reason(gateway: GatewayLab, owner: Member) -> None:
    gateway.driver.session_type = RefusesSends
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    answer = send(gateway, owner, instance, headers={"Prefer": "wait=10"})
    assert answer.json["status"] == "failed"
    assert answer.json["failure"] == {
        "reason": "not_on_whatsapp",
        "detail": "no such account",
        "code": None,
    }


def test_a_session_that_dies_of_a_send_leaves_the_message_uncertain(
    gateway: GatewayLab, owner: Member
) -> None:
    gateway.driver.session_type = NotesAndCrashes
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    answer = send(gateway, owner, instance, headers={"Prefer": "wait=10"})
    assert answer.json["status"] == "uncertain"


def test_one_instance_that_does_not_answer_holds_up_no_other(
    gateway: GatewayLab, owner: Member
) -> None:
    gateway.driver.script(SlowSession)
    stuck, well = gateway.create_instance(owner), gateway.create_instance(owner)
    gateway.link(owner, stuck, "15550101")
    gateway.link(owner, well, "15550102")
    held = send(gateway, owner, stuck)
    answer = send(gateway, owner, well, headers={"Prefer": "wait=10"})
    assert answer.json["status"] == "sent"
    status = gateway.get(f"/api/messages/{held.json['id']}", token=owner.token).json["status"]
    assert status == "sending"


@pytest.mark.parametrize("to", ["", "Bob", "0151 12345678", "15550199:3@s.whatsapp.net"])
def test_a_wrong_recipient_is_refused(gateway: GatewayLab, owner: Member, to: str) -> None:
    instance = gateway.create_instance(owner)
    answer = send(gateway, owner, instance, to=to)
    assert answer.problem == "validation-failed"
    assert answer.pointers == ["#/to"]
    assert gateway.get("/api/messages", token=owner.token).json["items"] == []


def test_a_group_is_a_recipient(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    group = "120363025246125486@g.us"
    assert send(gateway, owner, instance, to=group).json["to"] == group


@pytest.mark.parametrize("text", ["", " \n\t", "x" * 65_537, None, 5, "nul\0"])
def test_a_wrong_text_is_refused(gateway: GatewayLab, owner: Member, text: Any) -> None:
    instance = gateway.create_instance(owner)
    answer = send(gateway, owner, instance, text)
    assert answer.problem == "validation-failed"
    assert answer.pointers == ["#/text"]


def test_the_longest_text_is_sent_as_it_is(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    text = "ä€😀\n" * 16_384
    answer = send(gateway, owner, instance, text, headers={"Prefer": "wait=10"})
    assert answer.json["status"] == "sent"
    assert session.commands(SendMessage)[0].content.text == text


def test_unknown_fields_are_errors(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    assert send(gateway, owner, instance, media="x").problem == "validation-failed"


def test_the_instance_must_be_named(gateway: GatewayLab, owner: Member) -> None:
    answer = gateway.post("/api/messages/text", {"to": TO, "text": "x"}, token=owner.token)
    assert answer.problem == "validation-failed"
    assert answer.pointers == ["X-Instance-Id"]
    assert send(gateway, owner, "ins_nonsense").problem == "not-found"


def test_a_send_costs_one_look_up_of_its_instance(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    with gateway.database.count_queries() as counter:
        assert send(gateway, owner, instance.lower()).status == 202
    found = [
        one for one in counter.statements if one.startswith("SELECT") and '"t1"."desired"' in one
    ]
    assert len(found) == 1


def test_messages_are_listed_newest_first_by_page_status_and_instance(
    gateway_on_both: GatewayLab,
) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    first, second = gateway.create_instance(owner), gateway.create_instance(owner)
    made = [send(gateway, owner, first, f"text {n}").json["id"] for n in range(3)]
    other = send(gateway, owner, second).json["id"]

    page = gateway.get("/api/messages?limit=3", token=owner.token).json
    assert [one["id"] for one in page["items"]] == [other, *made[:0:-1]]
    cursor = page["nextCursor"]
    rest = gateway.get(f"/api/messages?limit=3&cursor={cursor}", token=owner.token).json
    assert [one["id"] for one in rest["items"]] == made[:1]

    mine = gateway.get(
        "/api/messages", token=owner.token, headers={"X-Instance-Id": second.lower()}
    ).json["items"]
    assert [one["id"] for one in mine] == [other]
    assert gateway.get("/api/messages?status=sent", token=owner.token).json["items"] == []
    assert len(gateway.get("/api/messages?status=queued", token=owner.token).json["items"]) == 4


def test_a_viewer_reads_messages_and_sends_none(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    message = send(gateway, owner, instance).json["id"]
    viewer = gateway.colleague(owner, Role.VIEWER)
    assert gateway.get(f"/api/messages/{message}", token=viewer.token).status == 200
    assert send(gateway, viewer, instance).problem == "forbidden"


def test_a_message_that_cannot_be_stored_is_not_accepted(new_gateway: NewGateway) -> None:
    gateway = new_gateway(database_busy_timeout_seconds=0.2)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    with locked(gateway):
        assert send(gateway, owner, instance).problem == "busy"
    assert gateway.get("/api/messages", token=owner.token).json["items"] == []
    assert session.commands(SendMessage) == []


def test_messages_go_with_their_instance(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    message = send(gateway, owner, instance).json["id"]
    gateway.delete(f"/api/instances/{instance}", token=owner.token)
    assert gateway.get(f"/api/messages/{message}", token=owner.token).problem == "not-found"
    assert send(gateway, owner, instance).problem == "not-found"

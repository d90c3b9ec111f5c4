"""Messages of every kind from HTTP to the session that sends them, with real actors."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.gateway import GatewayLab, NewGateway
from support.http import Answer, Member
from support.media_samples import picture
from support.queueing import waiting
from wavisor.storage import Scope, messages
from wavisor.storage.models import Instance
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.content import Contacts, Location, Media, Poll, Reaction, Text
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.scripted import ScriptedSession

TO = "+1 555 0199"
CHAT = "15550199@s.whatsapp.net"
PNG = base64.b64encode(picture("PNG", 40, 30)).decode()


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def send(
    gateway: GatewayLab, owner: Member, instance: str, kind: str, body: Any, **headers: str
) -> Answer:
    return gateway.post(
        f"/api/messages/{kind}",
        {"to": TO, **body},
        token=owner.token,
        headers={"X-Instance-Id": instance, **headers},
    )


def test_session_gets_what_the_request_said(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    wanted: list[tuple[str, dict[str, Any], type]] = [
        ("text", {"text": "hello", "typing": 1000}, Text),
        ("image", {"base64": PNG, "caption": "cat", "viewOnce": True}, Media),
        ("location", {"latitude": 52.5, "longitude": 13.4, "name": "Berlin"}, Location),
        ("contact", {"contacts": [{"name": "Ada; L.", "phone": "+4915112345678"}]}, Contacts),
        ("poll", {"question": "?", "options": ["a", "b"], "selectableCount": 0}, Poll),
    ]
    for kind, body, _ in wanted:
        last = send(gateway, owner, instance, kind, body)
        assert last.status == 202, last.body
    session = gateway.link(owner, instance)
    gateway.wait_message(last.json["id"], "sent")
    commands = session.commands(SendMessage)
    assert [type(one.content) for one in commands] == [one[2] for one in wanted]
    assert {one.to for one in commands} == {CHAT}
    text, image, _, contact, poll = commands
    assert text.options.typing_seconds == 1.0
    assert isinstance(image.content, Media)
    assert image.options.view_once
    assert (image.content.caption, image.content.file.width) == ("cat", 40)
    assert Path(image.content.file.path).read_bytes() == picture("PNG", 40, 30)
    assert Path(image.content.file.thumbnail_path or "").exists()
    assert isinstance(contact.content, Contacts)
    assert "FN:Ada\\; L." in contact.content.cards[0].vcard
    assert "waid=4915112345678:+4915112345678" in contact.content.cards[0].vcard
    assert isinstance(poll.content, Poll)
    assert poll.content.selectable == 0


def test_reaction_and_quote_name_a_sent_message(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    first = send(gateway, owner, instance, "text", {"text": "x"}, Prefer="wait=10").json
    assert first["status"] == "sent"
    answer = gateway.post(
        "/api/messages/reaction",
        {"messageId": first["id"], "emoji": "👍"},
        token=owner.token,
        headers={"X-Instance-Id": instance, "Prefer": "wait=10"},
    )
    assert answer.json["status"] == "sent"
    quoting = send(gateway, owner, instance, "text", {"text": "y", "quoted": first["id"]})
    gateway.wait_message(quoting.json["id"], "sent")
    _, reaction, reply = session.commands(SendMessage)
    assert isinstance(reaction.content, Reaction)
    assert reaction.content.target.id == first["whatsappId"]
    assert reply.options.quoted is not None
    assert reply.options.quoted.id == first["whatsappId"]
    assert reply.options.quoted_text == "x"


def test_queued_message_can_be_cancelled_once(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    message = send(gateway, owner, instance, "text", {"text": "x"}).json["id"]
    path = f"/api/messages/{message}/cancel"
    cancelled = gateway.post(path, {}, token=owner.token)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    gateway.wait_message(message, "cancelled")
    assert gateway.audited()[-1] == "message.cancel"
    again = gateway.post(path, {}, token=owner.token)
    assert (again.status, again.problem) == (409, "message-state")
    assert again.json["messageStatus"] == "cancelled"
    assert gateway.post(path, {}, token=gateway.register().token).status == 404


def test_failed_message_can_be_retried(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    message = send(gateway, owner, instance, "text", {"text": "x"}).json["id"]
    path = f"/api/messages/{message}/retry"
    assert gateway.post(path, {}, token=owner.token).problem == "message-state"
    failure = {"reason": "rejected", "detail": "no", "code": None}
    gateway.database.write_wait(messages.mark_failed, message, failure)
    again = gateway.post(path, {}, token=owner.token)
    assert (again.status, again.json["status"]) == (200, "queued")
    session = gateway.link(owner, instance)
    gateway.wait_message(message, "sent")
    assert len(session.commands(SendMessage)) == 1


def test_full_queue_answers_429_and_says_whose_it_is(new_gateway: NewGateway) -> None:
    gateway = new_gateway(queue_limit_per_instance=2, queue_limit_per_tenant=3)
    owner = gateway.register()
    one, two = (gateway.create_instance(owner) for _ in range(2))
    answers = [
        send(gateway, owner, instance, "text", {"text": "x"})
        for instance in (one, one, one, two, two)
    ]
    assert [answer.status for answer in answers] == [202, 202, 429, 202, 429]
    for refused, of, limit in ((answers[2], "instance", 2), (answers[4], "subscription", 3)):
        assert refused.problem == "queue-full"
        assert (refused.json["limitOf"], refused.json["limit"]) == (of, limit)
        assert int(refused.headers["Retry-After"]) > 0
    assert waiting(gateway.database, one) == 2
    # Another tenant has places of its own.
    other = gateway.register()
    assert send(gateway, other, gateway.create_instance(other), "text", {"text": "x"}).status == 202


def test_failed_message_is_not_queued_again_where_the_queue_is_full(
    new_gateway: NewGateway,
) -> None:
    gateway = new_gateway(queue_limit_per_instance=1)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    message = send(gateway, owner, instance, "text", {"text": "x"}).json["id"]
    failure = {"reason": "rejected", "detail": "no", "code": None}
    gateway.database.write_wait(messages.mark_failed, message, failure)
    assert send(gateway, owner, instance, "text", {"text": "y"}).status == 202
    again = gateway.post(f"/api/messages/{message}/retry", {}, token=owner.token)
    assert (again.status, again.problem) == (429, "queue-full"), again.body
    assert again.json["limitOf"] == "instance"
    assert waiting(gateway.database, instance) == 1
    tree = gateway.gateway.tree() if gateway.gateway else None
    assert tree is not None
    instances = next(child for child in tree.children if child.id == "instances")
    assert [actor.restarts for actor in instances.children] == [0]


class MeetsTimelock(ScriptedSession):
    """WhatsApp lets its number begin no conversation."""

    def on_command(self, command: Any) -> None:
        if isinstance(command, SendMessage):
            failure = Failure(reason="reach_out_timelock", detail="not now", code=463)
            self.emit(self.answer(command.id, failure=failure))
        else:
            super().on_command(command)


def test_caller_whose_message_meets_a_timelock_does_not_wait_for_its_end(
    gateway: GatewayLab, owner: Member
) -> None:
    gateway.driver.session_type = MeetsTimelock
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    held = send(gateway, owner, instance, "text", {"text": "x"}, Prefer="wait=60")
    assert (held.status, held.json["status"]) == (202, "queued")
    assert held.json["failure"] == {
        "reason": "reach_out_timelock",
        "detail": "not now",
        "code": 463,
    }
    assert 0 < int(held.headers["Retry-After"]) <= 6 * 3600
    state = gateway.state(owner, instance)
    assert state["queuePauseReason"] == "reach_out_timelock"
    assert gateway.application.message_waits.count == 0


def test_caller_who_waits_is_told_of_a_timelock_and_nothing_is_stored(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    until = gateway.clock.now() + timedelta(hours=2)

    def pause() -> None:
        Instance.update(queue_paused_until=until, queue_pause_reason="reach_out_timelock").where(
            Instance.id == instance
        ).execute()

    gateway.database.write_wait(pause)
    refused = send(
        gateway, owner, instance, "text", {"text": "x"}, Prefer="wait=5", **{"Idempotency-Key": "k"}
    )
    assert (refused.status, refused.problem) == (429, "queue-paused")
    assert 7000 < int(refused.headers["Retry-After"]) <= 7200
    scope = Scope(owner.subscription_id)
    assert gateway.run(gateway.database.fetch(messages.list_page, scope, limit=9)).items == ()
    # Who does not wait is queued for later, with the same key too.
    queued = send(gateway, owner, instance, "text", {"text": "x"}, **{"Idempotency-Key": "k"})
    assert (queued.status, queued.json["status"]) == (202, "queued")

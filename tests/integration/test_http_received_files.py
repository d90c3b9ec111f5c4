"""Files of received messages over HTTP: their state, asking for them, downloading them."""

from __future__ import annotations

import pytest

from support.gateway import GatewayLab
from support.received import PICTURE, Recipient, recipient_of
from wavisor.domain import Role


@pytest.fixture
def recipient(gateway: GatewayLab) -> Recipient:
    return recipient_of(gateway)


def test_a_received_file_is_shown_with_its_message_and_downloaded(
    gateway_on_both: GatewayLab,
) -> None:
    recipient = recipient_of(gateway_on_both)
    told = recipient.receive()
    media = recipient.changed(told["messageId"], "stored")
    message = recipient.message(told["messageId"])
    assert message["mediaId"] == media["id"] == told["media"]["id"]
    assert message["media"] == {
        "id": media["id"],
        "state": "stored",
        "mimeType": "image/png",
        "size": len(PICTURE),
        "fileName": "cat.png",
        "failure": None,
        "url": f"/api/media/{media['id']}",
    }
    assert "source" not in message["content"]["media"]
    answer = recipient.get(media["url"])
    assert (answer.status, answer.body) == (200, PICTURE)
    assert answer.headers["Content-Type"] == "image/png"
    part = recipient.get(media["url"], headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, PICTURE[10:20])
    [listed] = recipient.get("/api/messages").json["items"]
    [chat] = recipient.get("/api/chats").json["items"]
    assert listed["media"] == chat["lastMessage"]["media"] == message["media"]


def test_a_file_that_failed_is_fetched_again_when_asked_for(gateway_on_both: GatewayLab) -> None:
    recipient = recipient_of(gateway_on_both)
    told = recipient.receive(None)
    failed = recipient.changed(told["messageId"], "failed")
    assert failed["failure"]["reason"] == "media_gone"
    message = recipient.message(told["messageId"])
    assert message["media"]["state"] == "failed"
    assert message["media"]["failure"]["reason"] == "media_gone"
    assert recipient.get(failed["url"]).json["state"] == "failed"
    # Its sender's phone has uploaded it again.
    recipient.gateway.driver.files[told["whatsappId"]] = PICTURE
    answer = recipient.post(f"/api/messages/{told['messageId']}/media/retry")
    assert answer.status == 202
    assert (answer.json["media"]["state"], answer.json["media"]["failure"]) == ("pending", None)
    recipient.changed(told["messageId"], "stored")
    assert recipient.get(failed["url"]).body == PICTURE
    # Nothing to do any more, and harmless to ask.
    again = recipient.post(f"/api/messages/{told['messageId']}/media/retry")
    assert (again.status, again.json["media"]["state"]) == (202, "stored")


def test_a_skipped_file_is_fetched_when_asked_for(recipient: Recipient) -> None:
    gateway = recipient.gateway
    answer = gateway.patch(
        f"/api/instances/{recipient.instance}",
        {"settings": {"media": {"fetch": False}}},
        token=recipient.owner.token,
    )
    assert answer.status == 200, answer.body
    told = recipient.receive()
    assert (told["media"]["state"], told["media"]["failure"]["reason"]) == ("skipped", "fetch_off")
    assert recipient.get(told["media"]["url"]).json["state"] == "skipped"
    assert recipient.post(f"/api/messages/{told['messageId']}/media/retry").status == 202
    recipient.changed(told["messageId"], "stored")
    assert recipient.get(told["media"]["url"]).body == PICTURE


def test_a_file_that_vanished_from_the_disk_is_fetched_again(recipient: Recipient) -> None:
    told = recipient.receive()
    recipient.changed(told["messageId"], "stored")
    root = recipient.gateway.services.media.root
    [path] = [one for one in root.rglob("*") if one.is_file()]
    path.unlink()
    assert recipient.get(told["media"]["url"]).status == 404
    recipient.gateway.seen.records.clear()
    answer = recipient.post(f"/api/messages/{told['messageId']}/media/retry")
    assert answer.json["media"]["state"] == "pending"
    recipient.changed(told["messageId"], "stored")
    assert recipient.get(told["media"]["url"]).body == PICTURE


def test_a_file_asked_for_while_down_comes_with_the_connection(recipient: Recipient) -> None:
    told = recipient.receive(None)
    recipient.changed(told["messageId"], "failed")
    gateway, instance = recipient.gateway, recipient.instance
    gateway.command(recipient.owner, instance, "disconnect")
    gateway.wait_status(instance, "disconnected")
    gateway.driver.files[told["whatsappId"]] = PICTURE
    answer = recipient.post(f"/api/messages/{told['messageId']}/media/retry")
    assert (answer.status, answer.json["media"]["state"]) == (202, "pending")
    gateway.connect(recipient.owner, instance).connect()
    recipient.changed(told["messageId"], "stored")


def test_a_message_without_a_file_has_none_to_fetch(recipient: Recipient) -> None:
    recipient.gateway.receive(recipient.instance, "only text")
    event = recipient.gateway.seen.wait_for(lambda one: one.type == "message:received")
    answer = recipient.post(f"/api/messages/{event.data['messageId']}/media/retry")
    assert (answer.status, answer.problem) == (409, "message-state")
    assert recipient.message(event.data["messageId"])["media"] is None


def test_who_may_only_read_fetches_nothing(recipient: Recipient) -> None:
    told = recipient.receive(None)
    viewer = recipient.gateway.colleague(recipient.owner, Role.VIEWER)
    path = f"/api/messages/{told['messageId']}/media/retry"
    assert recipient.gateway.post(path, {}, token=viewer.token).status == 403

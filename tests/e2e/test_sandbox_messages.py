"""Every kind of message between the real client and simulated people; status, calls, history."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.sandbox_rig import (
    PATIENCE,
    RealClient,
    RefusedCommandError,
    Rig,
    eventually,
    jid,
    play,
)
from wavisor.sandbox.codec import Jid
from wavisor.sandbox.contacts import ContactKind
from wavisor.sandbox.correspondence import ReceivedMessage
from wavisor.sandbox.drafts import Draft, DraftError, send_draft
from wavisor.sandbox.faults import Fault, FaultKind, Target
from wavisor.sandbox.people import READER_NUMBER, SILENT_NUMBER
from wavisor.sandbox.person import Person

pytestmark = pytest.mark.e2e

USER = "12025550110"
STATUS = "status@broadcast"


async def read(person: Person, message_id: str) -> ReceivedMessage:
    """Wait until a simulated person has decrypted a message."""
    async with asyncio.timeout(PATIENCE):
        return await person.wait_for(
            lambda: next((m for m in person.received if m.id == message_id), None)
        )


async def got(client: RealClient, message_id: str) -> Any:
    """Wait for a message at the client; return what is in it."""
    event = await client.wait("Message", lambda data: data["Info"]["ID"] == message_id)
    return event["Message"]


def test_client_understands_every_kind_of_message_of_a_contact(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)

        async def send(**what: Any) -> tuple[str, Any]:
            sent = await send_draft(reader, USER, Draft(**what))
            return sent.id, await got(client, sent.id)

        first, text = await send(kind="text", text="first")
        assert text["extendedTextMessage"]["text"] == "first"
        _, reply = await send(kind="text", text="reply", quoted=first, forwarded=True)
        context = reply["extendedTextMessage"]["contextInfo"]
        assert context["stanzaID"] == first
        assert context["isForwarded"]
        assert context["quotedMessage"]["extendedTextMessage"]["text"] == "first"
        _, reaction = await send(kind="reaction", target=first, text="👍")
        assert reaction["reactionMessage"]["key"]["ID"] == first
        assert reaction["reactionMessage"]["text"] == "👍"
        _, edit = await send(kind="edit", target=first, text="changed")
        edited = edit["protocolMessage"]
        assert edited["editedMessage"]["conversation"] == "changed"
        assert edited["key"]["ID"] == first
        _, revoked = await send(kind="revoke", target=first)
        assert revoked["protocolMessage"]["key"]["ID"] == first
        _, place = await send(kind="location", position=(1.5, -2.5), names=("Pier",))
        assert place["locationMessage"]["degreesLongitude"] == -2.5
        cards = ("BEGIN:VCARD\nFN:Al\nEND:VCARD", "BEGIN:VCARD\nFN:Bo\nEND:VCARD")
        _, card = await send(kind="contact", names=("Al",), cards=cards[:1])
        assert card["contactMessage"]["displayName"] == "Al"
        _, both = await send(kind="contact", names=("Al", "Bo"), cards=cards)
        assert len(both["contactsArrayMessage"]["contacts"]) == 2
        _, gone = await send(kind="text", text="gone soon", expiration=3600)
        inner = gone.get("ephemeralMessage", {}).get("message", gone)
        assert inner["extendedTextMessage"]["contextInfo"]["expiration"] == 3600
        once, picture = await send(kind="image", file=b"picture", view_once=True)
        assert "imageMessage" in str(picture)
        event = await client.wait("Message", lambda data: data["Info"]["ID"] == once)
        assert event["IsViewOnce"] or event["IsViewOnceV2"]
        _, timer = await send(kind="timer", expiration=86_400)
        assert timer["protocolMessage"]["ephemeralExpiration"] == 86_400
        _, unknown = await send(kind="reaction", target="NOBODYKNOWS", text="?")
        assert unknown["reactionMessage"]["key"]["ID"] == "NOBODYKNOWS"
        with pytest.raises(DraftError):
            await send_draft(reader, USER, Draft("text", text="?", quoted="NOBODYKNOWS"))

    play(tmp_path, scenario)


def test_contact_understands_every_kind_of_message_of_the_client(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        chat = str(reader.account.lid)
        own = str(rig.world.accounts[USER].lid)

        async def send(message: dict[str, Any]) -> ReceivedMessage:
            sent = await client.invoke("send_message", jid(chat), {"message": message})
            return await read(reader, sent["ID"])

        first = await send({"conversation": "first"})
        reply = {"text": "reply", "contextInfo": {"stanzaID": first.id, "participant": own}}
        assert (await send({"extendedTextMessage": reply})).content.quoted == first.id
        place = {"degreesLatitude": 1.5, "degreesLongitude": -2.5, "name": "Pier"}
        content = (await send({"locationMessage": place})).content
        assert (content.kind, content.position, content.names) == (
            "location",
            (1.5, -2.5),
            ("Pier",),
        )
        card = {"displayName": "Al", "vcard": "BEGIN:VCARD\nEND:VCARD"}
        assert (await send({"contactMessage": card})).content.names == ("Al",)
        two = {"displayName": "2", "contacts": [card, card]}
        assert (await send({"contactsArrayMessage": two})).content.names == ("Al", "Al")

        async def built(method: str, *args: Any) -> ReceivedMessage:
            sent = await client.do("send_built", to=chat, method=method, args=list(args))
            return await read(reader, sent["id"])

        content = (await built("build_reaction", jid(chat), jid(own), first.id, "🎉")).content
        assert (content.kind, content.target, content.text) == ("reaction", first.id, "🎉")
        edited = await client.invoke(
            "edit_message", jid(chat), first.id, {"message": {"conversation": "second"}}
        )
        content = (await read(reader, edited["ID"])).content
        assert (content.kind, content.target, content.text) == ("edit", first.id, "second")
        revoked = await client.invoke("revoke_message", jid(chat), jid(own), first.id)
        content = (await read(reader, revoked["ID"])).content
        assert (content.kind, content.target) == ("revoke", first.id)

    play(tmp_path, scenario)


def test_polls_and_votes_in_both_directions(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        chat = str(reader.account.lid)
        poll = Draft("poll", text="Tea?", names=("yes", "no"))
        asked = await send_draft(reader, USER, poll)
        await got(client, asked.id)
        voted = await client.do(
            "send_built", to=chat, method="build_poll_vote", args=[{"info": asked.id}, ["yes"]]
        )
        vote = await read(reader, voted["id"])
        assert (vote.content.kind, vote.content.target) == ("poll_vote", asked.id)
        assert vote.content.names == ("yes",)

        mine = await client.do(
            "send_built",
            to=chat,
            method="build_poll_vote_creation",
            args=["Coffee?", ["black", "white"], {"enum": ["VoteType", "SINGLE"]}],
        )
        question = await read(reader, mine["id"])
        assert (question.content.kind, question.content.names) == ("poll", ("black", "white"))
        answer = Draft("poll_vote", target=mine["id"], names=("white",))
        sent = await send_draft(reader, USER, answer)
        await got(client, sent.id)
        assert await client.do("decrypt_vote", message=sent.id) == 1

    play(tmp_path, scenario)


def test_status_goes_out_to_contacts_and_comes_in(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader, silent = rig.people.contact(READER_NUMBER), rig.people.contact(SILENT_NUMBER)
        shown = await send_draft(reader, STATUS, Draft("image", text="sunset", file=b"sun"))
        event = await client.wait("Message", lambda data: data["Info"]["ID"] == shown.id)
        source = event["Info"]["MessageSource"]
        assert (source["Chat"]["User"], source["Chat"]["Server"]) == ("status", "broadcast")
        assert source["Sender"]["User"] == reader.account.lid_user
        # The client sends its status to those whose names are in its address book.
        await client.invoke("contact.put_contact_name", jid(READER_NUMBER), "The Reader", "Reader")
        sent = await client.invoke("send_message", jid(STATUS), "my status")
        message = await read(reader, sent["ID"])
        assert (message.chat, message.content.text) == (STATUS, "my status")
        assert not silent.received
        await client.wait("Receipt", lambda data: sent["ID"] in data["MessageIDs"])

    play(tmp_path, scenario)


def test_calls_ring_and_are_rejected_or_end(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        call = await reader.call(USER)
        offer = await client.wait("CallOffer")
        meta = offer["basicCallMeta"] if "basicCallMeta" in offer else offer["BasicCallMeta"]
        assert call.id in str(meta)
        await client.invoke("reject_call", jid(str(reader.account.lid)), call.id)
        async with asyncio.timeout(PATIENCE):
            await reader.wait_for(lambda: call.status == "rejected" or None)
        second = await reader.call(USER, video=True)
        await reader.hang_up(second)
        await client.wait("CallTerminate", lambda data: second.id in str(data))
        assert second.status == "terminated"
        # Everything was confirmed: nothing waits for a next login.
        await eventually(lambda: not any(d.inbox for d in rig.world.real_devices()))

    play(tmp_path, scenario)


def test_new_companion_is_told_the_past_up_to_a_bound(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        phone = rig.people.add_phone(USER, "Alice")
        reader = rig.people.contact(READER_NUMBER)
        rig.world.settings.history_messages = 5
        for number in range(4):
            await reader.write(USER, f"to you {number}")
            await phone.write(READER_NUMBER, f"from me {number}")
        async with asyncio.timeout(PATIENCE):
            await phone.wait_for(lambda: len(phone.received) == 4 or None)
        client = await rig.paired("alice", USER)
        sync = await client.wait("HistorySync", lambda data: "conversations" in data["Data"])
        [conversation] = sync["Data"]["conversations"]
        assert Jid.parse(conversation["ID"]) == reader.account.lid
        messages = [entry["message"] for entry in conversation["messages"]]
        assert len(messages) == 5
        texts = {m["message"]["conversation"]: m["key"].get("fromMe", False) for m in messages}
        assert texts["to you 3"] is False
        assert texts["from me 3"] is True
        names = await client.wait("HistorySync", lambda data: "pushnames" in data["Data"])
        assert names["Data"]["pushnames"][0]["pushname"] == "Reader"

    play(tmp_path, scenario)


def test_receipts_come_out_of_order_when_wanted_and_463_when_told(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        rig.people.add_contact("12025550130", "New", ContactKind.RECEIVER)
        client = await rig.paired("alice", USER)
        silent = rig.people.contact(SILENT_NUMBER)
        sent = [(await client.do("send", to=SILENT_NUMBER, text=t))["id"] for t in ("a", "b")]
        await read(silent, sent[1])
        mark = client.mark
        await silent.confirm(USER, sent, "played")
        await client.wait("Receipt", lambda r: r["MessageIDs"] == sent, after=mark)
        for kind, seen in (("read", "READ"), ("delivered", "DELIVERED")):
            mark = client.mark
            await silent.confirm(USER, [sent[0]], kind)
            receipt = await client.wait("Receipt", after=mark)
            assert (receipt["MessageIDs"], receipt["Type"]) == ([sent[0]], seen)
        timelock = Fault(FaultKind.REJECT_MESSAGES, Target(phone=USER), code=463, seconds=60)
        rig.world.faults.inject(timelock)
        with pytest.raises(RefusedCommandError, match="463"):
            await client.do("send", to="12025550130", text="hello?")
        await silent.write(USER, "still there?")
        await client.text("still there?")

    play(tmp_path, scenario)

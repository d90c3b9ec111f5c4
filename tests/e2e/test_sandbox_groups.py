"""Groups between real clients and simulated people: changes, messages, receipts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.sandbox_rig import (
    PATIENCE,
    RealClient,
    RefusedCommandError,
    Rig,
    binary,
    eventually,
    jid,
    play,
    text_of,
)
from wavisor.sandbox.content import text_message
from wavisor.sandbox.drafts import Draft, send_draft
from wavisor.sandbox.group_desk import GroupDesk
from wavisor.sandbox.groups import Group
from wavisor.sandbox.people import ECHO_NUMBER, READER_NUMBER, SILENT_NUMBER
from wavisor.sandbox.person import Person

pytestmark = pytest.mark.e2e

ALICE, BOB = "12025550110", "12025550111"
JPEG = b"\xff\xd8\xff\xe0" + bytes(100)


async def read(person: Person, text: str) -> Any:
    """Wait until a simulated person has decrypted a text."""
    async with asyncio.timeout(PATIENCE):
        return await person.wait_for(
            lambda: next((m for m in person.received if m.content.text == text), None)
        )


async def change(client: RealClient, field: str, *, after: int = 0) -> Any:
    """Wait for a group's change to reach a client."""
    event = await client.wait("GroupInfoEvent", lambda data: field in data, after=after)
    return event[field]


async def founded(rig: Rig, client: RealClient, *members: str) -> Group:
    """Let a client found a group."""
    info = await client.invoke("create_group", "Friends", [jid(m) for m in members])
    return rig.world.groups[info["JID"]["User"]]


def address(group: Group) -> dict[str, str]:
    return jid(str(group.jid))


def test_client_founds_changes_and_leaves_a_group(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        alice = await rig.paired("alice", ALICE)
        group = await founded(rig, alice, ECHO_NUMBER, READER_NUMBER)
        assert group.members == {
            ALICE: "superadmin",
            ECHO_NUMBER: "member",
            READER_NUMBER: "member",
        }
        info = await alice.invoke("get_group_info", address(group))
        assert info["GroupName"]["Name"] == "Friends"
        assert len(info["Participants"]) == 3
        assert [g["JID"]["User"] for g in await alice.invoke("get_joined_groups")] == [group.id]

        await alice.invoke("set_group_name", address(group), "Best friends")
        assert (await change(alice, "Name"))["Name"] == "Best friends"
        await alice.invoke("set_group_topic", address(group), "", "", "what we do")
        assert group.description is not None
        assert group.description.text == "what we do"
        await alice.invoke("set_group_topic", address(group), "", "", "what else")
        assert group.description.text == "what else"
        for method, flag in (("set_group_announce", "announce"), ("set_group_locked", "locked")):
            await alice.invoke(method, address(group), True)
            assert getattr(group, flag)
            await alice.invoke(method, address(group), False)
            assert not getattr(group, flag)
        picture = await alice.invoke("set_group_photo", address(group), binary(JPEG))
        assert group.picture is not None
        assert group.picture.id == picture
        shown = await alice.invoke("get_profile_picture", address(group))
        assert shown["ID"] == picture
        await alice.invoke("set_disappearing_timer", address(group), 86_400 * 10**9)
        assert group.expiration == 86_400

        for action, role in (
            ("PROMOTE", "admin"),
            ("DEMOTE", "member"),
            ("REMOVE", None),
            ("ADD", "member"),
        ):
            change_to = {"enum": ["ParticipantChange", action]}
            echo = [jid(ECHO_NUMBER)]
            await alice.invoke("update_group_participants", address(group), echo, change_to)
            assert group.members.get(ECHO_NUMBER) == role
        link = await alice.invoke("get_group_invite_link", address(group), False)
        assert link.endswith(group.invite_code)
        renewed = await alice.invoke("get_group_invite_link", address(group), True)
        assert renewed != link
        with pytest.raises(RefusedCommandError, match=r"revoked|gone|410"):
            await alice.invoke("get_group_info_from_link", link)
        await alice.invoke("leave_group", address(group))
        assert ALICE not in group.members
        with pytest.raises(RefusedCommandError):
            await alice.invoke("get_group_info", address(group))

    play(tmp_path, scenario)


def test_group_messages_reach_all_devices_and_come_back_with_receipts(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        alice, bob = await rig.paired("alice", ALICE), await rig.paired("bob", BOB)
        group = await founded(rig, alice, BOB, ECHO_NUMBER, READER_NUMBER, SILENT_NUMBER)
        joined = await bob.wait("JoinedGroup")
        assert joined["GroupInfo"]["JID"]["User"] == group.id
        people = [rig.people.contact(n) for n in (ECHO_NUMBER, READER_NUMBER, SILENT_NUMBER)]
        people += [rig.people.phone(ALICE), rig.people.phone(BOB)]

        sent = await alice.invoke("send_message", address(group), "hello all")
        for person in people:
            message = await read(person, "hello all")
            assert (message.chat, message.sender, message.encryption) == (
                str(group.jid),
                ALICE,
                "skmsg",
            )
        arrived = await bob.text("hello all")
        source = arrived["Info"]["MessageSource"]
        assert source["Chat"]["User"] == group.id
        assert source["IsGroup"]
        assert source["SenderAlt"]["User"] == ALICE

        def from_reader(kind: str, number: str) -> Any:
            lid = rig.world.accounts[number].lid_user
            return lambda receipt: (
                receipt["MessageIDs"] == [sent["ID"]]
                and receipt["Type"] == kind
                and receipt["MessageSource"]["Sender"]["User"] == lid
            )

        await alice.wait("Receipt", from_reader("READ", READER_NUMBER))
        await alice.wait("Receipt", from_reader("DELIVERED", BOB))
        await bob.do("mark_in_group", message=sent["ID"])
        await alice.wait("Receipt", from_reader("READ", BOB))

        for number in range(3):
            await bob.invoke("send_message", address(group), f"from bob {number}")
        await alice.text("from bob 2")
        assert alice.texts() == [f"from bob {number}" for number in range(3)]
        assert alice.count("UndecryptableMessage") == bob.count("UndecryptableMessage") == 0
        assert not any(person.undecryptable for person in people)

        # Echo answers where it is mentioned only.
        echo_lid = rig.people.contact(ECHO_NUMBER).account.lid_user
        await alice.invoke(
            "send_message", address(group), f"@{echo_lid} hi", mentions_are_lids=True
        )
        answer = await alice.text(f"echo: @{echo_lid} hi")
        assert answer["Info"]["MessageSource"]["Chat"]["User"] == group.id
        assert text_of(await bob.text(f"echo: @{echo_lid} hi"))
        # Everything was confirmed: nothing waits for a next login.
        await eventually(lambda: not any(d.inbox for d in rig.world.real_devices()))

    play(tmp_path, scenario)


def test_people_write_to_a_group_and_learn_how_far_it_came(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        alice = await rig.paired("alice", ALICE)
        reader, silent = rig.people.contact(READER_NUMBER), rig.people.contact(SILENT_NUMBER)
        desk = GroupDesk(rig.world, reader.account)
        group, _ = await desk.create("Readers", [rig.world.accounts[ALICE], silent.account])
        await alice.wait("JoinedGroup")
        sent = await reader.send(str(group.jid), text_message("to the group"))
        await alice.text("to the group")
        async with asyncio.timeout(PATIENCE):
            await reader.wait_for(lambda: sent.receipts[ALICE] == "delivered" or None)
        assert sent.receipts == {ALICE: "delivered", SILENT_NUMBER: "sent"}
        assert sent.status == "sent"
        # Receipts come when and in the order in which they are wanted.
        for kind in ("read", "delivered"):
            await silent.confirm(str(group.jid), [sent.id], kind, author=READER_NUMBER)
        async with asyncio.timeout(PATIENCE):
            await reader.wait_for(lambda: sent.receipts[SILENT_NUMBER] == "read" or None)
        assert sent.status == "delivered"
        quoting = Draft("text", text="I say", quoted=sent.id, mentions=(ALICE,))
        await send_draft(silent, str(group.jid), quoting)
        said = await alice.text("I say")
        context = said["Message"]["extendedTextMessage"]["contextInfo"]
        assert context["stanzaID"] == sent.id
        assert context["mentionedJID"] == [str(rig.world.accounts[ALICE].lid)]

        # Who left is not written to any more, and cannot read it.
        await desk.remove(group, [silent.account])
        assert (await change(alice, "Leave"))[0]["User"] == silent.account.lid_user
        await reader.send(str(group.jid), text_message("without silent"))
        await alice.text("without silent")
        await alice.invoke("send_message", address(group), "me too")
        await read(reader, "me too")
        assert [m.content.text for m in silent.received] == ["to the group"]

    play(tmp_path, scenario)


def test_lost_group_keys_are_mended_by_retries_in_both_directions(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        alice = await rig.paired("alice", ALICE)
        reader = rig.people.contact(READER_NUMBER)
        group = await founded(rig, alice, READER_NUMBER)
        await alice.invoke("send_message", address(group), "first")
        await read(reader, "first")
        for device in rig.world.devices_of(rig.world.accounts[ALICE]):
            reader.forget(device)
        await alice.invoke("send_message", address(group), "second")
        await read(reader, "second")
        assert reader.undecryptable == 1

        await reader.send(str(group.jid), text_message("one"))
        await alice.text("one")
        # A key that nobody was told of: the client must ask for it.
        reader.sender_keys.renew(str(group.jid))
        await reader.send(str(group.jid), text_message("two"))
        await alice.wait("UndecryptableMessage")
        await alice.text("two")

    play(tmp_path, scenario)


def test_joining_by_link_with_and_without_approval(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        alice = await rig.paired("alice", ALICE)
        reader, silent = rig.people.contact(READER_NUMBER), rig.people.contact(SILENT_NUMBER)
        theirs, _ = await GroupDesk(rig.world, reader.account).create("Theirs", [])
        link = f"https://chat.whatsapp.com/{theirs.invite_code}"
        seen = await alice.invoke("get_group_info_from_link", link)
        assert seen["GroupName"]["Name"] == "Theirs"
        await alice.invoke("join_group_with_link", link)
        assert ALICE in theirs.members
        await alice.wait("JoinedGroup", lambda data: data["GroupInfo"]["JID"]["User"] == theirs.id)

        group = await founded(rig, alice)
        await GroupDesk(rig.world, rig.world.accounts[ALICE]).set_approval(group, required=True)
        desk = GroupDesk(rig.world, silent.account)
        assert not await desk.join(group)
        [request] = await alice.invoke("get_group_request_participants", address(group))
        assert request["Participant"]["User"] == silent.account.lid_user
        await GroupDesk(rig.world, rig.world.accounts[ALICE]).decide(
            group, [silent.account], approve=True
        )
        assert SILENT_NUMBER in group.members
        await change(alice, "Join")
        # Only admins may write now, and the other is none.
        await alice.invoke("set_group_announce", address(group), True)
        with pytest.raises(RuntimeError, match="403"):
            await silent.send(str(group.jid), text_message("may I?"))
        await alice.invoke("send_message", address(group), "no")
        await read(silent, "no")

    play(tmp_path, scenario)

"""What people show of themselves, what phone and clients share, and channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
)
from wavisor.sandbox.channel_routing import on_channel_message
from wavisor.sandbox.codec import Node
from wavisor.sandbox.contacts import ContactKind
from wavisor.sandbox.content import describe, text_message
from wavisor.sandbox.notices import announce_picture
from wavisor.sandbox.people import READER_NUMBER
from wavisor.sandbox.profiles import Picture

pytestmark = pytest.mark.e2e

USER = "12025550110"
JPEG = b"\xff\xd8\xff\xe0" + bytes(100)


async def until(client: RealClient, ask: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Ask the client until its answer is the wanted one; for what it announces by no event."""
    async with asyncio.timeout(PATIENCE):
        while not wanted(answer := await ask()):  # noqa: ASYNC110 # see above
            await asyncio.sleep(0.05)
    return answer


def test_pictures_about_texts_and_number_variants(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader, phone = rig.people.contact(READER_NUMBER), rig.people.phone(USER)
        lid = jid(str(reader.account.lid))
        await client.do("send", to=READER_NUMBER, text="hello")
        with pytest.raises(RefusedCommandError):
            await client.invoke("get_profile_picture", lid)
        reader.account.picture = Picture(JPEG, rig.world.media.put(JPEG))
        await announce_picture(rig.world, reader.account, reader.account)
        news = await client.wait("Picture")
        assert news["JID"]["User"] == reader.account.lid_user
        shown = await client.invoke("get_profile_picture", lid)
        assert shown["ID"] == reader.account.picture.id
        assert shown["URL"].startswith("https://")
        reader.account.privacy["profile"] = "none"
        with pytest.raises(RefusedCommandError):
            await client.invoke("get_profile_picture", lid)

        mine = await client.invoke("set_profile_photo", binary(JPEG))
        assert phone.account.picture is not None
        assert phone.account.picture.id == mine
        with pytest.raises(RefusedCommandError):
            await client.invoke("set_profile_photo", binary(b"GIF89a"))

        rig.people.add_contact("551187654321", "Ana", ContactKind.READER)
        [answer] = await client.do("is_on_whatsapp", phones=["5511987654321"])
        assert answer["IsIn"]
        assert answer["JID"]["User"] == rig.world.accounts["551187654321"].lid_user

        reader.account.status = "reading"
        assert await client.do("about", phone=READER_NUMBER) == "reading"
        await client.do("set_about", text="busy")
        assert phone.account.status == "busy"

    play(tmp_path, scenario)


def test_blocking_privacy_and_presence(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client, second = await rig.paired("alice", USER), await rig.paired("alice-too", USER)
        reader, account = rig.people.contact(READER_NUMBER), rig.world.accounts[USER]
        lid = jid(str(reader.account.lid))
        await client.invoke("update_blocklist", lid, {"enum": ["BlocklistAction", "BLOCK"]})
        assert reader.account.lid in account.blocked
        blocked = await client.invoke("get_blocklist")
        assert reader.account.lid_user in str(blocked)
        await second.wait("BlocklistEvent")
        await client.invoke("update_blocklist", lid, {"enum": ["BlocklistAction", "UNBLOCK"]})
        assert not account.blocked

        setting = {"enum": ["PrivacySettingType", "READ_RECEIPTS"]}
        with pytest.raises(RefusedCommandError):
            # The client takes its answer for an error, whatever it is; the setting is changed.
            await client.invoke(
                "set_privacy_setting", setting, {"enum": ["PrivacySetting", "NONE"]}
            )
        assert account.privacy["readreceipts"] == "none"
        await second.wait("privacySettingsEvent")

        await client.do("available")
        await client.do("subscribe", phone=READER_NUMBER)
        mark = client.mark
        await reader.show(available=True)
        await client.wait("Presence", lambda data: not data.get("Unavailable"), after=mark)
        await reader.show(available=False)
        await client.wait("Presence", lambda data: data.get("Unavailable"), after=mark)
        await reader.type_to(USER, "recording")
        typing = await client.wait("ChatPresence")
        assert typing["State"] == "COMPOSING" or "Media" in typing
        await client.do("typing", phone=READER_NUMBER)
        async with asyncio.timeout(PATIENCE):
            await reader.wait_for(
                lambda: next((s for s in reader.signals if s.tag == "chatstate"), None)
            )

    play(tmp_path, scenario)


def test_settings_travel_between_phone_and_client(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        phone, reader = rig.people.phone(USER), rig.people.contact(READER_NUMBER)
        chat = str(reader.account.lid)

        def settings() -> dict[tuple[str, ...], Any]:
            return dict(phone.shared_settings)

        async def ready() -> bool:
            return (await client.do("me")).get("PushName") == "Alice"

        await until(client, ready, bool)
        # The client names no collection, whatever it is told, so that it cannot change settings.
        mutation = {"Index": ["pin_v1", chat], "Version": 5, "Value": {"pinAction": {}}}
        info = {"Timestamp": 0, "Type": "REGULAR_LOW", "Mutations": [mutation]}
        with pytest.raises(RefusedCommandError):
            await client.invoke("send_app_state", {"proto": ["PatchInfo", info]})
        assert ("pin_v1", chat) not in settings()
        await client.do("set_name", name="Ally")
        await eventually(lambda: settings()["setting_pushName",] == "Ally")

        # The other way: what is changed on the phone reaches the client.
        async def chosen(name: str) -> Any:
            answer = await client.invoke("chat_settings.get_chat_settings", jid(chat))
            return answer.get(name, False)

        for index, value in (("archive", True), ("pin_v1", True), ("pin_v1", False)):
            await phone.set((index, chat), value)
            name = {"archive": "Archived", "pin_v1": "Pinned"}[index]
            await until(client, lambda name=name: chosen(name), lambda seen, v=value: seen == v)
        await phone.set(("mute", chat), True)
        await until(client, lambda: chosen("MutedUntil"), bool)
        await phone.set(("contact", chat), "The Reader")

        async def name() -> Any:
            return (await client.invoke("contact.get_contact", jid(chat))).get("FullName")

        await until(client, name, lambda value: value == "The Reader")
        await phone.set(("star", chat, "A1", "0", "0"), True)
        await phone.set(("deleteMessageForMe", chat, "A1", "0", "0"), True)
        assert settings()["pin_v1", chat] is False
        assert settings()["star", chat, "A1", "0", "0"] is True

    play(tmp_path, scenario)


def test_channels_are_followed_read_and_reacted_to(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        channel = rig.world.channels.create(reader.account, "News", "daily")
        address = jid(str(channel.jid))
        found = await client.invoke(
            "get_newsletter_info_with_invite", f"https://whatsapp.com/channel/{channel.invite}"
        )
        assert found["ThreadMeta"]["Name"]["Text"] == "News"
        await client.invoke("follow_newsletter", address)
        assert USER in channel.followers
        [followed] = await client.invoke("get_subscribed_newletters")
        assert followed["ID"]["User"] == channel.id

        post = Node("plaintext", {}, text_message("breaking"))
        stanza = Node("message", {"to": channel.jid, "id": "P1", "type": "text"}, (post,))
        await on_channel_message(rig.world, reader.device, channel.jid, stanza)
        message = await client.text("breaking")
        assert message["Info"]["MessageSource"]["Chat"]["Server"] == "newsletter"
        number = channel.posts[0].server_id
        await client.invoke("newsletter_send_reaction", address, number, "❤️", "R1")
        await eventually(lambda: channel.posts[0].reactions == {USER: "❤️"})
        [listed] = await client.invoke("get_newsletter_messages", address, 10, 0)
        assert int(listed["MessageServerID"]) == number
        await client.invoke("unfollow_newsletter", address)
        assert USER not in channel.followers

        mine = await client.invoke("create_newsletter", "Mine", "about me", binary(b""))
        own = rig.world.channels.find(mine["ID"]["User"])
        assert own is not None
        own_address = jid(str(own.jid))
        sent = await client.invoke("send_message", own_address, "welcome")
        assert [describe(p.content).text for p in own.posts] == ["welcome"]
        changed = {"message": {"conversation": "changed"}}
        await client.invoke("edit_message", own_address, sent["ID"], changed)
        assert [describe(p.content).text for p in own.posts] == ["changed"]
        await client.invoke("revoke_message", own_address, jid(USER), sent["ID"])
        assert [post.content for post in own.posts] == [b""]
        # Everything was confirmed: nothing waits for a next login.
        await eventually(lambda: not any(d.inbox for d in rig.world.real_devices()))
        stored = {"enum": ["MediaType", "MediaImage"]}
        uploaded = await client.invoke("upload_newsletter", binary(JPEG), stored)
        assert rig.world.media.at(uploaded["DirectPath"]) == JPEG

    play(tmp_path, scenario)

"""Media between the real client and simulated people, and what can go wrong with them."""

from __future__ import annotations

import asyncio
import base64
import io
import os

import pytest
from PIL import Image

from support.sandbox_rig import PATIENCE, RealClient, RefusedCommandError, Rig, binary, jid, play
from wavisor.sandbox.correspondence import ReceivedMessage
from wavisor.sandbox.drafts import Draft, send_draft
from wavisor.sandbox.faults import Fault, FaultKind
from wavisor.sandbox.people import READER_NUMBER
from wavisor.sandbox.person import Person

pytestmark = pytest.mark.e2e

USER = "12025550110"


def jpeg() -> bytes:
    """Return a small picture."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


async def arrived(person: Person, message_id: str) -> ReceivedMessage:
    """Wait for a message at a simulated person."""
    async with asyncio.timeout(PATIENCE):
        return await person.wait_for(
            lambda: next((m for m in person.received if m.id == message_id), None)
        )


async def download(client: RealClient, message_id: str) -> bytes:
    """Let the client download what came in a message."""
    await client.wait("Message", lambda data: data["Info"]["ID"] == message_id)
    return base64.b64decode(await client.invoke("download_any", {"content": message_id}))


def test_contact_receives_every_kind_of_file_from_the_client(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        picture, content = jpeg(), os.urandom(100_000)
        sent = await client.invoke("send_image", jid(READER_NUMBER), binary(picture), "a caption")
        message = await arrived(reader, sent["ID"])
        assert (message.content.kind, message.content.text) == ("image", "a caption")
        assert reader.file_of(sent["ID"]) == picture
        sent = await client.invoke(
            "send_document", jid(READER_NUMBER), binary(content), "paper", filename="a.bin"
        )
        message = await arrived(reader, sent["ID"])
        assert (message.content.kind, message.content.text) == ("document", "paper")
        assert message.content.media is not None
        assert message.content.media.file_name == "a.bin"
        assert reader.file_of(sent["ID"]) == content
        for kind, field in (("voice", "audioMessage"), ("sticker", "stickerMessage")):
            stored_as = "MediaAudio" if kind == "voice" else "MediaImage"
            uploaded = await client.invoke(
                "upload", binary(content), {"enum": ["MediaType", stored_as]}
            )
            file = {
                "directPath": uploaded["DirectPath"],
                "mediaKey": uploaded["MediaKey"],
                "fileSHA256": uploaded["FileSHA256"],
                "fileEncSHA256": uploaded["FileEncSHA256"],
                "fileLength": len(content),
                "mimetype": "audio/ogg; codecs=opus" if kind == "voice" else "image/webp",
            }
            if kind == "voice":
                file |= {"PTT": True, "seconds": 3}
            sent = await client.invoke(
                "send_message", jid(READER_NUMBER), {"message": {field: file}}
            )
            message = await arrived(reader, sent["ID"])
            assert message.content.kind == kind
            assert reader.file_of(sent["ID"]) == content

    play(tmp_path, scenario)


def test_client_downloads_every_kind_of_file_from_a_contact(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        for kind in ("image", "video", "audio", "voice", "document", "sticker"):
            content = os.urandom(5000)
            sent = await send_draft(reader, USER, Draft(kind, text="look", file=content))
            assert await download(client, sent.id) == content
        large = bytes(70 * 1024 * 1024)
        sent = await send_draft(reader, USER, Draft("document", file=large))
        await client.wait("Message", lambda data: data["Info"]["ID"] == sent.id)
        assert await client.do("download", message=sent.id) == len(large)

    play(tmp_path, scenario)


def test_downloads_fail_on_demand(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        client = await rig.paired("alice", USER)
        reader = rig.people.contact(READER_NUMBER)
        content = os.urandom(5000)
        missing = await send_draft(reader, USER, Draft("image", file=content, missing=True))
        with pytest.raises(RefusedCommandError, match="404"):
            await download(client, missing.id)
        lie = await send_draft(reader, USER, Draft("image", file=b"lie" + content, wrong_hash=True))
        with pytest.raises(RefusedCommandError, match=r"(?i)sha256|hash"):
            await download(client, lie.id)
        sent = await send_draft(reader, USER, Draft("image", file=content))
        rig.world.faults.inject(Fault(FaultKind.REFUSE_DOWNLOADS, code=410, uses=1))
        with pytest.raises(RefusedCommandError, match="410"):
            await download(client, sent.id)
        rig.world.faults.inject(Fault(FaultKind.SPOIL_DOWNLOADS, uses=1))
        with pytest.raises(RefusedCommandError, match=r"(?i)sha256|hash"):
            await download(client, sent.id)
        # This one is tried again by the client, a second later.
        rig.world.faults.inject(Fault(FaultKind.REFUSE_DOWNLOADS, code=503, uses=1))
        assert await download(client, sent.id) == content
        rig.world.faults.inject(Fault(FaultKind.SLOW_DOWNLOADS, delay=0.02, uses=1))
        assert await download(client, sent.id) == content
        rig.world.faults.inject(Fault(FaultKind.ENDLESS_DOWNLOADS, delay=0.05, uses=1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await download(client, sent.id)
        rig.world.faults.inject(Fault(FaultKind.REFUSE_UPLOADS, code=500, uses=1))
        with pytest.raises(RefusedCommandError, match="500"):
            await client.invoke("send_document", jid(READER_NUMBER), binary(content))

    play(tmp_path, scenario)

"""Files of received messages are fetched early, few at a time, and their fate is on disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.instance.download_policy import DownloadPolicy
from wavisor.actors.instance.messages import FetchFiles, SettingsChanged
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import PacingSettings
from wavisor.domain import InstanceStatus, MediaState
from wavisor.storage import EventRecord, MediaRecord, MessageFilter, media, messages
from wavisor.storage.models import Media
from wavisor.whatsapp.commands import Command, DownloadMedia
from wavisor.whatsapp.content import MediaKind
from wavisor.whatsapp.events import Failure, MessageReceived, Person
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession

ANNA = Person(jid="15550101@s.whatsapp.net", phone="+15550101")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256))
KINDS: tuple[MediaKind, ...] = ("image", "video", "audio", "voice", "document", "sticker")


class HoldsDownloads(ScriptedSession):
    """Answers downloads only when a test lets it, and as the test says."""

    def on_command(self, command: Command) -> None:
        if not isinstance(command, DownloadMedia):
            super().on_command(command)

    def finish(self, command: DownloadMedia, failure: Failure | None = None) -> None:
        if failure is None:
            failure = self._download(command)
        self.emit(self.answer(command.id, failure=failure))


class Mailbox:
    """A connected instance, and what is sent to it."""

    def __init__(self, lab: InstanceLab) -> None:
        self.lab = lab
        self.instance = lab.create()
        self.session: Any = lab.link(self.instance)
        self._count = 0

    def receive(self, content: bytes = PNG, kind: MediaKind = "image", **more: Any) -> str:
        """Let a message with a file arrive; return its WhatsApp id."""
        self._count += 1
        source = f"{self.instance} {self._count}"
        self.lab.driver.files[source] = content
        fields: dict[str, Any] = {
            "mime_type": "image/jpeg",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "source": source,
            **more,
        }
        told = MediaDescriptor(kind=kind, **fields)
        self.session.emit(
            MessageReceived(
                instance=self.instance,
                message_id=f"M{self._count}",
                chat=ANNA,
                sender=ANNA,
                from_me=False,
                is_group=False,
                timestamp=NOW,
                content=InboundContent(type=kind, raw_type=f"{kind}Message", media=told),
            )
        )
        self.lab.look(self.instance)
        return f"M{self._count}"

    def file(self, whatsapp_id: str) -> MediaRecord:
        self.lab.look(self.instance)
        where = MessageFilter(instance_id=self.instance)
        page = self.lab.database.read_wait(
            messages.list_page, self.lab.scope, limit=50, where=where
        )
        [media_id] = {one.media_id for one in page.items if one.whatsapp_id == whatsapp_id}
        assert media_id is not None
        record = self.lab.database.read_wait(media.get, self.lab.scope, media_id)
        assert record is not None
        return record

    def wait(self, whatsapp_id: str, state: MediaState) -> MediaRecord:
        """Wait for the store's threads; nothing here depends on how long they take."""
        for _ in range(500):
            record = self.file(whatsapp_id)
            if record.state is state:
                return record
            self.lab.pause.wait(0.01)
        raise AssertionError(f"the file is {record.state}, not {state}: {record.failure}")

    def asked(self, count: int | None = None) -> list[DownloadMedia]:
        """What the session was told to fetch, once it is so many files."""
        for _ in range(500):
            # No time passes, but a timer fires that was set only now and is due already: the
            # room for files is made in a thread of its own, whenever that comes to it.
            self.lab.advance(self.instance, 0.0)
            commands = self.session.commands(DownloadMedia)
            if count is None or len(commands) >= count:
                return list(commands)
            self.lab.pause.wait(0.01)
        raise AssertionError(f"{len(commands)} files were asked for, not {count}")

    def told(self, kind: str) -> list[EventRecord]:
        return [one for one in self.lab.stored_events(self.instance) if one.type == kind]

    def rooms(self) -> list[str]:
        """What is left where files come in."""
        incoming = self.lab.store.root / "incoming"
        return [str(one.relative_to(incoming)) for one in incoming.rglob("*") if one.is_file()]

    def set_rules(self, **rules: Any) -> None:
        self.lab.ref(self.instance).tell(SettingsChanged({"media": rules}))

    def come_back(self, kind: type[ScriptedSession] | None = None) -> None:
        """Start another session, and connect it."""
        if kind is not None:
            self.lab.driver.script(kind)
        for _ in range(200):
            snapshot = self.lab.advance(self.instance, 0.5)
            self.session = self.lab.session(self.instance)
            if snapshot.status is InstanceStatus.CONNECTED:
                return
            if self.session.alive and self.session.stopped is None:
                self.session.connect()
        raise TimeoutError("the instance did not come back")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    policy = InstancePolicy(
        pacing=PacingSettings(enabled=False),
        downloads=DownloadPolicy(max_bytes=10_000),
        # Hours pass at once here, which is no sign of a dead session.
        ping_interval=1e9,
        probe_interval=1e9,
    )
    with instance_lab(tmp_path, policy=policy) as one:
        yield one


@pytest.fixture
def mailbox(lab: InstanceLab) -> Mailbox:
    return Mailbox(lab)


@pytest.fixture
def held(lab: InstanceLab) -> Mailbox:
    """One whose session fetches nothing until it is told to."""
    lab.driver.script(HoldsDownloads)
    return Mailbox(lab)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_any_kind_is_stored_and_told(mailbox: Mailbox, kind: MediaKind) -> None:
    name = mailbox.receive(kind=kind, file_name="a.bin")
    record = mailbox.wait(name, MediaState.STORED)
    [received] = mailbox.told("message:received")
    told = received.data["media"]
    assert (told["id"], told["state"], told["kind"]) == (record.id, "pending", kind)
    assert told["url"] == f"/api/media/{record.id}"
    assert "source" not in str(received.data)
    [changed] = mailbox.told("message:media:changed")
    assert changed.data["messageId"] == received.data["messageId"]
    assert changed.data["media"] == {
        "id": record.id,
        "state": "stored",
        "mimeType": "image/png",  # what it is, not what its sender said
        "size": len(PNG),
        "fileName": "a.bin",
        "failure": None,
        "url": f"/api/media/{record.id}",
    }
    assert record.path is not None
    assert (mailbox.lab.store.root / record.path).read_bytes() == PNG
    assert mailbox.rooms() == []


def test_a_file_that_is_here_already_is_not_fetched_again(mailbox: Mailbox) -> None:
    mailbox.wait(mailbox.receive(), MediaState.STORED)
    again = mailbox.receive()
    assert mailbox.file(again).state is MediaState.STORED
    assert mailbox.told("message:received")[-1].data["media"]["state"] == "stored"
    assert len(mailbox.asked()) == 1


def test_few_are_under_way_at_once_and_the_rest_waits_in_the_table(held: Mailbox) -> None:
    names = [held.receive(b"%d" % number) for number in range(7)]
    commands = held.asked()
    assert len(commands) == 3
    for number in range(7):
        held.session.finish(held.asked(number + 1)[number])
        held.wait(names[number], MediaState.STORED)
        assert len(held.asked()) == min(7, number + 4)
    assert [one.source[-1] for one in held.asked()] == list("1234567")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"fetch": False}, "fetch_off"),
        ({"types": ["voice", "audio"]}, "type_not_wanted"),
        ({"maxBytes": 100}, "too_large"),
    ],
)
def test_what_the_rules_leave_out_is_skipped_until_somebody_asks(
    mailbox: Mailbox, rules: dict[str, Any], reason: str
) -> None:
    mailbox.set_rules(**rules)
    name = mailbox.receive()
    record = mailbox.file(name)
    assert record.state is MediaState.SKIPPED
    told = mailbox.told("message:received")[-1].data["media"]
    assert (told["state"], told["failure"]["reason"]) == ("skipped", reason)
    assert mailbox.asked() == []
    ask_for(mailbox, record)
    assert mailbox.wait(name, MediaState.STORED).size == len(PNG)


def ask_for(mailbox: Mailbox, record: MediaRecord) -> None:
    mailbox.lab.database.write_wait(media.retry, mailbox.lab.scope, record.id)
    mailbox.lab.ref(mailbox.instance).tell(FetchFiles())


def test_rules_let_through_what_they_name(mailbox: Mailbox) -> None:
    mailbox.set_rules(types=["image"], maxBytes=len(PNG))
    mailbox.wait(mailbox.receive(), MediaState.STORED)


def test_a_sender_who_lies_about_the_size_gets_nothing_past_the_limit(mailbox: Mailbox) -> None:
    mailbox.set_rules(maxBytes=100)
    record = mailbox.wait(mailbox.receive(size=50), MediaState.FAILED)
    assert (record.failure or {})["reason"] == "too_large"


def test_nobody_gets_past_the_gateways_limit(mailbox: Mailbox) -> None:
    mailbox.set_rules(maxBytes=10**9)
    name = mailbox.receive(bytes(10_001))
    record = mailbox.file(name)
    assert (record.state, (record.failure or {})["reason"]) == (MediaState.SKIPPED, "too_large")
    ask_for(mailbox, record)
    assert (mailbox.wait(name, MediaState.FAILED).failure or {})["reason"] == "too_large"


def test_what_whatsapp_no_longer_has_fails_at_once_and_can_be_asked_for_again(
    held: Mailbox,
) -> None:
    name = held.receive()
    gone = Failure(reason="media_gone", detail="WhatsApp no longer has the file", code=404)
    held.session.finish(held.asked(1)[0], gone)
    record = held.wait(name, MediaState.FAILED)
    [changed] = held.told("message:media:changed")
    assert changed.data["media"]["failure"] == {
        "reason": "media_gone",
        "detail": "WhatsApp no longer has the file",
    }
    held.lab.advance(held.instance, 100_000)
    assert len(held.asked()) == 1
    ask_for(held, record)
    held.session.finish(held.asked(2)[1])
    assert held.wait(name, MediaState.STORED).failure is None
    states = [one.data["media"]["state"] for one in held.told("message:media:changed")]
    assert states == ["failed", "stored"]


def test_a_server_that_cannot_be_reached_is_asked_again_ever_more_seldom(held: Mailbox) -> None:
    name = held.receive()
    unreachable = Failure(reason="media_unreachable", detail="503", code=503)
    waits = []
    for number in range(7):
        held.session.finish(held.asked(number + 1)[number], unreachable)
        record = held.file(name)
        assert record.attempts == number + 1
        if record.retry_at is None:
            break
        waits.append((record.retry_at - held.lab.clock.now()).total_seconds())
        assert (record.failure or {})["reason"] == "media_unreachable"
        held.lab.advance(held.instance, waits[-1] - 0.5)
        assert len(held.asked()) == number + 1
        held.lab.advance(held.instance, 1)
    assert waits == sorted(waits)
    assert len(waits) == 6
    record = held.file(name)
    assert (record.state, record.attempts) == (MediaState.FAILED, 7)
    assert len(held.told("message:media:changed")) == 1


def test_a_file_that_never_comes_is_given_up_and_holds_up_nobody(held: Mailbox) -> None:
    names = [held.receive(b"%d" % number) for number in range(4)]
    assert len(held.asked()) == 3
    held.lab.advance(held.instance, 271)
    assert (held.file(names[0]).failure or {})["reason"] == "timeout"
    held.session.finish(held.asked(4)[3])
    held.wait(names[3], MediaState.STORED)


def test_a_session_that_ends_puts_its_files_off_and_the_next_one_fetches_them(
    held: Mailbox,
) -> None:
    names = [held.receive(b"%d" % number) for number in range(4)]
    commands = held.asked()
    # It was in the middle of one.
    Path(commands[0].path).with_name(".x.part").write_bytes(b"half")
    held.session.exit(-9)
    held.come_back(ScriptedSession)
    for _ in range(60):
        held.lab.advance(held.instance, 1)
    for name in names:
        held.wait(name, MediaState.STORED)
    assert held.file(names[0]).attempts == 1
    assert held.file(names[3]).attempts == 0
    assert held.rooms() == []


def test_a_file_that_ends_every_session_is_given_up(held: Mailbox) -> None:
    name = held.receive()
    for number in range(1, 8):
        held.asked(1)
        held.session.exit(-6)
        assert held.file(name).attempts == number
        held.lab.look(held.instance)
        held.come_back(HoldsDownloads)
        held.lab.advance(held.instance, 3600 * 1.3)
        if held.file(name).state is MediaState.FAILED:
            break
    assert number == 7
    assert (held.file(name).failure or {})["reason"] == "internal"


def test_what_was_under_way_when_the_gateway_died_is_fetched_at_the_next_start(
    tmp_path: Path,
) -> None:
    with instance_lab(tmp_path) as lab:
        lab.driver.script(HoldsDownloads)
        held = Mailbox(lab)
        name = held.receive()
        held.asked(1)
    driver = ScriptedDriver(keys=[held.instance], connects_by_itself=True)
    driver.files = dict(held.lab.driver.files)
    with instance_lab(tmp_path, driver=driver) as second:
        second._account = lab._account
        driver.timers = second.clock
        held.lab = second
        second.wait_for_actor(held.instance)
        held.wait(name, MediaState.STORED)
        assert held.rooms() == []


def test_a_connection_that_drops_fetches_on_when_it_is_back(held: Mailbox) -> None:
    first = held.receive()
    held.session.drop()
    second = held.receive(b"other")
    assert len(held.asked()) == 1
    held.session.connect()
    for number, name in enumerate((first, second)):
        held.session.finish(held.asked(number + 1)[number])
        held.wait(name, MediaState.STORED)


def test_a_disk_that_is_full_fails_that_file_and_nothing_else(
    lab: InstanceLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Mailbox(lab), Mailbox(lab)
    full = {hashlib.sha256(b"large").hexdigest()}
    replace = Path.replace

    def fails(self: Path, target: Any) -> Path:
        if Path(target).name in {one[2:] for one in full}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    name = first.receive(b"large")
    record = first.wait(name, MediaState.FAILED)
    assert record.failure == {"reason": "disk_full", "detail": "the disk is full"}
    assert first.rooms() == []
    second.wait(second.receive(b"small"), MediaState.STORED)
    # There is space again.
    full.clear()
    ask_for(first, record)
    first.wait(name, MediaState.STORED)


def test_a_session_that_finds_the_disk_full_says_so(held: Mailbox) -> None:
    name = held.receive()
    held.session.finish(held.asked(1)[0], Failure(reason="disk_full", detail="the disk is full"))
    assert (held.wait(name, MediaState.FAILED).failure or {})["reason"] == "disk_full"


def test_a_file_that_two_instances_got_is_told_to_both(lab: InstanceLab) -> None:
    lab.driver.script(HoldsDownloads)
    first = Mailbox(lab)
    second = Mailbox(lab)
    second.set_rules(fetch=False)
    name = first.receive()
    second.receive()
    first.session.finish(first.asked(1)[0])
    first.wait(name, MediaState.STORED)
    for one in (first, second):
        [changed] = one.told("message:media:changed")
        assert changed.data["media"]["state"] == "stored"


def test_an_empty_file_is_none(mailbox: Mailbox) -> None:
    record = mailbox.wait(mailbox.receive(b""), MediaState.FAILED)
    assert (record.failure or {})["reason"] == "media_corrupt"
    assert mailbox.rooms() == []


def test_a_room_that_the_disk_refused_is_asked_for_again(
    lab: InstanceLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_room = lab.store.new_room
    refused: Future[Path] = Future()
    refused.set_exception(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    monkeypatch.setattr(lab.store, "new_room", lambda owner: refused)
    mailbox = Mailbox(lab)
    name = mailbox.receive()
    assert mailbox.asked() == []
    monkeypatch.setattr(lab.store, "new_room", new_room)
    lab.advance(mailbox.instance, 60.0)
    mailbox.wait(name, MediaState.STORED)


def test_a_refusal_told_after_the_next_connection_does_not_stop_the_rest(held: Mailbox) -> None:
    name = held.receive()
    [asked] = held.asked(1)
    held.session.drop()
    held.session.connect()
    failure = Failure(reason="not_connected", detail="the session is not connected")
    held.session.finish(asked, failure)
    held.lab.look(held.instance)
    held.lab.advance(held.instance, 5.0)
    held.session.finish(held.asked(2)[1])
    held.wait(name, MediaState.STORED)


def test_files_that_cannot_be_asked_for_leave_none_behind_them_waiting(held: Mailbox) -> None:
    lab = held.lab
    held.session.drop()
    names = [held.receive(str(number).encode()) for number in range(4)]
    broken = {held.file(name).id for name in names[:3]}

    def spoil() -> None:
        Media.update(descriptor={}).where(Media.id.in_(broken)).execute()

    lab.database.write_wait(spoil)
    held.session.connect()
    for name in names[:3]:
        held.wait(name, MediaState.FAILED)
    lab.advance(held.instance, 0.0)
    held.session.finish(held.asked(1)[0])
    held.wait(names[3], MediaState.STORED)

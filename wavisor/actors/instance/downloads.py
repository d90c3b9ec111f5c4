"""Fetches the files of received messages early, before WhatsApp deletes them.

Part of the instance actor. Which files are to be fetched is in the table alone: a few are under
way, the rest is read from there when one of them is done, also after a crash. A session writes a
file into the instance's room in the store; the store's own threads move it to its place and tell
the actor, which never waits for the disk. Row and events are written in one transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from wavisor.actors.instance.download_policy import DownloadPolicy
from wavisor.actors.instance.files import expected_file, file_changed
from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.messages import FetchFiles, FileTakenIn, RoomReady
from wavisor.actors.instance.settings import MediaSettings
from wavisor.actors.instance.timers import NamedTimers
from wavisor.clock import Clock
from wavisor.domain import EventType
from wavisor.ids import Kind, new_id
from wavisor.media import Arrived, MediaError, MediaReason, MediaStore
from wavisor.storage import (
    EventRecord,
    ExpectedFile,
    MediaRecord,
    NewEvent,
    Scope,
    events,
    media,
)
from wavisor.whatsapp.commands import DownloadMedia
from wavisor.whatsapp.events import Answer, Failure
from wavisor.whatsapp.inbound import InboundContent

__all__ = ["Downloads"]

log = structlog.get_logger(__name__)

_LOOK = "download_look"
_OVERDUE = "download_overdue:"
_LONGEST_TIMER = 86_400.0
_DOUBT_SECONDS = 5.0
"""After which files are asked for again that the session did not even try to fetch."""
_ROOM_SECONDS = 60.0
"""After which a room is asked for again that the store did not give."""

_TRANSIENT = frozenset({"media_unreachable", "timeout", "busy", "internal", "rate_limited"})

Json = dict[str, Any]


@dataclass(frozen=True)
class _Job:
    """A file that is under way."""

    file: MediaRecord
    path: Path
    taking_in: bool = False
    """Whether the store has it already."""


class Downloads:
    """Fetches the files of one instance's messages; used only in its actor's thread.

    Args:
        instance_id: whose messages they came with.
        scope: the instance's tenant.
        journal: reads and writes the rows.
        link: the session that fetches.
        timers: its own.
        clock: what time it is.
        rng: spreads retries.
        policy: how patient to be.
        store: where files are kept.
        post: puts a message into the actor's inbox, from any thread; must not raise.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        scope: Scope,
        journal: Journal,
        link: SessionLink,
        timers: NamedTimers,
        clock: Clock,
        rng: random.Random,
        policy: DownloadPolicy,
        store: MediaStore,
        post: Callable[[RoomReady | FileTakenIn], None],
    ) -> None:
        self._instance_id = instance_id
        self._scope = scope
        self._journal = journal
        self._link = link
        self._timers = timers
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._store = store
        self._post = post
        self._rules = MediaSettings()
        self._connected = False
        self._room: Path | None = None
        self._room_asked = 0
        self._jobs: dict[str, _Job] = {}

    def apply(self, settings: Json) -> None:
        """Go by the instance's changed settings, from the next message on."""
        self._rules = MediaSettings.of(settings)

    def expected(self, content: InboundContent, *, past: bool = False) -> ExpectedFile | None:
        """Return the file of a message as it is to be noted with it; None without one.

        Args:
            content: the message's.
            past: it is from before the link.
        """
        return expected_file(content, self._rules, self._policy.max_bytes, past=past)

    def on_connected(self) -> None:
        """Fetch what waits; a new session gets an empty room first."""
        self._connected = True
        if self._room is not None:
            self.look()
        else:
            self._ask_room()

    def _ask_room(self) -> None:
        self._room_asked += 1
        done = self._store.new_room(self._instance_id)
        done.add_done_callback(partial(self._on_room_future, self._room_asked))

    def on_disconnected(self) -> None:
        """Begin nothing new; what is under way may still be answered."""
        self._connected = False

    def on_session_gone(self) -> None:
        """Put off what was under way: nobody will answer for it any more."""
        self._connected = False
        room, self._room = self._room, None
        self._room_asked += 1
        self._timers.cancel(_LOOK)
        for identifier, job in list(self._jobs.items()):
            if not job.taking_in:
                self._forget(identifier)
                detail = "the session ended while it fetched the file"
                self._on_failure(job, Failure(reason="internal", detail=detail))
        self._drop_if_unused(room)

    def _drop_if_unused(self, room: Path | None) -> None:
        used = {self._room, *(job.path.parent for job in self._jobs.values())}
        if room is not None and room not in used:
            self._store.drop_room(room)

    def look(self) -> None:
        """Begin to fetch what is due, as far as there is room; else look later."""
        before = len(self._jobs)
        free = self._policy.at_once - before
        if not self._connected or self._room is None or free <= 0:
            return
        due = self._journal.read(
            media.list_due,
            self._scope,
            self._instance_id,
            limit=free,
            under_way=[job.file.id for job in self._jobs.values()],
        )
        for file in due.files:
            if not self._begin(file, self._room):
                self._timers.set(_LOOK, _DOUBT_SECONDS)
                return
        if len(due.files) > len(self._jobs) - before:
            self._timers.set(_LOOK, 0.0)  # some failed at once, and made room for others
        elif due.next_at is not None:
            wait = (due.next_at - self._clock.now()).total_seconds()
            self._timers.set(_LOOK, min(_LONGEST_TIMER, max(0.0, wait)))

    def on_answer(self, answer: Answer) -> bool:
        """Act on the answer about a file; False when it is about something else."""
        job = self._jobs.get(answer.id)
        if job is None or job.taking_in:
            return job is not None
        self._timers.cancel(_OVERDUE + answer.id)
        if answer.failure is None:
            self._jobs[answer.id] = _Job(job.file, job.path, taking_in=True)
            done = self._store.take_in(job.path, job.file.file_name)
            done.add_done_callback(partial(self._on_store_future, answer.id))
            return True
        self._forget(answer.id)
        if answer.failure.reason == "not_connected":
            # It was not even tried; the session will tell when it is connected again, or has
            # told already.
            self._timers.set(_LOOK, _DOUBT_SECONDS)
            return True
        self._on_failure(job, answer.failure)
        self.look()
        return True

    def on_tick(self, name: str) -> None:
        """Act on a timer of its own."""
        if name == _LOOK:
            if self._connected:
                self.on_connected()
            return
        job = self._forget(name.removeprefix(_OVERDUE))
        if job is not None:
            self._on_failure(job, Failure(reason="timeout", detail="it did not arrive in time"))
            self.look()

    def on_message(self, message: FetchFiles | RoomReady | FileTakenIn) -> None:
        """Act on a message about files."""
        match message:
            case FetchFiles():
                self.look()
            case RoomReady():
                self._on_room(message)
            case FileTakenIn():
                self._on_taken_in(message)

    def _on_room(self, message: RoomReady) -> None:
        if message.number != self._room_asked:
            self._drop_if_unused(message.path)
            return
        if message.path is None:
            log.error("no room for files", instance=self._instance_id, reason=message.detail)
            self._timers.set(_LOOK, _ROOM_SECONDS)
            return
        self._room = message.path
        self.look()

    def _on_taken_in(self, message: FileTakenIn) -> None:
        job = self._forget(message.job)
        if job is None:
            return
        if message.arrived is not None:
            self._on_arrived(job, message.arrived)
        else:
            assert message.failure is not None  # noqa: S101 - one of the two
            self._on_failure(job, message.failure)
        self._drop_if_unused(job.path.parent)
        self.look()

    def _begin(self, file: MediaRecord, room: Path) -> bool:
        """Hand a file's source to the session; False when that takes no commands now."""
        identifier, path = new_id(Kind.REQUEST), room / file.id
        told = file.descriptor or {}
        try:
            command = DownloadMedia(
                instance=self._instance_id,
                id=identifier,
                source=told["source"],
                path=str(path),
                max_size=min(told.get("limit") or self._policy.max_bytes, self._policy.max_bytes),
                timeout=self._policy.timeout,
            )
            taken = self._link.send(command)
        except (KeyError, TypeError, ValueError):
            # Stored by another version, or larger than a frame may be.
            self._fail(file, {"reason": "invalid", "detail": "the file's source cannot be read"})
            return True
        if taken:
            self._jobs[identifier] = _Job(file, path)
            self._timers.set(_OVERDUE + identifier, self._policy.timeout + self._policy.slack)
        return taken

    def _forget(self, identifier: str) -> _Job | None:
        self._timers.cancel(_OVERDUE + identifier)
        return self._jobs.pop(identifier, None)

    def _on_failure(self, job: _Job, failure: Failure) -> None:
        told = {"reason": failure.reason, "detail": failure.detail}
        delay = None
        if failure.reason in _TRANSIENT:
            delay = self._policy.retries.delay(job.file.attempts + 1, self._rng)
        if delay is None:
            self._fail(job.file, told)
            return
        at = self._clock.now() + timedelta(seconds=delay)
        self._journal.write(None, media.put_off, job.file.id, told, at)

    def _fail(self, file: MediaRecord, failure: Json) -> None:
        log.warning(
            "file not fetched", instance=self._instance_id, media=file.id, reason=failure["reason"]
        )
        self._change(partial(media.mark_failed, file.id, failure))

    def _on_arrived(self, job: _Job, arrived: Arrived) -> None:
        stored = arrived.stored
        self._change(
            partial(
                media.mark_stored,
                job.file.id,
                sha256=stored.sha256,
                size=stored.size,
                path=stored.relative,
                mime_type=arrived.media_type,
            )
        )

    def _change(self, move: Callable[[], MediaRecord | None]) -> None:
        """Change a row and store the events about it in one transaction, then tell them."""
        self._journal.tell(tuple(self._journal.write(None, _change_and_tell, move)))

    # In the store's threads

    def _on_room_future(self, number: int, done: Future[Path]) -> None:
        error = done.exception()
        if error is None:
            self._post(RoomReady(number, done.result()))
        else:
            self._post(RoomReady(number, None, type(error).__name__))

    def _on_store_future(self, job: str, done: Future[Arrived]) -> None:
        error = done.exception()
        if error is None:
            self._post(FileTakenIn(job, arrived=done.result()))
        else:
            self._post(FileTakenIn(job, failure=_failure_of(error)))


def _failure_of(error: BaseException) -> Failure:
    if isinstance(error, MediaError):
        if error.reason is MediaReason.DISK_FULL:
            return Failure(reason="disk_full", detail="the disk is full")
        return Failure(reason="media_corrupt", detail=f"the file {error.detail}")
    if isinstance(error, OSError):
        # Not its text, which has the path.
        return Failure(reason="disk", detail=error.strerror or type(error).__name__)
    log.error("a file could not be taken in", exc_info=error)
    return Failure(reason="internal", detail=type(error).__name__)


def _change_and_tell(move: Callable[[], MediaRecord | None]) -> list[EventRecord]:
    """Run in a write transaction: change a file and append an event for each of its messages."""
    changed = move()
    if changed is None:
        return []
    told: dict[str, list[NewEvent]] = {}
    for user in media.list_users(changed.id):
        told.setdefault(user.instance_id, []).append(
            NewEvent(type=EventType.MESSAGE_MEDIA_CHANGED.value, data=file_changed(changed, user))
        )
    return events.append_to_several(told)

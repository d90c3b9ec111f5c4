"""Tells authors that their messages were read as soon as these are on disk (``autoRead``)."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.messages import QueryFailedError
from wavisor.actors.instance.questions import Outcome, Questions
from wavisor.actors.instance.timers import NamedTimers
from wavisor.clock import Clock
from wavisor.domain import ChatKind
from wavisor.storage import Party, chat_addresses, chats
from wavisor.whatsapp.events import MessageReceived, Person
from wavisor.whatsapp.queries import MarkRead

__all__ = ["READ_DUE", "ReadReceipts"]

log = structlog.get_logger(__name__)

READ_DUE = "read_due"

GATHERED_FOR = 0.5
"""Seconds in which messages of one author become one receipt."""
_BUSY_PAUSE = 5.0
_AT_ONCE = 200
_MAX_WAITING = 1000
"""Messages; an author who writes faster than WhatsApp takes receipts is told of the newest."""

# Looking at somebody's status is seen by them, which nobody wants of a machine; and WhatsApp
# takes no receipt for a broadcast list from here.
_TOLD = frozenset({ChatKind.PERSON, ChatKind.GROUP, ChatKind.CHANNEL})
_LATER = frozenset({"not_connected", "busy"})


@dataclass
class _Batch:
    """What one author wrote in one chat."""

    chat: Person
    sender: Person
    ids: list[str] = field(default_factory=list)


class ReadReceipts:
    """The receipts of one instance, one batch at a time; used only in its actor's thread.

    What the gateway cannot tell WhatsApp stays unread in the chat: the count follows the receipt.

    Args:
        instance_id: whose they are.
        journal: writes what was read.
        questions: asks the session.
        timers: the actor's timers.
        clock: what time it is.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        journal: Journal,
        questions: Questions,
        timers: NamedTimers,
        clock: Clock,
    ) -> None:
        self._instance_id = instance_id
        self._journal = journal
        self._questions = questions
        self._timers = timers
        self._clock = clock
        self._enabled = False
        self._waiting: dict[tuple[str, str], _Batch] = {}
        self._under_way = False
        self._due = False

    def apply(self, *, enabled: bool) -> None:
        """Begin or cease to tell; switched off, what still waits is told no more."""
        self._enabled = enabled
        if not enabled:
            self._waiting.clear()

    def on_stored(self, event: MessageReceived) -> None:
        """Take note of a message that is on disk."""
        if (
            not self._enabled
            or event.from_me
            or chat_addresses.kind_of(event.chat.jid) not in _TOLD
        ):
            return
        key = event.chat.jid, event.sender.jid
        self._waiting.setdefault(key, _Batch(event.chat, event.sender)).ids.append(event.message_id)
        self._bound()
        if not self._due and not self._under_way:
            self._schedule(GATHERED_FOR)

    def on_connected(self) -> None:
        """Tell what a lost connection left."""
        self._due = False  # the end of a session cancels its timers
        if self._waiting and not self._under_way:
            self._schedule(GATHERED_FOR)

    def on_due(self) -> None:
        """Tell the author who waits longest."""
        self._due = False
        if self._under_way or not self._waiting:
            return
        key = next(iter(self._waiting))
        batch = self._waiting.pop(key)
        if len(batch.ids) > _AT_ONCE:
            self._waiting[key] = _Batch(batch.chat, batch.sender, batch.ids[_AT_ONCE:])
            del batch.ids[_AT_ONCE:]
        query = _receipt(batch)
        if query is None:
            self._next()
            return
        self._under_way = True
        self._questions.ask_for(query, lambda outcome: self._on_outcome(batch, outcome))

    def _on_outcome(self, batch: _Batch, outcome: Outcome) -> None:
        self._under_way = False
        if not isinstance(outcome, QueryFailedError):
            chat = Party(batch.chat.jid, batch.chat.lid, batch.chat.phone)
            self._journal.write(
                None, chats.note_read, self._instance_id, chat, batch.ids, self._clock.now()
            )
            self._next()
            return
        log.warning(
            "messages could not be marked as read",
            instance=self._instance_id,
            count=len(batch.ids),
            reason=outcome.reason,
        )
        if outcome.reason not in _LATER:
            self._next()
            return
        if self._enabled:
            self._put_back(batch)
        if outcome.reason == "busy":
            self._schedule(_BUSY_PAUSE)

    def _put_back(self, batch: _Batch) -> None:
        key = batch.chat.jid, batch.sender.jid
        newer = self._waiting.pop(key, None)
        if newer is not None:
            batch.ids.extend(newer.ids)
        self._waiting = {key: batch, **self._waiting}
        self._bound()

    def _bound(self) -> None:
        """Forget the oldest of what is too much."""
        over = sum(len(batch.ids) for batch in self._waiting.values()) - _MAX_WAITING
        for key in list(self._waiting):
            if over <= 0:
                return
            ids = self._waiting[key].ids
            forgotten = min(over, len(ids))
            del ids[:forgotten]
            over -= forgotten
            if not ids:
                del self._waiting[key]

    def _next(self) -> None:
        if self._waiting:
            self._schedule(0.0)

    def _schedule(self, delay: float) -> None:
        self._due = True
        self._timers.set(READ_DUE, delay)


def _receipt(batch: _Batch) -> MarkRead | None:
    """Return what tells the author; None for whom WhatsApp takes no receipt from here."""
    grouped = chat_addresses.kind_of(batch.chat.jid) is ChatKind.GROUP
    try:
        return MarkRead(
            chat=batch.chat.jid,
            sender=batch.sender.jid if grouped else None,
            messages=tuple(batch.ids),
        )
    except ValidationError:
        # WhatsApp's own account, or ids that no app makes.
        return None

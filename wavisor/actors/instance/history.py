"""Messages from before the link: stored in portions, told as counts.

They are the past: nothing of what follows a new message follows them. They are not counted among
received messages, nobody is told that they were read, and their files are fetched only when
somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wavisor.actors.instance import chat_payloads
from wavisor.actors.instance.inbox import party_of, provenance
from wavisor.actors.instance.journal import Journal
from wavisor.domain import EventType, MessageStatus
from wavisor.storage import (
    EventRecord,
    ExpectedFile,
    HistoryBatch,
    InboundMessage,
    NewEvent,
    Scope,
    chat_addresses,
    events,
    messages,
)
from wavisor.whatsapp.events import HistoryMessage, HistoryReceived, Person
from wavisor.whatsapp.inbound import InboundContent

__all__ = ["HistoryKeeper"]

Expected = Callable[[InboundContent], ExpectedFile | None]

_PORTION = 100
"""Messages in one transaction: other writes get through in between."""


class HistoryKeeper:
    """Keeps what the phone tells of the past; used only in its instance's actor's thread.

    Args:
        instance_id: whose past.
        scope: the instance's tenant.
        journal: writes the rows.
        expected: returns the file of a message as it is to be noted with it.
    """

    def __init__(
        self, instance_id: str, *, scope: Scope, journal: Journal, expected: Expected
    ) -> None:
        self._instance_id = instance_id
        self._scope = scope
        self._journal = journal
        self._expected = expected

    def on_history(self, event: HistoryReceived) -> None:
        """Store what is new of some messages of a chat, and tell how many, for each portion."""
        for portion in _portions(event.messages):
            batch = HistoryBatch(
                chat=party_of(event.chat),
                name=event.name or _name(event, portion),
                archived=event.archived,
                pinned=event.pinned,
                messages=tuple(
                    _inbound(event.chat, one, self._expected(one.content)) for one in portion
                ),
            )
            records = self._journal.write(
                None, _receive, self._scope, self._instance_id, batch, event, portion
            )
            self._journal.tell(tuple(records))


def _portions(told: Sequence[HistoryMessage]) -> Iterator[Sequence[HistoryMessage]]:
    for start in range(0, len(told), _PORTION):
        yield told[start : start + _PORTION]


def _receive(
    scope: Scope,
    instance_id: str,
    batch: HistoryBatch,
    event: HistoryReceived,
    portion: Sequence[HistoryMessage],
) -> list[EventRecord]:
    """Run in a write transaction: store messages and their event; none when all were known."""
    intake = messages.receive_history(scope, instance_id, batch)
    if not intake.stored:
        return []
    data = chat_payloads.history_received(event, intake, portion)
    return events.append(instance_id, [NewEvent(type=EventType.HISTORY_RECEIVED.value, data=data)])


def _name(event: HistoryReceived, portion: Sequence[HistoryMessage]) -> str | None:
    """Return what the other one of a chat of two is called by themselves."""
    if event.is_group:
        return None
    return next((one.push_name for one in portion if one.push_name and not one.from_me), None)


def _inbound(chat: Person, message: HistoryMessage, file: ExpectedFile | None) -> InboundMessage:
    content, sender = message.content, message.sender or chat
    status = None if message.status is None else MessageStatus(message.status)
    return InboundMessage(
        whatsapp_id=message.message_id,
        chat=party_of(chat),
        chat_kind=chat_addresses.kind_of(chat.jid),
        sender=party_of(sender),
        from_me=message.from_me,
        kind=content.type,
        content=content.model_dump(mode="json", exclude_defaults=True),
        text=content.searchable,
        options=provenance(chat, sender, push_name=message.push_name),
        timestamp=message.timestamp,
        quoted_id=None if content.quoted is None else content.quoted.id,
        unread=message.unread,
        status=status,
        file=file,
    )

"""What others say and do in an instance's chats: on disk first, then told.

Each happening changes rows and appends its event in one transaction; nothing is told before that
is committed. In all these events ``messageId`` is the gateway's id of the message, null when no
stored message was changed, and ``whatsappId`` is WhatsApp's.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from wavisor.actors.instance import chat_payloads
from wavisor.actors.instance.downloads import Downloads
from wavisor.actors.instance.files import with_file
from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.observer import InstanceObserver
from wavisor.actors.instance.settings import OptOutSettings
from wavisor.domain import ChatKind, EventType, MessageDirection
from wavisor.event_data.messages import MessageReceived as MessageReceivedData
from wavisor.number_variants import number_variants
from wavisor.storage import (
    EventRecord,
    InboundMessage,
    MessageRecord,
    NewEvent,
    Party,
    ResponseKind,
    Scope,
    chat_addresses,
    chats,
    events,
    media,
    messages,
    opt_outs,
)
from wavisor.whatsapp.addresses import LID_SERVER
from wavisor.whatsapp.events import (
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageRevoked,
    Person,
    PollVoted,
    ReceiptReceived,
    UndecryptableMessage,
)
from wavisor.whatsapp.inbound import chosen_options

__all__ = ["Inbox", "party_of", "provenance"]

Json = dict[str, Any]
Data = Mapping[str, Any]
Move = Callable[[], MessageRecord | None]
Repeated = Callable[[], bool]

_REMEMBERED = 512
"""Changes of unknown messages that are remembered, to tell each once."""


class Inbox:
    """Keeps what comes in; used only in its instance's actor's thread.

    Args:
        instance_id: whose messages they are.
        scope: the instance's tenant.
        journal: reads and writes the rows.
        downloads: fetches the files of messages.
        observer: counts messages.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        scope: Scope,
        journal: Journal,
        downloads: Downloads,
        observer: InstanceObserver,
    ) -> None:
        self._instance_id = instance_id
        self._scope = scope
        self._journal = journal
        self._downloads = downloads
        self._observer = observer
        self._told: OrderedDict[str, None] = OrderedDict()
        self._opt_out = OptOutSettings()
        self.on_stored: Callable[[MessageReceived], None] = lambda event: None
        """Called when a message is on disk and told."""

    def apply(self, settings: Json) -> None:
        """Go by the instance's changed settings, from the next message on."""
        self._opt_out = OptOutSettings.of(settings)

    def on_message(self, event: MessageReceived) -> None:
        """Store a message and tell of it, unless WhatsApp repeats one that is known."""
        data = chat_payloads.message_received(event)
        message = replace(_inbound(event), file=self._downloads.expected(event.content))
        stored, records = self._journal.write(
            None,
            _receive,
            self._scope,
            self._instance_id,
            message,
            data,
            self._unwilling(event),
        )
        if stored is None:
            return
        self._journal.tell(tuple(records))
        self._observer.on_message(event.kind, MessageDirection.INBOUND, None)
        self.on_stored(event)
        if stored.media_id is not None:
            self._downloads.look()

    def _unwilling(self, event: MessageReceived) -> tuple[str, ...]:
        """All addresses of a sender who says that they want no campaign; none for others."""
        said = event.content.text
        if event.from_me or chat_addresses.kind_of(event.chat.jid) is not ChatKind.PERSON:
            return ()
        if not self._opt_out.means(said):
            return ()
        phone = (event.sender.phone or "").removeprefix("+")
        numbers = number_variants(phone) if phone else ()
        known = (event.chat.jid, *(f"{number}@s.whatsapp.net" for number in numbers))
        return tuple(dict.fromkeys(known))

    def on_undecryptable(self, event: UndecryptableMessage) -> None:
        """Tell of a message that could not be read; there is nothing of it to store."""
        self._tell(EventType.MESSAGE_RECEIVED, chat_payloads.message_undecryptable(event))
        self._observer.on_message("undecryptable", MessageDirection.INBOUND, None)

    def on_edited(self, event: MessageEdited) -> None:
        """Give the message its new text or caption."""
        text = event.content.text or event.content.caption

        def move() -> MessageRecord | None:
            if text is None:
                return None
            return messages.apply_edit(
                self._instance_id,
                chat=party_of(event.chat),
                whatsapp_id=event.message_id,
                author=party_of(event.sender),
                from_me=event.from_me,
                text=text,
                at=event.timestamp,
            )

        def repeated() -> bool:
            return text is not None and messages.has_edit(
                self._instance_id,
                chat=party_of(event.chat),
                whatsapp_id=event.message_id,
                text=text,
                at=event.timestamp,
            )

        data = chat_payloads.message_edited(event)
        self._change(EventType.MESSAGE_EDITED, data, move, repeated)

    def on_revoked(self, event: MessageRevoked) -> None:
        """Note on the message that it was taken back."""

        def move() -> MessageRecord | None:
            return messages.apply_revoke(
                self._instance_id,
                chat=party_of(event.chat),
                whatsapp_id=event.message_id,
                author=party_of(event.sender),
                from_me=event.from_me,
                by_admin=event.by_admin,
                at=event.timestamp,
            )

        def repeated() -> bool:
            return messages.has_revoke(
                self._instance_id,
                chat=party_of(event.chat),
                whatsapp_id=event.message_id,
                at=event.timestamp,
            )

        data = chat_payloads.message_revoked(event)
        self._change(EventType.MESSAGE_REVOKED, data, move, repeated)

    def on_reaction(self, event: MessageReaction) -> None:
        """Attach a reaction to its message, or take it off."""
        value = {"emoji": event.emoji} if event.emoji else None
        self._respond(
            event,
            ResponseKind.REACTION,
            value,
            EventType.MESSAGE_REACTION,
            chat_payloads.message_reaction(event),
        )

    def on_vote(self, event: PollVoted) -> None:
        """Attach a vote to its poll, instead of an earlier one; one that is unreadable is told."""
        data = chat_payloads.poll_voted(event)
        if not event.readable:
            self._change(EventType.POLL_VOTE, data, lambda: None, lambda: False)
            return
        value = {"selected": list(event.selected)} if event.selected else None
        self._respond(event, ResponseKind.VOTE, value, EventType.POLL_VOTE, data)

    def on_own_receipt(self, event: ReceiptReceived) -> None:
        """Count as read what the account read on another device."""
        if event.kind == "delivered":
            return
        self._journal.write(
            None,
            chats.note_read,
            self._instance_id,
            party_of(event.chat),
            event.message_ids,
            event.timestamp,
        )

    def _respond(
        self,
        event: MessageReaction | PollVoted,
        kind: ResponseKind,
        value: Json | None,
        told_as: EventType,
        data: Data,
    ) -> None:
        response: Json = {
            "chat": party_of(event.chat),
            "whatsapp_id": event.message_id,
            "sender": party_of(event.sender),
            "value": value,
            "at": event.timestamp,
        }
        self._change(
            told_as,
            data,
            lambda: messages.respond(self._instance_id, kind, **response),
            lambda: messages.has_response(self._instance_id, kind, **response),
        )

    def _change(self, kind: EventType, data: Data, move: Move, repeated: Repeated) -> None:
        """Carry out a change and tell of it, unless WhatsApp repeats one that was told.

        The rows tell of those that changed one; of the others the latest are remembered.
        """
        mark = json.dumps([kind.value, data], sort_keys=True)
        if mark in self._told:
            return
        records = self._journal.write(
            None, _change_and_tell, self._instance_id, kind, data, move, repeated
        )
        self._journal.tell(tuple(records))
        if records and records[0].data["messageId"] is None:
            self._told[mark] = None
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)

    def _tell(self, kind: EventType, data: Data) -> None:
        self._journal.append(self._instance_id, kind, data)


def _receive(
    scope: Scope,
    instance_id: str,
    message: InboundMessage,
    data: MessageReceivedData,
    unwilling: tuple[str, ...],
) -> tuple[MessageRecord | None, list[EventRecord]]:
    """Run in a write transaction: store a message and its event; nothing for a repeated one."""
    stored = messages.receive(scope, instance_id, message)
    if stored is None:
        return None, []
    for chat in unwilling:
        opt_outs.add(scope, chat, "keyword")
    data = {**data, "messageId": stored.id}
    file = None if stored.media_id is None else media.get(scope, stored.media_id)
    if file is not None and data["media"] is not None:
        data["media"] = with_file(data["media"], file)
    told = NewEvent(type=EventType.MESSAGE_RECEIVED.value, data=data)
    return stored, events.append(instance_id, [told])


def _change_and_tell(
    instance_id: str, kind: EventType, data: Data, move: Move, repeated: Repeated
) -> list[EventRecord]:
    """Run in a write transaction: change a message and append the event, which names it."""
    changed = move()
    if changed is None and repeated():
        return []
    if changed is not None:
        named: Json = {"messageId": changed.id}
        if kind is EventType.POLL_VOTE:
            named["options"] = chosen_options(changed.content, data["selected"])
        data = {**data, **named}
    told = NewEvent(type=kind.value, data=data)
    return events.append(instance_id, [told])


def _inbound(event: MessageReceived) -> InboundMessage:
    content, chat = event.content, party_of(event.chat)
    kind = chat_addresses.kind_of(chat.jid)
    # Only in a chat of two does the sender's name tell what the chat is called.
    named = chat.jid == event.sender.jid and not event.from_me
    return InboundMessage(
        whatsapp_id=event.message_id,
        chat=chat,
        chat_kind=kind,
        sender=party_of(event.sender),
        from_me=event.from_me,
        kind=content.type,
        content=content.model_dump(mode="json", exclude_defaults=True),
        text=content.searchable,
        options=provenance(
            event.chat,
            event.sender,
            push_name=event.push_name,
            is_broadcast=event.is_broadcast,
            server_id=event.server_id,
        ),
        timestamp=event.timestamp,
        quoted_id=None if content.quoted is None else content.quoted.id,
        chat_name=event.push_name if named else None,
    )


def provenance(chat: Person, sender: Person, **told: Any) -> Json | None:
    """Return what a row is to keep of where a message came from, where there is such.

    Args:
        chat: as WhatsApp names it with the message.
        sender: the same.
        **told: what else came with the message; what says nothing is left out.
    """
    kept: Json = {}
    origin = {"chat": chat.jid, "sender": sender.jid}
    if any(jid.endswith(f"@{LID_SERVER}") for jid in origin.values()):
        # Rows may have other addresses.
        kept["origin"] = origin
    if any(told.values()):
        kept["told"] = {name: value for name, value in told.items() if value}
    return kept or None


def party_of(person: Person) -> Party:
    """Return somebody as the rows have them."""
    return Party(person.jid, person.lid, person.phone)

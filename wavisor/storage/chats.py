"""The conversations of instances: last message, unread, marks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee

from wavisor.domain import ChatKind, MessageDirection
from wavisor.storage import current
from wavisor.storage.chat_addresses import BY_JID, address_of, kind_of, resolve
from wavisor.storage.cursors import cursor_of, following
from wavisor.storage.errors import NotFound
from wavisor.storage.media import with_files
from wavisor.storage.message_records import ChatRecord, MessageRecord, Party
from wavisor.storage.models import Chat, Message
from wavisor.storage.prepared import Prepared
from wavisor.storage.records import Page
from wavisor.storage.rows import chat_record, message_record
from wavisor.storage.scope import Scope

__all__ = [
    "NEVER",
    "SILENT_KINDS",
    "ChatChanges",
    "get",
    "is_new_contact",
    "list_page",
    "list_unread",
    "mark_read",
    "name",
    "name_of",
    "note_contact",
    "note_read",
    "touch",
    "update",
]

_READ_PORTION = 200

NEVER = datetime.max
"""As ``muted_until``: takes the muting back."""

# What changes a chat or another message rather than saying something new in it.
SILENT_KINDS = frozenset({"reaction", "edit", "revoke", "pin"})

_UNREAD = (
    (Message.direction == MessageDirection.INBOUND.value)
    & (Message.from_me == peewee.Value(False))
    & Message.read_at.is_null()
)

_LATEST_FIRST = (Message.created_at.desc(), Message.position.desc())

_NOTE_CONTACT = Prepared(
    lambda slot: Chat.update(known_since=slot("at"), reached_at=slot("reached_at")).where(
        Chat.instance == slot("instance"), Chat.jid == slot("jid"), Chat.known_since.is_null()
    )
)
_COLUMNS = (
    "subscription_id",
    "instance_id",
    "jid",
    "lid",
    "phone",
    "name",
    "kind",
    "last_position",
    "last_at",
    "unread",
    "archived",
    "pinned",
    "known_since",
)


def _upsert(*, moves: bool) -> Prepared:
    excluded = peewee.EXCLUDED
    coalesce = peewee.fn.COALESCE
    update = {
        Chat.lid: coalesce(excluded.lid, Chat.lid),
        Chat.phone: coalesce(excluded.phone, Chat.phone),
        Chat.name: coalesce(excluded.name, Chat.name),
        Chat.unread: Chat.unread + excluded.unread,
        Chat.known_since: coalesce(Chat.known_since, excluded.known_since),
    }
    if moves:
        update[Chat.last_position] = excluded.last_position
        update[Chat.last_at] = excluded.last_at
    fields = {one.column_name: one for one in Chat._meta.sorted_fields}
    return Prepared(
        lambda slot: Chat.insert({fields[name]: slot(name) for name in _COLUMNS}).on_conflict(
            conflict_target=[Chat.instance, Chat.jid], update=update
        )
    )


_TOUCH, _TOUCH_SILENTLY = _upsert(moves=True), _upsert(moves=False)


def touch(
    scope: Scope,
    instance_id: str,
    chat: str,
    party: Party,
    *,
    position: int,
    at: datetime,
    kind: str,
    unread: int = 0,
    name: str | None = None,
    known_since: datetime | None = None,
) -> None:
    """Let a message be the last one of its chat, which is made if there was none. A write.

    Args:
        scope: The tenant.
        instance_id: Whose chat.
        chat: As :func:`resolve` returned it.
        party: With whom it is.
        position: The message's.
        at: When the message became known here.
        kind: The message's; some, such as reactions, do not become the last one.
        unread: How many more unread messages there are.
        name: What the chat is called, if that is known.
        known_since: The time of the message if it went through.
    """
    known = address_of(party)
    query = _TOUCH_SILENTLY if kind in SILENT_KINDS else _TOUCH
    query.change(
        subscription_id=scope.subscription_id,
        instance_id=instance_id,
        jid=chat,
        lid=known.lid,
        phone=known.phone,
        name=name,
        kind=kind_of(chat).value,
        last_position=position,
        last_at=at,
        unread=unread,
        archived=False,
        pinned=False,
        known_since=known_since,
    )


def is_new_contact(instance_id: str, chat: str) -> bool:
    """Tell whether a message to this chat would be the first to a person, in either direction."""
    if kind_of(chat) is not ChatKind.PERSON:
        return False
    row = BY_JID.one(instance=instance_id, jid=chat)
    return row is None or row.known_since is None


def note_contact(instance_id: str, chat: str, at: datetime, *, by_us: bool) -> None:
    """Note that a message went through to or from a chat. A write."""
    person = kind_of(chat) is ChatKind.PERSON
    _NOTE_CONTACT.change(
        instance=instance_id, jid=chat, at=at, reached_at=at if by_us and person else None
    )


def note_read(instance_id: str, party: Party, whatsapp_ids: Collection[str], at: datetime) -> int:
    """Note that the account itself read messages of a chat elsewhere. A write.

    Args:
        instance_id: Whose chat.
        party: With whom it is.
        whatsapp_ids: WhatsApp's ids of the messages; unknown ones are passed over.
        at: When they were read.

    Returns:
        How many of them had been unread.
    """
    chat = resolve(instance_id, party)
    unread = Message.select(Message.position).where(
        Message.instance == instance_id,
        Message.chat == chat,
        Message.whatsapp_id.in_(list(whatsapp_ids)),
        _UNREAD,
    )
    read = int(Message.update(read_at=at).where(_locked_in_order(unread)).execute())
    left = peewee.Case(None, [(Chat.unread > read, Chat.unread - read)], 0)
    Chat.update(unread=left).where(Chat.instance == instance_id, Chat.jid == chat).execute()
    return read


def _locked_in_order(unread: Any) -> Any:
    """Return the condition of being one of some unread messages; they are locked in their order."""
    return Message.position.in_(current.lock_rows(unread.order_by(Message.position))) & _UNREAD


def name_of(instance_id: str, jid: str) -> str | None:
    """Return what an instance's chat is called; None where that is not known, or there is none."""
    row = BY_JID.one(instance=instance_id, jid=jid)
    return None if row is None else row.name


def name(instance_id: str, jid: str, text: str) -> None:
    """Note what an instance's chat is called; nothing where there is no such chat. A write."""
    Chat.update(name=text).where(Chat.instance == instance_id, Chat.jid == jid).execute()


@dataclass(frozen=True, slots=True)
class ChatChanges:
    """What to change about a chat; None leaves it. ``muted_until`` :data:`NEVER` unmutes it."""

    archived: bool | None = None
    pinned: bool | None = None
    muted_until: datetime | None = None
    name: str | None = None


def get(scope: Scope, instance_id: str, jid: str) -> ChatRecord | None:
    """Return the tenant's chat by any of its addresses; None when there is none."""
    known = address_of(Party(jid))
    # One after the other: each has its index, of which an OR would use none.
    for column in (Chat.jid, Chat.lid, Chat.alias):
        query = scope.select(Chat).where(Chat.instance == instance_id, column == known.jid)
        row = query.get_or_none()
        if row is not None:
            return _with_last(scope, [row])[0]
    return None


def list_page(
    scope: Scope,
    *,
    limit: int,
    cursor: str | None = None,
    instance_id: str | None = None,
    archived: bool | None = None,
    pinned: bool | None = None,
    unread: bool | None = None,
    kind: ChatKind | None = None,
) -> Page[ChatRecord]:
    """Return the tenant's chats with their last messages, the most recent one first.

    Args:
        scope: The tenant.
        limit: How many at most.
        cursor: ``next_cursor`` of the page before.
        instance_id: Only of this instance.
        archived: Only those that are, or are not.
        pinned: Only those that are, or are not.
        unread: Only those that have unread messages, or have none.
        kind: Only those with such.

    Raises:
        ValueError: ``cursor`` is none of ours.
    """
    query = scope.select(Chat) if instance_id is None else scope.select_by(Chat)
    if cursor is not None:
        query = query.where(following(Chat.last_at, Chat.last_position, cursor))
    for column, value in (
        (Chat.instance, instance_id),
        (Chat.archived, archived),
        (Chat.pinned, pinned),
        (Chat.kind, None if kind is None else kind.value),
    ):
        if value is not None:
            query = query.where(column == value)
    if unread is not None:
        query = query.where(Chat.unread > 0 if unread else Chat.unread == 0)
    rows = list(query.order_by(Chat.last_at.desc(), Chat.last_position.desc()).limit(limit + 1))
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        tuple(_with_last(scope, rows[:limit])),
        None if last is None else cursor_of(last.last_at, last.last_position),
    )


def _with_last(scope: Scope, rows: list[Any]) -> list[ChatRecord]:
    positions = [row.last_position for row in rows]
    found = scope.select(Message).where(Message.position.in_(positions))
    last = {one.position: one for one in with_files(scope, [message_record(row) for row in found])}
    return [chat_record(row, last.get(row.last_position)) for row in rows]


def update(scope: Scope, instance_id: str, jid: str, changes: ChatChanges) -> ChatRecord:
    """Archive, pin, mute or name the tenant's chat. A write.

    Raises:
        NotFound: The tenant has no such chat.
    """
    chat = get(scope, instance_id, jid)
    if chat is None:
        raise NotFound("no such chat")
    values: dict[str, Any] = {
        name: value
        for name in ("archived", "pinned", "muted_until", "name")
        if (value := getattr(changes, name)) is not None
    }
    if changes.muted_until == NEVER:
        values["muted_until"] = None
    if values:
        scope.update(Chat, **values).where(
            Chat.instance == instance_id, Chat.jid == chat.jid
        ).execute()
    found = get(scope, instance_id, chat.jid)
    if found is None:
        raise NotFound("no such chat")
    return found


def list_unread(
    scope: Scope, instance_id: str, jid: str, *, limit: int = _READ_PORTION
) -> list[MessageRecord]:
    """Return others' messages in the tenant's chat that are unread, the newest first.

    Raises:
        NotFound: The tenant has no such chat.
    """
    chat = get(scope, instance_id, jid)
    if chat is None:
        raise NotFound("no such chat")
    query = scope.select(Message).where(
        Message.instance == instance_id, Message.chat == chat.jid, _UNREAD
    )
    return [message_record(row) for row in query.order_by(*_LATEST_FIRST).limit(limit)]


def mark_read(
    scope: Scope, instance_id: str, jid: str, *, limit: int = _READ_PORTION
) -> list[MessageRecord]:
    """Set the chat's messages to read, and its unread count to what came in meanwhile. A write.

    Args:
        scope: The tenant.
        instance_id: Whose chat.
        jid: Any address of it.
        limit: How many messages to return at most; all are marked.

    Returns:
        The others' messages that were unread, the newest first, for their senders to be told.

    Raises:
        NotFound: The tenant has no such chat.
    """
    chat = get(scope, instance_id, jid)
    if chat is None:
        raise NotFound("no such chat")
    unread = (Message.instance == instance_id) & (Message.chat == chat.jid) & _UNREAD
    those = scope.select_by(Message, Message.position).where(unread)
    update = scope.update_by(Message, read_at=current.now()).where(_locked_in_order(those))
    records = [message_record(row) for row in update.returning(Message).execute()]
    # The chat after its messages. One may have come in until it is held, and stays unread.
    mine = (Chat.instance == instance_id) & (Chat.jid == chat.jid)
    list(current.lock_rows(scope.select(Chat, Chat.id).where(mine), referable=True))
    left = scope.select_by(Message).where(unread).count()
    scope.update(Chat, unread=left).where(mine).execute()
    records.sort(key=lambda one: (one.created_at, one.position), reverse=True)
    return records[:limit]

"""Receipts: how far sent messages have come, with each recipient and on the whole.

In a group WhatsApp shows two ticks when everybody has got a message, and blue ones when everybody
has read it. So does ``status``: it is what *all* recipients have reached, where it is known how
many there are (``recipients``). Where it is not, a group's message becomes ``delivered`` with the
first receipt and goes no further; each recipient's own receipt tells the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import peewee

from wavisor.domain import ChatKind, MessageDirection, MessageStatus
from wavisor.storage import chat_addresses, chats
from wavisor.storage.message_records import MessageRecord, Party, ReceiptRecord
from wavisor.storage.models import Message, MessageReceipt
from wavisor.storage.participants import place_of, shares_address
from wavisor.storage.prepared import Prepared
from wavisor.storage.rows import history_line, message_record, receipt_record
from wavisor.storage.statistics import counted

__all__ = ["apply_receipt", "list_receipts"]

S = MessageStatus

_ORDER = (S.DELIVERED, S.READ, S.PLAYED)
_RANK = {status.value: rank for rank, status in enumerate(_ORDER, 1)}

# What a receipt may move forward from. A receipt for an uncertain message proves that it was
# sent after all; one for a message still `sending` may overtake the answer to the send.
_UNSETTLED = (S.SENDING, S.SENT, S.UNCERTAIN)
_BEFORE: dict[MessageStatus, tuple[MessageStatus, ...]] = {
    status: (*_UNSETTLED, *_ORDER[:rank]) for rank, status in enumerate(_ORDER)
}

_TIME_OF = {S.DELIVERED: "delivered_at", S.READ: "read_at", S.PLAYED: "played_at"}


def apply_receipt(
    instance_id: str,
    whatsapp_ids: Collection[str],
    status: MessageStatus,
    at: datetime,
    *,
    recipient: Party | None = None,
) -> list[MessageRecord]:
    """Move messages forward by a receipt; one that comes late moves nothing back. A write.

    Args:
        instance_id: Whose messages.
        whatsapp_ids: WhatsApp's ids of them, as the receipt lists them.
        status: ``delivered``, ``read`` or ``played``.
        at: The receipt's time.
        recipient: Whose receipt it is; None when it is not told, in a chat of two.

    Returns:
        The messages that changed their status, in the order in which they were accepted.

    Raises:
        ValueError: ``status`` is nothing that a receipt can tell.
    """
    if status not in _BEFORE:
        raise ValueError(f"a receipt cannot tell {status.value!r}")
    rows = [
        row
        for whatsapp_id in dict.fromkeys(whatsapp_ids)
        for row in _SENT.rows(instance=instance_id, whatsapp_id=whatsapp_id)
    ]
    changed = []
    for row in sorted(rows, key=lambda one: one.position):
        if recipient is not None:
            _note(row, recipient, status, at)
        reached: MessageStatus | None = status
        if chat_addresses.kind_of(row.chat) is not ChatKind.PERSON:
            reached = _reached_by_all(row)
        if reached is not None and (moved := _advance(row, reached, at)) is not None:
            changed.append(moved)
    return changed


_SENT = Prepared(
    lambda slot: Message.select().where(
        Message.instance == slot("instance"),
        Message.whatsapp_id == slot("whatsapp_id"),
        Message.direction == MessageDirection.OUTBOUND.value,
    )
)


_SAME_PERSON = Prepared(
    lambda slot: MessageReceipt.select(
        MessageReceipt.recipient, MessageReceipt.lid, MessageReceipt.phone
    ).where(
        MessageReceipt.message == slot("message"),
        shares_address(slot, MessageReceipt.recipient, MessageReceipt.lid, MessageReceipt.phone),
    )
)
_RENAME = Prepared(
    lambda slot: MessageReceipt.update(recipient=slot("jid")).where(
        MessageReceipt.message == slot("message"), MessageReceipt.recipient == slot("former")
    )
)


def _note(row: Any, recipient: Party, status: MessageStatus, at: datetime) -> None:
    """Write down one recipient's receipt, unless there is one that tells more."""
    known = chat_addresses.address_of(recipient)
    if chat_addresses.kind_of(row.chat) is ChatKind.PERSON:
        # Whoever else it may be named as: it is the one with whom the chat is.
        hidden = row.chat.endswith("@lid")
        phone = known.phone if hidden else None
        known = chat_addresses.address_of(Party(row.chat, known.lid, phone))
    found = _SAME_PERSON.rows(message=row.position, jid=known.jid, lid=known.lid, phone=known.phone)
    place = place_of(known, [Party(one.recipient, one.lid, one.phone) for one in found])
    if place.former is not None:
        _RENAME.change(message=row.position, jid=place.person.jid, former=place.former)
    _noting(status).change(
        message=row.position,
        recipient=place.person.jid,
        lid=place.person.lid,
        phone=place.person.phone,
        status=status.value,
        at=at,
    )


@cache
def _noting(status: MessageStatus) -> Prepared:
    receipt, excluded = MessageReceipt, peewee.EXCLUDED
    time = getattr(receipt, _TIME_OF[status])
    fields = {
        name: getattr(receipt, name) for name in ("message", "recipient", "lid", "phone", "status")
    }
    further = (_rank(excluded.status) > _rank(receipt.status), excluded.status)
    return Prepared(
        lambda slot: receipt.insert(
            {**{field: slot(name) for name, field in fields.items()}, time: slot("at")}
        ).on_conflict(
            conflict_target=[receipt.message, receipt.recipient],
            update={
                receipt.lid: peewee.fn.COALESCE(excluded.lid, receipt.lid),
                receipt.phone: peewee.fn.COALESCE(excluded.phone, receipt.phone),
                receipt.status: peewee.Case(None, [further], receipt.status),
                time: peewee.fn.COALESCE(time, getattr(excluded, _TIME_OF[status])),
            },
        )
    )


def _rank(column: Any) -> Any:
    return peewee.Case(column, tuple(_RANK.items()), 0)


def _reached_by_all(row: Any) -> MessageStatus | None:
    """Return what all recipients of a group's message have reached; None for nothing yet."""
    if row.recipients is None:
        return S.DELIVERED
    ranks = sorted(
        (
            _RANK[one.status]
            for one in MessageReceipt.select(MessageReceipt.status).where(
                MessageReceipt.message == row.position
            )
        ),
        reverse=True,
    )
    # Somebody may have left the group since, or have joined in time: never more than there are.
    if row.recipients == 0 or len(ranks) < row.recipients:
        return None
    return _ORDER[ranks[row.recipients - 1] - 1]


def _advance(row: Any, status: MessageStatus, at: datetime) -> MessageRecord | None:
    found = _advancing(status).one(
        position=row.position, at=at, line=history_line(status, at), status=status.value
    )
    moved = None if found is None else counted(message_record(found))
    if moved is None and status is not S.PLAYED and getattr(row, _TIME_OF[status]) is None:
        _dating(status).change(position=row.position, at=at)
    if moved is not None and moved.sent_at is None:
        # It went through, whatever became of the answer.
        chats.note_contact(moved.instance_id, moved.chat, at, by_us=True)
    return moved


@cache
def _dating(status: MessageStatus) -> Prepared:
    """Return the UPDATE that tells when a message had reached what it is past already."""
    time, past = getattr(Message, _TIME_OF[status]), _ORDER[_RANK[status.value] :]
    return Prepared(
        lambda slot: Message.update({time: slot("at")}).where(
            Message.position == slot("position"),
            Message.status.in_([one.value for one in past]),
            time.is_null(),
        )
    )


@cache
def _advancing(status: MessageStatus) -> Prepared:
    return Prepared(
        lambda slot: (
            Message.update(
                **{
                    "status": slot("status"),
                    "failure": None,
                    _TIME_OF[status]: slot("at"),
                    "history": Message.history.concat(slot("line")),
                }
            )
            .where(
                Message.position == slot("position"),
                Message.status.in_([one.value for one in _BEFORE[status]]),
            )
            .returning(Message)
        )
    )


def list_receipts(position: int) -> tuple[ReceiptRecord, ...]:
    """Return the receipts of a message, in the order of the recipients' addresses."""
    rows = (
        MessageReceipt.select()
        .where(MessageReceipt.message == position)
        .order_by(MessageReceipt.recipient)
    )
    return tuple(receipt_record(row) for row in rows)

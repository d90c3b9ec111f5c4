"""Messages in queues and from WhatsApp, for tests that need some to be there."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from wavisor.domain import ChatKind
from wavisor.storage import (
    Database,
    InboundMessage,
    InstanceRecord,
    MessageRecord,
    NewMessage,
    Party,
    Scope,
    messages,
)

ALICE = "15550101@s.whatsapp.net"
BOB = "15550102@s.whatsapp.net"
GROUP = "120363000000000001@g.us"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

_numbers = count(1)


def waiting(database: Database, instance_id: str | None = None) -> int:
    """How many messages wait to be sent, of one instance or of all."""
    queues = database.read_wait(messages.overview)
    return sum(one.waiting for one in queues if instance_id in (None, one.instance_id))


def new_text(text: str = "hello", *, chat: str = ALICE, **more: Any) -> NewMessage:
    return NewMessage(
        chat=chat, kind="text", text=text, content={"type": "text", "text": text}, **more
    )


def queue_text(
    database: Database,
    instance: InstanceRecord,
    text: str = "hello",
    *,
    chat: str = ALICE,
    **more: Any,
) -> MessageRecord:
    return database.write_wait(
        messages.enqueue,
        Scope(instance.subscription_id),
        instance.id,
        new_text(text, chat=chat, **more),
    )


def send(database: Database, message: MessageRecord, whatsapp_id: str | None) -> MessageRecord:
    database.write_wait(messages.mark_sending, message.id)
    sent = database.write_wait(messages.mark_sent, message.id, whatsapp_id=whatsapp_id)
    assert sent is not None
    return sent


def new_inbound(
    text: str = "hi",
    *,
    chat: Party | None = None,
    sender: Party | None = None,
    from_me: bool = False,
    **more: Any,
) -> InboundMessage:
    where = chat or sender or Party(ALICE)
    values: dict[str, Any] = {
        "whatsapp_id": f"3A{next(_numbers):018X}",
        "chat": where,
        "chat_kind": ChatKind.GROUP if where.jid.endswith("@g.us") else ChatKind.PERSON,
        "sender": sender or where,
        "from_me": from_me,
        "kind": "text",
        "text": text,
        "content": {"type": "text", "text": text},
        "timestamp": NOON,
    }
    return InboundMessage(**{**values, **more})


def receive(
    database: Database, instance: InstanceRecord, message: InboundMessage
) -> MessageRecord | None:
    return database.write_wait(
        messages.receive, Scope(instance.subscription_id), instance.id, message
    )

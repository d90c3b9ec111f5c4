"""The rows of messages that WhatsApp tells of, now or from before the link."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wavisor.domain import MessageDirection, MessageStatus
from wavisor.ids import Kind, new_id
from wavisor.storage.message_records import InboundMessage, Party
from wavisor.storage.models import Message
from wavisor.storage.prepared import insert_new
from wavisor.storage.rows import history_line
from wavisor.storage.scope import Scope

__all__ = ["insert_incoming"]


def insert_incoming(
    scope: Scope,
    instance_id: str,
    chat: str,
    sender: Party,
    message: InboundMessage,
    *,
    status: MessageStatus,
    at: datetime,
    **more: Any,
) -> Any:
    """Insert the row of a message that WhatsApp told of; None when there is one already. A write.

    Args:
        scope: The tenant.
        instance_id: Which of its instances was told.
        chat: The JID under which its chat is kept.
        sender: Who wrote it, under the address that is kept.
        message: The message.
        status: How far it is, if it is an own one; others' are received.
        at: When it became known here.
        **more: Further columns.
    """
    direction = MessageDirection.OUTBOUND if message.from_me else MessageDirection.INBOUND
    reached = status if message.from_me else MessageStatus.RECEIVED
    return insert_new(
        Message,
        id=new_id(Kind.MESSAGE),
        subscription_id=scope.subscription_id,
        instance_id=instance_id,
        direction=direction.value,
        chat=chat,
        sender_jid=sender.jid,
        sender_lid=sender.lid,
        sender_phone=sender.phone,
        from_me=message.from_me,
        kind=message.kind,
        text=message.text,
        content=message.content,
        options=message.options,
        status=reached.value,
        history=history_line(reached, at),
        whatsapp_id=message.whatsapp_id,
        quoted_id=message.quoted_id,
        timestamp=message.timestamp,
        **{"created_at": at, **more},
    )

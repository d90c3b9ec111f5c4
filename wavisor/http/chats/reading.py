"""Telling people that what they wrote was read, and noting so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from wavisor.http.queries.asking import change
from wavisor.http.routing import Call
from wavisor.storage import MessageRecord, Party, chats
from wavisor.whatsapp import queries

__all__ = ["mark_read"]

_TELLABLE = re.compile(r"\A[A-Za-z0-9_.-]{1,128}\Z", re.ASCII)


async def mark_read(
    call: Call[Any, Any], received: Iterable[MessageRecord], *, played: bool
) -> None:
    """Tell the authors of messages, each once for each chat, and then count them as read.

    Authors are told first: when WhatsApp refuses, nothing was changed and all can be repeated.

    Args:
        call: the request, of an instance.
        received: others' messages of that instance.
        played: tell also that they were listened to.
    """
    by_author: dict[tuple[str, str, str | None], list[str]] = defaultdict(list)
    for message in received:
        author = message.chat, message.wire_chat, message.wire_sender
        by_author[author].append(str(message.whatsapp_id))
    for (chat, wire_chat, sender), ids in by_author.items():
        query = _receipt(wire_chat, sender, ids, played=played)
        if query is not None:
            await change(call, "messages.read", chat, query, {"count": len(ids)})
        await call.services.database.commit(
            chats.note_read, call.instance.id, Party(chat), ids, call.services.clock.now()
        )


def _receipt(
    chat: str, sender: str | None, ids: list[str], *, played: bool
) -> queries.MarkRead | None:
    """Return what tells an author; None for whom WhatsApp takes no receipt from here."""
    tellable = tuple(one for one in ids if _TELLABLE.match(one))
    try:
        return queries.MarkRead(
            chat=chat,
            sender=sender if chat.endswith(("@g.us", "@broadcast")) else None,
            messages=tellable,
            played=played,
        )
    except ValidationError:
        # A broadcast list, WhatsApp's own account, or ids that no app makes.
        return None

"""Numbers that are written in two ways: under which form WhatsApp has the account, asked once."""

from __future__ import annotations

from typing import Any

from wavisor.storage import chat_addresses, current
from wavisor.storage.message_records import Party
from wavisor.storage.models import Chat
from wavisor.storage.prepared import Prepared

__all__ = ["is_checked", "settle"]

_CHECKED = Prepared(
    lambda slot: Chat.select(Chat.jid).where(
        Chat.instance == slot("instance"),
        Chat.jid == slot("jid"),
        Chat.checked_at.is_null(False),
    )
)


def is_checked(instance_id: str, chat: str) -> bool:
    """Tell whether WhatsApp was asked under which form it has the number of a chat."""
    return _CHECKED.one(instance=instance_id, jid=chat) is not None


def settle(instance_id: str, chat: str, person: Party) -> str:
    """Keep a chat under the form of its number that WhatsApp has. A write.

    What is queued for the other form moves along, in the order in which it was accepted; from now
    on both forms lead to the one chat.

    Args:
        instance_id: Whose chat.
        chat: Its JID, which need not be the right form.
        person: Who WhatsApp says that is.

    Returns:
        The chat's JID from now on.
    """
    now, known = current.now(), chat_addresses.address_of(person)
    jid = chat_addresses.resolve(instance_id, person)
    values: dict[str, Any] = {"checked_at": now}
    if known.lid is not None:
        values["lid"] = known.lid
    if jid != chat:
        chat_addresses.merge(instance_id, chat, jid)
        values |= {"alias": chat, "phone": known.phone}
    Chat.update(**values).where(Chat.instance == instance_id, Chat.jid == jid).execute()
    return jid

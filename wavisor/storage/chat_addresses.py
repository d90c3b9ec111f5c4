"""Under which address the chat with somebody is kept.

One person has two addresses on WhatsApp, the number and a hidden one (LID). A chat is kept under
the number's JID as soon as the number is known, and under the hidden one until then.
"""

from __future__ import annotations

from typing import Any

from wavisor.domain import ChatKind
from wavisor.storage.message_records import Party
from wavisor.storage.models import Chat, Instance, Message
from wavisor.storage.prepared import Prepared
from wavisor.storage.scope import Scope

__all__ = ["BY_JID", "address_of", "kept_under", "kind_of", "merge", "resolve"]

_PN = "s.whatsapp.net"
_LID = "lid"

# Of Mexico, Argentina and Brazil: their mobile numbers are written in two ways.
_TWO_FORMS = ("52", "54", "55")

_BY_LID = Prepared(
    lambda slot: Chat.select(Chat.jid).where(
        Chat.instance == slot("instance"), Chat.lid == slot("lid")
    )
)
BY_JID = Prepared(
    lambda slot: Chat.select().where(Chat.instance == slot("instance"), Chat.jid == slot("jid"))
)
"""The row of one chat of an instance."""
_BY_ALIAS = Prepared(
    lambda slot: Chat.select(Chat.jid).where(
        Chat.instance == slot("instance"), Chat.alias == slot("alias")
    )
)


def address_of(party: Party) -> Party:
    """Return somebody under the one address that is kept: without device, by number if known."""
    user, _, server = party.jid.partition("@")
    user = user.partition(":")[0]
    jid, lid, phone = f"{user}@{server}", party.lid, party.phone
    if server == _LID:
        lid = lid or jid
    elif server == _PN:
        phone = phone or f"+{user}"
    if phone is not None and server in (_LID, _PN):
        jid = f"{phone.lstrip('+')}@{_PN}"
    return Party(jid, lid, phone)


def kind_of(jid: str) -> ChatKind:
    """Return with whom a chat is, by its address (whatsmeow, types/jid.go)."""
    server = jid.partition("@")[2]
    others = {
        "g.us": ChatKind.GROUP,
        "newsletter": ChatKind.CHANNEL,
        "broadcast": ChatKind.BROADCAST,
    }
    return others.get(server, ChatKind.PERSON)


def kept_under(scope: Scope, instance_id: str | None, jid: str) -> list[str]:
    """Return the JIDs under which the tenant may keep the chat that has an address.

    Args:
        scope: The tenant.
        instance_id: Which of its instances; None for all of them.
        jid: Any address of the chat.
    """
    known = address_of(Party(jid)).jid
    if known.endswith(f"@{_LID}"):
        column = Chat.lid
    elif known.startswith(_TWO_FORMS):
        column = Chat.alias
    else:
        return [known]
    # By instances in any case: their indexes are the only ones on other addresses.
    instances = scope.select(Instance, Instance.id)
    if instance_id is not None:
        instances = instances.where(Instance.id == instance_id)
    rows = scope.select_by(Chat, Chat.jid).where(Chat.instance.in_(instances), column == known)
    return [known, *{row.jid for row in rows}]


def resolve(instance_id: str, party: Party) -> str:
    """Return the JID under which an instance keeps the chat with somebody. A write.

    When this is the first to tell the number behind a hidden address, the chat moves to it.
    """
    known = address_of(party)
    if known.jid.startswith(_TWO_FORMS):
        row = _BY_ALIAS.one(instance=instance_id, alias=known.jid)
        if row is not None:
            return str(row.jid)
    if known.lid is None or kind_of(known.jid) is not ChatKind.PERSON:
        return known.jid
    if known.phone is None:
        row = _BY_LID.one(instance=instance_id, lid=known.lid)
        return known.jid if row is None else str(row.jid)
    if known.lid != known.jid and BY_JID.one(instance=instance_id, jid=known.lid) is not None:
        merge(instance_id, known.lid, known.jid, lid=known.lid)
    return known.jid


def merge(instance_id: str, former: str, jid: str, **values: Any) -> None:
    """Let the chat ``former`` become, or be taken up by, the chat ``jid``. A write.

    Args:
        instance_id: Whose chats.
        former: The JID of the one that ends.
        jid: The JID of the one that stays, or begins.
        **values: What else its row is to say.
    """
    mine = (Message.instance == instance_id) & (Message.chat == former)
    twice = Message.select(Message.whatsapp_id).where(
        Message.instance == instance_id,
        Message.chat == jid,
        Message.whatsapp_id.is_null(False),
    )
    Message.delete().where(
        mine,
        Message.sender_jid.is_null(False),
        Message.whatsapp_id.in_(twice),
    ).execute()
    Message.update(chat=jid).where(mine).execute()
    old = BY_JID.one(instance=instance_id, jid=former)
    taken = BY_JID.one(instance=instance_id, jid=jid)
    if old is None:
        return
    if taken is None:
        Chat.update(jid=jid, **values).where(Chat.id == old.id).execute()
        return
    Chat.delete().where(Chat.id == old.id).execute()
    later = max(taken, old, key=lambda chat: (chat.last_at, chat.last_position))
    Chat.update(
        **values,
        name=taken.name or old.name,
        last_position=later.last_position,
        last_at=later.last_at,
        unread=taken.unread + old.unread,
        archived=taken.archived or old.archived,
        pinned=taken.pinned or old.pinned,
        muted_until=max(filter(None, (taken.muted_until, old.muted_until)), default=None),
        known_since=min(filter(None, (taken.known_since, old.known_since)), default=None),
    ).where(Chat.id == taken.id).execute()

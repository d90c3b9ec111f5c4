"""People who got a message, reacted to it or voted in it: one row each, whichever address they use.

WhatsApp names somebody now by number and now by hidden address (LID), and tells both together only
sometimes. Without this one person would be two, and a group's message ``delivered`` too early.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wavisor.storage.chat_addresses import address_of
from wavisor.storage.message_records import Party

__all__ = ["Place", "place_of", "shares_address"]


@dataclass(frozen=True, slots=True)
class Place:
    """Under which address somebody's row stands."""

    person: Party
    """All that is known of them; ``jid`` is the row's."""
    former: str | None = None
    """What the row has now, when it is to be renamed because the number became known."""


def shares_address(slot: Any, jid: Any, lid: Any, phone: Any) -> Any:
    """Return the condition on rows of whom an address is that of the slots ``jid, lid, phone``."""
    return (jid == slot("jid")) | (lid == slot("lid")) | (phone == slot("phone"))


def place_of(person: Party, rows: Iterable[Party]) -> Place:
    """Return where somebody's row stands, or is to stand.

    Args:
        person: As :func:`~wavisor.storage.chat_addresses.address_of` returned them.
        rows: Those that share an address with them.
    """
    standing = {row.jid: row for row in rows}
    same = standing.get(person.jid)
    if same is None:
        same = next(iter(standing.values()), None)
    if same is None:
        return Place(person)
    lid, phone = same.lid or person.lid, same.phone or person.phone
    known = address_of(Party(same.jid, lid, phone))
    if known.jid == same.jid or known.jid in standing:
        return Place(Party(same.jid, lid, phone))
    return Place(known, former=same.jid)

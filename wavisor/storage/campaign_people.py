"""Who the people of a campaign are: under which addresses somebody may be known.

One person can stand in a list under several of them: the number, its other form where a country
has two, and the hidden address. They are to be written to once, and not at all when they said so
under any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wavisor.number_variants import number_variants
from wavisor.storage.models import CampaignRecipient, Chat, OptOut
from wavisor.storage.scope import Scope

__all__ = ["Addresses", "addresses_of", "opted_out", "taken"]

Addresses = Mapping[str, frozenset[str]]
"""All known addresses of people, their own included, by the one that was asked about."""

_PN = "@s.whatsapp.net"


def addresses_of(scope: Scope, instance_ids: Sequence[str], persons: Collection[str]) -> Addresses:
    """Return under which addresses people may be known.

    Args:
        scope: The tenant.
        instance_ids: Whose chats tell of addresses.
        persons: JIDs.
    """
    found = {one: {one, *_forms(one)} for one in persons}
    askers: dict[str, list[str]] = {}
    for person, forms in found.items():
        for form in forms:
            askers.setdefault(form, []).append(person)
    for column in (Chat.jid, Chat.lid, Chat.alias):
        known: Any = scope.select_by(Chat, column, Chat.jid, Chat.lid, Chat.alias).where(
            Chat.instance.in_(list(instance_ids)), column.in_(list(askers))
        )
        for asked, *others in known.tuples():
            for person in askers[asked]:
                found[person].update(one for one in others if one is not None)
    return {person: frozenset(addresses) for person, addresses in found.items()}


def opted_out(scope: Scope, addresses: Addresses) -> set[str]:
    """Return those who want no campaign, under whichever of their addresses they said so."""
    rows = scope.select(OptOut, OptOut.chat).where(OptOut.chat.in_(_all(addresses)))
    return _any_of(addresses, {row.chat for row in rows})


def taken(campaign_id: str, addresses: Addresses) -> set[str]:
    """Return those who are in a campaign already, under whichever of their addresses."""
    rows = CampaignRecipient.select(CampaignRecipient.chat).where(
        CampaignRecipient.campaign == campaign_id, CampaignRecipient.chat.in_(_all(addresses))
    )
    return _any_of(addresses, {row.chat for row in rows})


def _any_of(addresses: Addresses, found: set[str]) -> set[str]:
    return {person for person, known in addresses.items() if known & found}


def _all(addresses: Addresses) -> list[str]:
    return sorted(frozenset().union(*addresses.values()))


def _forms(jid: str) -> list[str]:
    user, _, server = jid.partition("@")
    if f"@{server}" != _PN:
        return []
    return [f"{number}{_PN}" for number in number_variants(user)]

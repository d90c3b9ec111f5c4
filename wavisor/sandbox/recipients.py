"""Whom a simulated device writes to: a person, a group, or everybody who sees its status."""

from __future__ import annotations

from dataclasses import dataclass

from wavisor.sandbox.accounts import Account, Device
from wavisor.sandbox.codec import GROUP_SERVER, Jid
from wavisor.sandbox.directory import World
from wavisor.sandbox.group_routing import STATUS_JID

__all__ = ["NotOnWhatsAppError", "Recipient", "resolve"]


class NotOnWhatsAppError(LookupError):
    """The number has no account, or the group does not exist, so that nobody can write there."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A chat to write to.

    Attributes:
        jid: how it is addressed.
        accounts: who reads it, the author not included.
        shared: whether it is a group or a status, for which sender keys are used.
    """

    jid: Jid
    accounts: tuple[Account, ...]
    shared: bool = False

    def devices(self, world: World, author: Device) -> list[Device]:
        """Return all devices that get a message from ``author``, its account's others too."""
        own = [] if author.account in self.accounts else [author.account]
        return [
            device
            for account in (*self.accounts, *own)
            for device in world.devices_of(account)
            if device is not author
        ]


def resolve(world: World, author: Account, to: str) -> Recipient:
    """Return whom ``to`` names: digits, a group's JID, or ``status@broadcast``.

    A status goes to everybody who has linked a client. Raises NotOnWhatsAppError.
    """
    jid = Jid.parse(to)
    if jid == STATUS_JID:
        viewers = [a for a in world.accounts.values() if len(a.devices) > 1 and a is not author]
        return Recipient(jid, tuple(viewers), shared=True)
    if jid.server == GROUP_SERVER:
        group = world.groups.get(jid.user)
        if group is None:
            raise NotOnWhatsAppError("there is no such group")
        members = [world.accounts[phone] for phone in group.members]
        return Recipient(jid, tuple(a for a in members if a is not author), shared=True)
    account = world.account_by_phone(to)
    if account is None or not account.on_whatsapp:
        raise NotOnWhatsAppError("this number is not on WhatsApp")
    return Recipient(account.lid, (account,))

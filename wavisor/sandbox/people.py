"""Everybody that is simulated: the users' phones and their contacts, by number."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wavisor.sandbox.contacts import Contact, ContactKind, make_contact
from wavisor.sandbox.directory import World
from wavisor.sandbox.phone import Phone

__all__ = [
    "ABSENT_NUMBER",
    "ECHO_NUMBER",
    "READER_NUMBER",
    "SILENT_NUMBER",
    "InvalidNumberError",
    "NumberTakenError",
    "People",
    "UnknownPersonError",
    "normalize_number",
]

# 555-0100 to 555-0199 are set aside for fiction in every area code of North America.
ECHO_NUMBER = "12025550101"
"""Answers every text with ``echo: `` and the text."""
SILENT_NUMBER = "12025550102"
"""Receives and never confirms."""
READER_NUMBER = "12025550103"
"""Confirms and reads, and does not answer."""
ABSENT_NUMBER = "12025550199"
"""Is not on WhatsApp."""

_NUMBER = re.compile(r"[1-9][0-9]{6,14}")


class InvalidNumberError(ValueError):
    """Not an international telephone number (E.164)."""


class NumberTakenError(ValueError):
    """The number already belongs to somebody."""


class UnknownPersonError(LookupError):
    """No simulated phone or contact has this number."""


def normalize_number(text: str) -> str:
    """Return an international number as digits only; ``+``, spaces and dashes may be in it.

    Raises InvalidNumberError.
    """
    digits = re.sub(r"[\s()\-]", "", text).removeprefix("+")
    if not _NUMBER.fullmatch(digits):
        raise InvalidNumberError("a phone number is 7 to 15 digits with its country code")
    return digits


class People:
    """The simulated phones and contacts of a world. Numbers are digits only."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.phones: dict[str, Phone] = {}
        self.contacts: dict[str, Contact] = {}
        self.absent: set[str] = set()

    def add_phone(self, phone: str, name: str, *, reads: bool = False) -> Phone:
        """Give a user a number and a phone. Raises NumberTakenError."""
        self._require_free(phone)
        account = self.world.add_account(phone, name=name)
        self.phones[phone] = Phone(self.world, account, reads=reads)
        return self.phones[phone]

    def add_contact(
        self, phone: str, name: str, kind: ContactKind, lines: Iterable[str] = ()
    ) -> Contact | None:
        """Add a contact, or a number that is not on WhatsApp (returns None then).

        ``lines`` are what a scripted contact says. Raises NumberTakenError.
        """
        self._require_free(phone)
        on_whatsapp = kind is not ContactKind.ABSENT
        account = self.world.add_account(phone, name=name, on_whatsapp=on_whatsapp)
        contact = make_contact(self.world, account, kind, lines)
        if contact is None:
            self.absent.add(phone)
        else:
            self.contacts[phone] = contact
        return contact

    def add_default_contacts(self) -> None:
        """Add the contacts with the documented numbers."""
        self.add_contact(ECHO_NUMBER, "Echo", ContactKind.ECHO)
        self.add_contact(SILENT_NUMBER, "Silent", ContactKind.SILENT)
        self.add_contact(READER_NUMBER, "Reader", ContactKind.READER)
        self.add_contact(ABSENT_NUMBER, "Nobody", ContactKind.ABSENT)

    def phone(self, phone: str) -> Phone:
        """Return the phone with this number; raises UnknownPersonError."""
        try:
            return self.phones[phone]
        except KeyError:
            raise UnknownPersonError("no simulated phone has this number") from None

    def contact(self, phone: str) -> Contact:
        """Return the contact with this number; raises UnknownPersonError."""
        try:
            return self.contacts[phone]
        except KeyError:
            raise UnknownPersonError("no simulated contact has this number") from None

    def _require_free(self, phone: str) -> None:
        if self.world.account_by_phone(phone) is not None:
            raise NumberTakenError("this number already belongs to somebody")

"""Addresses on WhatsApp as users give them, checked strictly before WhatsApp is asked."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from wavisor.http.paths import PathText
from wavisor.http.phones import international_digits

__all__ = [
    "CALL_ID",
    "CHANNEL",
    "GROUP",
    "INVITE_CODE",
    "PERSON",
    "InviteText",
    "PersonText",
    "PhoneText",
    "channel_jid",
    "group_jid",
    "invite_code",
    "person_jid",
]

_PERSON = re.compile(r"\A[1-9][0-9]{4,19}@(s\.whatsapp\.net|lid)\Z", re.ASCII)
_GROUP = re.compile(r"\A[1-9][0-9]{4,19}(-[0-9]{6,14})?@g\.us\Z", re.ASCII)
_CHANNEL = re.compile(r"\A[1-9][0-9]{4,24}@newsletter\Z", re.ASCII)
_INVITE = re.compile(r"\A(https://chat\.whatsapp\.com/)?([A-Za-z0-9_-]{6,64})(\?.{0,200})?\Z")
_CALL = re.compile(r"\A[A-Za-z0-9_.-]{1,128}\Z")


def person_jid(text: str) -> str:
    """Return the JID of a person, given as JID or international phone number.

    Raises:
        ValueError: it is neither.
    """
    if "@" not in text:
        return f"{international_digits(text)}@s.whatsapp.net"
    if not _PERSON.match(text):
        raise ValueError("is no JID of a person; those end in @s.whatsapp.net or @lid")
    return text


def group_jid(text: str) -> str:
    """Return the JID of a group as it is.

    Raises:
        ValueError: it is none.
    """
    if not _GROUP.match(text):
        raise ValueError("is no JID of a group, such as 120363000000000000@g.us")
    return text


def channel_jid(text: str) -> str:
    """Return the JID of a channel as it is.

    Raises:
        ValueError: it is none.
    """
    if not _CHANNEL.match(text):
        raise ValueError("is no JID of a channel, such as 120363000000000000@newsletter")
    return text


def invite_code(text: str) -> str:
    """Return the code in an invite link, or the code alone as it is.

    Raises:
        ValueError: it is neither.
    """
    match = _INVITE.match(text)
    if match is None:
        raise ValueError("is no invite link, such as https://chat.whatsapp.com/AbCdEf")
    return match.group(2)


def _call_id(text: str) -> str:
    if not _CALL.match(text):
        raise ValueError("is no id of a call")
    return text


PersonText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="An international phone number, or the JID of a person.",
        examples=["+4915112345678"],
    ),
    AfterValidator(person_jid),
]
"""A person in a body; becomes their JID."""

PhoneText = Annotated[
    str, Field(min_length=1, max_length=32, description="An international phone number.")
]
"""A phone number in a body, as it is written."""

InviteText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=300,
        description="An invite link of a group, or its code.",
        examples=["https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"],
    ),
    AfterValidator(invite_code),
]
"""An invite link in a body; becomes its code."""

PERSON = PathText(
    person_jid, "An international phone number, or the JID of a person.", "+4915112345678"
)
GROUP = PathText(group_jid, "The JID of a group.", "120363000000000000@g.us")
CHANNEL = PathText(channel_jid, "The JID of a channel.", "120363000000000000@newsletter")
INVITE_CODE = PathText(invite_code, "The code of an invite link.", "AbCdEfGhIjKlMnOpQrStUv")
CALL_ID = PathText(_call_id, "The id of the call, from its event `call:offered`.", "3EB0A1B2C3")

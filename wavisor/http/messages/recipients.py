"""Whom a message goes to: a phone number or a JID, checked strictly before it is stored."""

from __future__ import annotations

import re

from wavisor.http.phones import InvalidPhoneError, digits_of, international_digits

__all__ = ["InvalidRecipientError", "chat_jid", "kind_refusal", "person_jid", "recipient_jid"]

# The servers of a JID and what stands before them (whatsmeow, types/jid.go). A device part
# (`:3`) names one device of a person and is nobody to write to.
_FORMS = {
    "s.whatsapp.net": re.compile(r"\A[1-9][0-9]{4,19}\Z"),
    "lid": re.compile(r"\A[1-9][0-9]{4,19}\Z"),
    "g.us": re.compile(r"\A[1-9][0-9]{4,19}(-[0-9]{6,14})?\Z"),
    "newsletter": re.compile(r"\A[1-9][0-9]{4,24}\Z"),
    "broadcast": re.compile(r"\Astatus\Z"),
}
# Of what is there already: lists and WhatsApp's own accounts too, which nobody writes to.
_ANY_CHAT = re.compile(
    r"\A[A-Za-z0-9._-]{1,40}@(s\.whatsapp\.net|lid|g\.us|newsletter|broadcast)\Z", re.ASCII
)
_TO_CHANNELS = frozenset({"text", "poll"})
_NOT_TO_STATUS = frozenset({"poll"})
_PEOPLE = frozenset({"s.whatsapp.net", "lid"})


class InvalidRecipientError(ValueError):
    """Nobody to whom a message could go; says why."""


def recipient_jid(text: str, region: str | None = None) -> str:
    """Return the JID of the chat that ``text`` means.

    Args:
        text: a phone number, or the JID of a person, a group, a channel or the own status
            (``status@broadcast``).
        region: the country whose numbers need no country code; None for none.

    Raises:
        InvalidRecipientError: it is neither.
    """
    if "@" not in text:
        try:
            return f"{digits_of(text, region)}@s.whatsapp.net"
        except InvalidPhoneError as error:
            raise InvalidRecipientError(str(error)) from None
    user, _, server = text.partition("@")
    form = _FORMS.get(server)
    if form is None:
        servers = ", ".join(f"@{name}" for name in _FORMS)
        raise InvalidRecipientError(f"is no JID of a chat; those end in {servers}")
    if not form.match(user):
        raise InvalidRecipientError(f"has no valid name before @{server}")
    return text


def kind_refusal(kind: str, chat: str) -> str | None:
    """Return why a kind of message cannot go to a chat; None where it can.

    The client uploads files for channels in no way that their readers could open, and WhatsApp has
    no polls in a status.
    """
    if chat.endswith("@newsletter") and kind not in _TO_CHANNELS:
        return "is a channel, which takes texts and polls only"
    if chat.endswith("@broadcast") and kind in _NOT_TO_STATUS:
        return f"is the own status, which takes no {kind}"
    return None


def chat_jid(text: str) -> str:
    """Return the JID of a chat that there may be, given as JID or international phone number.

    Raises:
        ValueError: it is neither.
    """
    if "@" not in text:
        return f"{international_digits(text)}@s.whatsapp.net"
    if not _ANY_CHAT.match(text):
        raise ValueError("is no JID of a chat, such as 4915112345678@s.whatsapp.net")
    return text


def person_jid(text: str, region: str | None = None) -> str:
    """Return the JID of the person that ``text`` means; arguments as of :func:`recipient_jid`.

    Raises:
        InvalidRecipientError: it means nobody, or no person.
    """
    jid = recipient_jid(text, region)
    if jid.partition("@")[2] not in _PEOPLE:
        raise InvalidRecipientError("is no person")
    return jid

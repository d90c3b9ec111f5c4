"""WhatsApp's addresses (JIDs) as text, and the people behind them. Needs no neonize."""

from __future__ import annotations

import re
from typing import Any

from wavisor.whatsapp.person import Person

__all__ = [
    "GROUP_SERVER",
    "LID_SERVER",
    "PHONE_SERVER",
    "jid_text",
    "parse_jid",
    "person",
    "person_of_text",
]

PHONE_SERVER = "s.whatsapp.net"
LID_SERVER = "lid"
GROUP_SERVER = "g.us"

_AD_JID = re.compile(r"\A(\d+)(?:\.(\d+))?(?::(\d+))?@([a-z.]+)\Z")
_TEXT_JID = re.compile(r"\A([^@:.]+)(?:\.\d+)?(?::\d+)?@([a-z.]+)\Z")
_MAX_JID = 256


def parse_jid(text: str) -> tuple[str, int, int, str]:
    """Return user, agent, device and server of a JID such as ``15550100:3@s.whatsapp.net``.

    Raises:
        ValueError: it is no JID of a person.
    """
    match = _AD_JID.match(text)
    if match is None:
        raise ValueError("not a JID of a device")
    user, agent, device, server = match.groups()
    return user, int(agent or 0), int(device or 0), server


def jid_text(jid: Any, *, device: bool = False) -> str | None:
    """Return a protobuf JID as text, without its device unless asked for; None when empty."""
    if not jid.Server:
        return None
    if not jid.User:
        return str(jid.Server)
    if device and jid.RawAgent:
        return f"{jid.User}.{jid.RawAgent}:{jid.Device}@{jid.Server}"
    if device and jid.Device:
        return f"{jid.User}:{jid.Device}@{jid.Server}"
    return f"{jid.User}@{jid.Server}"


def person(jid: Any, alternative: Any = None) -> Person:
    """Return the person behind a JID and, if there is one, its alternative address."""
    lid = phone = None
    for each in (jid, alternative):
        if each is None or not each.User:
            continue
        if each.Server == LID_SERVER:
            lid = lid or jid_text(each)
        elif each.Server == PHONE_SERVER:
            phone = phone or f"+{each.User}"
    return Person(jid=jid_text(jid) or "", lid=lid, phone=phone)


def person_of_text(text: str) -> Person:
    """Return the person whom a message names by the text of a JID, with or without a device."""
    match = _TEXT_JID.match(text)
    if match is None:
        return Person(jid=text[:_MAX_JID])
    user, server = match.groups()
    jid = f"{user}@{server}"[:_MAX_JID]
    return Person(
        jid=jid,
        lid=jid if server == LID_SERVER else None,
        phone=f"+{user}" if server == PHONE_SERVER and user.isdigit() else None,
    )

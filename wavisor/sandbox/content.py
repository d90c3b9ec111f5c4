"""What messages say: reading the content of end-to-end encrypted messages.

Writing it is in ``drafts.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from wavisor.sandbox import schemas
from wavisor.sandbox.codec import Jid
from wavisor.sandbox.media_crypto import MediaFile

__all__ = [
    "Content",
    "MalformedContentError",
    "describe",
    "device_sent",
    "parse",
    "said",
    "text_message",
]

_MEDIA = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
}
_KINDS = _MEDIA | {
    "conversation": "text",
    "extendedTextMessage": "text",
    "locationMessage": "location",
    "contactMessage": "contact",
    "contactsArrayMessage": "contact",
    "reactionMessage": "reaction",
    "pollCreationMessage": "poll",
    "pollCreationMessageV2": "poll",
    "pollCreationMessageV3": "poll",
    "pollUpdateMessage": "poll_vote",
    "pinInChatMessage": "pin",
}
_VIEW_ONCE = ("viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension")
_WRAPPERS = ("ephemeralMessage", "documentWithCaptionMessage", "editedMessage", *_VIEW_ONCE)
_REVOKE = 0
_EPHEMERAL_SETTING = 3
_EDIT = 14
_MAX_NESTING = 4


class MalformedContentError(ValueError):
    """The decrypted bytes are not a message."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says.

    Attributes:
        kind: ``text``, ``image``, ``video``, ``audio``, ``voice``, ``document``, ``sticker``,
            ``location``, ``contact``, ``reaction``, ``poll``, ``poll_vote``, ``pin``, ``edit``,
            ``revoke``, ``timer`` (disappearing messages), ``protocol`` or ``unknown``.
        text: the text, caption, question or emoji, if there is one.
        target: the id of the message that an edit, revocation, reaction, pin or vote is about.
        destination: the chat, set when this is a copy of what another device of the own account
            sent.
        quoted: the id of the message that it answers.
        mentions: JIDs that it mentions.
        forwarded: whether it was forwarded.
        view_once: whether it can be seen once only.
        expiration: seconds until it disappears, 0 for never.
        names: of the place, of the cards, or of a poll's answers; of a vote, the chosen ones as far
            as they are known.
        position: latitude and longitude of a place.
        media: the file.
    """

    kind: str
    text: str | None = None
    target: str | None = None
    destination: Jid | None = None
    quoted: str | None = None
    mentions: tuple[str, ...] = ()
    forwarded: bool = False
    view_once: bool = False
    expiration: int = 0
    names: tuple[str, ...] = ()
    position: tuple[float, float] | None = None
    media: MediaFile | None = None


def text_message(text: str) -> bytes:
    """Return the content of a plain text message."""
    data: bytes = schemas.MESSAGE(conversation=text).SerializeToString()
    return data


def device_sent(destination: Jid, content: bytes) -> bytes:
    """Wrap content for the own other devices: it was sent to ``destination`` from this one."""
    wrapped = schemas.MESSAGE()
    wrapped.deviceSentMessage.destinationJID = str(destination)
    wrapped.deviceSentMessage.message.ParseFromString(content)
    if wrapped.deviceSentMessage.message.HasField("messageContextInfo"):
        wrapped.messageContextInfo.CopyFrom(wrapped.deviceSentMessage.message.messageContextInfo)
    data: bytes = wrapped.SerializeToString()
    return data


def parse(content: bytes) -> Any:
    """Return decrypted content as a ``waE2E.Message``; raises MalformedContentError."""
    message = schemas.MESSAGE()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise MalformedContentError("not a message") from error
    return message


def said(message: Any) -> Any:
    """Return the message in a message, without what it is wrapped in."""
    if message.HasField("deviceSentMessage"):
        message = message.deviceSentMessage.message
    for _ in range(_MAX_NESTING):
        wrapper = next((name for name in _WRAPPERS if message.HasField(name)), None)
        if wrapper is None:
            break
        message = getattr(message, wrapper).message
    return message


def describe(content: bytes) -> Content:
    """Say what decrypted content is; raises MalformedContentError."""
    message = parse(content)
    destination = None
    if message.HasField("deviceSentMessage"):
        destination = Jid.parse(message.deviceSentMessage.destinationJID)
        message = message.deviceSentMessage.message
    view_once = any(message.HasField(name) for name in _VIEW_ONCE) or (
        message.HasField("ephemeralMessage")
        and any(message.ephemeralMessage.message.HasField(name) for name in _VIEW_ONCE)
    )
    details = _describe(said(message))
    details["view_once"] = view_once or details.get("view_once", False)
    return Content(destination=destination, **details)


def _describe(message: Any) -> dict[str, Any]:
    if message.HasField("protocolMessage"):
        return _describe_protocol(message.protocolMessage)
    for name, kind in _KINDS.items():
        if message.HasField(name):
            part = getattr(message, name)
            return {"kind": kind, "text": _text_of(part)} | _details(kind, part) | _context(part)
    return {"kind": "unknown"}


def _describe_protocol(protocol: Any) -> dict[str, Any]:
    # Type 0 is "revoke" and also what an absent type reads as.
    if protocol.type == _EDIT:
        text = _describe(said(protocol.editedMessage)).get("text")
        return {"kind": "edit", "text": text, "target": protocol.key.ID}
    if protocol.type == _REVOKE and protocol.HasField("key"):
        return {"kind": "revoke", "target": protocol.key.ID}
    if protocol.type == _EPHEMERAL_SETTING:
        return {"kind": "timer", "expiration": protocol.ephemeralExpiration}
    return {"kind": "protocol"}


def _text_of(part: Any) -> str | None:
    """Return the text of a message part: itself, its text, or its caption."""
    if isinstance(part, str):
        return part
    fields = part.DESCRIPTOR.fields_by_name
    for name in ("text", "caption"):
        if name in fields and part.HasField(name):
            return str(getattr(part, name))
    return None


def _details(kind: str, part: Any) -> dict[str, Any]:
    """Return what is special about a kind of message."""
    match kind:
        case "reaction" | "pin":
            return {"target": part.key.ID}
        case "poll":
            return {"text": part.name, "names": tuple(o.optionName for o in part.options)}
        case "poll_vote":
            return {"target": part.pollCreationMessageKey.ID}
        case "location":
            position = (part.degreesLatitude, part.degreesLongitude)
            return {"position": position, "names": (part.name,) if part.name else ()}
        case "contact":
            cards = part.contacts if "contacts" in part.DESCRIPTOR.fields_by_name else [part]
            return {"names": tuple(card.displayName for card in cards)}
        case "image" | "video" | "audio" | "document" | "sticker":
            return _file(kind, part)
    return {}


def _file(kind: str, part: Any) -> dict[str, Any]:
    fields = part.DESCRIPTOR.fields_by_name
    if kind == "audio" and part.PTT:
        kind = "voice"
    file = MediaFile(
        kind=kind,
        direct_path=part.directPath,
        key=part.mediaKey,
        digest=part.fileSHA256,
        encrypted_digest=part.fileEncSHA256,
        size=part.fileLength,
        mime_type=part.mimetype,
        file_name=part.fileName if "fileName" in fields and part.HasField("fileName") else None,
        seconds=part.seconds if "seconds" in fields and part.HasField("seconds") else None,
    )
    view_once = "viewOnce" in fields and part.viewOnce
    return {"kind": kind, "media": file, "view_once": view_once}


def _context(part: Any) -> dict[str, Any]:
    """Return what a message says about others: quoted, mentioned, forwarded, disappearing."""
    if isinstance(part, str) or "contextInfo" not in part.DESCRIPTOR.fields_by_name:
        return {}
    context = part.contextInfo
    return {
        "quoted": context.stanzaID or None,
        "mentions": tuple(context.mentionedJID),
        "forwarded": context.isForwarded,
        "expiration": context.expiration,
    }

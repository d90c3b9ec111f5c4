"""Reads the content of received messages out of WhatsApp's protobuf (``waE2E``).

Runs in session processes, but only reads attributes, so that it needs no neonize. Sources:
``WAWebProtobufsE2E.proto`` for the fields, whatsmeow ``types/events/events.go`` (``UnwrapRaw``)
for the wrappers, ``message.go`` for what is housekeeping.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from wavisor.whatsapp.content import ContactCard, MediaKind
from wavisor.whatsapp.inbound import (
    InboundContent,
    InboundLocation,
    InboundPoll,
    MediaDescriptor,
    MessageType,
    Quoted,
)
from wavisor.whatsapp.person import Person

__all__ = ["MAX_TEXT", "read_content", "unwrap"]

MAX_TEXT = 65_536
"""Characters of a text that are kept: WhatsApp's own limit, and well within a frame."""
MAX_QUOTED_TEXT = 1024
MAX_NAME = 1024
MAX_MENTIONS = 1024
MAX_CARDS_BYTES = 256 * 1024
"""Of all cards together; they can contain pictures."""
MAX_THUMBNAIL = 32 * 1024
MAX_WRAPPERS = 8

# Fields of a message that accompany its content, or carry the protocol's own housekeeping.
_ACCOMPANYING = frozenset(
    {
        "messageContextInfo",
        "senderKeyDistributionMessage",
        "fastRatchetKeySenderKeyDistributionMessage",
    }
)
_VIEW_ONCE = frozenset({"viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"})
_POLL = "PollCreationMessage"
_EPHEMERAL_SETTING = 3  # ProtocolMessage.Type
_PIN_FOR_ALL = 1  # PinInChatMessage.Type
_KEEP_FOR_ALL = 1  # KeepType

_MEDIA: dict[str, MediaKind] = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
}
# What a download needs to know of a file (whatsmeow download.go).
_SOURCE_FIELDS = ("URL", "directPath", "mediaKey", "fileSHA256", "fileEncSHA256", "fileLength")

# Kinds of which only a text is passed on: type, and where the text stands.
_TEXTS: dict[str, tuple[MessageType, str]] = {
    "buttonsResponseMessage": ("button_reply", "selectedDisplayText"),
    "templateButtonReplyMessage": ("button_reply", "selectedDisplayText"),
    "listResponseMessage": ("button_reply", "title"),
    "interactiveResponseMessage": ("button_reply", "body.text"),
    "buttonsMessage": ("interactive", "contentText"),
    "listMessage": ("interactive", "description"),
    "interactiveMessage": ("interactive", "body.text"),
    "templateMessage": ("interactive", "hydratedTemplate.hydratedContentText"),
    "highlyStructuredMessage": ("interactive", ""),
    "eventMessage": ("event", "name"),
    "groupInviteMessage": ("group_invite", "caption"),
    "albumMessage": ("album", ""),
    "productMessage": ("product", "product.title"),
    "orderMessage": ("order", "orderTitle"),
}
_CHOICES = {
    "buttonsResponseMessage": "selectedButtonID",
    "templateButtonReplyMessage": "selectedID",
    "listResponseMessage": "singleSelectReply.selectedRowID",
}


def unwrap(message: Any) -> tuple[Any, frozenset[str]]:
    """Return the message inside all wrappers, and the names of the wrappers.

    The client unwraps most of them itself, but not those in history or around polls.
    """
    wrappers: set[str] = set()
    for _ in range(MAX_WRAPPERS):
        for field, value in message.ListFields():
            kind = field.message_type.name if field.message_type is not None else ""
            wraps = kind in ("FutureProofMessage", "DeviceSentMessage")
            if wraps and value.HasField("message"):
                wrappers.add(field.name)
                message = value.message
                break
        else:
            break
    return message, frozenset(wrappers)


def read_content(
    message: Any, to_person: Callable[[str], Person], *, view_once: bool = False
) -> InboundContent | None:
    """Return what a message says; None for pure housekeeping.

    Args:
        message: a ``waE2E.Message``.
        to_person: makes somebody of the text of a JID.
        view_once: whether the client has unwrapped it from a view-once message.
    """
    message, wrappers = unwrap(message)
    for field, value in message.ListFields():
        if field.name in _ACCOMPANYING:
            continue
        fields = _read(message, field.name, value)
        if fields is None:
            return None
        fields |= _read_context(value, to_person)
        if view_once or wrappers & _VIEW_ONCE or getattr(value, "viewOnce", False):
            fields["view_once"] = True
        return InboundContent(raw_type=field.name, **fields)
    return None


def _read(message: Any, name: str, value: Any) -> dict[str, Any] | None:
    """Return the fields that depend on the kind of message."""
    if name == "conversation":
        return {"type": "text", **_text(value)}
    if name == "extendedTextMessage":
        return {"type": "text", **_text(value.text)}
    if name in _MEDIA:
        return _read_media(message, name, value)
    if name in ("locationMessage", "liveLocationMessage"):
        return _read_location(name, value)
    if name == "contactMessage":
        return _read_cards([value])
    if name == "contactsArrayMessage":
        return _read_cards(value.contacts)
    # By its type: some of the fields with that name wrap another message, or nothing.
    if getattr(value, "DESCRIPTOR", None) is not None and value.DESCRIPTOR.name == _POLL:
        return _read_poll(value)
    if name in _TEXTS:
        kind, path = _TEXTS[name]
        choice = str(_at(value, _CHOICES[name]) or "") if name in _CHOICES else ""
        return {"type": kind, "choice": choice[:MAX_NAME] or None, **_text(_at(value, path))}
    return _read_system(name, value)


def _read_system(name: str, value: Any) -> dict[str, Any] | None:
    if name == "protocolMessage":
        if value.type != _EPHEMERAL_SETTING:
            return None
        seconds = value.ephemeralExpiration or None
        return {"type": "system", "system": "ephemeral_changed", "ephemeral_seconds": seconds}
    if name == "pinInChatMessage":
        what = "pinned" if value.type == _PIN_FOR_ALL else "unpinned"
        return {"type": "system", "system": what, "target_id": value.key.ID or None}
    if name == "keepInChatMessage":
        what = "kept" if value.keepType == _KEEP_FOR_ALL else "unkept"
        return {"type": "system", "system": what, "target_id": value.key.ID or None}
    caption = getattr(value, "caption", None)
    return {"type": "other", "caption": str(caption)[:MAX_TEXT] if caption else None}


def _read_media(message: Any, name: str, value: Any) -> dict[str, Any]:
    kind = _MEDIA[name]
    if kind == "audio" and value.PTT:
        kind = "voice"
    caption = getattr(value, "caption", "")
    thumbnail = getattr(value, "JPEGThumbnail", b"")
    file_name = getattr(value, "fileName", "") or getattr(value, "title", "")
    media = MediaDescriptor(
        kind=kind,
        mime_type=value.mimetype[:MAX_NAME] or "application/octet-stream",
        size=value.fileLength,
        sha256=value.fileSHA256.hex() or None,
        file_name=file_name[:MAX_NAME] or None,
        seconds=getattr(value, "seconds", 0) or None,
        width=getattr(value, "width", 0) or None,
        height=getattr(value, "height", 0) or None,
        pages=getattr(value, "pageCount", 0) or None,
        animated=bool(getattr(value, "gifPlayback", False) or getattr(value, "isAnimated", False)),
        waveform=_base64(getattr(value, "waveform", b""), MAX_NAME),
        thumbnail=_base64(thumbnail, MAX_THUMBNAIL),
        source=_source(message, name, value),
    )
    return {
        "type": kind,
        "media": media,
        "caption": caption[:MAX_TEXT] or None,
        "shortened": len(caption) > MAX_TEXT,
    }


def _source(message: Any, name: str, value: Any) -> str:
    small = type(message)()
    part = getattr(small, name)
    part.SetInParent()
    for field in _SOURCE_FIELDS:
        content = getattr(value, field)
        if content:
            setattr(part, field, content)
    return base64.b64encode(small.SerializeToString()).decode()


def _read_location(name: str, value: Any) -> dict[str, Any]:
    live = name == "liveLocationMessage" or value.isLive
    place = InboundLocation(
        latitude=value.degreesLatitude,
        longitude=value.degreesLongitude,
        name=getattr(value, "name", "")[:MAX_NAME] or None,
        address=getattr(value, "address", "")[:MAX_NAME] or None,
        live=live,
        accuracy=value.accuracyInMeters or None,
    )
    caption = getattr(value, "caption", "") or getattr(value, "comment", "")
    return {"type": "location", "location": place, "caption": caption[:MAX_TEXT] or None}


def _read_cards(contacts: Iterable[Any]) -> dict[str, Any]:
    cards, size, left_out = [], 0, False
    for each in contacts:
        size += len(each.vcard)
        if size > MAX_CARDS_BYTES:
            left_out = True
            break
        cards.append(ContactCard(name=each.displayName[:MAX_NAME], vcard=each.vcard))
    return {"type": "contact", "contacts": tuple(cards), "shortened": left_out}


def _read_poll(value: Any) -> dict[str, Any]:
    poll = InboundPoll(
        question=value.name[:MAX_TEXT],
        options=tuple(option.optionName[:MAX_NAME] for option in value.options[:100]),
        selectable=value.selectableOptionsCount,
    )
    return {"type": "poll", "poll": poll}


def _read_context(value: Any, to_person: Callable[[str], Person]) -> dict[str, Any]:
    """Return what goes with a message of whatever kind."""
    descriptor = getattr(value, "DESCRIPTOR", None)
    if descriptor is None or "contextInfo" not in descriptor.fields_by_name:
        return {}
    if not value.HasField("contextInfo"):
        return {}
    context = value.contextInfo
    fields: dict[str, Any] = {
        "mentions": tuple(jid[:MAX_NAME] for jid in context.mentionedJID[:MAX_MENTIONS]),
        "mention_all": bool(context.nonJIDMentions),
        "forwarded": context.isForwarded,
        "forwarding_score": context.forwardingScore,
    }
    if context.expiration:
        fields["ephemeral_seconds"] = context.expiration
    if context.stanzaID:
        fields["quoted"] = _read_quoted(context, to_person)
    return fields


def _read_quoted(context: Any, to_person: Callable[[str], Person]) -> Quoted:
    message, _ = unwrap(context.quotedMessage)
    kind: MessageType = "other"
    text = None
    for field, value in message.ListFields():
        if field.name in _ACCOMPANYING:
            continue
        # Its own context is not read: quotations do not nest.
        fields = _read(message, field.name, value)
        if fields is not None:
            content = InboundContent(raw_type=field.name, **fields)
            kind, text = content.type, content.searchable
        break
    return Quoted(
        id=context.stanzaID[:MAX_NAME],
        sender=to_person(context.participant) if context.participant else None,
        chat=context.remoteJID[:MAX_NAME] or None,
        type=kind,
        text=text[:MAX_QUOTED_TEXT] if text else None,
    )


def _text(text: Any) -> dict[str, Any]:
    text = str(text) if text else ""
    return {"text": text[:MAX_TEXT] or None, "shortened": len(text) > MAX_TEXT}


def _at(value: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        value = getattr(value, name, None)
        if value is None:
            return None
    return value if path else None


def _base64(content: bytes, limit: int) -> str | None:
    return base64.b64encode(content).decode() if 0 < len(content) <= limit else None

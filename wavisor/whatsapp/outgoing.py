"""Messages to be sent, as WhatsApp's protobuf (``waE2E``). Used in session processes.

The protobuf class is handed in, so that this module needs no neonize (importing that loads the Go
runtime). Sources: ``WAWebProtobufsE2E.proto`` for the fields; whatsmeow ``send.go`` for message
keys, edits, revocations and for which wrappers it recognises; ``upload.go`` for media.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavisor.whatsapp.content import (
    Contacts,
    Content,
    Edit,
    Location,
    Media,
    MediaFile,
    MediaKind,
    MessageKey,
    Pin,
    Poll,
    Reaction,
    Revoke,
    SendOptions,
    StatusFont,
    Text,
)

__all__ = ["SECRET_BYTES", "Composer", "ContentError", "Me"]

SECRET_BYTES = 32
MAX_THUMBNAIL = 64 * 1024
"""Bytes of a preview picture that travel inside the message; a larger one is left out."""
MAX_POLL_OPTIONS = 12

_LID_SERVER = "lid"
_GROUP_SERVER = "g.us"

# Numbers of enum values in WAWebProtobufsE2E.proto.
_OPAQUE, _WHITE = 0xFF000000, 0xFFFFFF
_FONTS: dict[StatusFont, int] = {
    "system": 0,
    "text": 1,
    "script": 2,
    "bold": 6,
    "morning_breeze": 7,
    "calistoga": 8,
    "exo2": 9,
    "courier_prime": 10,
}
_PROTOCOL_REVOKE = 0
_PROTOCOL_MESSAGE_EDIT = 14
_PIN_FOR_ALL, _UNPIN_FOR_ALL = 1, 2
_EXPIRY_STATIC = 1

_MEDIA_FIELDS: dict[MediaKind, str] = {
    "image": "imageMessage",
    "video": "videoMessage",
    "audio": "audioMessage",
    "voice": "audioMessage",
    "document": "documentMessage",
    "sticker": "stickerMessage",
}
_CAPTIONED: frozenset[MediaKind] = frozenset({"image", "video", "document"})
_ONCE_VIEWABLE: dict[MediaKind, str] = {
    "image": "viewOnceMessageV2",
    "video": "viewOnceMessageV2",
    "audio": "viewOnceMessageV2Extension",
    "voice": "viewOnceMessageV2Extension",
}
_VOICE_TYPE = "audio/ogg; codecs=opus"


class ContentError(ValueError):
    """A message that cannot be put together; says why in one sentence."""


@dataclass(frozen=True)
class Me:
    """One's own addresses, without a device."""

    jid: str
    lid: str | None

    def within(self, chat: str) -> str:
        """Return the address that one has in a chat."""
        if self.lid is not None and chat.endswith(f"@{_LID_SERVER}"):
            return self.lid
        return self.jid


class Composer:
    """Puts messages together.

    Args:
        new_message: makes an empty ``waE2E.Message``.
        upload: encrypts and stores a file at WhatsApp; its result has neonize's
            ``UploadResponse`` fields. Blocks, and raises what it likes.
        members: tells the JIDs of a group's members. Blocks likewise.
        chat_address: tells the hidden address (LID) of a person's chat where it is known, because
            messages are stored under it, and the JID as given otherwise.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        new_message: Callable[[], Any],
        *,
        upload: Callable[[MediaFile, MediaKind], Any],
        members: Callable[[str], Sequence[str]],
        chat_address: Callable[[str], str],
        now: Callable[[], float],
    ) -> None:
        self._new = new_message
        self._upload = upload
        self._members = members
        self._chat_address = chat_address
        self._now = now

    def compose(
        self, me: Me, to: str, content: Content, options: SendOptions, secret: bytes
    ) -> Any:
        """Return the message that says ``content``.

        Args:
            me: who sends it.
            to: JID of the chat.
            content: what it says.
            options: what goes with it.
            secret: :data:`SECRET_BYTES` random bytes; votes and edits are encrypted with keys
                made from it.

        Raises:
            ContentError: it cannot be put together.
        """
        message = self._new()
        if isinstance(content, Reaction | Revoke | Pin):
            _refuse_options(content, options, mentions=False)
            self._act(me, message, content)
        elif isinstance(content, Edit):
            _refuse_options(content, options, mentions=True)
            self._edit(me, to, message, content, options)
        elif isinstance(content, Media):
            self._media(me, to, message, content, options)
        else:
            if options.view_once:
                raise ContentError("only pictures, films and sound can be viewed once")
            part = self._say(message, content, options)
            if part is not None and _has_context(options):
                self._context(me, to, part.contextInfo, options)
        message.messageContextInfo.messageSecret = secret
        return message

    # What it says

    def _say(self, message: Any, content: Content, options: SendOptions) -> Any | None:
        """Fill in the content and return the part that takes the context, if there is one."""
        if isinstance(content, Text):
            return self._text(message, content, options)
        if isinstance(content, Location):
            part = message.locationMessage
            part.degreesLatitude, part.degreesLongitude = content.latitude, content.longitude
            _set(part, name=content.name, address=content.address)
            return part
        if isinstance(content, Contacts):
            return _contacts(message, content)
        if isinstance(content, Poll):
            return _poll(message, content)
        raise ContentError(f"no way to send content of type {content.type}")

    def _text(self, message: Any, content: Text, options: SendOptions) -> Any | None:
        if not content.text:
            raise ContentError("the text is empty")
        styled = content.background is not None or content.font is not None
        if content.preview_url is None and not styled and not _has_context(options):
            message.conversation = content.text
            return None
        part = message.extendedTextMessage
        part.text = content.text
        if content.background is not None:
            part.backgroundArgb = _OPAQUE | int(content.background.removeprefix("#"), 16)
            part.textArgb = _OPAQUE | _WHITE
        if content.font is not None:
            part.font = _FONTS[content.font]
        if content.preview_url is not None:
            if content.preview_url not in content.text:
                raise ContentError("the link of the preview does not stand in the text")
            part.matchedText = content.preview_url
            # Without a title it would not count as a message with a link (whatsmeow send.go).
            part.title = content.preview_title or content.preview_url
            _set(part, description=content.preview_description)
            _thumbnail(part, content.preview_thumbnail_path)
        return part

    def _media(self, me: Me, to: str, message: Any, content: Media, options: SendOptions) -> None:
        kind, file = content.kind, content.file
        if content.caption and kind not in _CAPTIONED:
            raise ContentError(f"{kind} takes no caption")
        if options.view_once and kind not in _ONCE_VIEWABLE:
            raise ContentError("only pictures, films and sound can be viewed once")
        if kind == "sticker" and file.mime_type != "image/webp":
            raise ContentError("a sticker must be image/webp")
        holder = message
        if options.view_once:
            holder = getattr(message, _ONCE_VIEWABLE[kind]).message
        elif kind == "document" and content.caption:
            holder = message.documentWithCaptionMessage.message
        part = getattr(holder, _MEDIA_FIELDS[kind])
        _describe(part, kind, file)
        _set(part, caption=content.caption)
        if options.view_once:
            part.viewOnce = True
        if _has_context(options):
            self._context(me, to, part.contextInfo, options)
        # Last, so that nothing is uploaded for a message that cannot be sent.
        stored = self._upload(file, kind)
        part.URL, part.directPath = stored.url, stored.DirectPath
        part.mediaKey, part.mediaKeyTimestamp = stored.MediaKey, int(self._now())
        part.fileSHA256, part.fileEncSHA256 = stored.FileSHA256, stored.FileEncSHA256
        part.fileLength = stored.FileLength

    # What it does to another message

    def _act(self, me: Me, message: Any, content: Reaction | Revoke | Pin) -> None:
        if isinstance(content, Reaction):
            part = message.reactionMessage
            part.text = content.emoji
            part.senderTimestampMS = self._now_ms()
        elif isinstance(content, Revoke):
            part = message.protocolMessage
            part.type = _PROTOCOL_REVOKE
        else:
            part = message.pinInChatMessage
            part.type = _PIN_FOR_ALL if content.seconds else _UNPIN_FOR_ALL
            part.senderTimestampMS = self._now_ms()
            if content.seconds:
                message.messageContextInfo.messageAddOnDurationInSecs = content.seconds
                message.messageContextInfo.messageAddOnExpiryType = _EXPIRY_STATIC
        self._key(me, part.key, content.target)

    def _edit(self, me: Me, to: str, message: Any, content: Edit, options: SendOptions) -> None:
        if not content.target.from_me:
            raise ContentError("only own messages can be edited")
        protocol = message.editedMessage.message.protocolMessage
        protocol.type = _PROTOCOL_MESSAGE_EDIT
        protocol.timestampMS = self._now_ms()
        self._key(me, protocol.key, content.target)
        edited = protocol.editedMessage
        if content.of is not None:
            if content.of not in _CAPTIONED:
                raise ContentError(f"{content.of} has no caption to edit")
            part = getattr(edited, _MEDIA_FIELDS[content.of])
            part.caption = content.text
        elif not content.text:
            raise ContentError("the text is empty")
        else:
            part = edited.extendedTextMessage
            part.text = content.text
        if _has_context(options):
            self._context(me, to, part.contextInfo, options)

    def _key(self, me: Me, key: Any, target: MessageKey) -> None:
        chat = self._chat_address(target.chat)
        key.remoteJID, key.ID, key.fromMe = chat, target.id, target.from_me
        if not target.from_me and not _is_private(chat):
            if target.sender is None:
                raise ContentError("who wrote the message is needed for others' messages in groups")
            key.participant = target.sender

    # What goes with it

    def _context(self, me: Me, to: str, context: Any, options: SendOptions) -> None:
        if options.quoted is not None:
            self._quote(me, to, context, options.quoted, options.quoted_text)
        mentioned = list(options.mentions)
        if options.mention_all:
            if not to.endswith(f"@{_GROUP_SERVER}"):
                raise ContentError("everybody can only be mentioned in a group")
            mentioned += [jid for jid in self._members(to) if jid not in (me.jid, me.lid)]
        context.mentionedJID.extend(dict.fromkeys(mentioned))
        if options.forwarded:
            context.isForwarded, context.forwardingScore = True, options.forwarding_score
        if options.ephemeral_seconds:
            context.expiration = options.ephemeral_seconds

    def _quote(self, me: Me, to: str, context: Any, quoted: MessageKey, text: str | None) -> None:
        chat = self._chat_address(quoted.chat)
        if quoted.sender is not None:
            author = quoted.sender
        elif quoted.from_me:
            author = me.within(chat)
        elif _is_private(chat):
            author = chat
        else:
            raise ContentError("who wrote the quoted message is needed in groups")
        context.stanzaID, context.participant = quoted.id, author
        context.quotedMessage.conversation = text or ""
        if chat != self._chat_address(to):
            context.remoteJID = chat

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _is_private(chat: str) -> bool:
    return chat.endswith((f"@{_LID_SERVER}", "@s.whatsapp.net"))


def _has_context(options: SendOptions) -> bool:
    return bool(
        options.quoted is not None
        or options.mentions
        or options.mention_all
        or options.forwarded
        or options.ephemeral_seconds
    )


def _refuse_options(content: Content, options: SendOptions, *, mentions: bool) -> None:
    # Not the chat's ephemeral setting, which callers may set for whatever they send.
    mentioning = not mentions and (options.mentions or options.mention_all)
    if options.quoted is not None or options.view_once or options.forwarded or mentioning:
        raise ContentError(f"content of type {content.type} does not take these options")


def _set(part: Any, **fields: Any) -> None:
    """Set the fields that have a value; an empty one is left unset, as the apps do."""
    for name, value in fields.items():
        if value:
            setattr(part, name, value)


def _thumbnail(part: Any, path: str | None) -> None:
    if path is None:
        return
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ContentError(f"the thumbnail cannot be read: {error.strerror}") from error
    if 0 < len(content) <= MAX_THUMBNAIL:
        part.JPEGThumbnail = content


def _contacts(message: Any, content: Contacts) -> Any:
    if not content.cards:
        raise ContentError("there is no contact")
    if len(content.cards) == 1:
        part = message.contactMessage
        part.displayName, part.vcard = content.cards[0].name, content.cards[0].vcard
        return part
    part = message.contactsArrayMessage
    part.displayName = f"{len(content.cards)} contacts"
    for card in content.cards:
        part.contacts.add(displayName=card.name, vcard=card.vcard)
    return part


def _poll(message: Any, content: Poll) -> Any:
    if not content.question:
        raise ContentError("the poll has no question")
    if not 2 <= len(content.options) <= MAX_POLL_OPTIONS:
        raise ContentError(f"a poll has 2 to {MAX_POLL_OPTIONS} options")
    if len(set(content.options)) != len(content.options) or not all(content.options):
        # Votes name options by the hash of their text.
        raise ContentError("the options of a poll must differ and not be empty")
    if not 0 <= content.selectable <= len(content.options):
        raise ContentError("more options selectable than there are")
    # The only version that whatsmeow announces to the server as a poll.
    part = message.pollCreationMessage
    part.name, part.selectableOptionsCount = content.question, content.selectable
    for option in content.options:
        part.options.add(optionName=option)
    return part


def _describe(part: Any, kind: MediaKind, file: MediaFile) -> None:
    part.mimetype = file.mime_type
    if kind in ("image", "video", "sticker"):
        _set(part, width=file.width, height=file.height)
    if kind in ("video", "audio", "voice"):
        _set(part, seconds=file.seconds)
    if kind in ("image", "video", "document"):
        _thumbnail(part, file.thumbnail_path)
    if kind == "voice":
        part.PTT = True
        if file.mime_type == "audio/ogg":
            # The apps take a voice note for broken without its codec.
            part.mimetype = _VOICE_TYPE
        if file.waveform is not None:
            try:
                part.waveform = base64.b64decode(file.waveform, validate=True)
            except binascii.Error as error:
                raise ContentError("the waveform is not base64") from error
    elif kind == "sticker":
        part.isAnimated = file.animated
    elif kind == "document":
        name = file.file_name or Path(file.path).name
        part.fileName = part.title = name
        _set(part, pageCount=file.pages)

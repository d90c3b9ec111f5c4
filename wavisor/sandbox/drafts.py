"""What simulated people write: every kind of message, from a description of it.

Source: whatsmeow ``send.go`` (types and ``edit`` attributes), ``msgsecret.go`` (votes).
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from wavisor.sandbox import schemas
from wavisor.sandbox.codec import GROUP_SERVER, Jid
from wavisor.sandbox.content import said
from wavisor.sandbox.correspondence import SentMessage
from wavisor.sandbox.media_crypto import MEDIA_KINDS, encrypt_media
from wavisor.sandbox.person import Person
from wavisor.sandbox.polls import seal_vote
from wavisor.sandbox.recipients import resolve

__all__ = ["Draft", "DraftError", "send_draft"]

_SENDER_REVOKE = "7"
_EDIT = "1"
_PROTOCOL_TYPES: Final = {"revoke": 0, "timer": 3, "edit": 14}
_MIME_TYPES: Final = {
    "image": "image/jpeg",
    "video": "video/mp4",
    "audio": "audio/mpeg",
    "voice": "audio/ogg; codecs=opus",
    "document": "application/octet-stream",
    "sticker": "image/webp",
}
_FIELDS: Final = {
    "image": "imageMessage",
    "video": "videoMessage",
    "audio": "audioMessage",
    "voice": "audioMessage",
    "document": "documentMessage",
    "sticker": "stickerMessage",
}


class DraftError(ValueError):
    """The message cannot be written: something is missing, or a message that it is about."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be written.

    Attributes:
        kind: a kind of :class:`~wavisor.sandbox.content.Content`, but ``protocol`` and ``unknown``.
        text: text, caption, question, emoji (empty takes a reaction back), or the edited text.
        target: id of the message that a reaction, edit, revocation or vote is about.
        quoted: id of the message that it answers.
        mentions: phone numbers.
        forwarded: whether it is shown as forwarded.
        view_once: for images, videos and voice.
        expiration: seconds until it disappears; of a ``timer``, the chat's new setting.
        names: a poll's answers, the chosen ones of a vote, the names on cards, a place's name.
        selectable: how many of a poll's answers one may choose, 0 for any number.
        cards: vCards, one for each name.
        position: latitude and longitude.
        address: of a place.
        file: the content of media.
        mime_type, file_name, seconds: of media.
        wrong_hash: tell a wrong hash of the file, so that it cannot be verified.
        missing: do not store the file, so that downloads find nothing.
    """

    kind: str
    text: str | None = None
    target: str | None = None
    quoted: str | None = None
    mentions: tuple[str, ...] = ()
    forwarded: bool = False
    view_once: bool = False
    expiration: int = 0
    names: tuple[str, ...] = ()
    selectable: int = 1
    cards: tuple[str, ...] = ()
    position: tuple[float, float] | None = None
    address: str | None = None
    file: bytes = field(default=b"", repr=False)
    mime_type: str | None = None
    file_name: str | None = None
    seconds: int | None = None
    wrong_hash: bool = False
    missing: bool = False


async def send_draft(person: Person, to: str, draft: Draft) -> SentMessage:
    """Write and send a message; return when the server has taken it.

    Raises DraftError, NotOnWhatsAppError and RefusedMessageError.
    """
    sealed = (b"", b"")
    if draft.kind in MEDIA_KINDS:
        # Others should not have to wait while a large file is encrypted.
        sealed = await asyncio.to_thread(encrypt_media, draft.kind, draft.file)
    message = _Writer(person, to, draft, sealed).write()
    content: bytes = message.SerializeToString()
    kind = "text"
    if draft.kind in MEDIA_KINDS or draft.kind == "contact":
        kind = "media"
    elif draft.kind in ("reaction", "poll"):
        kind = draft.kind
    elif draft.kind == "poll_vote":
        kind = "poll"
    edit = {"edit": _EDIT, "revoke": _SENDER_REVOKE}.get(draft.kind)
    return await person.send(to, content, kind=kind, edit=edit)


class _Writer:
    """Writes one draft as a ``waE2E.Message``; ``sealed`` is the file's key and encryption."""

    def __init__(self, person: Person, to: str, draft: Draft, sealed: tuple[bytes, bytes]) -> None:
        self._sealed = sealed
        self._person = person
        self._draft = draft
        self._to = to
        self._chat = resolve(person.world, person.account, to).jid

    def write(self) -> Any:
        """Return the message."""
        message = schemas.MESSAGE()
        part = self._part(message)
        if part is not None:
            self._add_context(part)
        if self._draft.kind in ("poll", "text", *MEDIA_KINDS):
            message.messageContextInfo.messageSecret = os.urandom(32)
        return self._wrapped(message)

    def _part(self, message: Any) -> Any:
        """Fill in what the message says; return the part that may have a context."""
        draft = self._draft
        match draft.kind:
            case "text":
                message.extendedTextMessage.text = self._text()
                return message.extendedTextMessage
            case "location":
                return self._location(message.locationMessage)
            case "contact":
                return self._contacts(message)
            case "poll":
                return self._poll(message.pollCreationMessageV3)
            case "reaction":
                self._fill_key(message.reactionMessage.key)
                message.reactionMessage.text = draft.text or ""
                message.reactionMessage.senderTimestampMS = _milliseconds()
            case "poll_vote":
                self._vote(message.pollUpdateMessage)
            case "edit" | "revoke" | "timer":
                self._protocol(message)
            case kind if kind in MEDIA_KINDS:
                part = getattr(message, _FIELDS[kind])
                self._media(part)
                return part
            case _:
                raise DraftError("nobody can write this kind of message")
        return None

    def _text(self) -> str:
        if not self._draft.text:
            raise DraftError("a text is missing")
        return self._draft.text

    def _location(self, part: Any) -> Any:
        if self._draft.position is None:
            raise DraftError("a position is missing")
        part.degreesLatitude, part.degreesLongitude = self._draft.position
        part.name = self._draft.names[0] if self._draft.names else ""
        part.address = self._draft.address or ""
        return part

    def _contacts(self, message: Any) -> Any:
        pairs = list(zip(self._draft.names, self._draft.cards, strict=False))
        if not pairs or len(self._draft.names) != len(self._draft.cards):
            raise DraftError("a contact needs a card for each name")
        if len(pairs) == 1:
            message.contactMessage.displayName, message.contactMessage.vcard = pairs[0]
            return message.contactMessage
        message.contactsArrayMessage.displayName = f"{len(pairs)} contacts"
        for name, card in pairs:
            message.contactsArrayMessage.contacts.add(displayName=name, vcard=card)
        return message.contactsArrayMessage

    def _poll(self, part: Any) -> Any:
        part.name = self._text()
        part.selectableOptionsCount = self._draft.selectable
        for name in self._draft.names:
            part.options.add(optionName=name)
        return part

    def _vote(self, part: Any) -> None:
        poll, author = self._find(self._draft.target)
        vote = seal_vote(
            poll,
            author=author,
            poll_id=self._draft.target or "",
            voter=self._person.account.lid,
            options=self._draft.names,
        )
        if vote is None:
            raise DraftError("this is no poll, or it came without its secret")
        self._fill_key(part.pollCreationMessageKey)
        part.vote.encPayload, part.vote.encIV = vote
        part.senderTimestampMS = _milliseconds()

    def _protocol(self, message: Any) -> None:
        draft = self._draft
        protocol = message.protocolMessage
        if draft.kind == "edit":
            protocol = message.editedMessage.message.protocolMessage
            protocol.editedMessage.conversation = self._text()
            protocol.timestampMS = _milliseconds()
        protocol.type = _PROTOCOL_TYPES[draft.kind]
        if draft.kind == "timer":
            protocol.ephemeralExpiration = draft.expiration
        else:
            self._fill_key(protocol.key)

    def _media(self, part: Any) -> None:
        draft = self._draft
        key, encrypted = self._sealed
        digest = sha256(draft.file).digest()
        part.directPath = self._person.world.media.put(encrypted, kept=not draft.missing)
        part.URL = self._person.world.media.url(part.directPath)
        part.mediaKey = key
        part.mediaKeyTimestamp = int(time.time())
        part.fileSHA256 = digest[::-1] if draft.wrong_hash else digest
        part.fileEncSHA256 = sha256(encrypted).digest()
        part.fileLength = len(draft.file)
        part.mimetype = draft.mime_type or _MIME_TYPES[draft.kind]
        if draft.kind == "voice":
            part.PTT = True
        if draft.kind == "document":
            part.fileName = part.title = draft.file_name or "file"
        if draft.text and draft.kind in ("image", "video", "document"):
            part.caption = draft.text
        if draft.seconds is not None and draft.kind in ("video", "audio", "voice"):
            part.seconds = draft.seconds

    def _add_context(self, part: Any) -> None:
        draft, world = self._draft, self._person.world
        if draft.quoted:
            content, author = self._find(draft.quoted)
            part.contextInfo.stanzaID = draft.quoted
            part.contextInfo.participant = str(author)
            part.contextInfo.quotedMessage.CopyFrom(said(content))
        for phone in draft.mentions:
            account = world.account_by_phone(phone)
            if account is None:
                raise DraftError("a mentioned number has no account")
            part.contextInfo.mentionedJID.append(str(account.lid))
        if draft.forwarded:
            part.contextInfo.isForwarded = True
            part.contextInfo.forwardingScore = 1
        if draft.expiration:
            part.contextInfo.expiration = draft.expiration

    def _wrapped(self, message: Any) -> Any:
        """Put the message into what says that it disappears."""
        draft = self._draft
        wrappers = [
            name
            for name, wanted in (
                ("viewOnceMessageV2", draft.view_once),
                ("ephemeralMessage", bool(draft.expiration) and draft.kind != "timer"),
            )
            if wanted
        ]
        if draft.view_once and draft.kind in ("image", "video", "voice"):
            getattr(message, _FIELDS[draft.kind]).viewOnce = True
        for name in wrappers:
            outer = schemas.MESSAGE()
            getattr(outer, name).message.CopyFrom(message)
            if message.HasField("messageContextInfo"):
                outer.messageContextInfo.CopyFrom(message.messageContextInfo)
            message = outer
        return message

    def _fill_key(self, key: Any) -> None:
        """Name the message that this one is about; an unknown one counts as the other's."""
        if not self._draft.target:
            raise DraftError("the message that it is about is missing")
        key.ID = self._draft.target
        key.remoteJID = str(self._chat)
        key.fromMe = self._draft.target in self._person.sent
        found = self._person.find(self._draft.target)
        if found is not None and not key.fromMe and self._chat.server == GROUP_SERVER:
            key.participant = str(found[1].lid)

    def _find(self, message_id: str | None) -> tuple[Any, Jid]:
        """Return a message sent or received here, and its author; raises DraftError."""
        found = self._person.find(message_id or "")
        if found is None:
            raise DraftError("the message that it is about is not known here")
        return found[0], found[1].lid


def _milliseconds() -> int:
    return int(time.time() * 1000)

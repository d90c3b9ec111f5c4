"""Carries out sends with the native client. Runs in session processes only: imports neonize."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from neonize import client as native
from neonize.exc import GetGroupInfoError, SendPresenceError, UploadError
from neonize.proto.Neonize_pb2 import JID
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, MediaType

from wavisor.whatsapp.addresses import PHONE_SERVER, jid_text
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.connection import Connection
from wavisor.whatsapp.content import Edit, Media, MediaKind, Pin, Poll, Reaction, Revoke, Text
from wavisor.whatsapp.events import Answer, Failure
from wavisor.whatsapp.failures import cause_of, query_failure, send_failure, upload_failure
from wavisor.whatsapp.group_members import GroupMembers
from wavisor.whatsapp.outgoing import SECRET_BYTES, Composer, ContentError, Me
from wavisor.whatsapp.registrations import Registrations
from wavisor.whatsapp.transfers import TransferError, Uploads

__all__ = ["Sender"]

log = logging.getLogger(__name__)

MAX_TYPING = 60.0
TYPING_REPEATED = 10.0
"""Seconds after which the recipient's app would stop showing that somebody types."""

_PERSON = re.compile(r"\A\d{5,20}@(s\.whatsapp\.net|lid)\Z")
_GROUP = re.compile(r"\A\d{5,20}(-\d{5,20})?@g\.us\Z")
_CHANNEL = re.compile(r"\A\d{5,25}@newsletter\Z")
_STATUS = "status@broadcast"
_TO_CHANNEL = (Text, Poll, Edit, Revoke)
_NOT_TO_STATUS = (Reaction, Edit, Pin, Poll)

_UPLOADED_AS: dict[MediaKind, MediaType] = {
    "image": MediaType.MediaImage,
    "sticker": MediaType.MediaImage,
    "video": MediaType.MediaVideo,
    "audio": MediaType.MediaAudio,
    "voice": MediaType.MediaAudio,
    "document": MediaType.MediaDocument,
}


class Sender:
    """Sends messages through one native client.

    Args:
        client: the neonize client.
        connection: whether it is logged in.
        me: tells who one is; only asked while connected.
        now: seconds since the epoch.
        elapsed: seconds on a monotonic clock.
    """

    def __init__(
        self,
        client: Any,
        connection: Connection,
        me: Callable[[], Me],
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._connection = connection
        self._me = me
        self._elapsed = elapsed
        self._registrations = Registrations(self._ask_registration)
        self._uploads = Uploads(self._upload)
        self._members = GroupMembers(self._ask_members)
        self._now = now

    def accept(self, command: SendMessage) -> Callable[[SendMessage], Answer]:
        """Note when a message came; return what sends it, maybe later and in another thread.

        That blocks for as long as typing, uploads and WhatsApp take. A phone number is first
        checked to be on WhatsApp. A failure that is not ``uncertain`` means that nothing was sent.
        """
        deadline = self._elapsed() + command.hand_over_within
        return lambda accepted: self._send(accepted, deadline)

    def _send(self, command: SendMessage, deadline: float) -> Answer:
        try:
            secret = _secret(command.secret)
            failure = self._why_not(command)
            if failure is None:
                message = self._composer(deadline).compose(
                    self._me(), command.to, command.content, command.options, secret
                )
                recipients = self._recipients(command.to)
                failure = self._type(command)
            if failure is None and self._elapsed() > deadline:
                failure = Failure(reason="timeout", detail="it could not be sent in time")
        except ContentError as error:
            failure = Failure(reason="invalid", detail=str(error))
        except TransferError as error:
            failure = error.failure
        except native.NeonizeError as error:
            # Questions that come before the message leaves.
            failure = query_failure(cause_of(error))
        if failure is not None:
            return _failed(command, failure)
        return self._deliver(command, message, recipients)

    def on_group_changed(self, group: str) -> None:
        """Note that a group's members may be others now. From any thread."""
        self._members.forget(group)

    def _composer(self, deadline: float) -> Composer:
        return Composer(
            Message,
            upload=lambda file, kind: self._uploads.take(file, kind, deadline - self._elapsed()),
            members=self._members.of,
            chat_address=self._chat_address,
            now=self._now,
        )

    def _deliver(self, command: SendMessage, message: Any, recipients: int | None) -> Answer:
        try:
            sent = self._client.send_message(_jid(command.to), message)
        except native.SendMessageError as error:
            return _failed(command, send_failure(cause_of(error)))
        return Answer(
            instance=command.instance,
            id=command.id,
            message_id=sent.ID,
            timestamp=datetime.fromtimestamp(sent.Timestamp, UTC) if sent.Timestamp > 0 else None,
            recipients=recipients,
        )

    def _why_not(self, command: SendMessage) -> Failure | None:
        to, content = command.to, command.content
        if _CHANNEL.match(to):
            if not isinstance(content, _TO_CHANNEL):
                return _invalid(f"content of type {content.type} cannot be sent to a channel")
        elif to == _STATUS:
            if isinstance(content, _NOT_TO_STATUS):
                return _invalid(f"content of type {content.type} cannot be a status")
        elif not (_PERSON.match(to) or _GROUP.match(to)):
            return _invalid("not the JID of a person, a group or a channel")
        if not self._connection.connected:
            return _not_connected()
        user, _, server = to.partition("@")
        if server == PHONE_SERVER and not self._registrations.known(user):
            return Failure(reason="not_on_whatsapp", detail="the number has no WhatsApp account")
        return None

    # What is asked of the client on the way

    def _type(self, command: SendMessage) -> Failure | None:
        """Show that one is typing or recording for as long as wanted, while connected."""
        remaining = min(command.options.typing_seconds, MAX_TYPING)
        if remaining <= 0 or not (_PERSON.match(command.to) or _GROUP.match(command.to)):
            return None if self._connection.stays(0) else _not_connected()
        content = command.content
        voice = isinstance(content, Media) and content.kind == "voice"
        while remaining > 0:
            self._show(command.to, ChatPresence.CHAT_PRESENCE_COMPOSING, voice=voice)
            if not self._connection.stays(min(remaining, TYPING_REPEATED)):
                return _not_connected()
            remaining -= TYPING_REPEATED
        self._show(command.to, ChatPresence.CHAT_PRESENCE_PAUSED, voice=voice)
        return None

    def _show(self, chat: str, state: ChatPresence, *, voice: bool) -> None:
        media = ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        if voice:
            media = ChatPresenceMedia.CHAT_PRESENCE_MEDIA_AUDIO
        try:
            self._client.send_chat_presence(_jid(chat), state, media)
        except SendPresenceError as error:
            # Only decoration: the message goes all the same.
            log.warning("typing could not be shown: %s", type(error).__name__)

    def _upload(self, content: bytes, kind: MediaKind) -> Any:
        if not self._connection.connected:
            raise TransferError(_not_connected())
        try:
            return self._client.upload(content, _UPLOADED_AS[kind])
        except UploadError as error:
            raise TransferError(upload_failure(cause_of(error))) from error

    def _ask_members(self, group: str) -> Sequence[str]:
        try:
            info = self._client.get_group_info(_jid(group))
        except GetGroupInfoError as error:
            raise TransferError(query_failure(cause_of(error))) from error
        return [text for each in info.Participants if (text := jid_text(each.JID))]

    def _recipients(self, to: str) -> int | None:
        """Return how many others a message to a group goes to; None when that is not known."""
        if not _GROUP.match(to):
            return None
        me = self._me()
        try:
            return sum(jid not in (me.jid, me.lid) for jid in self._members.of(to))
        except TransferError as error:
            log.warning("the members of a group are not known: %s", error.failure.reason)
            return None

    def _chat_address(self, chat: str) -> str:
        if not chat.endswith(f"@{PHONE_SERVER}"):
            return chat
        return jid_text(self._client.get_lid_from_pn(_jid(chat))) or chat

    def _ask_registration(self, number: str) -> bool:
        jid = _jid(f"{number}@{PHONE_SERVER}")
        if self._client.get_lid_from_pn(jid).User:
            # WhatsApp told this number's other address before; asking about many numbers is
            # what gets accounts banned.
            return True
        answers = self._client.is_on_whatsapp(f"+{number}")
        return any(answer.IsIn for answer in answers)


def _secret(text: str | None) -> bytes:
    if text is None:
        return secrets.token_bytes(SECRET_BYTES)
    try:
        secret = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ContentError("the message's secret is not base64") from error
    if len(secret) != SECRET_BYTES:
        raise ContentError(f"the message's secret must have {SECRET_BYTES} bytes")
    return secret


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    return JID(User=user, RawAgent=0, Device=0, Integrator=0, Server=server)


def _failed(command: SendMessage, failure: Failure) -> Answer:
    return Answer(instance=command.instance, id=command.id, failure=failure)


def _invalid(detail: str) -> Failure:
    return Failure(reason="invalid", detail=detail)


def _not_connected() -> Failure:
    return Failure(reason="not_connected", detail="the session is not connected to WhatsApp")

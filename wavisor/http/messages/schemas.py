"""Wire models of messages."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from wavisor.domain import MediaState, MessageDirection, MessageStatus
from wavisor.http.messages.recipients import chat_jid
from wavisor.http.schemas import ApiModel, Moment, PageQuery, Time
from wavisor.storage import MediaRecord, MessageLife, MessageRecord, Party, ResponseKind
from wavisor.whatsapp.inbound import chosen_options

__all__ = [
    "FailureInfo",
    "FileFailureInfo",
    "FileModel",
    "MessageLifeModel",
    "MessageModel",
    "MessageQuery",
    "PersonInfo",
    "life_model",
    "message_model",
]

_WORD = re.compile(r"_([a-z0-9])")
_OF_PEOPLE = ("jid", "lid", "phone")
# Where a file lies, and the key to it at WhatsApp.
_INTERNAL = frozenset({"path", "thumbnail_path", "preview_thumbnail_path", "source"})


class FailureInfo(ApiModel):
    """Why a message failed, or why nobody can tell whether it was sent."""

    reason: str
    detail: str
    code: int | None = Field(description="WhatsApp's code for it, where there is one.")


class PersonInfo(ApiModel):
    """Somebody on WhatsApp; null for what is unknown."""

    jid: str
    lid: str | None
    phone: str | None


class FileFailureInfo(ApiModel):
    """Why a file is not here."""

    reason: str
    detail: str


class FileModel(ApiModel):
    """The file of a message."""

    id: str
    state: MediaState = Field(
        description="`stored`: it is here. `pending`: it is being fetched, or will be. `failed`: "
        "it could not be. `skipped`: it is fetched only when asked for."
    )
    mime_type: str = Field(description="Once it is here, told by its content.")
    size: int | None = Field(description="In bytes; until it is here, as its sender says.")
    file_name: str | None
    failure: FileFailureInfo | None = Field(
        description="Why it could not be fetched, or was left out; of a pending one, why the last "
        "attempt failed."
    )
    url: str = Field(description="Where it can be downloaded once it is here.")


class MessageModel(ApiModel):
    """A message: to be sent, sent, or received."""

    id: str
    instance_id: str
    direction: MessageDirection
    to: str = Field(description="The JID of the chat.")
    sender: PersonInfo | None = Field(description="Who wrote it; null for what was queued here.")
    from_me: bool = Field(description="Whether the instance's own account wrote it.")
    kind: str
    text: str | None = Field(description="Its text or caption.")
    content: dict[str, Any] = Field(description="What it consists of; depends on the kind.")
    push_name: str | None = Field(
        default=None, description="What its author calls themselves, where the message tells."
    )
    mentions: list[str] = Field(default=[], description="JIDs of those who are told.")
    mention_all: bool = Field(default=False, description="Whether everybody in the group is told.")
    view_once: bool = Field(default=False, description="Whether it can be looked at once only.")
    ephemeral_seconds: int | None = Field(
        default=None, description="After how long it vanishes, where it says so itself."
    )
    forwarded: bool = False
    forwarding_score: int = Field(
        default=0, description="How often it was forwarded, as far as known."
    )
    is_broadcast: bool = Field(
        default=False, description="Whether it went to a broadcast list that the account is on."
    )
    server_id: int | None = Field(
        default=None, description="Of a channel's message: its number there, for reactions."
    )
    media_id: str | None = Field(description="The id of its file, where it has one.")
    media: FileModel | None = Field(description="Its file, and whether it is here.")
    status: MessageStatus
    whatsapp_id: str | None = Field(description="WhatsApp's own id of it, once it was sent.")
    quoted_whatsapp_id: str | None = Field(description="WhatsApp's id of what it answers.")
    failure: FailureInfo | None
    starred: bool = Field(
        default=False, description="As it was set here; phones do not know of it."
    )
    priority: int
    attempts: int = Field(description="How often it was handed to WhatsApp.")
    recipients: int | None = Field(
        default=None,
        description="To how many others a message to a group went; null elsewhere, or where that "
        "is not known.",
    )
    send_at: Time | None
    expires_at: Time | None
    from_history: bool = Field(
        default=False,
        description="Whether it is from before the link, as the phone told of it after linking.",
    )
    timestamp: Time | None = Field(
        default=None, description="WhatsApp's time of it; null for what was queued here."
    )
    created_at: Time = Field(
        description="When it became known here; of one from history WhatsApp's time. Lists are "
        "in this order."
    )
    created_by: str | None = Field(
        default=None,
        description="The user (`usr_…`) or API key (`key_…`) that asked for it to be sent; null "
        "for what came in and for what the gateway sent by itself.",
    )
    sent_at: Time | None
    delivered_at: Time | None
    read_at: Time | None
    played_at: Time | None
    edited_at: Time | None
    revoked_at: Time | None


class MessageQuery(PageQuery):
    """Which messages to list."""

    chat: Annotated[str, Field(min_length=3, max_length=64), AfterValidator(chat_jid)] | None = (
        Field(
            default=None,
            description="Only those of the chat with this JID, or with this phone number.",
        )
    )
    direction: MessageDirection | None = Field(
        default=None,
        description="Only those that went this way; own ones from the phone are outbound.",
    )
    status: MessageStatus | None = Field(default=None, description="Only those in this status.")
    kind: str | None = Field(
        default=None,
        pattern=r"^[a-z_]{1,32}$",
        description="Only those of this kind, such as `text` or `image`.",
    )
    since: Moment | None = Field(
        default=None,
        alias="from",
        description="Only those with `createdAt` at this time or later.",
    )
    until: Moment | None = Field(
        default=None, alias="to", description="Only those with `createdAt` before this time."
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Only those whose text or caption contains this; case counts for letters "
        "other than those of English.",
    )
    starred: bool | None = Field(default=None, description="Only those that are starred, or not.")


class StatusChangeModel(ApiModel):
    """A status that a message had."""

    status: MessageStatus
    at: Time
    reason: str | None


class ReceiptModel(ApiModel):
    """How far a message has come with one recipient."""

    recipient: PersonInfo
    status: MessageStatus
    delivered_at: Time | None
    read_at: Time | None
    played_at: Time | None


class ReactionModel(ApiModel):
    """Somebody's reaction."""

    sender: PersonInfo
    emoji: str
    at: Time


class VoteModel(ApiModel):
    """What somebody chose in a poll."""

    sender: PersonInfo
    options: list[str] = Field(description="The texts of the options that were chosen.")
    selected: list[str] = Field(
        description="The same as WhatsApp names them: SHA-256 of each text, in hexadecimal."
    )
    at: Time


class MessageLifeModel(MessageModel):
    """A message with everything that became of it."""

    history: list[StatusChangeModel] = Field(description="Its statuses, oldest first.")
    receipts: list[ReceiptModel] = Field(description="Of each recipient of whom one came.")
    reactions: list[ReactionModel]
    votes: list[VoteModel]


def life_model(life: MessageLife) -> MessageLifeModel:
    """Return a message and what became of it as they stand on the wire."""
    message = message_model(life.message)
    reactions = [one for one in life.responses if one.kind is ResponseKind.REACTION]
    votes = [one for one in life.responses if one.kind is ResponseKind.VOTE]
    return MessageLifeModel(
        **{name: getattr(message, name) for name in MessageModel.model_fields},
        history=[
            StatusChangeModel(status=one.status, at=one.at, reason=one.reason)
            for one in life.message.history
        ],
        receipts=[
            ReceiptModel(
                recipient=_person(one.recipient),
                status=one.status,
                delivered_at=one.delivered_at,
                read_at=one.read_at,
                played_at=one.played_at,
            )
            for one in life.receipts
        ],
        reactions=[
            ReactionModel(sender=_person(one.sender), emoji=one.value["emoji"], at=one.at)
            for one in reactions
        ],
        votes=[
            VoteModel(
                sender=_person(one.sender),
                options=chosen_options(life.message.content, one.value["selected"]),
                selected=one.value["selected"],
                at=one.at,
            )
            for one in votes
        ],
    )


def _person(party: Party) -> PersonInfo:
    return PersonInfo(jid=party.jid, lid=party.lid, phone=party.phone)


def _file(file: MediaRecord, content: dict[str, Any]) -> FileModel:
    told = content.get("media") or content.get("file") or {}
    failure = file.failure
    return FileModel(
        id=file.id,
        state=file.state,
        mime_type=file.mime_type,
        size=file.size,
        # Messages share files, each under a name of its own.
        file_name=told.get("file_name") or file.file_name,
        failure=None
        if failure is None
        else FileFailureInfo(reason=failure["reason"], detail=failure.get("detail") or ""),
        url=f"/api/media/{file.id}",
    )


def message_model(record: MessageRecord) -> MessageModel:
    """Return a message as it stands on the wire."""
    sender = record.sender
    return MessageModel(
        id=record.id,
        instance_id=record.instance_id,
        direction=record.direction,
        to=record.chat,
        sender=None if sender is None else _person(sender),
        from_me=record.from_me,
        kind=record.kind,
        text=record.text,
        content=_public(record.content),
        **_accompanying(record),
        media_id=record.media_id,
        media=None if record.file is None else _file(record.file, record.content),
        status=record.status,
        whatsapp_id=record.whatsapp_id,
        quoted_whatsapp_id=record.quoted_id,
        failure=_failure(record.failure),
        starred=record.starred,
        priority=record.priority,
        attempts=record.attempts,
        recipients=record.recipients,
        send_at=record.send_at,
        expires_at=record.expires_at,
        from_history=record.from_history,
        timestamp=record.timestamp,
        created_at=record.created_at,
        sent_at=record.sent_at,
        delivered_at=record.delivered_at,
        read_at=record.read_at,
        played_at=record.played_at,
        created_by=record.created_by,
        edited_at=record.edited_at,
        revoked_at=record.revoked_at,
    )


def _accompanying(record: MessageRecord) -> dict[str, Any]:
    """Return what goes with a message of whatever kind."""
    options = record.options or {}
    told = options.get("told", {})
    # What came in says it in its content.
    said = record.content if "raw_type" in record.content else options
    return {
        "push_name": told.get("push_name"),
        "is_broadcast": told.get("is_broadcast", False),
        "server_id": told.get("server_id"),
        "mentions": said.get("mentions", []),
        "mention_all": said.get("mention_all", False),
        "view_once": said.get("view_once", False),
        "ephemeral_seconds": said.get("ephemeral_seconds"),
        "forwarded": said.get("forwarded", False),
        "forwarding_score": said.get("forwarding_score", int(said.get("forwarded", False))),
    }


def _public(value: Any) -> Any:
    """Return stored content as it stands on the wire: camelCase, and nothing internal."""
    if isinstance(value, dict):
        return {
            _WORD.sub(lambda match: match.group(1).upper(), name): _public(part)
            for name, part in _whole(value).items()
            if name not in _INTERNAL
        }
    if isinstance(value, list):
        return [_public(part) for part in value]
    return value


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    """Return a part of stored content; of people also what is not known."""
    if value.keys() <= set(_OF_PEOPLE) and "jid" in value:
        return {**dict.fromkeys(_OF_PEOPLE), **value}
    return value


def _failure(stored: dict[str, Any] | None) -> FailureInfo | None:
    if stored is None:
        return None
    return FailureInfo(reason=stored["reason"], detail=stored["detail"], code=stored.get("code"))

"""Wire models of chats."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from wavisor.domain import ChatKind
from wavisor.http.messages.schemas import MessageModel, message_model
from wavisor.http.schemas import ApiModel, Moment, PageQuery, Time
from wavisor.storage import ChatChanges, ChatRecord, chats

__all__ = [
    "MAX_READ",
    "ChatModel",
    "ChatQuery",
    "MessagesRead",
    "ReadChat",
    "ReadMessages",
    "UpdateChat",
    "chat_model",
]

MAX_READ = 200
MAX_NAMED = 100


class ChatModel(ApiModel):
    """A conversation."""

    instance_id: str
    jid: str = Field(description="Its address; by number as soon as the number is known.")
    lid: str | None = Field(description="The person's hidden address, `…@lid`.")
    phone: str | None = Field(description="The person's number in E.164.")
    name: str | None
    kind: ChatKind
    unread: int = Field(description="How many messages of others are unread.")
    archived: bool = Field(description="As it was set here; phones do not know of it.")
    pinned: bool = Field(description="As it was set here; phones do not know of it.")
    muted_until: Time | None = Field(description="As it was set here; null where it never was.")
    known_since: Time | None = Field(description="When the first message went through.")
    last_message: MessageModel | None = Field(description="Null when it was deleted.")


class ChatQuery(PageQuery):
    """Which chats to list."""

    kind: ChatKind | None = Field(default=None, description="Only those with such.")
    unread: bool | None = Field(
        default=None, description="Only those with unread messages, or without any."
    )
    archived: bool | None = Field(default=None, description="Only those archived, or not.")
    pinned: bool | None = Field(default=None, description="Only those pinned, or not.")


class UpdateChat(ApiModel):
    """What can be changed about a chat, here alone. What is absent stays as it is."""

    archived: bool | None = None
    pinned: bool | None = None
    muted_until: Moment | None = Field(
        default=None,
        lt=datetime(2200, 1, 1, tzinfo=UTC),
        description="Until when programs that show the chat should be quiet about it; null ends "
        "that.",
    )

    @model_validator(mode="after")
    def _something(self) -> UpdateChat:
        if not self.model_fields_set:
            raise ValueError("must change something")
        return self

    @field_validator("archived", "pinned")
    @classmethod
    def _one_or_the_other(cls, value: bool | None) -> bool | None:
        if value is None:
            raise ValueError("must be true or false")
        return value

    @property
    def changes(self) -> ChatChanges:
        """The same for the storage."""
        until: datetime | None = self.muted_until
        if until is None and "muted_until" in self.model_fields_set:
            until = chats.NEVER
        return ChatChanges(archived=self.archived, pinned=self.pinned, muted_until=until)


class ReadChat(ApiModel):
    """How to mark a chat as read."""

    played: bool = Field(default=False, description="Tell also that voice notes were listened to.")


class ReadMessages(ReadChat):
    """Which messages to mark as read."""

    messages: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        min_length=1,
        max_length=MAX_NAMED,
        description="Ids of received messages of the instance.",
        examples=[["msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"]],
    )


class MessagesRead(ApiModel):
    """Messages that were marked as read."""

    items: list[MessageModel] = Field(description="In the order of the request.")


def chat_model(record: ChatRecord) -> ChatModel:
    """Return a chat as it stands on the wire."""
    last = record.last_message
    return ChatModel(
        instance_id=record.instance_id,
        jid=record.jid,
        lid=record.lid,
        phone=record.phone,
        name=record.name,
        kind=record.kind,
        unread=record.unread,
        archived=record.archived,
        pinned=record.pinned,
        muted_until=record.muted_until,
        known_since=record.known_since,
        last_message=None if last is None else message_model(last),
    )

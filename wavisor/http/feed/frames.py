"""What is said on the websocket besides events: frames of clients, and our answers to them.

Every frame is a JSON object with a ``type``. Types of events hold a colon, those of other frames
do not, so that a client can tell them apart.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from wavisor.event_filter import EVERYTHING
from wavisor.http.schemas import ApiModel, plain_message
from wavisor.ids import Kind, normalise_id, timestamp_of

__all__ = [
    "Authenticate",
    "Authenticated",
    "CloseCode",
    "ErrorFrame",
    "InvalidFrameError",
    "PingFrame",
    "PongFrame",
    "Replayed",
    "Subscribe",
    "Subscribed",
    "read_frame",
]

_INSTANCE_LIMIT = 100
_PATTERN_LIMIT = 50
_LAST_SECOND = 253_402_300_799  # of the year 9999, the last one that a datetime can tell


class CloseCode(IntEnum):
    """Why the gateway closes a websocket; the 4000s are this API's own."""

    GOING_AWAY = 1001
    """The gateway stops; connect again."""
    INTERNAL_ERROR = 1011
    """A mistake of ours; connect again."""
    PROTOCOL_ERROR = 4400
    """Too many frames that could not be understood."""
    UNAUTHENTICATED = 4401
    """No token in time, or one that is not valid, has expired, or was revoked."""
    FORBIDDEN = 4403
    """The token does not permit reading events, or the subscription is suspended."""
    PING_TIMEOUT = 4406
    """A ping was not answered in time."""
    SLOW_READER = 4408
    """Events were not read as fast as they came; connect again with `since`."""
    TOO_MANY_CLIENTS = 4429
    """The subscription has as many websockets open as it may."""


class InvalidFrameError(Exception):
    """A client's frame is not understood; says why."""


class Authenticate(ApiModel):
    """The first frame of a client that brought no token otherwise; later ones renew the token."""

    type: Literal["auth"]
    token: str = Field(min_length=1, max_length=4096)


class Subscribe(ApiModel):
    """Ask for events; replaces what was asked for before."""

    type: Literal["subscribe"]
    instances: list[str] = Field(
        default=[EVERYTHING],
        min_length=1,
        max_length=_INSTANCE_LIMIT,
        description="Ids, or `*` for all of the subscription, also later ones.",
    )
    events: list[str] = Field(
        default=[EVERYTHING],
        min_length=1,
        max_length=_PATTERN_LIMIT,
        description="Types of events, `*` for all, or a beginning such as `message:*`.",
    )
    since: str | None = Field(
        default=None, description="Id of the last event received: what was missed comes first."
    )

    @field_validator("instances")
    @classmethod
    def _ids(cls, values: list[str]) -> list[str]:
        found = []
        for value in values:
            identifier = value if value == EVERYTHING else normalise_id(value, Kind.INSTANCE)
            if identifier is None:
                raise ValueError("must be ids of instances, or *")
            found.append(identifier)
        return found

    @field_validator("since")
    @classmethod
    def _event_id(cls, value: str | None) -> str | None:
        if value is None:
            return None
        identifier = normalise_id(value, Kind.EVENT)
        if identifier is None or timestamp_of(identifier) > _LAST_SECOND:
            raise ValueError("must be the id of an event")
        return identifier


class PingFrame(ApiModel):
    """Ask for a pong; for clients that cannot send websocket pings, such as browsers."""

    type: Literal["ping"]
    id: str | int | None = None


_Frame = Annotated[Authenticate | Subscribe | PingFrame, Field(discriminator="type")]
_FRAMES: TypeAdapter[Authenticate | Subscribe | PingFrame] = TypeAdapter(_Frame)


class Authenticated(ApiModel):
    """The token is accepted."""

    type: Literal["authenticated"] = "authenticated"
    expires_at: str | None = Field(
        description="When the websocket is closed unless the token is renewed; null for never."
    )


class Subscribed(ApiModel):
    """The subscription is accepted; events follow."""

    type: Literal["subscribed"] = "subscribed"
    instances: list[str]
    events: list[str] = Field(description="The types that were asked for, one by one.")
    since: str | None


class Replayed(ApiModel):
    """All events that were missed have been sent; what follows happens now."""

    type: Literal["replayed"] = "replayed"
    count: int
    complete: bool = Field(
        description="False when `since` is not stored any more: then events may repeat or miss."
    )


class PongFrame(ApiModel):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"
    id: str | int | None


class ErrorFrame(ApiModel):
    """A frame was not understood or cannot be followed; the subscription is as before."""

    type: Literal["error"] = "error"
    code: Literal["invalid-frame", "unknown-instance", "unauthenticated", "busy"]
    detail: str


def read_frame(message: str | bytes) -> Authenticate | Subscribe | PingFrame:
    """Return what a client said.

    Raises:
        InvalidFrameError: it is no frame of this protocol.
    """
    if isinstance(message, bytes):
        raise InvalidFrameError("frames are text, not binary")
    try:
        return _FRAMES.validate_json(message, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = plain_message(first["msg"])
        raise InvalidFrameError(f"{where}: {what}" if where else what) from None

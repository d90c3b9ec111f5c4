"""What all events of sessions have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["EventPart", "SessionEvent"]


class EventPart(BaseModel):
    """Part of an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SessionEvent(EventPart):
    """Something that a session tells."""

    instance: str
    """Id of the instance that this is about."""

"""What the HTTP layer is given by whoever starts the gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from wavisor.clock import Clock
from wavisor.storage.message_records import QueueLimits

if TYPE_CHECKING:
    from wavisor.actors.event_bus import EventListener
    from wavisor.actors.instances import Instances
    from wavisor.actors.supervisor import ChildInfo
    from wavisor.config import Settings
    from wavisor.media import MediaStore
    from wavisor.storage import Database

__all__ = ["Services", "Unsubscribe"]

Unsubscribe = Callable[[], None]


@dataclass(frozen=True)
class Services:
    """The rest of the gateway as handlers see it."""

    settings: Settings
    database: Database
    instances: Instances
    subscribe: Callable[[EventListener], Unsubscribe]
    """Registers a listener for committed events and returns what takes it off again."""
    clock: Clock
    media: MediaStore
    """Where the files of messages are."""
    jwt_secret: SecretStr
    """Signs tokens; at least 32 bytes, or they could be forged by trying."""
    queue_limits: QueueLimits = field(default_factory=QueueLimits)
    """How many messages may wait to be sent."""
    tree: Callable[[], ChildInfo | None] = field(default=lambda: None)
    """Gives the supervision tree as it is now; None where there is none."""
    webhooks_changed: Callable[[str | None], None] = field(default=lambda _: None)
    """To be told which webhook was changed, or has something to be delivered."""
    removals_wanted: Callable[[], None] = field(default=lambda: None)
    """To be told that a subscription is to be removed."""

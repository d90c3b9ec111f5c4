"""What ``/api/subscription`` answers."""

from __future__ import annotations

from pydantic import Field

from wavisor.domain import Tier
from wavisor.http.schemas import ApiModel, Time

__all__ = ["LimitsModel", "SubscriptionModel", "UseModel"]


class LimitsModel(ApiModel):
    """What the subscription may have; null for as much as it likes."""

    instances: int | None
    messages_per_day: int | None = Field(
        description="Messages accepted for sending in a day of UTC, edits and reactions included."
    )
    webhooks: int | None
    keys: int | None
    retention_days: int | None = Field(
        description="After how many days messages are deleted, whatever the settings say."
    )
    requests_per_minute: int | None
    sends_per_minute: int | None


class UseModel(ApiModel):
    """How much the subscription has of one thing."""

    used: int
    limit: int | None = Field(description="Null for no limit.")
    over: bool = Field(
        description="Whether that is more than the limit, as after a change to a lower tier. "
        "Nothing is deleted then, and nothing can be added."
    )
    resets_at: Time | None = Field(
        default=None, description="When it is counted anew; null where it is not."
    )


class SubscriptionModel(ApiModel):
    """A subscription with its limits and what is used of them."""

    id: str
    name: str
    tier: Tier
    created_at: Time
    limits: LimitsModel
    own_limits: list[str] = Field(
        description="The names of the limits that are not its tier's but its own."
    )
    use: dict[str, UseModel] = Field(
        description="By the names of the limits; of those that count things."
    )

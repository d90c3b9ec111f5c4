"""Wire models of the platform's administration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from wavisor.domain import InstanceStatus, Role, Tier, WantedState
from wavisor.http.schemas import ApiModel, Moment, Name, PageQuery, Time
from wavisor.http.subscription.schemas import LimitsModel
from wavisor.ids import Kind, normalise_id
from wavisor.limits import check_overrides

__all__ = [
    "AdminInstance",
    "AdminInstanceQuery",
    "AdminSubscription",
    "AdminUser",
    "AuditEntry",
    "AuditQuery",
    "PlatformAuditQuery",
    "SubscriptionQuery",
    "TreeNode",
    "UpdateSubscription",
    "UserQuery",
]


_TABLE_LIMIT = 10_000


def _subscription_id(value: str | None) -> str | None:
    if value is None:
        return None
    identifier = normalise_id(value, Kind.SUBSCRIPTION)
    if identifier is None:
        raise ValueError("is no id of a subscription")
    return identifier


class SubscriptionQuery(PageQuery):
    """Which subscriptions to list."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    tier: Tier | None = None
    suspended: bool | None = None


class AdminSubscription(ApiModel):
    """A subscription as the operator sees it."""

    id: str
    name: str
    tier: Tier
    limits: LimitsModel
    overrides: dict[str, int | None] = Field(description="Limits that are not its tier's.")
    suspended_at: Time | None
    deleted_at: Time | None = Field(
        description="Since when it is being deleted, until all of it is gone."
    )
    created_at: Time
    users: int
    instances: int


class UpdateSubscription(ApiModel):
    """What changes about a subscription. What is absent stays as it is."""

    name: Name | None = None
    tier: Tier | None = None
    overrides: dict[str, int | None] | None = Field(
        default=None,
        max_length=20,
        description="Limits of its own, by the names of `limits`; null for no limit. They take "
        "the place of those it had; an empty object, or null, leaves those of the tier.",
    )

    @field_validator("overrides")
    @classmethod
    def _known(cls, value: dict[str, int | None] | None) -> dict[str, int | None] | None:
        return None if value is None else check_overrides(_in_python(value))

    @model_validator(mode="after")
    def _something(self) -> UpdateSubscription:
        if not self.model_fields_set:
            raise ValueError("must change something")
        for field in ("name", "tier"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be null")
        return self


def _in_python(overrides: dict[str, int | None]) -> dict[str, int | None]:
    names = {field.alias or name: name for name, field in LimitsModel.model_fields.items()}
    return {names.get(name, name): value for name, value in overrides.items()}


class UserQuery(PageQuery):
    """Which users to list."""

    subscription: str | None = Field(default=None, max_length=64)
    email: str | None = Field(default=None, min_length=1, max_length=254)

    _subscription = field_validator("subscription")(_subscription_id)


class AdminUser(ApiModel):
    """A user of whichever subscription."""

    id: str
    subscription_id: str
    email: str
    role: Role
    is_operator: bool
    created_at: Time
    last_login_at: Time | None


class AdminInstanceQuery(PageQuery):
    """Which instances to list."""

    subscription: str | None = Field(default=None, max_length=64)
    status: InstanceStatus | None = None

    _subscription = field_validator("subscription")(_subscription_id)


class AdminInstance(ApiModel):
    """An instance of whichever subscription, with the state of its actor."""

    id: str
    subscription_id: str
    name: str
    status: InstanceStatus = Field(description="As last written.")
    desired: WantedState
    reason: str | None
    status_changed_at: Time
    queued: int = Field(description="Messages that wait to be sent.")
    actor: TreeNode | None = Field(description="Null while it is down.")


class TreeNode(ApiModel):
    """An actor, and those below it, at this moment."""

    id: str
    kind: str
    state: str
    generation: int = Field(description="1 for the first actor in this place, 2 for the next.")
    restarts: int
    last_reason: str | None = Field(description="Why the one before it ended.")
    inbox_depth: int
    children: list[TreeNode] = Field(default_factory=list)


class AuditQuery(PageQuery):
    """Which entries of the audit trail to list."""

    limit: int = Field(
        default=50,
        ge=1,
        le=_TABLE_LIMIT,
        description="At most 200 as JSON; as CSV 10,000, which is the default there.",
    )
    action: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Only this action, such as `instance.create`, or with a `*` at its end all "
        "that begin so.",
    )
    actor: str | None = Field(default=None, max_length=64, description="Only what this one did.")
    target: str | None = Field(default=None, max_length=64, description="Only what was done to it.")
    since: Moment | None = None
    until: Moment | None = Field(default=None, description="Not from then on.")
    format: Literal["json", "csv"] = "json"

    @model_validator(mode="after")
    def _bounded(self) -> AuditQuery:
        if self.format == "json" and self.limit > 200:
            raise ValueError("limit must be 200 at most for JSON")
        return self

    @property
    def most(self) -> int:
        """How many at most: of a table as many as there may be, unless it is said otherwise."""
        whole = self.format == "csv" and "limit" not in self.model_fields_set
        return _TABLE_LIMIT if whole else self.limit


class PlatformAuditQuery(AuditQuery):
    """The same over all subscriptions."""

    subscription: str | None = Field(default=None, max_length=64)

    _subscription = field_validator("subscription")(_subscription_id)


class AuditEntry(ApiModel):
    """Who did what."""

    id: str
    at: Time
    subscription_id: str | None = Field(description="Null for an act of the platform.")
    actor_kind: str = Field(
        description="`user`, `api_key`, `operator` for whoever acts for the platform, or `system` "
        "for the gateway itself."
    )
    actor_id: str | None = Field(description="Of an operator told to operators only.")
    action: str
    target: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str | None
    request_id: str | None

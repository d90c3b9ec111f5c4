"""What storage raises. Nothing here quotes a row: messages may reach logs."""

# ruff: noqa: N818 - they are named after what happened, which callers read better

from __future__ import annotations

from wavisor.domain import Tier
from wavisor.limits import Resource

__all__ = [
    "AboveOwnRole",
    "AlreadyMember",
    "BeingDeleted",
    "ClaimLost",
    "Conflict",
    "DatabaseBusy",
    "DatabaseUnavailable",
    "EmailTaken",
    "HasOperator",
    "InvitationInvalid",
    "KeyLimitReached",
    "KeyRevoked",
    "LastOwner",
    "LimitReached",
    "NotFound",
    "NothingToReplay",
    "QueueFull",
    "RegistrationClosed",
    "SchemaTooNew",
    "StorageError",
    "TooMany",
]


class StorageError(Exception):
    """Something about the database went wrong; says what in one sentence."""


class DatabaseBusy(StorageError):
    """Too much is going on: the queue is full, or a lock was not to be had in time.

    Nothing was changed, so the same call may be repeated later (HTTP 503).
    """


class DatabaseUnavailable(StorageError):
    """The database cannot be reached, written or waited for.

    ``outcome_unknown`` is true when a write may have been committed all the same.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class SchemaTooNew(StorageError):
    """The database was migrated by a newer version, which this one must not write to."""


class Conflict(StorageError):
    """A unique value is already taken."""


class ClaimLost(Conflict):
    """A request took so long that a repetition of it took its idempotency key over."""


class NotFound(StorageError):
    """The row that was to be changed does not exist, or belongs to another tenant."""


class EmailTaken(Conflict):
    """Another account uses this e-mail address."""


class RegistrationClosed(StorageError):
    """The registration mode does not allow another account."""


class LimitReached(StorageError):
    """A subscription has as much of something as it may have.

    ``seconds`` is how long until there is room again by itself; None when something has to go
    first.
    """

    def __init__(
        self, tier: Tier, resource: Resource, limit: int, *, seconds: float | None = None
    ) -> None:
        super().__init__(f"the subscription may have {limit} {resource.noun}")
        self.tier = tier
        self.resource = resource
        self.limit = limit
        self.seconds = seconds


class BeingDeleted(StorageError):
    """A subscription is being removed, which cannot be taken back."""


class HasOperator(StorageError):
    """A subscription cannot be removed because of an operator of the platform; says why."""


class AlreadyMember(Conflict):
    """Somebody who is to be invited has an account in this very subscription."""


class InvitationInvalid(StorageError):
    """An invitation is unknown, was used or revoked, or has expired."""


class LastOwner(StorageError):
    """A subscription would be left without an owner."""


class AboveOwnRole(StorageError):
    """Somebody gave, or took, a role above their own."""


class KeyLimitReached(StorageError):
    """An instance, or a tenant as such, has as many API keys as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"there are {limit} keys already")
        self.limit = limit


class KeyRevoked(StorageError):
    """An API key that was to be changed was revoked."""


class QueueFull(StorageError):
    """As many messages wait to be sent as an instance, or a subscription, may have."""

    def __init__(self, of: str, limit: int) -> None:
        super().__init__(f"the {of} has {limit} messages waiting to be sent already")
        self.of = of
        self.limit = limit


class TooMany(StorageError):
    """A tenant has as many of something as it may have."""

    def __init__(self, things: str, limit: int) -> None:
        super().__init__(f"there are {limit} {things} already")
        self.things = things
        self.limit = limit


class NothingToReplay(StorageError):
    """What a delivery told of is no longer kept."""

"""Subscriptions and what belongs to them, from the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar, overload

from pydantic.alias_generators import to_camel

from wavisor.admin.common import AdminError, opened
from wavisor.config import Settings
from wavisor.domain import Tier
from wavisor.ids import Kind, normalise_id
from wavisor.limits import Limits, limits_of
from wavisor.storage import (
    AuditFilter,
    AuditRecord,
    BeingDeleted,
    HasOperator,
    InstanceRecord,
    NewAudit,
    NotFound,
    Page,
    PlatformSubscription,
    PlatformUser,
    Scope,
    SubscriptionFilter,
    accounts,
    audit,
    deletions,
    platform,
    quotas,
)

__all__ = [
    "delete_subscription",
    "list_audit",
    "list_instances",
    "list_subscriptions",
    "list_users",
    "set_limits",
    "set_suspended",
    "set_tier",
]

T = TypeVar("T")


def list_subscriptions(settings: Settings) -> Iterator[PlatformSubscription]:
    """Yield all subscriptions, oldest first. Blocks.

    Raises:
        StorageError: the database cannot be used.
    """
    return _all(settings, platform.list_subscriptions, SubscriptionFilter())


def list_users(settings: Settings, subscription_id: str | None) -> Iterator[PlatformUser]:
    """Yield the users of one subscription, or of all, oldest first. Blocks.

    Raises:
        AdminError: the subscription's id is none.
        StorageError: the database cannot be used.
    """
    return _all(settings, platform.list_users, subscription_id=_known(subscription_id))


def list_instances(settings: Settings, subscription_id: str | None) -> Iterator[InstanceRecord]:
    """Yield the instances of one subscription, or of all, oldest first. Blocks.

    Raises:
        AdminError: the subscription's id is none.
        StorageError: the database cannot be used.
    """
    return _all(settings, platform.list_instances, subscription_id=_known(subscription_id))


def list_audit(
    settings: Settings, subscription_id: str | None, *, action: str | None, limit: int
) -> list[AuditRecord]:
    """Return entries of the audit trail, newest first. Blocks.

    Args:
        settings: of the installation.
        subscription_id: only those of this one.
        action: only this one; with a ``*`` at its end all that begin so.
        limit: how many at most.

    Raises:
        AdminError: the subscription's id is none.
        StorageError: the database cannot be used.
    """
    where = AuditFilter(subscription_id=_known(subscription_id), action=action)
    with opened(settings) as database:
        return list(database.read_wait(audit.list_page, where, limit=limit).items)


def set_limits(
    settings: Settings, subscription_id: str, changes: Mapping[str, int | str | None]
) -> dict[str, int | None]:
    """Give a subscription limits of its own, besides those that it has. Blocks.

    Args:
        settings: of the installation.
        subscription_id: which one.
        changes: by their names on the wire: a number, None for no limit, ``tier`` for that of the
            tier.

    Returns:
        All limits that are in force from now on, by their names on the wire.

    Raises:
        AdminError: there is no such subscription, or no such limit.
        StorageError: the database cannot be used.
    """
    names = {to_camel(one.name): one.name for one in fields(Limits)}
    unknown = sorted(set(changes) - set(names))
    if unknown:
        raise AdminError(f"there is no limit called {unknown[0]!r}; there are {', '.join(names)}")
    in_force: dict[str, int | None] = {}

    def change(known: str) -> NewAudit | None:
        before = quotas.lock_subscription(Scope(known))
        own = dict(before.overrides or {})
        for name, value in changes.items():
            own.pop(names[name], None)
            if value != "tier":
                own[names[name]] = value
        after = accounts.set_overrides(known, own)
        in_force.update({to_camel(one): value for one, value in asdict(limits_of(after)).items()})
        if (before.overrides or {}) == (after.overrides or {}):
            return None
        return NewAudit(
            actor_kind="system",
            actor_id=None,
            action="subscription.update",
            before={"overrides": _on_wire(before.overrides)},
            after={"overrides": _on_wire(after.overrides)},
        )

    try:
        _change(settings, subscription_id, change)
    except ValueError as error:
        raise AdminError(str(error)) from None
    return in_force


def _on_wire(overrides: Mapping[str, int | None] | None) -> dict[str, int | None]:
    return {to_camel(name): value for name, value in (overrides or {}).items()}


def set_tier(settings: Settings, subscription_id: str, tier: Tier) -> None:
    """Give a subscription another tier. Blocks.

    Raises:
        AdminError: there is no such subscription.
        StorageError: the database cannot be used.
    """

    def change(known: str) -> NewAudit | None:
        before = quotas.lock_subscription(Scope(known)).tier
        accounts.set_tier(known, tier)
        if before is tier:
            return None
        return NewAudit(
            actor_kind="system",
            actor_id=None,
            action="subscription.update",
            before={"tier": before.value},
            after={"tier": tier.value},
        )

    _change(settings, subscription_id, change)


def set_suspended(settings: Settings, subscription_id: str, *, suspended: bool) -> bool:
    """Suspend a subscription, or let it go on; a running gateway sees it within seconds. Blocks.

    Returns:
        Whether that changed anything.

    Raises:
        AdminError: there is no such subscription.
        StorageError: the database cannot be used.
    """

    def change(known: str) -> NewAudit | None:
        if not platform.set_suspended(known, suspended=suspended):
            return None
        action = "subscription.suspend" if suspended else "subscription.resume"
        return NewAudit(actor_kind="system", actor_id=None, action=action)

    return _change(settings, subscription_id, change)


def delete_subscription(settings: Settings, subscription_id: str) -> bool:
    """Mark a subscription to be removed; a running gateway, or the next one, does it. Blocks.

    Returns:
        Whether that was news.

    Raises:
        AdminError: there is no such subscription, or the last operator belongs to it.
        StorageError: the database cannot be used.
    """

    def change(known: str) -> NewAudit | None:
        marked = deletions.begin(known, operators_too=True)
        if marked is None:
            return None
        return NewAudit(
            actor_kind="system",
            actor_id=None,
            action="subscription.delete",
            before={"name": marked.name, "tier": marked.tier.value},
        )

    return _change(settings, subscription_id, change)


def _change(
    settings: Settings, subscription_id: str, change: Callable[[str], NewAudit | None]
) -> bool:
    """Change a subscription; ``change`` returns what the audit trail says, None for no change."""
    known = _known(subscription_id)

    def apply() -> bool:
        entry = change(known)
        if entry is not None:
            audit.append(known, replace(entry, target=known))
        return entry is not None

    with opened(settings) as database:
        try:
            return database.write_wait(apply, timeout=settings.database_timeout_seconds)
        except NotFound:
            raise AdminError(f"there is no subscription {known}") from None
        except (BeingDeleted, HasOperator) as error:
            raise AdminError(f"{known} cannot be changed: {error}") from None


@overload
def _known(subscription_id: str) -> str: ...


@overload
def _known(subscription_id: None) -> None: ...


@overload
def _known(subscription_id: str | None) -> str | None: ...


def _known(subscription_id: str | None) -> str | None:
    """Return an id in its one form; none stays none."""
    if subscription_id is None:
        return None
    known = normalise_id(subscription_id, Kind.SUBSCRIPTION)
    if known is None:
        raise AdminError(f"{subscription_id!r} is no id of a subscription, such as sub_01K9…")
    return known


def _all(
    settings: Settings, list_page: Callable[..., Page[T]], *arguments: Any, **named: Any
) -> Iterator[T]:
    with opened(settings) as database:
        cursor: str | None = None
        while True:
            page = database.read_wait(list_page, *arguments, limit=200, cursor=cursor, **named)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

"""Series of the gateway itself: what runs, its targets, its actors and its database."""

from __future__ import annotations

import platform
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from wavisor import __version__
from wavisor.metrics.registry import counter, create, gauge, histogram

__all__ = [
    "ACTORS",
    "ACTORS_ABANDONED",
    "ACTOR_KINDS",
    "ACTOR_RESTARTS",
    "BUILD",
    "DATABASE_DURATION",
    "DATABASE_QUEUE",
    "EVENT_LOOP_LAG",
    "MAILBOX_MESSAGES",
    "MAILBOX_MESSAGES_MAX",
    "RECONNECT_TARGET",
    "RESTART_REASONS",
    "UPTIME_TARGET",
    "DatabaseJob",
    "observe_database",
]


class DatabaseJob(StrEnum):
    """What a database job does."""

    READ = "read"
    WRITE = "write"


ACTOR_KINDS = (
    "event_bus",
    "webhooks",
    "housekeeping",
    "instances",
    "instance",
    "campaigns",
    "removals",
    "suspensions",
    "http",
)
RESTART_REASONS = ("error", "normal", "shutdown")

BUILD = gauge(
    "wavisor_build_info", "Always 1; the labels say what runs.", ("version", "neonize", "python")
)
UPTIME_TARGET = gauge("wavisor_slo_uptime_target_ratio", "Target: connected by expected seconds.")
RECONNECT_TARGET = gauge(
    "wavisor_slo_reconnect_target_seconds", "Target: longest time from a drop to being back."
)

ACTORS = gauge("wavisor_actors", "Supervised actors by state.", ("kind", "state"))
ACTOR_RESTARTS = counter("wavisor_actor_restarts_total", "Actors restarted.", ("kind", "reason"))
ACTORS_ABANDONED = counter(
    "wavisor_actors_abandoned_total", "Actors that did not stop in time.", ("kind",)
)
MAILBOX_MESSAGES = gauge(
    "wavisor_actor_mailbox_messages", "Messages waiting in all inboxes of a kind.", ("kind",)
)
MAILBOX_MESSAGES_MAX = gauge(
    "wavisor_actor_mailbox_messages_max", "Messages waiting in the fullest of them.", ("kind",)
)

EVENT_LOOP_LAG = histogram("wavisor_event_loop_lag_seconds", "How late the event loop ran a timer.")
DATABASE_DURATION = histogram(
    "wavisor_database_duration_seconds", "Time of a database job, waiting included.", ("kind",)
)
DATABASE_QUEUE = gauge("wavisor_database_queue_jobs", "Database jobs that wait.", ("kind",))


def _neonize_version() -> str:
    try:
        return version("neonize")  # from its metadata: importing it would load the Go runtime
    except PackageNotFoundError:
        return "none"


BUILD.labels(__version__, _neonize_version(), platform.python_version()).set(1)
UPTIME_TARGET.set(0.99)
RECONNECT_TARGET.set(30)
for _family in (ACTORS_ABANDONED, MAILBOX_MESSAGES, MAILBOX_MESSAGES_MAX):
    create(_family, ACTOR_KINDS)
for _kind in ACTOR_KINDS:
    for _reason in RESTART_REASONS:
        ACTOR_RESTARTS.labels(_kind, _reason)
create(DATABASE_DURATION, DatabaseJob)
create(DATABASE_QUEUE, DatabaseJob)


def observe_database(kind: str, seconds: float) -> None:
    """Note how long a database job took, its waiting included.

    Args:
        kind: one of :class:`DatabaseJob`, or its value.
        seconds: from being handed over to being done.

    Raises:
        ValueError: there is no such kind.
    """
    DATABASE_DURATION.labels(DatabaseJob(kind).value).observe(seconds)

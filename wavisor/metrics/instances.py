"""Series of instances: their connections, how they are linked, and their session processes."""

from __future__ import annotations

import signal
from enum import StrEnum

from wavisor.domain import InstanceStatus, Reason
from wavisor.metrics.registry import OTHER, counter, create, gauge, histogram

__all__ = [
    "CONNECTED_SECONDS",
    "CONNECT_ATTEMPTS",
    "DROPS",
    "DROP_REASONS",
    "EXPECTED_SECONDS",
    "INSTANCES",
    "INSTANCE_CONNECTED",
    "INSTANCE_LABEL_DROPS",
    "PAIRINGS",
    "QR_CODES",
    "QR_LIMIT_REACHED",
    "RECONNECT_DURATION",
    "SESSION_EXITS",
    "SESSION_MEMORY",
    "SESSION_PROCESSES",
    "PairingMethod",
    "exit_label",
    "observe_drop",
    "observe_pairing",
    "observe_reconnect",
    "observe_session_exit",
]


class PairingMethod(StrEnum):
    """How a phone was linked."""

    QR = "qr"
    CODE = "code"


DROP_REASONS: tuple[Reason, ...] = (
    Reason.CONNECTION_LOST,
    Reason.KEEPALIVE_TIMEOUT,
    Reason.SESSION_CRASHED,
    Reason.SESSION_UNRESPONSIVE,
    Reason.SERVER_UNAVAILABLE,
    Reason.ACTOR_RESTARTED,
    Reason.LOGGED_OUT_BY_PHONE,
    Reason.STREAM_REPLACED,
    Reason.TEMPORARY_BAN,
    Reason.CLIENT_OUTDATED,
    Reason.CONNECT_REFUSED,
    Reason.KEY_STORE_UNAVAILABLE,
)
"""Reasons for which a connection that stood can end without anybody having asked for it."""

_SIGNALS = ("SIGABRT", "SIGBUS", "SIGHUP", "SIGINT", "SIGKILL", "SIGSEGV", "SIGTERM", "SIGTRAP")
_EXIT_CODES = (*(str(code) for code in range(4)), *_SIGNALS, "unknown", OTHER)

# 30 s is the promise, so the resolution is best around it.
_RECONNECT_BUCKETS = (
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0),
    *(30.0, 35.0, 45.0, 60.0, 120.0, 300.0),
)

INSTANCES = gauge("wavisor_instances", "Instances by observed status.", ("status",))
EXPECTED_SECONDS = counter(
    "wavisor_instance_expected_seconds_total",
    "Seconds in which instances should have been connected and nobody but the gateway could act.",
)
CONNECTED_SECONDS = counter(
    "wavisor_instance_connected_seconds_total", "Those of the expected seconds that were connected."
)
RECONNECT_DURATION = histogram(
    "wavisor_reconnect_duration_seconds",
    "Time from a drop to being connected again.",
    buckets=_RECONNECT_BUCKETS,
)
DROPS = counter("wavisor_instance_drops_total", "Connections that ended unasked.", ("reason",))
CONNECT_ATTEMPTS = counter("wavisor_connect_attempts_total", "Sessions started to connect.")
QR_CODES = counter("wavisor_qr_codes_shown_total", "QR codes shown.")
QR_LIMIT_REACHED = counter(
    "wavisor_qr_limit_reached_total", "Connection attempts ended because nobody scanned a QR code."
)
PAIRINGS = counter("wavisor_pairings_total", "Phones linked.", ("method",))
# Not `instance`: Prometheus gives that name to the machine it reads from.
INSTANCE_CONNECTED = gauge(
    "wavisor_instance_connected",
    "1 while the instance is connected, else 0; only where the label is switched on.",
    ("instance_id",),
)
INSTANCE_LABEL_DROPS = counter(
    "wavisor_instance_label_drops_total",
    "Connections that ended unasked, by instance; only where the label is switched on.",
    ("instance_id",),
)

SESSION_PROCESSES = gauge("wavisor_session_processes", "Session processes that run.")
SESSION_MEMORY = gauge(
    "wavisor_session_memory_bytes", "Memory of all session processes (proportional set size)."
)
SESSION_EXITS = counter(
    "wavisor_session_exits_total", "Session processes that ended, by code or signal.", ("code",)
)

create(INSTANCES, InstanceStatus)
create(DROPS, DROP_REASONS)
create(PAIRINGS, PairingMethod)
create(SESSION_EXITS, _EXIT_CODES)


def observe_reconnect(seconds: float) -> None:
    """Note that an instance is back ``seconds`` after its connection dropped."""
    RECONNECT_DURATION.observe(seconds)


def observe_drop(reason: Reason) -> None:
    """Note that a standing connection ended without having been asked to."""
    DROPS.labels(reason.value).inc()


def observe_pairing(method: PairingMethod) -> None:
    """Note that a phone was linked."""
    PAIRINGS.labels(method.value).inc()


def exit_label(exit_code: int | None) -> str:
    """Return the label of a process's end: its code, its signal's name, ``unknown``, ``other``."""
    if exit_code is None:
        return "unknown"
    if exit_code < 0:
        try:
            label = signal.Signals(-exit_code).name
        except ValueError:
            return OTHER
    else:
        label = str(exit_code)
    return label if label in _EXIT_CODES else OTHER


def observe_session_exit(exit_code: int | None) -> None:
    """Note that a session process ended; negative codes are signals, None is unknown."""
    SESSION_EXITS.labels(exit_label(exit_code)).inc()

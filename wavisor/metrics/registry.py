"""The registry of all series, what makes them, and what brings them up to date for a scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

__all__ = [
    "CONTENT_TYPE",
    "OTHER",
    "REGISTRY",
    "CappedLabel",
    "before_scrape",
    "counter",
    "create",
    "gauge",
    "histogram",
    "render",
]

log = structlog.get_logger(__name__)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The content type of what :func:`render` returns."""

OTHER = "other"

FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _ScrapeHooks(Collector):
    """Lets those who count continuously bring their series up to date before they are read.

    It has no series of its own. The registry collects in the order of registration, so being the
    first one makes it run before all others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hooks: list[Callable[[], None]] = []

    def add(self, hook: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            self._hooks.append(hook)

        def remove() -> None:
            with self._lock:
                if hook in self._hooks:
                    self._hooks.remove(hook)

        return remove

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            hooks = tuple(self._hooks)
        for hook in hooks:
            try:
                hook()
            except Exception:
                log.exception("a series could not be brought up to date")
        return ()

    def describe(self) -> Iterable[Metric]:
        return ()


REGISTRY = CollectorRegistry(auto_describe=True)
"""The registry of all series; the default one of prometheus-client is not used."""

# One more series for each counter, which Prometheus does not read by default.
disable_created_metrics()  # type: ignore[no-untyped-call]  # has no annotations

_hooks = _ScrapeHooks()
REGISTRY.register(_hooks)
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
    """Declare a counter."""
    return Counter(name, text, labels, registry=REGISTRY)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """Declare a gauge."""
    return Gauge(name, text, labels, registry=REGISTRY)


def histogram(
    name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = FAST_BUCKETS
) -> Histogram:
    """Declare a histogram; ``buckets`` are their upper bounds in seconds."""
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


def create(family: Counter | Gauge | Histogram, values: Iterable[str]) -> None:
    """Create the series of a family with one label for all its values that are known."""
    for value in values:
        family.labels(str(value))


class CappedLabel:
    """Keeps a label from growing without bound: the first values pass, later ones are ``other``.

    Args:
        limit: how many different values pass.
        known: values that pass in any case and do not count.
    """

    def __init__(self, limit: int, known: Iterable[str] = ()) -> None:
        self._limit = limit
        self._known = frozenset(known)
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, value: str) -> str:
        """Return ``value``, or ``other`` when too many others came before."""
        if value in self._known:
            return value
        with self._lock:
            if value not in self._taken:
                if len(self._taken) >= self._limit:
                    return OTHER
                self._taken.add(value)
        return value

    def forget(self, value: str) -> None:
        """Give the place of ``value`` to the next new one."""
        with self._lock:
            self._taken.discard(value)


def before_scrape(hook: Callable[[], None]) -> Callable[[], None]:
    """Run ``hook`` before each reading of the series; return a function that takes it back.

    A hook that raises is logged and hinders nobody.
    """
    return _hooks.add(hook)


def render() -> bytes:
    """Return all series in Prometheus's text format. Blocks: call it outside the event loop."""
    return generate_latest(REGISTRY)

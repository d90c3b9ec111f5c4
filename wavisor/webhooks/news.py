"""What is read from the table of deliveries at one moment; all of it runs in the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from wavisor.storage import EndpointRecord, Parcel, StreamKey, deliveries

__all__ = ["News", "find_endpoints", "read_due", "read_new", "read_streams", "read_unit"]

_ENDPOINTS_AT_ONCE = 500


@dataclass(frozen=True)
class News:
    """What was read, and the endpoints of it as they were then."""

    endpoints: dict[str, EndpointRecord]
    parcels: list[Parcel]
    streams: list[StreamKey]
    position: int = 0


def find_endpoints(ids: Collection[str]) -> dict[str, EndpointRecord]:
    """Return the endpoints of these that exist, by their ids."""
    found: dict[str, EndpointRecord] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), _ENDPOINTS_AT_ONCE):
        portion = wanted[start : start + _ENDPOINTS_AT_ONCE]
        found |= {one.id: one for one in deliveries.find_endpoints(portion)}
    return found


def read_new(after: int, limit: int) -> News:
    """Return the first ``limit`` deliveries that were made after a position."""
    return _news(deliveries.read_new(after, limit=limit))


def read_streams(endpoint_id: str | None) -> News:
    """Return the streams of an endpoint that have something to do; of all of them with None."""
    position, streams = deliveries.pending_streams(endpoint_id)
    return News(find_endpoints({endpoint for endpoint, _ in streams}), [], streams, position)


def read_due(now: datetime) -> tuple[list[EndpointRecord], datetime | None]:
    """Return the endpoints for which a retry is due, and when the next one will be."""
    due = deliveries.due_endpoints(now)
    endpoints = list(find_endpoints(due).values()) if due else []
    return endpoints, deliveries.next_due(now)


def read_unit(
    read: Callable[..., list[Parcel]], limit: int, held: frozenset[int], endpoint_id: str
) -> News:
    """Return what ``read`` finds for one endpoint, at most ``limit``, without what is held."""
    return _news(read(limit=limit, held=held), [endpoint_id])


def _news(parcels: list[Parcel], more: Iterable[str] = ()) -> News:
    ids = {one.endpoint_id for one in parcels} | set(more)
    return News(find_endpoints(ids) if ids else {}, parcels, [])

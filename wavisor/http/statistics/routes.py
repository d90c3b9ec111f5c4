"""Statistics of a tenant and of one instance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from wavisor.http.negotiation import preferred_type
from wavisor.http.permissions import Permission
from wavisor.http.problems import (
    NOT_ACCEPTABLE,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
)
from wavisor.http.routing import Call, Content, InstanceFrom, Reply, Router
from wavisor.http.statistics.schemas import (
    FiguresModel,
    StatisticsFormat,
    StatisticsModel,
    StatisticsQuery,
)
from wavisor.http.statistics.views import figures_of, groups_of, table_of
from wavisor.ids import Kind
from wavisor.storage import Scope, statistics
from wavisor.storage.statistics import Grouping

__all__ = ["router"]

router = Router("statistics", "What happened to messages, counted by the hour.")

_CSV = "text/csv; charset=utf-8"
_MEDIA_TYPES = {StatisticsFormat.JSON: "application/json", StatisticsFormat.CSV: "text/csv"}
_DEFAULT_RANGE = timedelta(days=7)
_HOURS_OF_A_DAY = 24
_MOST_DAYS = {Grouping.HOUR: 31}
_MOST_DAYS_OTHERWISE = 366

_STATISTICS: Mapping[str, Any] = {
    "access": Permission.STATS_READ,
    "query": StatisticsQuery,
    "responses": {200: Content((_CSV,), StatisticsModel)},
    "problems": [NOT_ACCEPTABLE],
    "headers": {"Accept": "The form of the answer, where `format` does not say it."},
}


@router.route(
    "GET",
    "/api/stats",
    operation="getStatistics",
    summary="Get statistics of the subscription",
    confined=True,
    **_STATISTICS,
)
async def get_statistics(call: Call[None, StatisticsQuery]) -> Reply:
    """Sums what happened to the messages of all instances, deleted ones included.

    Figures are counted by the hour of UTC in which it happened, and stay when messages go. A key
    that is bound to an instance gets that one's.
    """
    return await _answer(call, call.principal.instance_id)


@router.route(
    "GET",
    "/api/instances/{id}/stats",
    operation="getInstanceStatistics",
    summary="Get statistics of an instance",
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    **_STATISTICS,
)
async def get_instance_statistics(call: Call[None, StatisticsQuery]) -> Reply:
    """Sums what happened to the messages of one instance.

    Figures are counted by the hour of UTC in which it happened, and stay when messages go.
    """
    return await _answer(call, call.instance.id)


async def _answer(call: Call[None, StatisticsQuery], instance_id: str | None) -> Reply:
    query = call.query
    wanted = query.format or _negotiate(call)
    first, end = _hours(call)
    sums = await call.services.database.fetch(
        statistics.totals,
        Scope(call.principal.subscription_id),
        first_hour=first,
        end_hour=end,
        by=query.by,
        instance_id=instance_id,
    )
    model = StatisticsModel(
        **{"from": statistics.start_of(first), "to": statistics.start_of(end)},
        by=query.by,
        instance_id=instance_id,
        totals=FiguresModel(**figures_of(sums)),
        groups=groups_of(sums, query.by),
    )
    if wanted is StatisticsFormat.JSON:
        return Reply(model, headers={"Vary": "Accept"})
    headers = {
        "Vary": "Accept",
        "Content-Disposition": 'attachment; filename="wavisor-statistics.csv"',
    }
    return Reply(table_of(model), headers=headers, media_type=_CSV)


def _hours(call: Call[None, StatisticsQuery]) -> tuple[int, int]:
    """Return the first hour that is asked for, and the one after the last.

    Raises:
        ProblemError: the range is empty or too long (422).
    """
    query = call.query
    until = query.until or call.services.clock.now()
    since = query.since or until - _DEFAULT_RANGE
    first, end = statistics.hour_of(since), statistics.hour_of(until)
    if query.until is None or statistics.start_of(end) < until:
        end += 1
    if since >= until:
        raise _wrong("from", "must be before `to`")
    most = _MOST_DAYS.get(query.by, _MOST_DAYS_OTHERWISE)
    if end - first > most * _HOURS_OF_A_DAY:
        raise _wrong("from", f"must be at most {most} days before `to` when grouped by {query.by}")
    return first, end


def _wrong(parameter: str, detail: str) -> ProblemError:
    problem = FieldProblem(detail=detail, parameter=parameter)
    return ProblemError(VALIDATION_FAILED, errors=[problem])


def _negotiate(call: Call[None, StatisticsQuery]) -> StatisticsFormat:
    best = preferred_type(call.headers.get("Accept"), tuple(_MEDIA_TYPES.values()))
    for form, media_type in _MEDIA_TYPES.items():
        if media_type == best:
            return form
    offered = ", ".join(_MEDIA_TYPES.values())
    raise ProblemError(NOT_ACCEPTABLE, f"Statistics are offered as {offered}.")

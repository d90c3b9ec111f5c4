"""From sums to what the API answers, as a model and as CSV."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from wavisor.clock import format_time
from wavisor.http.statistics.schemas import FiguresModel, GroupModel, StatisticsModel
from wavisor.storage.figures import Figure
from wavisor.storage.statistics import Counter, Grouping, Sum, start_of

__all__ = ["figures_of", "groups_of", "table_of"]

_COLUMNS = (
    "accepted",
    "sent",
    "delivered",
    "read",
    "played",
    "failed",
    "uncertain",
    "cancelled",
    "received",
    "deliveryRate",
    "readRate",
    "meanDeliverySeconds",
    "failedByReason",
)
# What a spreadsheet takes for a formula when a cell begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def figures_of(sums: Iterable[Sum]) -> dict[str, Any]:
    """Return the fields of :class:`FiguresModel` for sums that belong together."""
    counters: dict[Figure, Counter] = defaultdict(Counter)
    reasons: dict[str, int] = defaultdict(int)
    for one in sums:
        counters[one.figure] = counters[one.figure].plus(one.counter)
        if one.figure is Figure.FAILED:
            reasons[one.reason] += one.counter.number
    delivered = counters[Figure.DELIVERED]
    return {
        **{figure.value: counters[figure].number for figure in Figure},
        "failed_by_reason": dict(sorted(reasons.items())),
        "delivery_rate": _rate(delivered.number, counters[Figure.SENT].number),
        "read_rate": _rate(counters[Figure.READ].number, delivered.number),
        "mean_delivery_seconds": _rate(delivered.milliseconds / 1000, delivered.timed, digits=3),
    }


def groups_of(sums: Sequence[Sum], by: Grouping) -> list[GroupModel]:
    """Return the groups that sums make, in their order."""
    groups: dict[str | int, list[Sum]] = defaultdict(list)
    for one in sums:
        groups[one.figure.value if by is Grouping.STATUS else one.group].append(one)
    order = list(Figure) if by is Grouping.STATUS else list(groups)
    return [
        GroupModel(key=_key(group, by), **figures_of(groups[group]))
        for group in order
        if group in groups
    ]


def table_of(model: StatisticsModel) -> bytes:
    """Return the groups as CSV (RFC 4180) with a header, and the totals in the last line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([model.by.value, *_COLUMNS])
    for group in model.groups:
        writer.writerow(_cells(group.key, group))
    writer.writerow(_cells("total", model.totals))
    return text.getvalue().encode()


def _cells(key: str, figures: FiguresModel) -> list[Any]:
    values = figures.model_dump(by_alias=True)
    reasons = " ".join(f"{reason}={number}" for reason, number in figures.failed_by_reason.items())
    cells = [key, *(values[name] for name in _COLUMNS[:-1]), reasons]
    return [_harmless(cell) for cell in cells]


def _harmless(cell: Any) -> Any:
    if cell is None:
        return ""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _key(group: str | int, by: Grouping) -> str:
    if isinstance(group, str):
        return group
    return format_time(start_of(group * 24 if by is Grouping.DAY else group)) or ""


def _rate(part: float, whole: int, *, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None

"""Statistics over HTTP: ranges, groups, rates, CSV, and what is refused."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from support.http import PASSWORD, HttpLab, Member
from support.queueing import new_inbound, queue_text, receive, send
from support.tenants import new_instance
from wavisor.domain import MessageStatus
from wavisor.http.statistics.schemas import FiguresModel, GroupModel, StatisticsModel
from wavisor.http.statistics.views import table_of
from wavisor.storage import InstanceRecord, Scope, instances, messages
from wavisor.storage.statistics import Grouping


class Shop:
    """A tenant with an instance whose messages are made by hand."""

    def __init__(self, http: HttpLab) -> None:
        self.http = http
        self.owner: Member = http.register()
        self.scope = Scope(self.owner.subscription_id)
        self.line: InstanceRecord = new_instance(http.database, self.scope)
        self._numbers = iter(range(1000))

    def log_in(self) -> None:
        """Get a new token: the clock may have gone past the end of the first one."""
        credentials = {"email": self.owner.email, "password": PASSWORD}
        self.owner = Member.of(self.http.post("/api/auth/login", credentials).json)

    def send(self, *, delivered_after: int | None = None, read: bool = False) -> None:
        number = f"W{next(self._numbers)}"
        send(self.http.database, queue_text(self.http.database, self.line), number)
        if delivered_after is not None:
            self.receipt(number, MessageStatus.DELIVERED, delivered_after)
        if read:
            self.receipt(number, MessageStatus.READ, (delivered_after or 0) + 1)

    def receipt(self, number: str, status: MessageStatus, seconds: int) -> None:
        at = self.http.clock.now() + timedelta(seconds=seconds)
        self.http.database.write_wait(messages.apply_receipt, self.line.id, [number], status, at)

    def fail(self, reason: str) -> None:
        message = queue_text(self.http.database, self.line)
        self.http.database.write_wait(messages.mark_failed, message.id, {"reason": reason})

    def hear(self, **more: Any) -> None:
        receive(self.http.database, self.line, new_inbound(**more))

    def ask(
        self, *, headers: dict[str, str] | None = None, whole: bool = False, **query: str
    ) -> Any:
        path = "/api/stats" if whole else f"/api/instances/{self.line.id}/stats"
        return self.http.get(f"{path}?{urlencode(query)}", token=self.owner.token, headers=headers)


@pytest.fixture
def shop(http_on_both: HttpLab) -> Shop:
    return Shop(http_on_both)


def test_totals_rates_and_days(shop: Shop) -> None:
    shop.send(delivered_after=2, read=True)
    shop.send(delivered_after=4)
    shop.send()
    shop.fail("timeout")
    shop.hear()
    answer = shop.ask()
    assert answer.status == 200
    figures = answer.json["totals"]
    assert (figures["accepted"], figures["sent"], figures["delivered"]) == (4, 3, 2)
    assert (figures["read"], figures["failed"], figures["received"]) == (1, 1, 1)
    assert figures["failedByReason"] == {"timeout": 1}
    assert figures["deliveryRate"] == 0.6667
    assert figures["readRate"] == 0.5
    assert figures["meanDeliverySeconds"] == 3.0
    assert answer.json["by"] == "day"
    [day] = answer.json["groups"]
    assert day.pop("key") == shop.http.clock.now().strftime("%Y-%m-%dT00:00:00.000Z")
    assert day == figures


def test_nothing_has_no_rates(shop: Shop) -> None:
    answer = shop.ask()
    assert answer.json["groups"] == []
    assert answer.json["totals"]["sent"] == 0
    for name in ("deliveryRate", "readRate", "meanDeliverySeconds"):
        assert answer.json["totals"][name] is None


def test_hours_outside_of_the_range_do_not_count(shop: Shop) -> None:
    start = shop.http.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    shop.http.clock.advance((start - shop.http.clock.now()).total_seconds())
    for _ in range(5):
        shop.hear()
        shop.http.clock.advance(3600)
    shop.log_in()
    bounds = {
        "from": (start + timedelta(hours=1, minutes=59)).isoformat(),
        "to": (start + timedelta(hours=2, seconds=1)).isoformat(),
    }
    answer = shop.ask(by="hour", **bounds)
    # Rounded outwards to whole hours, and told so.
    assert answer.json["from"].startswith(
        (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:00:00")
    )
    assert answer.json["to"].startswith((start + timedelta(hours=3)).strftime("%Y-%m-%dT%H:00:00"))
    assert [one["received"] for one in answer.json["groups"]] == [1, 1]
    assert answer.json["totals"]["received"] == 2


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("kind", ["image", "text"]),
        ("direction", ["inbound", "outbound"]),
        ("status", ["accepted", "sent", "received"]),
    ],
)
def test_groups(shop: Shop, by: str, keys: list[str]) -> None:
    shop.send()
    shop.hear(kind="image")
    assert [one["key"] for one in shop.ask(by=by).json["groups"]] == keys


def test_a_group_of_a_status_holds_that_figure_alone(shop: Shop) -> None:
    shop.fail("timeout")
    shop.fail("not_on_whatsapp")
    groups = {one["key"]: one for one in shop.ask(by="status").json["groups"]}
    assert groups["failed"]["failed"] == 2
    assert groups["failed"]["failedByReason"] == {"not_on_whatsapp": 1, "timeout": 1}
    assert groups["failed"]["accepted"] == 0


def test_the_subscription_has_all_instances_deleted_ones_included(shop: Shop) -> None:
    shop.hear()
    first, shop.line = shop.line, new_instance(shop.http.database, shop.scope)
    shop.hear()
    shop.http.database.write_wait(instances.delete, shop.scope, first.id)
    answer = shop.ask(whole=True, by="instance")
    assert answer.json["instanceId"] is None
    assert answer.json["totals"]["received"] == 2
    assert [one["key"] for one in answer.json["groups"]] == sorted([first.id, shop.line.id])
    assert shop.ask().json["totals"]["received"] == 1
    shop.line = first
    assert shop.ask().status == 404


def test_another_tenant_sees_nothing_of_it(shop: Shop) -> None:
    shop.hear()
    stranger = Shop(shop.http)
    assert stranger.ask(whole=True).json["totals"]["received"] == 0
    stranger.line = shop.line
    assert stranger.ask().status == 404
    assert shop.http.get("/api/stats").status == 401


@pytest.mark.parametrize("how", ["query", "header"])
def test_csv(shop: Shop, how: str) -> None:
    shop.send(delivered_after=2)
    shop.fail("timeout")
    shop.fail("not_on_whatsapp")
    if how == "query":
        answer = shop.ask(by="kind", format="csv")
    else:
        answer = shop.ask(by="kind", headers={"Accept": "text/csv, application/json;q=0.5"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    head, *lines = csv.reader(io.StringIO(answer.body.decode()))
    assert head[:4] == ["kind", "accepted", "sent", "delivered"]
    assert [line[0] for line in lines] == ["text", "total"]
    row = dict(zip(head, lines[0], strict=True))
    assert (row["accepted"], row["deliveryRate"], row["readRate"]) == ("3", "1.0", "0.0")
    assert row["failedByReason"] == "not_on_whatsapp=1 timeout=1"
    assert row["meanDeliverySeconds"] == "2.0"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_cell_of_csv_is_never_a_formula(shop: Shop, cell: str) -> None:
    now = shop.http.clock.now()
    model = StatisticsModel(
        **{"from": now, "to": now},
        by=Grouping.KIND,
        instance_id=None,
        totals=FiguresModel(),
        groups=[GroupModel(key=cell, failed_by_reason={cell: 1})],
    )
    lines = list(csv.reader(io.StringIO(table_of(model).decode(), newline="")))
    assert lines[1][0] == f"'{cell}"
    assert lines[1][-1].startswith("'")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"by": "week"}, "by"),
        ({"format": "xml"}, "format"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-01T00:00:00"}, "from"),
        ({"from": "0001-01-01T00:00:00Z"}, "from"),
        ({"to": "9999-12-31T23:59:59Z"}, "to"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "2025-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}, "from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-02T00:00:00Z", "by": "hour"}, "from"),
        ({"since": "2026-01-01T00:00:00Z"}, "since"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(
    http: HttpLab, query: dict[str, str], parameter: str
) -> None:
    answer = Shop(http).ask(**query)
    assert (answer.status, answer.problem) == (422, "validation-failed")
    assert answer.pointers == [parameter]


def test_the_longest_ranges_are_allowed(http: HttpLab) -> None:
    shop = Shop(http)
    month = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    assert shop.ask(by="hour", **month).status == 200
    year = {"from": "2026-01-01T00:00:00Z", "to": "2027-01-02T00:00:00Z"}
    assert shop.ask(by="day", **year).status == 200


def test_what_is_not_offered_is_406(http: HttpLab) -> None:
    answer = Shop(http).ask(headers={"Accept": "application/xml"})
    assert (answer.status, answer.problem) == (406, "not-acceptable")

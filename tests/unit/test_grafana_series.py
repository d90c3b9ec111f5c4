"""Dashboards and rules use only series, labels and label values that the gateway really has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from wavisor import metrics

GRAFANA = Path(__file__).parents[2] / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
RULE_FILES = sorted((GRAFANA / "rules").glob("*.yml"))

# What Prometheus adds to every series it reads, and its own series.
TARGET_LABELS = {"job", "instance"}
PROMETHEUS_OWN = {"up": set()}


@dataclass(frozen=True)
class Family:
    labels: frozenset[str]
    values: dict[str, set[str]]


def declared_series() -> dict[str, Family]:
    """Every sample name that a scrape can have, with its labels and the values they start with."""
    families: dict[str, Family] = {}
    for collector in set(metrics.REGISTRY._collector_to_names):
        for family in collector.collect():
            labels = frozenset(getattr(collector, "_labelnames", ()))
            for suffix in SUFFIXES[family.type]:
                name = f"{family.name}{suffix}"
                more = {"le"} if suffix == "_bucket" else set()
                values: dict[str, set[str]] = {}
                for sample in family.samples:
                    if sample.name == name:
                        for label, value in sample.labels.items():
                            values.setdefault(label, set()).add(value)
                families[name] = Family(labels | more, values)
    return families


SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


def without_variables(expression: str) -> str:
    """Replace Grafana's variables by what they may stand for."""
    text = expression.replace("$__rate_interval", "1m").replace("$__range", "6h")
    return re.sub(r"\$(job|instance)\b", ".*", text)


def panels_of(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def dashboard_expressions() -> list[tuple[str, str]]:
    found = []
    for path in DASHBOARDS:
        for panel in panels_of(json.loads(path.read_text())):
            for target in panel.get("targets", []):
                found.append((f"{path.name}: {panel['title']}", target["expr"]))
    return found


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def rule_expressions() -> list[tuple[str, str]]:
    return [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def selectors_in(expression: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(without_variables(expression)), visit)
    return found


def grouped_labels(expression: str) -> set[str]:
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            found.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(without_variables(expression)), visit)
    return found


def unknown_in(expression: str, known: dict[str, Family], recorded: set[str]) -> list[str]:
    """Say what an expression uses that does not exist."""
    wrong = []
    available = set(TARGET_LABELS)
    for selector in selectors_in(expression):
        name = selector.name
        if name in recorded or name in PROMETHEUS_OWN:
            continue
        family = known.get(name)
        if family is None:
            wrong.append(f"series {name}")
            continue
        available |= family.labels
        for matcher in selector.matchers.matchers:
            if matcher.name in TARGET_LABELS:
                continue
            if matcher.name not in family.labels:
                wrong.append(f"label {matcher.name} of {name}")
                continue
            values = family.values.get(matcher.name, set())
            wanted = matcher.value.split("|") if "Re" in str(matcher.op) else [matcher.value]
            wrong += [
                f"{name}{{{matcher.name}={value}}}" for value in wanted if value not in values
            ]
    wrong += [f"grouping by {label}" for label in grouped_labels(expression) - available]
    return wrong


RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def test_there_is_something_to_check() -> None:
    assert {path.name for path in DASHBOARDS} >= {"overview.json"}
    assert len(dashboard_expressions()) > 30
    assert len(rule_expressions()) > 10


@pytest.mark.parametrize(("where", "expression"), dashboard_expressions() + rule_expressions())
def test_every_expression_uses_only_what_exists(where: str, expression: str) -> None:
    assert selectors_in(expression), "an expression without a series shows nothing"
    assert unknown_in(expression, declared_series(), RECORDED) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(wavisor_nonsense_total[5m])", ["series wavisor_nonsense_total"]),
        ("wavisor_instance_drops", ["series wavisor_instance_drops"]),
        ('wavisor_instances{state="failed"}', ["label state of wavisor_instances"]),
        ('wavisor_instances{status="gone"}', ["wavisor_instances{status=gone}"]),
        (
            'sum(rate(wavisor_reconnect_duration_seconds_bucket{le="31"}[1m]))',
            ["wavisor_reconnect_duration_seconds_bucket{le=31}"],
        ),
        ("sum by (tenant) (wavisor_instances)", ["grouping by tenant"]),
        (
            'sum(increase(wavisor_session_exits_total{code=~"SIGSEGV|SIGNOT"}[1m]))',
            ["wavisor_session_exits_total{code=SIGNOT}"],
        ),
    ],
)
def test_the_check_finds_what_does_not_exist(expression: str, wrong: list[str]) -> None:
    assert unknown_in(expression, declared_series(), RECORDED) == wrong


def test_every_series_of_ours_is_shown_or_watched() -> None:
    """A series that nobody looks at is not worth its cost; those here say why they are kept."""
    not_on_overview = {
        "wavisor_build_info",  # the dashboard's variables come from it
        "wavisor_instance_connected",  # optional
        "wavisor_instance_label_drops_total",  # optional
        "wavisor_instance_queue_messages",  # optional
        "wavisor_instance_queue_oldest_due_seconds",  # optional
    }
    used = {
        selector.name
        for _, expression in dashboard_expressions() + rule_expressions()
        for selector in selectors_in(expression)
    }
    ours = {
        name
        for name in declared_series()
        if name.startswith("wavisor_") and not name.endswith(("_sum", "_count", "_bucket"))
    }
    assert ours - used == not_on_overview


def test_histograms_are_shown_by_their_buckets() -> None:
    used = {selector.name for _, text in dashboard_expressions() for selector in selectors_in(text)}
    buckets = {
        name
        for name in declared_series()
        if name.startswith("wavisor_") and name.endswith("_bucket")
    }
    assert buckets <= used


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_dashboards_are_well_formed(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"].startswith("wavisor-")
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    panels = list(panels_of(dashboard))
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == uid
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
    for variable in dashboard["templating"]["list"]:
        assert "wavisor_build_info" in variable["definition"]


def test_alerts_say_what_is_wrong_and_how_bad_it_is() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    for alert in alerts:
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert alert["annotations"]["summary"]
    expressions = " ".join(rule["expr"] for rule in rules())
    assert "wavisor_slo_uptime_target_ratio" in expressions
    assert "wavisor_slo_reconnect_target_seconds" in expressions


def test_the_scrape_reads_the_rules_and_the_default_port() -> None:
    config = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]
    assert [path for pattern in config["rule_files"] for path in GRAFANA.glob(pattern)]


def test_the_guide_lists_every_series_with_its_labels() -> None:
    guide = (GRAFANA.parent / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(wavisor_\w+)` \| \w+ \| ([^|]*) \|", guide, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    declared = {
        name.removesuffix("_bucket"): set(family.labels) - {"le"}
        for name, family in declared_series().items()
        if name.startswith("wavisor_") and not name.endswith(("_sum", "_count"))
    }
    assert documented == declared

"""The series exist from the start, with bounded labels that name nobody."""

from __future__ import annotations

import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from wavisor import metrics
from wavisor.domain import EventType, InstanceStatus, MessageDirection, MessageStatus, Reason

FORBIDDEN_LABELS = {
    *("tenant", "subscription", "user", "email", "phone", "jid", "lid", "path", "url", "ip"),
}


def value(name: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(name, labels)
    assert found is not None, f"{name}{labels} does not exist"
    return found


def families() -> dict:
    text = metrics.render().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_our_series_have_the_prefix_and_a_base_unit() -> None:
    names = [name for name in families() if not name.startswith(("process_", "python_"))]
    assert len(names) > 30
    for name in names:
        assert name.startswith("wavisor_"), name
        assert not name.endswith(("_ms", "_milliseconds", "_minutes", "_kb", "_mb")), name


def test_no_label_names_a_tenant_or_a_person() -> None:
    for family in families().values():
        for sample in family.samples:
            assert not FORBIDDEN_LABELS & set(sample.labels), sample


def test_every_family_but_the_optional_and_the_registered_ones_has_a_sample_at_once() -> None:
    # Those of instances are off by default; handlers and actors come with the application.
    later = {"wavisor_instance_connected", "wavisor_instance_label_drops", "wavisor_actors"}
    later |= {"wavisor_instance_queue_messages", "wavisor_instance_queue_oldest_due_seconds"}
    later |= {"wavisor_http_request_duration_seconds"}
    empty = {name for name, family in families().items() if not family.samples}
    assert empty <= later


def test_every_word_of_the_domain_has_its_series() -> None:
    for status in InstanceStatus:
        value("wavisor_instances", status=status.value)
    for event in EventType:
        value("wavisor_events_published_total", type=event.value)
    for reason in metrics.DROP_REASONS:
        value("wavisor_instance_drops_total", reason=reason.value)
    for status in MessageStatus:
        labels = {"kind": "text", "direction": "outbound", "status": status.value}
        value("wavisor_messages_total", **labels)
    value("wavisor_messages_total", kind="image", direction="inbound", status="received")


def test_every_reason_either_ends_a_connection_or_cannot() -> None:
    cannot = {
        *(Reason.USER_CONNECT, Reason.USER_DISCONNECT, Reason.USER_RESTART, Reason.USER_LOGOUT),
        *(Reason.RESTORED, Reason.QR_SHOWN, Reason.QR_SCANNED, Reason.CODE_ENTERED),
        *(Reason.PROXY_CHANGED, Reason.PROXY_UNREACHABLE, Reason.SUBSCRIPTION_SUSPENDED),
        *(Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT, Reason.QR_LIMIT_REACHED),
        *(Reason.PAIRING_FAILED, Reason.PASSKEY_REQUIRED, Reason.RESTART_BUDGET_SPENT),
        Reason.LOGGED_IN,
    }
    assert cannot.isdisjoint(metrics.DROP_REASONS)
    assert cannot | set(metrics.DROP_REASONS) == set(Reason)


def test_the_targets_are_series() -> None:
    assert value("wavisor_slo_uptime_target_ratio") == 0.99
    assert value("wavisor_slo_reconnect_target_seconds") == 30
    build = families()["wavisor_build_info"].samples[0]
    assert build.value == 1
    assert set(build.labels) == {"version", "neonize", "python"}


def test_reconnections_are_resolved_around_the_promise() -> None:
    names = [
        sample.labels["le"]
        for sample in families()["wavisor_reconnect_duration_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    for bound in ("15.0", "20.0", "25.0", "30.0", "35.0", "45.0", "60.0", "300.0"):
        assert bound in names

    within = value("wavisor_reconnect_duration_seconds_bucket", le="30.0")
    beyond = value("wavisor_reconnect_duration_seconds_bucket", le="35.0")
    metrics.observe_reconnect(30.0)
    metrics.observe_reconnect(30.1)
    assert value("wavisor_reconnect_duration_seconds_bucket", le="30.0") == within + 1
    assert value("wavisor_reconnect_duration_seconds_bucket", le="35.0") == beyond + 2


@pytest.mark.parametrize(
    ("exit_code", "label"),
    [
        (0, "0"),
        (1, "1"),
        (57, "other"),
        (-signal.SIGKILL, "SIGKILL"),
        (-signal.SIGSEGV, "SIGSEGV"),
        (-signal.SIGUSR2, "other"),
        (-200, "other"),
        (None, "unknown"),
    ],
)
def test_ends_of_processes_have_a_bounded_label(exit_code: int | None, label: str) -> None:
    before = value("wavisor_session_exits_total", code=label)
    metrics.observe_session_exit(exit_code)
    assert value("wavisor_session_exits_total", code=label) == before + 1


def test_requests_are_counted_by_handler_method_and_class_of_status() -> None:
    labels = {"handler": "InstancesHandler", "method": "GET", "status": "4xx"}
    name = "wavisor_http_request_duration_seconds"
    metrics.observe_http("InstancesHandler", "GET", 404, 0.25)
    before = value(f"{name}_count", **labels)
    metrics.observe_http("InstancesHandler", "GET", 404, 0.25)
    assert value(f"{name}_count", **labels) == before + 1
    assert value(f"{name}_sum", **labels) >= 0.5


def test_every_class_of_status_is_counted_from_its_first_answer_on() -> None:
    name = "wavisor_http_requests_total"
    for status in (101, 200, 304, 404, 500, 999):
        label = f"{status // 100}xx" if status < 600 else "other"
        before = value(name, status=label)
        metrics.observe_http("Any", "GET", status, 0.1)
        assert value(name, status=label) == before + 1


def test_methods_and_statuses_that_http_does_not_know_do_not_become_labels() -> None:
    metrics.observe_http("Any", "BREW", 999, 0.1)
    labels = {"handler": "Any", "method": "other", "status": "other"}
    assert value("wavisor_http_request_duration_seconds_count", **labels) == 1


def test_messages_of_a_kind_nobody_knows_count_as_other() -> None:
    labels = {"kind": "other", "direction": "inbound", "status": "received"}
    before = value("wavisor_messages_total", **labels)
    metrics.observe_message("hologram", MessageDirection.INBOUND)
    assert value("wavisor_messages_total", **labels) == before + 1


@pytest.mark.parametrize(
    ("observe", "argument", "name", "labels"),
    [
        (
            metrics.observe_drop,
            Reason.STREAM_REPLACED,
            "wavisor_instance_drops_total",
            {"reason": "stream_replaced"},
        ),
        (
            metrics.observe_pairing,
            metrics.PairingMethod.CODE,
            "wavisor_pairings_total",
            {"method": "code"},
        ),
        (
            metrics.observe_event,
            EventType.MESSAGE_RECEIVED,
            "wavisor_events_published_total",
            {"type": "message:received"},
        ),
        (
            metrics.observe_login,
            metrics.LoginOutcome.THROTTLED,
            "wavisor_logins_total",
            {"outcome": "throttled"},
        ),
        (
            metrics.observe_websocket_drop,
            metrics.WebsocketDrop.SLOW_READER,
            "wavisor_websocket_drops_total",
            {"reason": "slow_reader"},
        ),
    ],
)
def test_each_function_feeds_its_series(observe, argument, name: str, labels: dict) -> None:
    before = value(name, **labels)
    observe(argument)
    assert value(name, **labels) == before + 1


def test_time_of_the_database_is_observed_by_kind() -> None:
    before = value("wavisor_database_duration_seconds_sum", kind="write")
    metrics.observe_database(metrics.DatabaseJob.WRITE, 0.5)
    assert value("wavisor_database_duration_seconds_sum", kind="write") == before + 0.5


def test_hooks_run_before_their_series_are_read_and_a_bad_one_hinders_nobody() -> None:
    def fail() -> None:
        raise RuntimeError("cannot")

    def set_queue() -> None:
        metrics.DATABASE_QUEUE.labels("read").set(7)

    removals = [metrics.before_scrape(fail), metrics.before_scrape(set_queue)]
    try:
        assert b'wavisor_database_queue_jobs{kind="read"} 7.0' in metrics.render()
    finally:
        for remove in removals:
            remove()
    metrics.DATABASE_QUEUE.labels("read").set(0)
    assert b'wavisor_database_queue_jobs{kind="read"} 0.0' in metrics.render()


def test_a_capped_label_lets_the_first_values_pass() -> None:
    label = metrics.CappedLabel(2, known=("known",))
    assert [label(text) for text in ("a", "b", "c", "known", "a")] == [
        *("a", "b", "other", "known", "a")
    ]
    label.forget("a")
    assert (label("c"), label("a")) == ("c", "other")

"""Health, metrics and the front page of a whole gateway."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from support.gateway import GatewayLab, NewGateway
from wavisor import __version__, metrics
from wavisor.actors.ask import ask_sync
from wavisor.actors.supervisor import TerminateChild
from wavisor.domain import InstanceStatus


def test_health_tells_database_tree_sessions_and_versions(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    gateway.link(owner, gateway.create_instance(owner))
    gateway.create_instance(owner)
    health = gateway.get("/health")
    assert health.status == 200
    found = health.json
    assert found["status"] == "up"
    assert found["database"]["status"] == "up"
    assert found["database"]["engine"] == gateway.database.engine_name
    assert found["database"]["seconds"] >= 0
    assert found["supervision"]["status"] == "up"
    assert found["supervision"]["parts"]["instances"] == "running"
    # Events, webhooks, housekeeping, instances, campaigns, suspensions, removals, HTTP, and one
    # for each instance.
    assert found["supervision"]["actors"]["running"] == 10
    assert set(found["sessions"]) == set(InstanceStatus)
    assert (found["sessions"]["connected"], found["sessions"]["disconnected"]) == (1, 1)
    assert found["versions"] == {"wavisor": __version__, "neonize": version("neonize")}


def test_ready_and_live_answer_without_a_token(gateway: GatewayLab) -> None:
    assert gateway.get("/health/live").json == {"status": "up"}
    ready = gateway.get("/health/ready")
    assert ready.status == 200
    assert ready.json["status"] == "up"


def test_an_instance_that_is_given_up_leaves_the_gateway_ready(gateway: GatewayLab) -> None:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    assert gateway.gateway is not None
    supervisor = gateway.gateway.environment.directory.find("instances")
    ask_sync(supervisor, TerminateChild(instance), 10)
    assert gateway.get("/health/ready").status == 200


def test_a_database_that_is_gone_makes_the_gateway_unready_but_alive(gateway: GatewayLab) -> None:
    assert gateway.database.close(timeout=60)
    ready = gateway.get("/health/ready")
    assert ready.status == 503
    assert ready.problem == "not-ready"
    assert ready.json["database"]["status"] == "down"
    assert int(ready.headers["Retry-After"]) > 0
    assert gateway.get("/health/live").status == 200
    health = gateway.get("/health")
    assert (health.status, health.json["status"]) == (200, "down")
    assert health.json["sessions"] is None


def test_a_part_of_the_tree_that_is_down_makes_the_gateway_unready(
    new_gateway: NewGateway,
) -> None:
    gateway = new_gateway()
    assert gateway.gateway is not None
    gateway.gateway.root = None
    ready = gateway.get("/health/ready")
    assert ready.problem == "not-ready"
    assert ready.json["supervision"]["status"] == "down"


def test_health_is_looked_up_once_however_often_it_is_asked(gateway: GatewayLab) -> None:
    gateway.get("/health")
    with gateway.database.count_queries() as counter:
        for _ in range(10):
            assert gateway.get("/health/ready").status == 200
    assert counter.count <= 4  # the ping and the count, again after a second at most


def test_metrics_are_shown_to_allowed_addresses(gateway: GatewayLab) -> None:
    gateway.get("/health/live")
    answer = gateway.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE
    text = answer.body.decode()
    assert 'wavisor_http_request_duration_seconds_count{handler="getLiveness"' in text
    assert "wavisor_slo_uptime_target_ratio 0.99" in text


def test_metrics_are_not_shown_to_others(new_gateway: NewGateway) -> None:
    gateway = new_gateway(metrics_allow=())
    assert gateway.get("/metrics").problem == "forbidden"


def test_metrics_have_a_token_of_their_own(new_gateway: NewGateway) -> None:
    token = "a-token-for-prometheus"
    gateway = new_gateway(metrics_allow=(), metrics_token=token)
    assert gateway.get("/metrics", token=token).status == 200
    for other in (None, "nonsense", gateway.register().token, f"{token}x"):
        refused = gateway.get("/metrics", token=other)
        assert refused.problem == "metrics-token-needed"
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_proxy_nobody_told_of_opens_no_metrics(gateway: GatewayLab) -> None:
    """Behind it all the world would seem to come from the loopback address."""
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    assert gateway.get("/metrics", headers=forwarded).problem == "forbidden"


@pytest.mark.parametrize(("client", "status"), [("203.0.113.7", 403), ("10.0.0.7", 200)])
def test_behind_a_trusted_proxy_the_clients_own_address_counts(
    new_gateway: NewGateway, client: str, status: int
) -> None:
    gateway = new_gateway(trusted_proxies=("127.0.0.1/32",), metrics_allow=("10.0.0.0/8",))
    answer = gateway.get("/metrics", headers={"X-Forwarded-For": client})
    assert answer.status == status


def test_the_front_page_says_where_to_go(gateway: GatewayLab) -> None:
    welcome = gateway.get("/").json
    assert welcome["version"] == __version__
    for path in (welcome["documentation"], welcome["openapi"], welcome["health"]):
        assert gateway.get(path).status == 200


def test_the_http_layer_does_not_load_neonize() -> None:
    """Importing it would start the Go runtime in the gateway's own process."""
    code = "import sys, wavisor.gateway; sys.exit('neonize' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

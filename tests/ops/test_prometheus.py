"""Debian's Prometheus takes our configuration, reads our series and raises our alerts."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tornado.web
import yaml
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from support.ports import held_port
from wavisor import metrics

GRAFANA = Path(__file__).parents[2] / "grafana"

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs Prometheus: apt-get install prometheus",
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


class MetricsHandler(tornado.web.RequestHandler):
    async def get(self) -> None:
        body = await asyncio.get_running_loop().run_in_executor(None, metrics.render)
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(body)


@pytest.fixture
def endpoint() -> Iterator[int]:
    """Serve the registry over HTTP; the port."""
    started, loops, ports = threading.Event(), [], []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        server = HTTPServer(tornado.web.Application([("/metrics", MetricsHandler)]))
        sockets = bind_sockets(0, "127.0.0.1")
        ports.append(sockets[0].getsockname()[1])
        server.add_sockets(sockets)
        started.set()
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(timeout=60)
    yield ports[0]
    loop, stop = loops[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=60)
    assert not thread.is_alive()


class Prometheus:
    """A running server and what it answers."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url, self.process, self.log = url, process, log

    def ask(self, path: str, **query: str) -> Any:
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)["data"]

    def wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        """Poll a program that has no way to tell us; 30 s at most."""
        deadline = time.monotonic() + 30
        last: object = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                last = condition()
            except OSError as error:  # not listening yet
                last = error
            else:
                if last:
                    return last
            threading.Event().wait(0.1)
        pytest.fail(f"{what} did not happen; last: {last}\n{self.log.read_text()[-3000:]}")


@pytest.fixture
def own_port() -> Iterator[int]:
    """A port for the server."""
    with held_port() as port:
        yield port


@pytest.fixture
def prometheus(endpoint: int, own_port: int, tmp_path: Path) -> Iterator[Prometheus]:
    """Debian's server with our own configuration, only quicker and at the endpoint's port."""
    config = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(GRAFANA / pattern) for pattern in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{endpoint}"]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    port, log = own_port, tmp_path / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    checked = promtool("check", "config", str(GRAFANA / "prometheus.yml"))
    assert checked.returncode == 0, checked.stderr
    assert "rule files found" in checked.stdout + checked.stderr
    for path in sorted((GRAFANA / "rules").glob("*.yml")):
        checked = promtool("check", "rules", "--lint-fatal", str(path))
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_promtool_finds_nothing_wrong_with_the_exposition() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics.render(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()


def test_the_alerts_come_and_go_as_the_objectives_say() -> None:
    tested = promtool("test", "rules", str(Path(__file__).with_name("alerts.test.yml")))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_prometheus_reads_our_series_and_evaluates_our_rules(prometheus: Prometheus) -> None:
    def healthy_target() -> dict[str, Any] | None:
        targets = prometheus.ask("/api/v1/targets")["activeTargets"]
        return next((target for target in targets if target["health"] == "up"), None)

    target = prometheus.wait_for("the first reading", healthy_target)
    assert target["labels"]["job"] == "wavisor"
    assert target["lastError"] == ""

    def objective() -> str | None:
        result = prometheus.ask("/api/v1/query", query="wavisor_slo_uptime_target_ratio")["result"]
        return result[0]["value"][1] if result else None

    assert prometheus.wait_for("the objective's series", objective) == "0.99"

    metrics.observe_reconnect(12.0)

    def reconnected() -> bool:
        query = 'wavisor_reconnect_duration_seconds_bucket{le="15.0"}'
        result = prometheus.ask("/api/v1/query", query=query)["result"]
        return bool(result) and float(result[0]["value"][1]) >= 1

    prometheus.wait_for("the reconnection's bucket", reconnected)

    def evaluated() -> list[dict[str, Any]] | None:
        groups = prometheus.ask("/api/v1/rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if found and all(rule["health"] == "ok" for rule in found) else None

    found = prometheus.wait_for("every rule evaluated without an error", evaluated)
    assert len(found) > 10

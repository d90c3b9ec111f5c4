"""Real session processes with the real client, without a WhatsApp to talk to.

The way out is a proxy on loopback: one that refuses, or one that accepts and never answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.ports import held_port
from support.session_lab import PATIENCE, SessionLab, Tap, is_alive, sockets_of
from wavisor.ids import Kind, new_id
from wavisor.whatsapp.commands import Ping, Probe, RequestPairingCode, SendMessage
from wavisor.whatsapp.content import Text
from wavisor.whatsapp.events import ConnectFailed, Exited, Ready
from wavisor.whatsapp.port import SessionError

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def way_out(port: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        yield


@pytest.fixture(scope="module")
def silent_proxy() -> Iterator[int]:
    """A way out that accepts connections and never answers: a dial that hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def shared_lab(silent_proxy: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionLab]:
    with way_out(silent_proxy), SessionLab(tmp_path_factory.mktemp("lab") / "sessions") as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: SessionLab, silent_proxy: int) -> Iterator[SessionLab]:
    """A driver whose sessions stay where they are: dialling."""
    # The environment counts when a forkserver is started, which a test may cause again.
    with way_out(silent_proxy):
        yield shared_lab
        shared_lab.calm()


@pytest.fixture
def cut_off_lab(tmp_path: Path) -> Iterator[SessionLab]:
    """A driver whose sessions find no network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with way_out(port), SessionLab(tmp_path / "sessions") as lab:
        yield lab


def ready(lab: SessionLab, instance: str | None = None) -> tuple[Tap, int]:
    """Open a session and wait until its process is up."""
    tap = lab.open(instance)
    return tap, tap.wait(Ready).pid


def gone(*pids: int) -> bool:
    """Wait until these processes are gone, by their own handles instead of by time."""
    poller = select.poll()
    handles = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
        poller.register(handles[-1], select.POLLIN)
    waiting = set(handles)
    try:
        while waiting:
            events = poller.poll(PATIENCE * 1000)
            if not events:
                return False
            for handle, _ in events:
                poller.unregister(handle)
                waiting.discard(handle)
        return True
    finally:
        for handle in handles:
            os.close(handle)


def test_without_a_network_connecting_fails_and_the_process_ends(cut_off_lab: SessionLab) -> None:
    tap = cut_off_lab.open()
    exited = tap.exited()
    assert [event.type for event in tap.events] == ["ready", "connect_failed", "exited"]
    failed = tap.all(ConnectFailed)[0]
    assert (failed.cause, failed.code, failed.permanent) == ("network", None, False)
    assert "connection refused" in failed.detail
    assert exited.exit_code == 2
    assert tap.session.pid is None
    assert not tap.session.send(Ping(instance=tap.instance, id="1"))


def test_a_process_answers_while_its_dial_hangs_and_calls_nothing_that_is_not_there(
    lab: SessionLab,
) -> None:
    # The library dies of questions to a client that does not exist yet.
    tap, _ = ready(lab)
    assert tap.ask(Ping).failure is None
    for answer in (
        tap.ask(SendMessage, to="15550100@s.whatsapp.net", content=Text(text="hi")),
        tap.ask(Probe),
        tap.ask(RequestPairingCode, phone="15550100123"),
    ):
        assert answer.failure is not None
        assert (answer.failure.reason, answer.failure.uncertain) == ("not_connected", False)
    assert tap.stop().exit_code == 0


def test_a_killed_process_is_told_and_its_neighbours_notice_nothing(lab: SessionLab) -> None:
    (victim, victim_pid), (other, other_pid) = ready(lab), ready(lab)
    before = sockets_of(other_pid)
    os.kill(victim_pid, signal.SIGKILL)
    assert victim.exited() == Exited(instance=victim.instance, exit_code=-signal.SIGKILL)
    assert before <= sockets_of(other_pid)
    assert other.ask(Ping).failure is None
    assert not other.all(Exited)


def test_a_stopped_process_ends_by_force_after_the_grace(lab: SessionLab) -> None:
    tap, pid = ready(lab)
    os.kill(pid, signal.SIGSTOP)
    assert tap.stop(grace=0.2).exit_code == -signal.SIGKILL
    assert gone(pid)


def test_kill_takes_a_stopped_process_at_once(lab: SessionLab) -> None:
    tap, pid = ready(lab)
    os.kill(pid, signal.SIGSTOP)
    tap.session.kill()
    assert tap.exited().exit_code == -signal.SIGKILL


def test_signals_meant_for_the_gateway_do_not_end_sessions(lab: SessionLab) -> None:
    tap, pid = ready(lab)
    forkserver = lab.driver.forkserver_pid
    assert forkserver is not None
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(forkserver, signum)
        os.kill(pid, signum)
    assert tap.ask(Ping).failure is None
    assert os.getsid(pid) != os.getsid(0)


def test_when_the_forkserver_dies_every_session_is_told_and_the_next_open_works(
    lab: SessionLab,
) -> None:
    (one, one_pid), (two, two_pid) = ready(lab), ready(lab)
    first = lab.driver.forkserver_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    for tap in (one, two):
        exited = tap.exited()
        assert exited.exit_code is None
        assert exited.detail
    assert gone(first, one_pid, two_pid)
    again, _ = ready(lab, one.instance)
    assert again.ask(Ping).failure is None
    assert lab.driver.forkserver_pid not in (None, first)


def test_a_forkserver_that_hangs_is_replaced(
    lab: SessionLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavisor.whatsapp.nursery.PONG_SECONDS", 0.2)
    tap, pid = ready(lab)
    forkserver = lab.driver.forkserver_pid
    assert forkserver is not None
    os.kill(forkserver, signal.SIGSTOP)
    with capture_logs() as logs:
        tap.session.kill()
        assert tap.exited().exit_code is None
    assert "critical" in [log["log_level"] for log in logs]
    assert gone(forkserver, pid)


def test_an_open_that_meets_a_dead_forkserver_is_told(lab: SessionLab) -> None:
    ready(lab)
    forkserver = lab.driver.forkserver_pid
    assert forkserver is not None
    os.kill(forkserver, signal.SIGSTOP)
    tap = lab.open()
    os.kill(forkserver, signal.SIGKILL)
    assert tap.exited().exit_code is None
    assert [event.type for event in tap.events] == ["exited"]


def test_a_second_session_of_an_instance_waits_until_the_first_was_killed(lab: SessionLab) -> None:
    first, pid = ready(lab)
    os.kill(pid, signal.SIGSTOP)
    second = lab.open(first.instance)
    third = lab.open(first.instance)
    third.wait(Ready)
    assert not is_alive(pid)
    assert first.all(Exited)[0].exit_code == -signal.SIGKILL
    assert second.exited().detail == "superseded by a newer session"
    assert third.ask(Ping).failure is None


def test_a_session_stopped_before_its_process_exists_still_ends(lab: SessionLab) -> None:
    tap = lab.open()
    tap.session.stop(5.0)
    assert tap.exited().exit_code == 0
    tap = lab.open()
    tap.session.kill()
    tap.exited()
    assert len(tap.all(Exited)) == 1


def test_keys_of_a_living_session_cannot_be_discarded(lab: SessionLab) -> None:
    tap, _ = ready(lab)
    with pytest.raises(SessionError, match="still has a session"):
        lab.driver.discard_keys(tap.instance)
    tap.session.kill()
    tap.exited()
    lab.driver.discard_keys(tap.instance)
    assert not list(lab.directory.glob(f"{tap.instance}*"))


def test_a_key_store_that_cannot_be_made_is_told(cut_off_lab: SessionLab) -> None:
    cut_off_lab.directory.write_text("a file where the directory should be")
    tap = cut_off_lab.open()
    exited = tap.exited()
    assert [event.type for event in tap.events] == ["connect_failed", "exited"]
    failed = tap.all(ConnectFailed)[0]
    assert failed.cause == "key_store"
    assert exited.exit_code is None
    assert exited.detail == failed.detail


@pytest.mark.parametrize("obstacle", ["a directory", "a full disk"])
def test_a_key_store_that_cannot_be_written_is_told(lab: SessionLab, obstacle: str) -> None:
    instance = new_id(Kind.INSTANCE)
    path = lab.key_store(instance)
    path.parent.mkdir(exist_ok=True)
    if obstacle == "a directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/full")
    tap = lab.open(instance)
    failed = tap.wait(ConnectFailed)
    assert failed.cause == "key_store"
    assert tap.exited().exit_code == 2


def test_what_a_session_prints_reaches_the_log_with_its_instance(cut_off_lab: SessionLab) -> None:
    with capture_logs() as logs:
        tap = cut_off_lab.open()
        tap.exited()
    printed = [log for log in logs if log["event"] == "session output"]
    assert any("connecting failed" in log["line"] for log in printed)
    assert {log["instance"] for log in printed} == {tap.instance}


def test_a_sessions_environment_holds_no_secret_of_the_gateway(
    silent_proxy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVISOR_JWT_SECRET", "hunter2hunter2")
    with way_out(silent_proxy), SessionLab(tmp_path / "sessions") as lab:
        _, pid = ready(lab)
        for name in (pid, lab.driver.forkserver_pid):
            environment = Path(f"/proc/{name}/environ").read_bytes()
            assert b"hunter2" not in environment
            assert b"NEONIZE_BOT_TAG=off" in environment


def test_sessions_leave_no_descriptor_behind(lab: SessionLab) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    ready(lab)
    lab.calm()
    before = descriptors()
    for _ in range(3):
        ready(lab)
        lab.open()
        lab.calm()
    assert descriptors() == before


def test_closing_ends_all_sessions_in_time_even_those_that_hang(
    silent_proxy: int, tmp_path: Path
) -> None:
    with way_out(silent_proxy), SessionLab(tmp_path / "sessions") as lab:
        taps = [ready(lab) for _ in range(3)]
        unstarted = lab.open()
        os.kill(taps[1][1], signal.SIGSTOP)
        forkserver = lab.driver.forkserver_pid
        assert forkserver is not None
        lab.run(lab.driver.close(grace=1.0), patience=10)
        codes = [tap.all(Exited)[0].exit_code for tap, _ in taps]
        assert codes == [0, -signal.SIGKILL, 0]
        for tap in (*(tap for tap, _ in taps), unstarted):
            assert len(tap.all(Exited)) == 1
            assert isinstance(tap.events[-1], Exited)
        assert not is_alive(forkserver)
        assert not any(is_alive(pid) for _, pid in taps)
        with pytest.raises(SessionError, match="closed"):
            lab.open()


GATEWAY = """
import asyncio, json, sys
from pathlib import Path
from wavisor.ids import Kind, new_id
from wavisor.whatsapp.driver import NeonizeDriver
from wavisor.whatsapp.port import SessionSpec

async def main():
    driver = NeonizeDriver(asyncio.get_running_loop(), Path(sys.argv[1]))
    pids, ready = [], asyncio.Event()
    def on_event(_, event):
        if event.type == "ready":
            pids.append(event.pid)
            ready.set()
    for _ in range(2):
        ready.clear()
        driver.open(SessionSpec(new_id(Kind.INSTANCE), None), on_event)
        await asyncio.wait_for(ready.wait(), 20)
    print(json.dumps({
        "pids": [driver.forkserver_pid, *pids],
        "neonize": [name for name in sys.modules if name.startswith("neonize")],
        "sandbox": [name for name in sys.modules if name.startswith("wavisor.sandbox")],
        "mapped": "neonize" in Path("/proc/self/maps").read_text(),
    }), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def gateway(tmp_path: Path, silent_proxy: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has two sessions."""
    with (
        way_out(silent_proxy),
        subprocess.Popen(
            [sys.executable, "-c", GATEWAY, str(tmp_path / "sessions")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        yield process
        process.kill()


def report_of(gateway: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what the gateway says of itself, past what it logs."""
    assert gateway.stdout is not None
    line = next(line for line in gateway.stdout if line.startswith("{"))
    report: dict[str, Any] = json.loads(line)
    return report


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_no_session_outlives_its_gateway(
    gateway: subprocess.Popen[str], signum: signal.Signals
) -> None:
    pids = report_of(gateway)["pids"]
    assert all(map(is_alive, pids))
    gateway.send_signal(signum)
    assert gone(*pids)


def test_no_stopped_session_outlives_its_gateway(gateway: subprocess.Popen[str]) -> None:
    pids = report_of(gateway)["pids"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    gateway.kill()
    assert gone(*pids)


def test_the_gateway_loads_neither_the_client_nor_the_sandbox(
    gateway: subprocess.Popen[str],
) -> None:
    report = report_of(gateway)
    assert report["neonize"] == []
    assert report["sandbox"] == []
    assert not report["mapped"]


CHILD = """
import os, sys, socket, threading

def forbid(event, arguments):
    if event == "import" and arguments[0].startswith("wavisor.sandbox"):
        os._exit(99)

sys.addaudithook(forbid)
from wavisor.whatsapp import forkserver
forkserver._preload()
from wavisor.whatsapp.child import run_session
from wavisor.whatsapp.commands import Open
from wavisor.whatsapp.frames import encode_frame
ours, theirs = socket.socketpair()
opening = Open(instance="i", store=sys.argv[1], jid=None, incarnation="x")
ours.sendall(encode_frame(opening.model_dump_json().encode()))
run_session(theirs)
"""


def test_a_session_without_redirection_never_imports_the_sandbox(tmp_path: Path) -> None:
    with held_port() as closed:
        run = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "keys.db")],
            cwd=ROOT,
            env={**os.environ, "HTTPS_PROXY": f"http://127.0.0.1:{closed}"},
            capture_output=True,
            timeout=PATIENCE,
        )
    assert run.returncode == 2, run.stderr.decode()

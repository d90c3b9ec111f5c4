"""The local WhatsApp as a child process: ready, stopped, never an orphan."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from wavisor.sandbox.client import SandboxControl, SandboxControlError
from wavisor.sandbox.people import ECHO_NUMBER
from wavisor.sandbox.process import SandboxProcess, SandboxStartError
from wavisor.sandbox.redirect import Endpoints

ROOT = Path(__file__).resolve().parents[2]
USER = "12025550110"

PARENT = """
import sys, time
from wavisor.sandbox.process import SandboxProcess
sandbox = SandboxProcess()
sandbox.start()
print(sandbox.pid, flush=True)
time.sleep(600)
"""


def test_ready_process_answers_and_stops_cleanly(tmp_path):
    sandbox = SandboxProcess(log_file=tmp_path / "log")
    endpoints = sandbox.start()
    try:
        told = sandbox.control.endpoints()
        assert told.proxy_url == endpoints.proxy_url
        assert told.root_public_key == endpoints.root_public_key.hex()
        assert Path(endpoints.ca_file).read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert sandbox.pid is not None
    finally:
        code = sandbox.stop()
    assert code == 0, (tmp_path / "log").read_text()
    assert sandbox.pid is None
    assert sandbox.stop() is None
    assert not Path(endpoints.ca_file).exists()


def test_blocking_client_speaks_the_api(tmp_path):
    with SandboxProcess(log_file=tmp_path / "log") as sandbox:
        control = sandbox.control
        assert control.add_phone("+1 202 555 0110", "Alice").phone == USER
        sent = control.write_on_phone(USER, ECHO_NUMBER, "hi")
        (echoed,) = control.phone_messages(USER, count=1, wait=5)
        assert echoed.text == "echo: hi"
        assert control.phone_sent(USER, sent.id, status="read", wait=5).status == "read"
        with pytest.raises(SandboxControlError) as caught:
            control.add_phone(USER, "Alice again")
        assert caught.value.status == 409
        control.clear_faults()
    with pytest.raises(SandboxControlError) as caught:
        control.stats()
    assert caught.value.status == 0


def test_state_directory_holds_what_others_need_while_it_runs(tmp_path):
    state = tmp_path / "state"
    with SandboxProcess(state_dir=state, log_file=tmp_path / "log") as sandbox:
        published = Endpoints.from_json((state / "endpoints.json").read_text())
        assert published == sandbox.endpoints
        assert Path(published.ca_file) == state / "ca.pem"
        assert SandboxControl(published.control_url).contacts()
    assert list(state.iterdir()) == []


def test_default_contacts_can_be_left_out(tmp_path):
    with SandboxProcess(default_contacts=False, log_file=tmp_path / "log") as sandbox:
        assert sandbox.control.contacts() == []


def test_taken_port_is_an_error_in_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments in ({"port": port}, {"control_port": port}):
            with pytest.raises(SandboxStartError):
                SandboxProcess(log_file=tmp_path / "log", **arguments).start()
    log = (tmp_path / "log").read_text()
    assert log.count("the local WhatsApp cannot start") == 2
    assert "Traceback" not in log


def test_start_that_takes_too_long_is_given_up(tmp_path):
    sandbox = SandboxProcess(log_file=tmp_path / "log", ready_timeout=0.001)
    with pytest.raises(SandboxStartError, match="in time"):
        sandbox.start()
    assert sandbox.pid is None


def test_it_starts_once_at_a_time(tmp_path):
    with SandboxProcess(log_file=tmp_path / "log") as sandbox:
        with pytest.raises(RuntimeError, match="already"):
            sandbox.start()
        first = sandbox.pid
        sandbox.stop()
        sandbox.start()
        assert sandbox.pid != first


def test_signal_stops_it_like_the_api_does(tmp_path):
    sandbox = SandboxProcess(log_file=tmp_path / "log")
    sandbox.start()
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGINT)
    assert sandbox.stop() == 0


def test_it_dies_with_its_parent():
    """The parent is killed, so that it can stop nothing; the child notices."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            # A pidfd becomes readable when its process has ended.
            assert select.select([child], [], [], 10)[0]
        finally:
            os.close(child)


def test_api_listens_on_loopback_only(tmp_path):
    with SandboxProcess(log_file=tmp_path / "log") as sandbox:
        url = sandbox.endpoints.control_url
        assert url.startswith("http://127.0.0.1:")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url + "/endpoints", timeout=60) as response:
            assert response.status == 200
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection(("127.0.0.2", port), timeout=2).close()

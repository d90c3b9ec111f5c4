"""The gateway as its operator meets it: starting, stopping, signals, and what it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.live import ROOT, LiveGateway, new_number
from support.ports import held_port
from support.processes import children_of, wait_gone, wait_stopped
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.people import ECHO_NUMBER

pytestmark = pytest.mark.e2e

NewLive = Callable[..., LiveGateway]

STOP_WITHIN = 10.0


def without_traceback(gateway: LiveGateway) -> str:
    """The last line that a gateway which did not start left for its operator."""
    text = "\n".join(str(line.get("raw", line)) for line in gateway.log.lines)
    assert "Traceback" not in text
    last = gateway.log.lines[-1]
    assert last["event"] == "raw", last
    return str(last["raw"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_in_order_and_in_time(
    new_live: NewLive, whatsapp: SandboxControl, number: signal.Signals
) -> None:
    gateway = new_live().start()
    with gateway.new_owner() as owner:
        ann = owner.create().link(whatsapp, new_number())
        sent = ann.send(ECHO_NUMBER, "before the end", wait=30)
        ann.wait_message(sent["id"], "read")
        family, mark, begun = gateway.family, gateway.log.mark, time.monotonic()
        assert len(family) == 2
        assert gateway.stop(number) == 0
        assert time.monotonic() - begun < STOP_WITHIN
        owner.feed.wait_closed()
    assert wait_gone(family, 10) == []
    order = [
        line["event"]
        for line in gateway.log.lines[mark:]
        if line["logger"].startswith("wavisor") and line["event"] != "session output"
    ]
    assert order == [
        "signal received",
        "stopping",
        "websocket closed",
        "session process ended",
        "stopped",
    ]
    assert gateway.log.all("session process ended", after=mark)[0]["exit_code"] == 0
    assert gateway.log.all(level="error") == []
    # The wish to be connected outlives an orderly stop.
    gateway.start()
    items = owner.api("GET", "/api/instances").expect(200)["items"]
    assert items[0]["desired"] == "connected"


def test_a_session_that_hangs_does_not_hold_up_the_stop(
    new_live: NewLive, whatsapp: SandboxControl
) -> None:
    gateway = new_live().start()
    with gateway.new_owner() as owner:
        ann = owner.create().link(whatsapp, new_number())
        pid = gateway.session_pid(ann.id)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        wait_stopped(pid)
        begun = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - begun < STOP_WITHIN
    assert wait_gone([pid], 10) == []


def test_a_second_signal_ends_at_once_and_leaves_no_process(
    new_live: NewLive, whatsapp: SandboxControl
) -> None:
    gateway = new_live(session_stop_grace_seconds="9").start()
    with gateway.new_owner() as owner:
        ann = owner.create().link(whatsapp, new_number())
        pid = gateway.session_pid(ann.id)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # so that the orderly stop takes its time
        wait_stopped(pid)
        family = gateway.family
        mark = gateway.log.mark
        gateway.send_signal(signal.SIGTERM)
        gateway.log.wait("stopping", after=mark)
        begun = time.monotonic()
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(5) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 5
    assert wait_gone(family, 5) == []


def test_sigusr1_writes_every_stack_and_the_gateway_goes_on(new_live: NewLive) -> None:
    gateway = new_live().start()
    mark = gateway.log.mark
    gateway.send_signal(signal.SIGUSR1)
    announced = gateway.log.wait("stacks of all threads follow", after=mark)["threads"]
    gateway.log.wait("stack", after=mark, thread="MainThread")
    with gateway.new_owner() as owner:
        assert owner.api("GET", "/api/auth/me").status == 200
    stacks = gateway.log.all("stack", after=mark)
    assert len(stacks) == announced
    assert all("File " in line["stack"] for line in stacks)
    assert gateway.stop() == 0


def test_a_port_in_use_is_one_sentence(new_live: NewLive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = new_live(port=str(port))
        assert gateway.fail() == 1
    assert without_traceback(gateway) == (
        f"wavisor: Something else already listens on 127.0.0.1 port {port}."
    )


def test_a_second_gateway_on_the_same_data_is_refused_and_harms_nothing(new_live: NewLive) -> None:
    first = new_live().start()
    second = new_live(data_dir=str(first.data_dir))
    assert second.fail() == 1
    said = without_traceback(second)
    assert said.startswith(f"wavisor: The data directory {first.data_dir} is in use by another")
    assert f"(process {first.pid})" in said
    with first.new_owner() as owner:
        owner.create()
    first.kill()
    second.start()
    assert second.stop() == 0


def test_a_file_in_place_of_the_data_directory_is_one_sentence(new_live: NewLive) -> None:
    gateway = new_live()
    gateway.data_dir.write_text("not a directory")
    assert gateway.fail() == 1
    said = without_traceback(gateway)
    assert said == f"wavisor: The data directory {gateway.data_dir} is a file, not a directory."


def test_an_unwritable_data_directory_is_one_sentence(
    new_live: NewLive, mounted: Callable[[Path, str], None]
) -> None:
    gateway = new_live()
    gateway.data_dir.mkdir()
    mounted(gateway.data_dir, "ro,size=64k")
    assert gateway.fail() == 1
    said = without_traceback(gateway)
    assert said.startswith(f"wavisor: The data directory {gateway.data_dir} cannot be written: ")
    assert "WAVISOR_DATA_DIR" in said


def test_a_missing_libmagic_is_one_sentence(new_live: NewLive, tmp_path: Path) -> None:
    # Hidden where the gateway looks for it; taking it away would harm the whole machine.
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes.util\n"
        "_find = ctypes.util.find_library\n"
        "ctypes.util.find_library = lambda name: None if name == 'magic' else _find(name)\n"
    )
    gateway = new_live()
    assert gateway.fail(PYTHONPATH=str(tmp_path)) == 1
    said = without_traceback(gateway)
    assert said.startswith("wavisor: Libmagic is missing, which the WhatsApp client needs;")
    assert "apt install libmagic1" in said


def test_bad_settings_are_told_all_at_once(new_live: NewLive) -> None:
    gateway = new_live(restore_concurrency="none", backoff_maximum_seconds="-1")
    assert gateway.fail() == 2
    told = "\n".join(line.get("raw", "") for line in gateway.log.lines)
    assert "WAVISOR_RESTORE_CONCURRENCY" in told
    assert "WAVISOR_BACKOFF_MAXIMUM_SECONDS" in told


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A URL that refuses every connection."""
    with held_port() as port:
        yield f"http://127.0.0.1:{port}"


def test_a_local_whatsapp_that_is_not_there_is_one_sentence(
    new_live: NewLive, nowhere: str
) -> None:
    gateway = new_live(sandbox_url=nowhere)
    assert gateway.fail() == 1
    assert without_traceback(gateway).startswith("wavisor: ")


def test_main_py_without_arguments_serves(new_live: NewLive) -> None:
    gateway = new_live(command=(sys.executable, str(ROOT / "main.py")))
    gateway.start()
    with gateway.new_owner() as owner:
        assert owner.api("GET", "/api/instances").expect(200)["items"] == []
    assert gateway.stop() == 0


def test_every_kind_of_actor_has_its_series_from_the_start(new_live: NewLive) -> None:
    gateway = new_live().start()
    with gateway.new_owner() as owner:
        owner.create()
        text = owner.api("GET", "/metrics").body.decode()
    kinds = {
        name: set(re.findall(rf'^{name}{{kind="(\w+)"', text, re.MULTILINE))
        for name in (
            "wavisor_actors",
            "wavisor_actor_restarts_total",
            "wavisor_actors_abandoned_total",
            "wavisor_actor_mailbox_messages",
        )
    }
    running = kinds.pop("wavisor_actors")
    assert {"instance", "http"} <= running
    for name, declared in kinds.items():
        assert running <= declared, name


def test_the_console_command_serves(new_live: NewLive) -> None:
    script = Path(sys.executable).parent / "wavisor"
    if not script.exists():
        pytest.skip("wavisor is not installed beside this Python; `make test` installs it")
    said = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=30)
    assert said.stdout.startswith("wavisor ")
    gateway = new_live(command=(str(script), "serve")).start()
    with gateway.new_owner() as owner:
        assert owner.api("GET", "/api/instances").expect(200)["items"] == []
    assert gateway.stop(signal.SIGINT) == 0


# What an operator's own modules would see: every import of the gateway and of its children.
_IMPORT_WITNESS = """
import os, sys

def witness(event, arguments, directory=os.path.dirname(__file__)):
    if event == "import":
        path = f"{directory}/imports.{os.getpid()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{arguments[0]}\\n".encode())
        os.close(descriptor)

sys.addaudithook(witness)
"""


def test_a_normal_gateway_holds_no_trace_of_the_sandbox_and_survives_a_dead_network(
    new_live: NewLive, tmp_path: Path, nowhere: str
) -> None:
    """Without a network it goes on trying, cheaply: no process is started for a try."""
    (tmp_path / "sitecustomize.py").write_text(_IMPORT_WITNESS)
    gateway = new_live(
        sandboxed=False, backoff_initial_seconds="0.1", backoff_maximum_seconds="0.5"
    ).start(PYTHONPATH=str(tmp_path), HTTPS_PROXY=nowhere)
    assert gateway.log.all("SANDBOX MODE") == []
    with gateway.new_owner() as owner:
        ann = owner.create()
        ann.connect()
        pid = gateway.wait_new_session(ann.id, 0)
        for attempt in (1, 6, 12):
            gateway.log.wait("instance tries again", instance=ann.id, attempt=attempt)
        state = ann.status()
        assert (state["status"], state["desired"]) == ("connecting", "connected")
        assert state["lastError"]["reason"] == "connect_failed"
        # A try costs a share of one dial; the only process was the first one.
        started = gateway.log.all("session process started", instance=ann.id)
        assert [line["pid"] for line in started] == [pid]
        assert gateway.session_pids == []

        pids = [gateway.pid, gateway.forkserver_pid, pid]
        for one in pids:
            imported = (tmp_path / f"imports.{one}").read_text().split()
            assert [name for name in imported if "sandbox" in name] == []
        # The witness did see what it was to see.
        assert "wavisor.whatsapp.driver" in (tmp_path / f"imports.{gateway.pid}").read_text()
        assert "neonize" in (tmp_path / f"imports.{pid}").read_text()
        assert "neonize" not in (tmp_path / f"imports.{gateway.pid}").read_text().split()
        for one in pids[:2]:
            maps = Path(f"/proc/{one}/maps").read_text()
            assert "neonize" not in maps
            assert "sandbox" not in maps
        # The host's own variables may be called so; the sessions get none that stands for it.
        environment = Path(f"/proc/{gateway.forkserver_pid}/environ").read_bytes().split(b"\0")
        names = {variable.partition(b"=")[0].decode() for variable in environment}
        assert [name for name in names if "SANDBOX" in name.upper()] == []
        assert ("SSL_CERT_FILE" in names) == ("SSL_CERT_FILE" in os.environ)
        ann.command("disconnect")
        ann.wait_status("disconnected")
    assert children_of(gateway.forkserver_pid) == []
    assert gateway.stop() == 0

"""The top of the tree, and the process that ends when it fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.supervision_lab import WAIT, Lab
from wavisor.actors.supervisor import (
    ChildSpec,
    ChildStartError,
    ChildState,
    DynamicSupervisor,
    ExitReason,
    Intensity,
    IntensityExceededError,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


def test_an_event_loop_can_wait_for_start_and_end(lab: Lab) -> None:
    async def scenario() -> ExitReason:
        root = lab.launch([lab.spec("a")])
        await asyncio.wait_for(asyncio.wrap_future(root.started), WAIT)
        return await asyncio.wait_for(asyncio.wrap_future(root.stop()), WAIT)

    assert asyncio.run(scenario()) == ExitReason.shutdown()


def test_a_wait_that_was_given_up_does_not_spoil_the_next_one(lab: Lab) -> None:
    gate = lab.behaviour("a").start_gate = lab.gate()

    async def scenario() -> None:
        root = lab.launch([lab.spec("a")])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(root.started), 0.01)
        gate.set()
        await asyncio.wait_for(asyncio.wrap_future(root.started), WAIT)

    asyncio.run(scenario())


def test_stopping_twice_is_harmless(lab: Lab) -> None:
    root = lab.start([lab.spec("a")])
    root.stop()
    assert root.stop().result(WAIT).kind == "shutdown"
    assert root.stop().result(WAIT).kind == "shutdown"


def test_the_exit_code_is_zero_only_after_an_orderly_stop(lab: Lab) -> None:
    root = lab.start([lab.spec("a")], intensity=Intensity(0, 10.0))
    assert root.exit_code == 1
    lab.crash("a")
    assert isinstance(root.finished.result(WAIT).error, IntensityExceededError)
    assert root.exit_code == 1


def test_on_exit_is_called_once_even_when_the_start_failed(lab: Lab) -> None:
    ends: list[ExitReason] = []
    lab.behaviour("a").failing_starts = 1
    root = lab.launch([lab.spec("a")], on_exit=ends.append)
    assert isinstance(root.finished.result(WAIT).error, ChildStartError)
    root.stop()
    lab.join_root()
    assert [reason.kind for reason in ends] == ["error"]


def test_an_on_exit_that_raises_harms_nobody(lab: Lab) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("cannot report")

    root = lab.start([lab.spec("a")], on_exit=broken)
    assert root.stop().result(WAIT).kind == "shutdown"
    lab.join_root()


def test_the_tree_can_be_read_while_every_actor_hangs(lab: Lab) -> None:
    gate = lab.gate()
    root = lab.start(
        [
            lab.spec("a"),
            ChildSpec("pool", lambda context: _Hanging(context, gate), shutdown=10.0),
        ]
    )
    lab.find("pool").tell("hang")
    assert [child.state for child in root.tree().children] == [ChildState.RUNNING] * 2
    gate.set()


class _Hanging(DynamicSupervisor):
    def __init__(self, context: Any, gate: Any) -> None:
        super().__init__(context)
        self.gate = gate

    def handle(self, message: Any) -> Any:
        if message == "hang":
            return self.gate.wait(WAIT)
        return super().handle(message)


def test_threads_that_outlive_the_root_are_named_in_the_log(lab: Lab) -> None:
    lab.behaviour("a").exit_gate = lab.gate()
    root = lab.start([lab.spec("a", shutdown=0.0), lab.spec("b")])
    with capture_logs() as logs:
        root.stop().result(WAIT)
    levels = {line["event"]: line["log_level"] for line in logs}
    assert levels["child does not stop; its thread is abandoned"] == "critical"
    [alarm] = [line for line in logs if line["event"].startswith("threads outlive the root")]
    assert [holder.split("#")[0] for holder in alarm["holders"]] == ["a"]


def test_an_orderly_end_raises_no_alarm(lab: Lab) -> None:
    root = lab.start([lab.spec("a"), lab.spec("b")])
    with capture_logs() as logs:
        root.stop().result(WAIT)
    assert logs == []


PROGRAM = """
import random, sys, threading
from wavisor.actors.supervisor import *
from wavisor.clock import SystemClock, ThreadedTimers

class Faulty(SupervisedActor):
    def on_start(self):
        if {mode!r} != "stop":
            self.actor_ref.tell({mode!r})
    def handle(self, message):
        if message == "system-exit":
            raise SystemExit(0)
        raise ValueError("a bug")

class Hanging(SupervisedActor):
    def on_exit(self, reason):
        threading.Event().wait(600)

root = run_root(
    [ChildSpec("hanging", Hanging, shutdown=0.2),
     ChildSpec("faulty", Faulty, backoff=Backoff(0.01, 0.01))],
    environment=Environment(SystemClock(), ThreadedTimers(), random.Random()),
    intensity=Intensity(2, 60.0),
)
root.started.result(20)
if {mode!r} == "stop":
    root.stop()
root.finished.result(20)
sys.exit(root.exit_code)
"""


@pytest.mark.parametrize(("mode", "code"), [("stop", 0), ("bug", 1), ("system-exit", 1)])
def test_the_process_ends_with_the_fate_of_the_root_although_a_thread_hangs(
    mode: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(mode=mode)],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "thread is abandoned" in done.stdout

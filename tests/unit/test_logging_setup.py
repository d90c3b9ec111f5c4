"""Every line goes one way, and no secret goes with it."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from wavisor.config import ObservabilitySettings
from wavisor.config.logging import bound, configure_logging, dump_stacks, mask_secrets


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    threading.excepthook = hook
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict]]]:
    stream = io.StringIO()
    configure_logging(ObservabilitySettings(log_format="json"), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_logger_and_event_first(lines) -> None:
    structlog.get_logger("wavisor.x").info("instance connected", attempt=2)
    (line,) = lines()
    assert list(line)[:4] == ["time", "level", "logger", "event"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["logger"]) == ("info", "wavisor.x")
    assert (line["event"], line["attempt"]) == ("instance connected", 2)


def test_the_standard_library_goes_the_same_way(lines) -> None:
    logging.getLogger("tornado.general").warning("slow %s", "client", extra={"took": 3})
    (line,) = lines()
    assert line["event"] == "slow client"
    assert (line["logger"], line["level"], line["took"]) == ("tornado.general", "warning", 3)


def test_warnings_and_exceptions_of_threads_are_logged(lines) -> None:
    # A thread of its own sort: pytest replaces the hook for the tests' own threads.
    try:
        raise LookupError("lost")
    except LookupError as error:
        thread = threading.Thread(name="worker-7")
        threading.excepthook(
            threading.ExceptHookArgs((type(error), error, error.__traceback__, thread))
        )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
    died, warned = lines()
    assert (died["level"], died["thread"]) == ("critical", "worker-7")
    assert "LookupError: lost" in died["exception"]
    assert "careful" in warned["event"]


def test_bound_context_is_in_every_line_within_and_in_none_after(lines) -> None:
    with bound(request_id="req_1", tenant="sub_1", instance="ins_1"):
        structlog.get_logger("a").info("one")
        logging.getLogger("b").warning("two")
    structlog.get_logger("a").info("three")
    one, two, three = lines()
    for line in (one, two):
        assert (line["request_id"], line["tenant"], line["instance"]) == ("req_1", "sub_1", "ins_1")
    assert "request_id" not in three


def test_lines_below_the_level_are_not_written(lines) -> None:
    structlog.get_logger("a").debug("no")
    logging.getLogger("b").info("yes")
    logging.getLogger("asyncio").info("no: too talkative")
    assert [line["event"] for line in lines()] == ["yes"]


def test_setting_up_again_replaces_the_first_time() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(ObservabilitySettings(log_format="json"), first)
    configure_logging(ObservabilitySettings(log_format="json", log_level="debug"), second)
    structlog.get_logger("a").debug("hello")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["event"] == "hello"


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    configure_logging(ObservabilitySettings(log_format="json"), FullDisk())
    structlog.get_logger("a").info("one")
    closed = io.StringIO()
    configure_logging(ObservabilitySettings(log_format="json"), closed)
    closed.close()
    structlog.get_logger("a").critical("two")


def test_lines_of_several_threads_stay_whole(lines) -> None:
    def talk(name: str) -> None:
        for number in range(50):
            structlog.get_logger("a").info(name, number=number)
            logging.getLogger("b").info(name)

    threads = [threading.Thread(target=talk, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(lines()) == 400


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("console", False, False),
    ],
)
def test_the_format_follows_the_setting_and_else_the_terminal(
    log_format: str, terminal: bool, is_json: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    configure_logging(ObservabilitySettings(log_format=log_format), stream)
    structlog.get_logger("a").info("hello", password="hunter22")
    text = stream.getvalue()
    assert text.startswith("{") is is_json
    assert "hello" in text
    assert "hunter22" not in text


SECRET_KEYS = [
    "password",
    "new_password",
    "jwt_secret",
    "access_token",
    "refreshToken",
    "Authorization",
    "api_key",
    "private_key",
    "set-cookie",
    "pairing_code",
    "code",
    "body",
    "caption",
    "phone",
    "sender_phone",
    "phoneNumber",
    "jid",
    "senderJID",
    "lid",
    "qr",
]
HARMLESS_KEYS = ["exit_code", "status_code", "body_bytes", "keyboard", "validity", "attempt", "key"]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_values_of_secret_keys_are_masked_however_deep(key: str) -> None:
    event = mask_secrets(None, "info", {key: "4915112345678", "nested": {"x": [{key: 42}]}})
    assert event == {key: "********", "nested": {"x": [{key: "********"}]}}


@pytest.mark.parametrize("key", HARMLESS_KEYS)
def test_values_of_harmless_keys_are_kept(key: str) -> None:
    assert mask_secrets(None, "info", {key: 42}) == {key: 42}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("header was Bearer abc.def-ghi", "abc.def-ghi"),
        ("subprotocol bearer.eyJhbGciOi.eyJzdWIi.c2ln ok", "eyJhbGciOi.eyJzdWIi.c2ln"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln expired", "eyJhbGciOi.eyJzdWIi.c2ln"),
        ("key wav_0123456789abcdef is unknown", "0123456789abcdef"),
        ("signed with whsec_MfKQ9r8GKYqrTwjU", "MfKQ9r8GKYqrTwjU"),
        ("no session for 4915112345678@s.whatsapp.net", "4915112345678"),
        ("device 4915112345678:12@s.whatsapp.net is gone", "4915112345678"),
        ("libsignal: 123456789012345.1:3@lid", "123456789012345"),
        ("connect to postgresql://wavisor:hunter22@db/x failed", "hunter22"),
    ],
)
def test_secrets_inside_text_are_masked_by_their_form(lines, text: str, secret: str) -> None:
    structlog.get_logger("a").info(text, detail=text)
    logging.getLogger("b").warning("%s", text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("a").exception("failed")
    written = json.dumps(lines())
    assert secret not in written
    assert written.count("********") >= 4


@given(st.text())
def test_masking_takes_any_text(text: str) -> None:
    assert set(mask_secrets(None, "info", {"event": text})) == {"event"}


@pytest.mark.parametrize("text", ["/api/instances/ins_01K9", "took 1234567 ns", "user@example.com"])
def test_text_without_secrets_is_kept(text: str) -> None:
    assert mask_secrets(None, "info", {"event": text}) == {"event": text}


def test_all_stacks_are_dumped_with_the_names_of_their_threads(lines) -> None:
    ready, leave = threading.Event(), threading.Event()

    def wait_in_a_function_of_its_own() -> None:
        ready.set()
        leave.wait(timeout=30)

    thread = threading.Thread(target=wait_in_a_function_of_its_own, name="instance-ins_1")
    thread.start()
    try:
        assert ready.wait(timeout=60)
        dump_stacks()
    finally:
        leave.set()
        thread.join(timeout=60)
    stacks = {line["thread"]: line["stack"] for line in lines() if line["event"] == "stack"}
    assert "wait_in_a_function_of_its_own" in stacks["instance-ins_1"]
    assert "dump_stacks" in stacks["MainThread"]


PROGRAM = """
import signal, sys, threading
from wavisor.config import ObservabilitySettings
from wavisor.config.logging import configure_logging, dump_stacks_on_signal

configure_logging(ObservabilitySettings(log_format="json"))
dump_stacks_on_signal()

def wait_for_the_end():
    print("ready", flush=True)
    sys.stdin.read()

thread = threading.Thread(target=wait_for_the_end, name="actor-1")
thread.start()
thread.join()
print("still alive", flush=True)
"""


def test_sigusr1_dumps_all_stacks_and_the_process_lives_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGUSR1)
        dumped: dict[str, str] = {}
        while "stack-dump" not in dumped or len(dumped) < 3:
            line = json.loads(process.stderr.readline())
            if line["event"] == "stack":
                dumped[line["thread"]] = line["stack"]
        os.kill(process.pid, signal.SIGQUIT)
        while "Current thread" not in process.stderr.readline():
            continue
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait(timeout=60)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
    assert set(dumped) == {"MainThread", "actor-1", "stack-dump"}
    assert "wait_for_the_end" in dumped["actor-1"]
    assert out == "still alive\n"

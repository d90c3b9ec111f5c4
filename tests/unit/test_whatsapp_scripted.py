"""The scripted driver keeps the promises of the port, and each defect is the one it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.manual_clock import ManualClock
from wavisor.whatsapp.commands import DownloadMedia, Ping, Probe, RequestPairingCode, SendMessage
from wavisor.whatsapp.content import Text
from wavisor.whatsapp.events import Answer, Connected, Event, Exited, Ready
from wavisor.whatsapp.port import Session, SessionDriver, SessionError, SessionSpec
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession
from wavisor.whatsapp.scripted_defects import CrashesOnSend, NeverConnects, SlowSession

I = "ins_1"  # noqa: E741 - stands in every line below
SEND = SendMessage(instance=I, id="s", to="15550199@s.whatsapp.net", content=Text(text="hi"))


class Listener(list[Event]):
    def __call__(self, _incarnation: str, event: Event) -> None:
        self.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self]


@pytest.fixture
def heard() -> Listener:
    return Listener()


def opened(driver: ScriptedDriver, heard: Listener, jid: str | None = None) -> ScriptedSession:
    return driver.open(SessionSpec(I, jid), heard)


def test_it_is_a_session_driver(heard: Listener) -> None:
    driver: SessionDriver = ScriptedDriver()
    session: Session = driver.open(SessionSpec(I, None), heard)
    assert heard.kinds == ["ready"]
    assert session.pid is not None


def test_a_healthy_session_answers_as_a_real_one(heard: Listener) -> None:
    session = opened(ScriptedDriver(), heard)
    session.show_qr()
    session.send(RequestPairingCode(instance=I, id="p", phone="15550100"))
    session.send(SEND)
    session.pair()
    session.connect()
    session.send(SEND)
    session.send(Probe(instance=I, id="probe"))
    session.stop(1.0)
    assert heard.kinds == [
        *("ready", "qr_code", "answer", "answer", "paired", "connected", "answer", "answer"),
        "exited",
    ]
    code, refused, sent, probed = [event for event in heard if isinstance(event, Answer)]
    assert code.code
    assert refused.failure is not None
    assert refused.failure.reason == "not_connected"
    assert sent.message_id
    assert sent.timestamp
    assert probed.failure is None
    assert heard[-1] == Exited(instance=I, exit_code=0)
    assert not session.send(SEND)
    assert session.pid is None


def test_a_known_device_connects_by_itself_when_told_to(heard: Listener) -> None:
    opened(ScriptedDriver(connects_by_itself=True), heard, "15550123:4@s.whatsapp.net")
    assert isinstance(heard[0], Ready)
    assert isinstance(heard[1], Connected)
    assert (heard[1].jid, heard[1].phone) == ("15550123:4@s.whatsapp.net", "+15550123")


def test_what_a_listener_causes_is_delivered_after_it_returned() -> None:
    driver, order = ScriptedDriver(), []

    def listen(_: str, event: Event) -> None:
        order.append(f"begin {event.type}")
        if event.type == "connected":
            driver.sessions[0].kill()
        order.append(f"end {event.type}")

    session = driver.open(SessionSpec(I, None), listen)
    session.connect()
    assert order[2:] == ["begin connected", "end connected", "begin exited", "end exited"]
    with pytest.raises(RuntimeError, match="has ended"):
        session.show_qr()


def test_a_slow_session_answers_only_when_released(heard: Listener) -> None:
    clock = ManualClock()
    driver = ScriptedDriver(SlowSession, timers=clock)
    session = opened(driver, heard)
    session.connect()
    session.send(SEND)
    session.send(Ping(instance=I, id="p"))
    assert heard.kinds == ["ready", "connected"]
    assert isinstance(session, SlowSession)
    session.release()
    assert heard.kinds[2:] == ["answer", "answer"]


def test_a_slow_session_is_killed_after_its_grace(heard: Listener) -> None:
    clock = ManualClock()
    session = opened(ScriptedDriver(SlowSession, timers=clock), heard)
    session.stop(5.0)
    clock.advance(4.9)
    assert session.alive
    clock.advance(0.1)
    assert heard[-1] == Exited(instance=I, exit_code=-9)


def test_one_that_never_connects_does_not(heard: Listener) -> None:
    driver = ScriptedDriver(NeverConnects, connects_by_itself=True)
    session = opened(driver, heard, "15550123:4@s.whatsapp.net")
    session.connect()
    assert heard.kinds == ["ready"]


def test_one_that_crashes_on_a_send_does_nothing_else_wrong(heard: Listener) -> None:
    session = opened(ScriptedDriver(CrashesOnSend), heard)
    session.connect()
    session.send(Ping(instance=I, id="p"))
    session.send(SEND)
    assert heard.kinds == ["ready", "connected", "answer", "exited"]
    assert heard[-1] == Exited(instance=I, exit_code=-6)


def test_keys_come_with_pairing_and_cannot_go_under_a_living_session(heard: Listener) -> None:
    driver = ScriptedDriver()
    session = opened(driver, heard)
    assert I not in driver.keys
    session.pair()
    assert I in driver.keys
    with pytest.raises(SessionError, match="still has"):
        driver.discard_keys(I)
    session.kill()
    driver.discard_keys(I)
    assert I not in driver.keys


def test_a_new_session_ends_the_earlier_one_of_the_instance(heard: Listener) -> None:
    driver = ScriptedDriver()
    first, second = opened(driver, heard), opened(driver, heard)
    assert heard.kinds == ["ready", "exited", "ready"]
    assert (first.alive, second.alive) == (False, True)


def test_what_the_next_sessions_are_can_be_scripted(heard: Listener) -> None:
    driver = ScriptedDriver()
    driver.script(NeverConnects, SessionError("no"))
    assert isinstance(opened(driver, heard), NeverConnects)
    with pytest.raises(SessionError, match="no"):
        opened(driver, heard)
    assert type(opened(driver, heard)) is ScriptedSession
    driver.wait_for(2, I, timeout=0.0)
    with pytest.raises(TimeoutError):
        driver.wait_for(3, I, timeout=0.0)
    driver.close()
    assert heard.kinds.count("exited") == 2
    with pytest.raises(SessionError, match="closed"):
        opened(driver, heard)


def test_a_message_sent_with_a_secret_is_found_by_it(heard: Listener) -> None:
    driver = ScriptedDriver()
    session = opened(driver, heard)
    session.connect()
    session.send(SEND.model_copy(update={"secret": "c2VjcmV0"}))
    answer = heard[-1]
    assert isinstance(answer, Answer)
    assert driver.find_message(I, "c2VjcmV0") == answer.message_id
    assert driver.find_message(I, "b3RoZXI=") is None


@pytest.mark.parametrize(
    ("source", "max_size", "reason"),
    [("here", 100, None), ("here", 3, "too_large"), ("nowhere", 100, "media_gone")],
)
def test_a_scripted_file_is_downloaded(
    heard: Listener, tmp_path: Path, source: str, max_size: int, reason: str | None
) -> None:
    driver = ScriptedDriver()
    driver.files["here"] = b"content"
    session = opened(driver, heard)
    session.connect()
    target = tmp_path / "f"
    session.send(
        DownloadMedia(instance=I, id="d", source=source, path=str(target), max_size=max_size)
    )
    answer = heard[-1]
    assert isinstance(answer, Answer)
    assert (answer.failure.reason if answer.failure else None) == reason
    assert target.exists() == (reason is None)

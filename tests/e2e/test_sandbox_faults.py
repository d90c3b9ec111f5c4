"""What each fault of the local WhatsApp looks like to the real client."""

from __future__ import annotations

import asyncio
import signal

import pytest

from support.sandbox_rig import RefusedCommandError, Rig, eventually, play
from wavisor.sandbox import connection, incidents
from wavisor.sandbox.faults import Fault, FaultKind, Target
from wavisor.sandbox.people import ECHO_NUMBER, READER_NUMBER
from wavisor.sandbox.statistics import Outcome, peak_rate

pytestmark = pytest.mark.e2e

ANNA = "4915550000001"
BERT = "4915550000002"


@pytest.mark.parametrize("abruptly", [True, False])
def test_dropped_client_comes_back_and_nobody_else_notices(tmp_path, abruptly):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        marks = anna.mark, bert.mark
        assert await incidents.drop(rig.world, Target(phone=ANNA), abruptly=abruptly) == 1
        await anna.wait("Disconnected", after=marks[0])
        await anna.wait("Connected", after=marks[0])
        await anna.do("send", to=BERT, text="back again")
        await bert.text("back again", after=marks[1])
        assert bert.count("Disconnected", after=marks[1]) == 0

    play(tmp_path, scenario)


def test_refused_connections_are_counted_and_succeed_afterwards(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        rig.world.attempts.clear()
        mark = anna.mark
        # The library waits 0 s and then 2 s between its first attempts.
        rig.world.faults.inject(Fault(FaultKind.REFUSE, uses=2))
        await incidents.drop(rig.world)
        await anna.wait("Connected", after=mark)
        attempts = rig.world.attempts.since()
        assert [a.outcome for a in attempts] == [
            Outcome.REFUSED,
            Outcome.REFUSED,
            Outcome.LOGGED_IN,
        ]
        assert (attempts[-1].phone, attempts[-1].device) == (ANNA, 1)
        assert 1 <= peak_rate(attempts) <= 2

    play(tmp_path, scenario)


def test_connections_of_one_account_are_refused_for_a_time(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        await rig.paired("bert", BERT)
        mark = anna.mark
        rig.world.faults.inject(Fault(FaultKind.REFUSE, Target(phone=ANNA), seconds=1.0))
        started = asyncio.get_running_loop().time()
        await incidents.drop(rig.world, Target(phone=ANNA))
        await anna.wait("Connected", after=mark)
        assert asyncio.get_running_loop().time() - started >= 1.0
        assert not rig.world.faults.active()

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.SILENT_DIAL,
        FaultKind.SILENT_UPGRADE,
        FaultKind.SILENT_HANDSHAKE,
        FaultKind.SILENT_LOGIN,
    ],
)
def test_client_that_is_never_answered_learns_nothing(tmp_path, kind):
    async def scenario(rig: Rig) -> None:
        rig.world.faults.inject(Fault(kind, Target(label="deaf")))
        deaf = await rig.client("anna", label="deaf")
        await eventually(lambda: rig.world.attempts.total == 1)
        other = await rig.client("bert", label="hearing")
        await other.wait("QR")
        assert deaf.events == []
        [attempt, _] = rig.world.attempts.since()
        assert (attempt.label, attempt.outcome) == ("deaf", Outcome.DIALED)

    play(tmp_path, scenario)


def test_mute_server_answers_nothing_and_keeps_what_it_could_not_send(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        anna = await rig.paired("anna", ANNA)
        fault = rig.world.faults.inject(Fault(FaultKind.MUTE, Target(phone=ANNA)))
        [device] = rig.people.phone(ANNA).companions
        await rig.people.contact(ECHO_NUMBER).write(ANNA, "can you hear me?")
        with pytest.raises(AssertionError, match="no Answer"):
            await anna.do("is_on_whatsapp", phones=["+" + ECHO_NUMBER], patience=1.5)
        assert device.connection is not None
        assert anna.texts() == []
        assert anna.count("Disconnected") == 0
        rig.world.faults.clear(fault)
        await incidents.drop(rig.world)
        await anna.text("can you hear me?")

    play(tmp_path, scenario)


def test_replaced_stream_is_final(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        mark = anna.mark
        attempts = rig.world.attempts.total
        assert await incidents.replace_stream(rig.world, Target(phone=ANNA)) == 1
        await anna.wait("StreamReplaced", after=mark)
        assert anna.count("Disconnected", after=mark) == 0
        assert rig.world.attempts.total == attempts

    play(tmp_path, scenario)


@pytest.mark.parametrize("messages", [1, 60])
def test_client_learns_why_its_stream_ends_however_busy_it_is(tmp_path, messages):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        anna = await rig.paired("anna", ANNA)
        mark = anna.mark
        for number in range(messages):
            await rig.people.contact(ECHO_NUMBER).write(ANNA, f"number {number}")
        assert await incidents.replace_stream(rig.world, Target(phone=ANNA)) == 1
        await anna.wait("StreamReplaced", after=mark)
        assert anna.count("Disconnected", after=mark) == 0
        assert anna.texts() == [f"number {number}" for number in range(messages)]

    play(tmp_path, scenario)


def test_stream_of_a_client_that_hangs_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "FAREWELL_SECONDS", 0.1)

    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        anna.send_signal(signal.SIGSTOP)
        assert await incidents.replace_stream(rig.world, Target(phone=ANNA)) == 1
        [device] = rig.people.phone(ANNA).companions
        assert not device.online
        assert not rig.world.connections

    play(tmp_path, scenario)


def test_second_connection_of_the_same_device_replaces_the_first(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        second = await rig.client("anna")
        await second.wait("Connected")
        await anna.wait("StreamReplaced")
        [device] = rig.people.phone(ANNA).companions
        assert device.online

    play(tmp_path, scenario)


def test_unlinked_client_hears_of_it_at_once_or_at_its_next_login(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        assert await incidents.log_out(rig.world, Target(phone=ANNA)) == 1
        gone = await anna.wait("LoggedOut")
        assert not gone.get("OnConnect")
        [device] = rig.people.phone(BERT).companions
        await bert.kill()
        await eventually(lambda: not device.online)
        await rig.people.phone(BERT).unlink()
        again = await rig.client("bert")
        gone = await again.wait("LoggedOut")
        assert gone["OnConnect"]

    play(tmp_path, scenario)


def _failing_login(tmp_path, fault: Fault, event: str, check) -> None:
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        rig.world.faults.inject(fault)
        mark = anna.mark
        await incidents.drop(rig.world)
        check(await anna.wait(event, after=mark))
        assert anna.count("Connected", after=mark) == 0
        rejected = rig.world.attempts.since()[-1]
        assert (rejected.outcome, rejected.phone) == (Outcome.REJECTED, ANNA)

    play(tmp_path, scenario)


def test_temporary_ban_names_its_reason_and_end(tmp_path):
    def check(ban) -> None:
        assert int(ban["Expire"]) in (7200, 7200 * 10**9)

    fault = Fault(FaultKind.LOGIN_FAILURE, code=402, ban_code=102, ban_seconds=7200)
    _failing_login(tmp_path, fault, "TemporaryBan", check)


def test_outdated_client_is_told_so(tmp_path):
    fault = Fault(FaultKind.LOGIN_FAILURE, Target(phone=ANNA), code=405)
    _failing_login(tmp_path, fault, "ClientOutdated", lambda event: None)


def test_login_answered_by_401_logs_the_client_out(tmp_path):
    def check(gone) -> None:
        assert gone["OnConnect"]

    fault = Fault(FaultKind.LOGIN_FAILURE, Target(phone=ANNA, device=1), code=401)
    _failing_login(tmp_path, fault, "LoggedOut", check)


def test_client_tries_again_after_a_503_at_login(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        rig.world.faults.inject(Fault(FaultKind.LOGIN_FAILURE, code=503, uses=1))
        rig.world.attempts.clear()
        mark = anna.mark
        await incidents.drop(rig.world)
        await anna.wait("Connected", after=mark)
        outcomes = [attempt.outcome for attempt in rig.world.attempts.since()]
        assert outcomes == [Outcome.REJECTED, Outcome.LOGGED_IN]

    play(tmp_path, scenario)


@pytest.mark.parametrize("code", [503, 515])
def test_stream_error_makes_the_client_reconnect(tmp_path, code):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        mark = anna.mark
        assert await incidents.stream_error(rig.world, code=code) == 1
        await anna.wait("Connected", after=mark)

    play(tmp_path, scenario)


def test_late_acks_hold_up_the_send_and_late_receipts_the_delivery(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        anna = await rig.paired("anna", ANNA)
        loop = asyncio.get_running_loop()
        rig.world.faults.inject(Fault(FaultKind.DELAY_ACKS, Target(phone=ANNA), uses=1, delay=1.0))
        started = loop.time()
        await anna.do("send", to=READER_NUMBER, text="slow ack")
        assert loop.time() - started >= 1.0
        rig.world.faults.inject(Fault(FaultKind.DELAY_RECEIPTS, Target(phone=ANNA), delay=1.0))
        started = loop.time()
        sent = await anna.do("send", to=READER_NUMBER, text="slow receipt")

        def of_sent(receipt):
            return receipt["MessageIDs"] == [sent["id"]]

        assert not any(name == "Receipt" and of_sent(data) for name, data in anna.events)
        await anna.wait("Receipt", of_sent)
        assert loop.time() - started >= 1.0

    play(tmp_path, scenario)


def test_rejected_message_fails_with_the_servers_code_and_arrives_nowhere(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        anna = await rig.paired("anna", ANNA)
        rig.world.faults.inject(
            Fault(FaultKind.REJECT_MESSAGES, Target(phone=ANNA), uses=1, code=463)
        )
        with pytest.raises(RefusedCommandError, match="463"):
            await anna.do("send", to=ECHO_NUMBER, text="too forward")
        await anna.do("send", to=ECHO_NUMBER, text="better")
        await anna.text("echo: better")
        texts = [message.content.text for message in rig.people.contact(ECHO_NUMBER).received]
        assert texts == ["better"]

    play(tmp_path, scenario)

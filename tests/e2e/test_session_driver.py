"""The neonize driver with the real client in session processes, against the local WhatsApp."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from support.processes import wait_until
from support.session_lab import SessionLab, Tap
from wavisor.observers import proportional_memory
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess
from wavisor.sandbox.redirect import Endpoints
from wavisor.whatsapp.child import COMMANDS_IN_FLIGHT
from wavisor.whatsapp.commands import Logout, Ping, Probe, RequestPairingCode, SendMessage
from wavisor.whatsapp.content import Text
from wavisor.whatsapp.events import (
    Answer,
    ClientOutdated,
    Connected,
    ConnectFailed,
    Disconnected,
    LoggedOut,
    MessageReceived,
    Paired,
    QrCode,
    QrPhaseEnded,
    Ready,
    ReceiptReceived,
    StreamReplaced,
    TemporaryBan,
)

pytestmark = pytest.mark.e2e

_numbers = itertools.count(4915550100001)
ECHO = "4915559000001"
ABSENT = "4915559000002"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxControl]:
    log_file = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with SandboxProcess(log_file=log_file, default_contacts=False) as process:
        process.control.add_contact(ECHO, "Echo", "echo")
        process.control.add_contact(ABSENT, "Nobody", "absent")
        yield process.control


@pytest.fixture(scope="module")
def lab(sandbox: SandboxControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionLab]:
    with SessionLab(
        tmp_path_factory.mktemp("sessions"),
        endpoints_of(sandbox),
        new_loop=uvloop.new_event_loop,
    ) as lab:
        yield lab


def endpoints_of(sandbox: SandboxControl) -> Endpoints:
    info = sandbox.endpoints()
    return Endpoints(
        info.proxy_url, info.ca_file, bytes.fromhex(info.root_public_key), info.control_url
    )


@pytest.fixture(autouse=True)
def calm(sandbox: SandboxControl) -> Iterator[None]:
    yield
    sandbox.clear_faults()


@dataclass
class Linked:
    tap: Tap
    phone: str
    jid: str


def link(lab: SessionLab, sandbox: SandboxControl) -> Linked:
    """Pair a new instance with a phone of its own."""
    phone = str(next(_numbers))
    sandbox.add_phone(phone, "Wanda")
    tap = lab.open()
    sandbox.scan(phone, tap.wait(QrCode).text)
    paired = tap.wait(Paired)
    tap.wait(Connected)
    return Linked(tap, phone, paired.jid)


def write_once(linked: Linked) -> None:
    """Write to Echo and wait for all that follows.

    The first message fetches keys and devices; for a second one nothing is left but itself.
    """
    mark = linked.tap.mark
    answer = linked.tap.ask(SendMessage, to=f"{ECHO}@s.whatsapp.net", content=Text(text="1st"))
    linked.tap.wait(MessageReceived, after=mark)
    linked.tap.wait(
        ReceiptReceived,
        after=mark,
        where=lambda r: r.kind == "read" and answer.message_id in r.message_ids,
    )


@pytest.fixture(scope="module")
def steady(lab: SessionLab, sandbox: SandboxControl) -> Linked:
    """A session shared by the tests that leave it connected; pairing is what takes long."""
    return link(lab, sandbox)


@pytest.fixture(scope="module")
def resting(lab: SessionLab, sandbox: SandboxControl) -> Linked:
    """A linked device without a process, for tests of logins that leave its keys alone."""
    resting = link(lab, sandbox)
    resting.tap.stop()
    return resting


@pytest.fixture
def linked(lab: SessionLab, sandbox: SandboxControl) -> Iterator[Linked]:
    linked = link(lab, sandbox)
    yield linked
    linked.tap.session.kill()
    linked.tap.exited()


def test_a_scan_pairs_and_connects_without_a_disconnect_in_between(
    lab: SessionLab, sandbox: SandboxControl
) -> None:
    phone = str(next(_numbers))
    account = sandbox.add_phone(phone, "Wanda")
    tap = lab.open()
    sandbox.scan(phone, tap.wait(QrCode).text)
    paired, connected = tap.wait(Paired), tap.wait(Connected)

    kinds = [event.type for event in tap.events]
    assert kinds[:2] == ["ready", "qr_code"]
    assert kinds.index("paired") < kinds.index("connected")
    assert not {"disconnected", "qr_phase_ended", "connect_failed"} & set(kinds)
    assert paired.jid == connected.jid == f"{phone}:1@s.whatsapp.net"
    assert paired.platform == connected.platform == "android"
    assert connected.lid == f"{account.lid}@lid"
    assert connected.phone == f"+{phone}"
    assert tap.session.pid == tap.wait(Ready).pid
    assert tap.incarnations == {tap.session.incarnation}
    store = lab.key_store(tap.instance)
    assert store.stat().st_mode & 0o777 == 0o600
    assert store.parent.stat().st_mode & 0o777 == 0o700
    assert tap.stop().exit_code == 0


def test_a_known_device_is_resumed_without_a_qr_code(
    lab: SessionLab, sandbox: SandboxControl, linked: Linked
) -> None:
    os.kill(linked.tap.session.pid or 0, signal.SIGKILL)
    assert linked.tap.exited().exit_code == -signal.SIGKILL
    again = lab.open(linked.tap.instance, linked.jid)
    assert again.wait(Connected).jid == linked.jid
    assert not again.all(QrCode)
    assert again.stop().exit_code == 0


def test_a_new_device_is_made_even_if_the_store_holds_one(
    lab: SessionLab, sandbox: SandboxControl, linked: Linked
) -> None:
    linked.tap.stop()
    again = lab.open(linked.tap.instance, None)
    again.wait(QrCode)
    assert not again.all(Connected)
    again.session.kill()
    again.exited()


def test_a_device_that_the_store_does_not_hold_fails_for_good(
    lab: SessionLab, linked: Linked
) -> None:
    linked.tap.stop()
    again = lab.open(linked.tap.instance, "4915550199999:7@s.whatsapp.net")
    failed = again.wait(ConnectFailed)
    assert (failed.cause, failed.permanent) == ("key_store", True)
    assert again.exited().exit_code == 2


def test_a_text_is_sent_answered_and_confirmed(steady: Linked) -> None:
    mark = steady.tap.mark
    answer = steady.tap.ask(
        SendMessage, to=f"{ECHO}@s.whatsapp.net", content=Text(text="ping @123456 ☃")
    )
    assert answer.failure is None
    assert answer.message_id is not None
    assert answer.timestamp is not None
    reply = steady.tap.wait(MessageReceived, after=mark)
    assert (reply.kind, reply.text) == ("text", "echo: ping @123456 ☃")
    assert not reply.from_me
    assert not reply.is_group
    assert reply.sender.phone == f"+{ECHO}"
    assert reply.sender.lid is not None
    assert reply.chat == reply.sender
    assert abs((reply.timestamp - answer.timestamp).total_seconds()) < 60
    for kind in ("delivered", "read"):
        receipt = steady.tap.wait(
            ReceiptReceived, after=mark, where=lambda r, kind=kind: r.kind == kind
        )
        assert receipt.message_ids == (answer.message_id,)
        assert abs((receipt.timestamp - answer.timestamp).total_seconds()) < 60


def test_what_the_user_types_on_the_phone_is_told_with_its_recipient(
    sandbox: SandboxControl, steady: Linked
) -> None:
    sandbox.write_on_phone(steady.phone, ECHO, "from my phone")
    message = steady.tap.wait(MessageReceived, where=lambda m: m.text == "from my phone")
    assert message.from_me
    assert message.chat.phone == f"+{ECHO}"
    assert message.sender.lid is not None


@pytest.mark.parametrize(
    ("to", "text", "reason"),
    [
        (f"{ABSENT}@s.whatsapp.net", "hello", "not_on_whatsapp"),
        ("nobody", "hello", "invalid"),
        (f"{ECHO}:3@s.whatsapp.net", "hello", "invalid"),
        (f"{ECHO}@s.whatsapp.net", "", "invalid"),
    ],
)
def test_a_text_that_cannot_be_sent_fails_with_its_reason(
    steady: Linked, to: str, text: str, reason: str
) -> None:
    failure = steady.tap.ask(SendMessage, to=to, content=Text(text=text)).failure
    assert failure is not None
    assert (failure.reason, failure.uncertain) == (reason, False)


@pytest.mark.parametrize(
    ("code", "reason"), [(463, "reach_out_timelock"), (479, "rejected"), (404, "rejected")]
)
def test_a_refusal_of_the_server_is_certain(
    sandbox: SandboxControl, steady: Linked, code: int, reason: str
) -> None:
    sandbox.inject("reject_messages", phone=steady.phone, code=code)
    failure = steady.tap.ask(
        SendMessage, to=f"{ECHO}@s.whatsapp.net", content=Text(text="hello")
    ).failure
    assert failure is not None
    assert (failure.reason, failure.code, failure.uncertain) == (reason, code, False)


def test_a_send_cut_off_for_good_is_uncertain(sandbox: SandboxControl, linked: Linked) -> None:
    write_once(linked)
    sandbox.inject("delay_acks", phone=linked.phone, delay=60)
    sent = SendMessage(
        instance=linked.tap.instance, id="s1", to=f"{ECHO}@s.whatsapp.net", content=Text(text="2nd")
    )
    assert linked.tap.session.send(sent)
    linked.tap.wait(MessageReceived, where=lambda m: m.text == "echo: 2nd")
    sandbox.cause("replace_stream", phone=linked.phone)
    answer = linked.tap.wait(Answer, where=lambda a: a.id == "s1")
    assert answer.failure is not None
    assert answer.failure.uncertain


def test_a_probe_is_answered_by_whatsapp_and_by_nobody_when_it_is_mute(
    sandbox: SandboxControl, steady: Linked
) -> None:
    assert steady.tap.ask(Probe).failure is None
    sandbox.inject("mute", phone=steady.phone)
    probe = Probe(instance=steady.tap.instance, id="unanswered")
    assert steady.tap.session.send(probe)
    assert steady.tap.ask(Ping).failure is None
    wait_until(lambda: sandbox.faults()[0].unheard > 0)
    sandbox.clear_faults()
    mark = steady.tap.mark
    assert sandbox.cause("drop", phone=steady.phone).hit == 1
    # The library repeats the question after it reconnected.
    answered = steady.tap.wait(Answer, where=lambda a: a.id == "unanswered", after=mark)
    assert answered.failure is None
    steady.tap.wait(Connected, after=mark)


def test_a_drop_is_told_and_the_client_comes_back_by_itself(
    sandbox: SandboxControl, steady: Linked
) -> None:
    mark = steady.tap.mark
    assert sandbox.cause("drop", phone=steady.phone).hit == 1
    steady.tap.wait(Disconnected, after=mark)
    assert steady.tap.wait(Connected, after=mark).jid == steady.jid


def test_a_text_is_refused_at_once_while_disconnected(
    sandbox: SandboxControl, linked: Linked
) -> None:
    sandbox.inject("refuse")
    sandbox.cause("drop", phone=linked.phone)
    linked.tap.wait(Disconnected)
    failure = linked.tap.ask(
        SendMessage, to=f"{ECHO}@s.whatsapp.net", content=Text(text="hello")
    ).failure
    assert failure is not None
    assert (failure.reason, failure.uncertain) == ("not_connected", False)
    probed = linked.tap.ask(Probe).failure
    assert probed is not None
    assert probed.reason == "not_connected"


def test_a_stream_that_is_replaced_is_told(sandbox: SandboxControl, linked: Linked) -> None:
    sandbox.cause("replace_stream", phone=linked.phone)
    linked.tap.wait(StreamReplaced)


def test_unlinking_on_the_phone_is_told(sandbox: SandboxControl, linked: Linked) -> None:
    sandbox.unlink(linked.phone)
    event = linked.tap.wait(LoggedOut)
    assert not event.on_connect


@contextlib.contextmanager
def login_failing(
    lab: SessionLab, sandbox: SandboxControl, linked: Linked, **failure: int
) -> Iterator[Tap]:
    """Open a linked device while its login is answered by a failure."""
    sandbox.inject("login_failure", phone=linked.phone, **failure)
    tap = lab.open(linked.tap.instance, linked.jid)
    yield tap
    tap.session.kill()
    tap.exited()


@pytest.mark.parametrize("code", [401, 403, 406])
def test_a_login_that_finds_the_device_gone_is_a_logout(
    lab: SessionLab, sandbox: SandboxControl, linked: Linked, code: int
) -> None:
    linked.tap.stop()
    with login_failing(lab, sandbox, linked, code=code) as tap:
        event = tap.wait(LoggedOut)
    assert (event.on_connect, event.code) == (True, code)
    assert event.detail


@pytest.mark.parametrize("ban_code", [101, 106, 105])
def test_a_temporary_ban_tells_why_and_for_how_long(
    lab: SessionLab, sandbox: SandboxControl, resting: Linked, ban_code: int
) -> None:
    # neonize has no value for 105 and cannot encode its own event; we tell it all the same.
    with login_failing(lab, sandbox, resting, code=402, ban_code=ban_code, ban_seconds=1800) as tap:
        event = tap.wait(TemporaryBan)
    assert (event.code, event.expires_in) == (ban_code, 1800.0)


def test_an_outdated_client_is_told(
    lab: SessionLab, sandbox: SandboxControl, resting: Linked
) -> None:
    with login_failing(lab, sandbox, resting, code=405) as tap:
        tap.wait(ClientOutdated)


@pytest.mark.parametrize("code", [400, 409, 415, 418])
def test_other_refusals_are_permanent_and_tell_their_code(
    lab: SessionLab, sandbox: SandboxControl, resting: Linked, code: int
) -> None:
    # 415 and 418 are among those for which neonize has no value.
    with login_failing(lab, sandbox, resting, code=code) as tap:
        failed = tap.wait(ConnectFailed)
    assert (failed.cause, failed.code, failed.permanent) == ("refused", code, True)


@pytest.mark.parametrize("code", [500, 503])
def test_a_server_that_is_unavailable_at_login_is_told_as_transient(
    lab: SessionLab, sandbox: SandboxControl, resting: Linked, code: int
) -> None:
    with login_failing(lab, sandbox, resting, code=code) as tap:
        failed = tap.wait(ConnectFailed)
        assert (failed.cause, failed.code, failed.permanent) == ("refused", code, False)
        # The client tries again by itself, for whoever lets it.
        sandbox.clear_faults()
        assert tap.wait(Connected).jid == resting.jid


def test_a_process_answers_while_its_sends_hang_and_takes_a_bounded_number_of_them(
    sandbox: SandboxControl, linked: Linked
) -> None:
    tap = linked.tap
    sandbox.inject("mute", phone=linked.phone)
    for number in range(COMMANDS_IN_FLIGHT + 1):
        to = f"{ECHO}@s.whatsapp.net"
        assert tap.session.send(
            SendMessage(instance=tap.instance, id=f"s{number}", to=to, content=Text(text="hello"))
        )
    assert tap.ask(Ping).failure is None
    (refused,) = [answer for answer in tap.all(Answer) if answer.failure is not None]
    assert refused.id == f"s{COMMANDS_IN_FLIGHT}"
    assert refused.failure is not None
    assert (refused.failure.reason, refused.failure.uncertain) == ("busy", False)


def test_qr_codes_that_nobody_scans_end_in_a_timeout(
    lab: SessionLab, sandbox: SandboxControl
) -> None:
    tap = lab.open()
    tap.wait(QrCode)
    # The server closes the connection of a client that waits too long.
    sandbox.cause("close", label=tap.instance)
    assert tap.wait(QrPhaseEnded).outcome == "timeout"
    assert tap.ask(Ping).failure is None
    late = tap.ask(RequestPairingCode, phone=str(next(_numbers)))
    assert late.failure is not None
    assert late.failure.reason == "not_connected"
    tap.session.kill()
    assert tap.exited().exit_code == -signal.SIGKILL


def test_a_code_typed_on_the_phone_pairs_too(lab: SessionLab, sandbox: SandboxControl) -> None:
    phone = str(next(_numbers))
    sandbox.add_phone(phone, "Wanda")
    tap = lab.open()
    tap.wait(QrCode)
    answer = tap.ask(RequestPairingCode, phone=phone)
    assert answer.failure is None
    assert answer.code is not None
    sandbox.enter_code(phone, answer.code)
    assert tap.wait(Paired).jid == f"{phone}:1@s.whatsapp.net"
    tap.wait(Connected)
    tap.stop()


@pytest.mark.parametrize("phone", ["", "12345", "0151234567", "+4915550100001", "49 1555"])
def test_a_bad_number_gets_no_pairing_code(lab: SessionLab, phone: str) -> None:
    tap = lab.open()
    tap.wait(QrCode)
    failure = tap.ask(RequestPairingCode, phone=phone).failure
    assert failure is not None
    assert failure.reason == "invalid"
    tap.session.kill()
    tap.exited()


def test_a_linked_session_gives_no_pairing_code(steady: Linked) -> None:
    failure = steady.tap.ask(RequestPairingCode, phone=steady.phone).failure
    assert failure is not None
    assert failure.reason == "not_connected"


def test_logout_unlinks_the_device(
    lab: SessionLab, sandbox: SandboxControl, linked: Linked
) -> None:
    assert linked.tap.ask(Logout).failure is None
    assert sandbox.phone(linked.phone).companions == []
    assert linked.tap.stop().exit_code == 0
    lab.driver.discard_keys(linked.tap.instance)
    assert not list(Path(lab.directory).glob(f"{linked.tap.instance}*"))


def test_killing_one_session_leaves_the_others_connected(
    lab: SessionLab, sandbox: SandboxControl, linked: Linked
) -> None:
    other = link(lab, sandbox)
    mark = other.tap.mark
    os.kill(linked.tap.session.pid or 0, signal.SIGKILL)
    linked.tap.exited()
    assert other.tap.ask(Probe).failure is None
    assert not other.tap.all(Disconnected, after=mark)
    memory = proportional_memory(other.tap.session.pid or 0)
    assert memory is not None
    assert 10 << 20 < memory < 80 << 20
    other.tap.stop()


@pytest.mark.postgres
def test_devices_in_one_postgresql_database_are_told_apart_by_their_jid(
    sandbox: SandboxControl, new_postgres_database: Callable[[], str], tmp_path: Path
) -> None:
    url = without_tls(new_postgres_database())
    with SessionLab(tmp_path / "sessions", endpoints_of(sandbox), store_url=url) as lab:
        one, two = link(lab, sandbox), link(lab, sandbox)
        secret = base64.b64encode(bytes(range(32))).decode()
        text, echo = Text(text="hi"), f"{ECHO}@s.whatsapp.net"
        sent = one.tap.ask(SendMessage, to=echo, content=text, secret=secret)
        assert sent.message_id is not None
        assert lab.driver.find_message(one.tap.instance, secret) == sent.message_id
        for linked in (one, two):
            os.kill(linked.tap.session.pid or 0, signal.SIGKILL)
            linked.tap.exited()
        for linked in (two, one):
            again = lab.open(linked.tap.instance, linked.jid)
            assert again.wait(Connected).phone == f"+{linked.phone}"
            again.stop()
        stranger = lab.open(one.tap.instance, "4915550199999:7@s.whatsapp.net")
        failed = stranger.wait(ConnectFailed)
        assert (failed.cause, failed.permanent) == ("key_store", True)
        stranger.exited()
    assert not (tmp_path / "sessions").exists()


def without_tls(url: str) -> str:
    """The Go driver insists on TLS unless told otherwise."""
    return url + ("&" if "?" in url else "?") + "sslmode=disable"

"""neonize's own protobuf events, built here, told as ours."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from support.native_events import native_protobufs
from support.native_messages import jid
from wavisor.whatsapp.addresses import jid_text, parse_jid, person_of_text
from wavisor.whatsapp.events import Person
from wavisor.whatsapp.translation import Translator

I = "ins_01K9Z3ZZZZZZZZZZZZZZZZZZZZ"  # noqa: E741 - stands in every line below
T = Translator(I)


@pytest.fixture(scope="module")
def pb() -> Any:
    return native_protobufs()


def device(pb: Any, push_name: str = "") -> Any:
    return pb.Device(
        JID=jid(pb, "15550100:3@s.whatsapp.net"),
        LID=jid(pb, "100:3@lid"),
        Platform="android",
        BussinessName="",
        PushName=push_name,
        Initialized=True,
    )


def test_pairing_tells_the_device_and_the_lid(pb: Any) -> None:
    status = pb.PairStatus(
        ID=jid(pb, "15550100:3@s.whatsapp.net"), BusinessName="", Platform="android", Status=2
    )
    told = T.paired(status, device(pb))
    assert (told.jid, told.lid) == ("15550100:3@s.whatsapp.net", "100@lid")
    assert (told.business_name, told.platform) == (None, "android")
    assert T.paired(status, None).lid is None


def test_being_connected_tells_who_one_is(pb: Any) -> None:
    told = T.connected(device(pb, "Wanda"))
    assert told.jid == "15550100:3@s.whatsapp.net"
    assert (told.lid, told.phone, told.push_name) == ("100@lid", "+15550100", "Wanda")
    assert T.connected(device(pb)).push_name is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("timeout", "timeout"),
        ("passkey-request", "passkey_required"),
        ("passkey-confirmation", "passkey_required"),
        ("err-client-outdated", "client_outdated"),
        ("err-unexpected-state", "error"),
        ("error", "error"),
        ("success", None),
        ("err-scanned-without-multidevice", None),
    ],
)
def test_the_end_of_the_qr_phase_is_told_with_its_outcome(status: str, outcome: str | None) -> None:
    told = T.qr_phase_ended(status)
    assert (told.outcome if told else None) == outcome


@pytest.mark.parametrize(
    ("number", "code", "permanent"),
    [(1, 400, True), (7, 409, True), (8, 500, False), (9, 501, False), (10, 503, False)],
)
def test_a_refused_login_tells_whatsapps_code_and_whether_it_lasts(
    pb: Any, number: int, code: int, permanent: bool
) -> None:
    event = pb.ConnectFailure(Reason=number, Message="go away", Raw=pb.Node(Tag="failure"))
    told = T.connect_failure(event)
    assert (told.cause, told.code, told.permanent) == ("refused", code, permanent)
    assert told.detail.endswith(": go away")


@pytest.mark.parametrize(("number", "code"), [(2, 401), (4, 403), (5, 406)])
def test_a_logout_tells_its_code(pb: Any, number: int, code: int) -> None:
    told = T.logged_out(pb.LoggedOut(OnConnect=True, Reason=number))
    assert (told.on_connect, told.code) == (True, code)
    assert told.detail


@pytest.mark.parametrize(("number", "code"), [(1, 101), (2, 102), (3, 103), (4, 104), (5, 106)])
def test_a_ban_tells_its_code_and_its_end(pb: Any, number: int, code: int) -> None:
    told = T.temporary_ban(pb.TemporaryBan(Code=number, Expire=1800))
    assert (told.code, told.expires_in) == (code, 1800.0)
    assert told.detail
    assert T.temporary_ban(pb.TemporaryBan(Code=number, Expire=0)).expires_in is None


def test_a_failure_stanza_is_told_where_the_library_has_no_value_for_it() -> None:
    ban = T.failure(402, {"reason": "402", "code": "105", "expire": "60"})
    assert ban.model_dump(include={"type", "code", "expires_in"}) == {
        "type": "temporary_ban",
        "code": 105,
        "expires_in": 60.0,
    }
    refused = T.failure(418, {"reason": "418", "message": "unknown client"})
    assert refused.model_dump(include={"type", "code", "permanent"}) == {
        "type": "connect_failed",
        "code": 418,
        "permanent": True,
    }
    assert T.failure(402, {"code": "x", "expire": "y"}).model_dump(include={"code"}) == {"code": 0}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("15550100:3@s.whatsapp.net", ("15550100", 0, 3, "s.whatsapp.net")),
        ("15550100@s.whatsapp.net", ("15550100", 0, 0, "s.whatsapp.net")),
        ("100.1:3@lid", ("100", 1, 3, "lid")),
    ],
)
def test_a_jid_is_taken_apart_and_put_together(
    pb: Any, text: str, parts: tuple[str, int, int, str]
) -> None:
    assert parse_jid(text) == parts
    user, agent, number, server = parts
    again = pb.JID(User=user, RawAgent=agent, Device=number, Integrator=0, Server=server)
    assert jid_text(again, device=True) == text
    assert jid_text(again) == f"{user}@{server}"


@pytest.mark.parametrize("text", ["", "@", "x@y", "1@s.whatsapp.net\n", "15550100:x@lid"])
def test_what_is_no_jid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a JID"):
        parse_jid(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100:7@lid", Person(jid="100@lid", lid="100@lid")),
        ("15550100@s.whatsapp.net", Person(jid="15550100@s.whatsapp.net", phone="+15550100")),
        ("120363@g.us", Person(jid="120363@g.us")),
        ("15550100-1400000000@g.us", Person(jid="15550100-1400000000@g.us")),
        ("nonsense", Person(jid="nonsense")),
        ("", Person(jid="")),
        ("x@s.whatsapp.net", Person(jid="x@s.whatsapp.net")),
    ],
)
def test_somebody_named_in_a_message_is_known_as_far_as_the_address_tells(
    text: str, expected: Person
) -> None:
    assert person_of_text(text) == expected


@pytest.mark.parametrize(
    "module",
    ["translation", "reception", "notices", "history", "incoming", "outgoing", "transfers"],
)
def test_translation_needs_no_neonize(module: str) -> None:
    program = f"import sys, wavisor.whatsapp.{module}; assert 'neonize' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)

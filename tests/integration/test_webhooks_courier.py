"""One request to a server that misbehaves: what comes of it, and what it must not cost."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.receivers import Behaviour, Receiver, answers, floods, hangs, resets, trickles
from wavisor.connector import Connector
from wavisor.netguard import GuardedResolver, TargetRule
from wavisor.webhooks import Courier, Outcome, Verdict
from wavisor.webhooks.courier import EXCERPT_BYTES

INTRANET = TargetRule(allow_private=True)


def post(
    behaviour: Behaviour,
    *,
    seconds: float = 5.0,
    times: int = 1,
    connector: Callable[[], Connector] = lambda: Connector(INTRANET),
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    endpoints: tuple[str, ...] = ("wh_1",),
    between: Callable[[Receiver], Any] | None = None,
) -> tuple[list[Outcome], Receiver]:
    async def run() -> tuple[list[Outcome], Receiver]:
        courier = Courier(connector(), seconds=seconds)
        try:
            async with Receiver(behaviour, tls=tls) as receiver:
                outcomes = []
                for number in range(times):
                    endpoint = endpoints[number % len(endpoints)]
                    url = receiver.url("/hook", host)
                    outcomes.append(await courier.post(endpoint, url, {"webhook-id": "e"}, b"{}"))
                    if between is not None:
                        await between(receiver)
                return outcomes, receiver
        finally:
            courier.close()

    return asyncio.run(run())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_succeeds(status: int) -> None:
    [outcome], _ = post(answers(status, b""))
    assert (outcome.verdict, outcome.status) == (Verdict.SUCCEEDED, status)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_other_answers_are_refusals(status: int) -> None:
    [outcome], _ = post(answers(status, b"why not"))
    assert (outcome.verdict, outcome.status) == (Verdict.REFUSED, status)
    assert outcome.excerpt == "why not"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    [outcome], receiver = post(answers(status, headers="Location: /elsewhere\r\n"))
    assert (outcome.verdict, outcome.status) == (Verdict.REDIRECTED, status)
    assert [one.path for one in receiver.received] == ["/hook"]


def test_410_is_its_own_verdict() -> None:
    [outcome], _ = post(answers(410))
    assert outcome.verdict is Verdict.GONE


@pytest.mark.parametrize("behaviour", [hangs, trickles])
def test_slow_servers_get_the_whole_time_and_no_more(behaviour: Behaviour) -> None:
    [outcome], _ = post(behaviour, seconds=0.3)
    assert outcome.verdict is Verdict.TIMEOUT


def test_server_that_takes_no_connection_is_a_timeout() -> None:
    # A listening socket whose queue is full answers nothing at all.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)

        async def run() -> Outcome:
            courier = Courier(Connector(INTRANET), seconds=0.3)
            try:
                return await courier.post("wh_1", f"http://127.0.0.1:{port}/", {}, b"{}")
            finally:
                courier.close()

        outcome = asyncio.run(run())
        for filler in fillers:
            filler.close()
    assert outcome.verdict is Verdict.TIMEOUT


def test_reset_is_an_answer_broken_off() -> None:
    [outcome], _ = post(resets)
    assert outcome.verdict is Verdict.BROKEN_OFF


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def run() -> Outcome:
        courier = Courier(Connector(INTRANET))
        try:
            return await courier.post("wh_1", f"http://127.0.0.1:{port}/", {}, b"{}")
        finally:
            courier.close()

    assert asyncio.run(run()).verdict is Verdict.UNREACHABLE


def says(text: bytes) -> Behaviour:
    async def answer(_: Any, writer: asyncio.StreamWriter) -> bool:
        writer.write(text)
        await writer.drain()
        return False

    return answer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"\x00\xff" * 200,
    ],
)
def test_answer_that_is_none_is_broken_off(text: bytes) -> None:
    [outcome], _ = post(says(text))
    assert outcome.verdict is Verdict.BROKEN_OFF


def test_endless_answer_is_cut_off_and_counts_by_its_status() -> None:
    [outcome], _ = post(floods)
    assert (outcome.verdict, outcome.status) == (Verdict.REFUSED, 500)
    assert outcome.excerpt == "x" * EXCERPT_BYTES


def test_excerpt_of_bytes_that_are_no_text_is_text() -> None:
    [outcome], _ = post(answers(200, b"\xff\xfe\x00a"))
    assert outcome.excerpt == "\ufffd\ufffd\x00a"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120.0), ("Fri, 01 Jan 2010 00:00:00 GMT", 0.0), ("soon", None), ("-5", None)]
    + [
        (date, None)
        for date in (
            "Mon, 01 Jan 2024 00:00:00 +" + "9" * 20,
            f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT",
            f"Mon, {'9' * 20} Jan 2024 00:00:00 GMT",
        )
    ],
)
def test_retry_after_is_read(said: str, seconds: float | None) -> None:
    [outcome], _ = post(answers(503, headers=f"Retry-After: {said}\r\n"))
    assert outcome.retry_after == seconds


def test_connection_is_reused_for_the_same_endpoint_only() -> None:
    outcomes, receiver = post(answers(), times=6, endpoints=("wh_1", "wh_2"))
    assert {one.verdict for one in outcomes} == {Verdict.SUCCEEDED}
    assert receiver.connections == 2


def test_connection_that_the_server_closes_is_not_reused() -> None:
    outcomes, receiver = post(answers(headers="Connection: close\r\n"), times=3)
    assert {one.verdict for one in outcomes} == {Verdict.SUCCEEDED}
    assert receiver.connections == 3


def test_connection_closed_while_idle_costs_no_attempt() -> None:
    async def close_all(receiver: Receiver) -> None:
        for task in list(receiver._open):
            task.cancel()

    outcomes, receiver = post(answers(), times=3, between=close_all)
    assert {one.verdict for one in outcomes} == {Verdict.SUCCEEDED}
    assert len(receiver.received) == 3


def test_private_address_is_refused() -> None:
    [outcome], receiver = post(answers(), connector=lambda: Connector(TargetRule()))
    assert outcome.verdict is Verdict.FORBIDDEN
    assert receiver.connections == 0


def test_name_that_turns_to_a_private_address_is_refused_at_connect() -> None:
    public = ("203.0.113.7", "8.8.8.8")
    looked_up: list[str] = []

    def lookup(host: str, port: int, family: int) -> list[Any]:
        # As an attacker's name server: public when it is checked, private a moment later.
        address = public[1] if not looked_up else "127.0.0.1"
        looked_up.append(address)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    rule = TargetRule()
    resolver = GuardedResolver(rule, lookup=lookup)
    asyncio.run(resolver.resolve("hook.example.org", 443))  # the look at registration
    [outcome], receiver = post(
        answers(), host="hook.example.org", connector=lambda: Connector(rule, resolver=resolver)
    )
    assert outcome.verdict is Verdict.FORBIDDEN
    assert looked_up == ["8.8.8.8", "127.0.0.1"]
    assert receiver.connections == 0


def test_bad_certificate_is_refused(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "other.example.org")
    [outcome], receiver = post(answers(), tls=server)
    assert outcome.verdict is Verdict.CERTIFICATE
    assert receiver.received == []


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("localhost", Verdict.SUCCEEDED), ("other.example.org", Verdict.CERTIFICATE)],
)
def test_certificate_must_name_the_host(tmp_path: Path, name: str, verdict: Verdict) -> None:
    server, client = certificate(tmp_path, name)
    [outcome], _ = post(
        answers(), tls=server, host="localhost", connector=lambda: Connector(INTRANET, tls=client)
    )
    assert outcome.verdict is verdict


def certificate(directory: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for ``name``, and one of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(
        cadata=made.public_bytes(serialization.Encoding.PEM).decode()
    )

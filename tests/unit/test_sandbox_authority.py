"""Certificates of the local WhatsApp: what a TLS client and a Noise client accept."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from wavisor.sandbox.authority import CHAT_HOST, MEDIA_HOST, NoiseAuthority, TlsAuthority
from wavisor.sandbox.handshake_schemas import CERT_CHAIN, CERT_DETAILS

AUTHORITY = TlsAuthority()


def shake_hands(host: str, trusted: bytes) -> str | None:
    """Let Python's TLS client meet the server's context; return the protocol they agreed on."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=trusted.decode())
    client.set_alpn_protocols(["h2", "http/1.1"])

    async def meet() -> str | None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=AUTHORITY.server_context())
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname=host
            )
            protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            writer.close()
            await writer.wait_closed()
            return protocol

    return asyncio.run(meet())


@pytest.mark.parametrize("host", [CHAT_HOST, MEDIA_HOST, "media-fra3-1.whatsapp.net"])
def test_clients_that_trust_the_authority_accept_the_server(host):
    assert shake_hands(host, AUTHORITY.ca_pem) == "http/1.1"


def test_other_names_and_other_authorities_are_refused():
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands("example.org", AUTHORITY.ca_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(CHAT_HOST, TlsAuthority().ca_pem)


def test_authority_file_holds_the_certificate_and_no_key(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("old")
    AUTHORITY.write_ca(file)
    assert file.read_bytes() == AUTHORITY.ca_pem
    assert b"PRIVATE" not in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]


def test_noise_chain_is_renewed_daily_and_always_valid():
    now = [1_700_000_000.0]
    authority = NoiseAuthority(lambda: now[0])
    first = authority.certificate_chain()
    now[0] += 3600
    assert authority.certificate_chain() == first
    now[0] += 24 * 3600
    second = authority.certificate_chain()
    assert second != first
    chain = CERT_CHAIN.FromString(second)
    for certificate in (chain.intermediate, chain.leaf):
        details = CERT_DETAILS.FromString(certificate.details)
        assert details.notBefore < now[0] < details.notAfter

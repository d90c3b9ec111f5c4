"""What the local WhatsApp takes from, and changes in, the installed client's native library.

Each check runs in a child process, because the library's Go runtime must not be loaded here.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.sandbox_rig import ROOT, client_tokens
from wavisor.sandbox.handshake_schemas import FIELDS
from wavisor.sandbox.redirect import Endpoints, RedirectError, apply

pytestmark = pytest.mark.e2e


def in_child(program: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout.splitlines()[-1]


def test_token_dictionary_has_the_protocols_shape_and_landmarks():
    tokens = client_tokens()
    assert len(tokens.single) == 236
    assert [len(dictionary) for dictionary in tokens.double] == [256] * 4
    # Positions that whatsmeow's token.go fixes for dictionary version 3.
    assert tokens.single[:4] == ("", "xmlstreamstart", "xmlstreamend", "s.whatsapp.net")
    assert tokens.double[0][0] == "read-self"
    everything = [*tokens.single[1:], *(t for dictionary in tokens.double for t in dictionary)]
    assert len(set(everything)) == len(everything)


def test_root_key_is_replaced_exactly_once_and_repeating_it_is_harmless():
    answer = in_child(
        """
import hashlib
import neonize
from wavisor.sandbox import redirect
from wavisor.sandbox.tokens import library_mappings
key = hashlib.sha256(b"a key that stands nowhere by chance").digest()

def hits(needle):
    return sum(mapping.read().count(needle) for mapping in library_mappings())

before = hits(redirect._WHATSAPP_ROOT), hits(key)
redirect.apply(key)
redirect.apply(key)
after = hits(redirect._WHATSAPP_ROOT), hits(key)
try:
    redirect.apply(bytes(32)[:-1] + b"x")
except redirect.RedirectError as error:
    print([*before, *after, str(error)])
"""
    )
    assert answer == ("[1, 0, 0, 1, 'the root key was found 0 times in the client, not once']")


def test_redirection_without_a_loaded_client_is_refused():
    answer = in_child(
        """
from wavisor.sandbox import redirect
try:
    redirect.apply(bytes(32))
except redirect.RedirectError as error:
    print(error)
"""
    )
    assert "not loaded" in answer
    with pytest.raises(ValueError, match="32 bytes"):
        apply(b"short")
    assert issubclass(RedirectError, RuntimeError)


def test_redirect_module_brings_nothing_heavy_along():
    answer = in_child(
        """
import sys
import wavisor.sandbox.redirect
heavy = ("neonize", "tornado", "cryptography", "google.protobuf", "pydantic", "structlog")
print([name for name in heavy if name in sys.modules])
"""
    )
    assert answer == "[]"


def test_handshake_schemas_agree_with_the_installed_client():
    answer = in_child(
        """
import json
from neonize.proto.waCert import WACert_pb2 as cert
from neonize.proto.waWa6 import WAWebProtobufsWa6_pb2 as wa6
chain = cert.CertChain
handshake, payload = wa6.HandshakeMessage, wa6.ClientPayload
messages = {
    "ClientHello": handshake.ClientHello,
    "ServerHello": handshake.ServerHello,
    "ClientFinish": handshake.ClientFinish,
    "HandshakeMessage": handshake,
    "Details": chain.NoiseCertificate.Details,
    "NoiseCertificate": chain.NoiseCertificate,
    "CertChain": chain,
    "DevicePairingRegistrationData": payload.DevicePairingRegistrationData,
    "ClientPayload": payload,
}
kinds = {4: "uint64", 8: "bool", 9: "string", 12: "bytes", 13: "uint32"}
print(json.dumps({
    name: {
        field.name: [
            field.number,
            kinds.get(field.type) or (field.message_type and field.message_type.name),
        ]
        for field in message.DESCRIPTOR.fields
    }
    for name, message in messages.items()
}))
"""
    )
    installed = json.loads(answer)
    for message, fields in FIELDS.items():
        for field, (number, kind) in fields.items():
            assert installed[message][field] == [number, kind], (message, field)


def test_endpoints_survive_json_and_rubbish_is_refused():
    endpoints = Endpoints("http://127.0.0.1:1", "/tmp/ca.pem", bytes(range(32)), "http://c")
    assert Endpoints.from_json(endpoints.to_json()) == endpoints
    for rubbish in (
        "",
        "[]",
        "{}",
        '{"root_public_key": "00"}',
        endpoints.to_json().replace("1f", ""),
        endpoints.to_json().replace("ca_file", "other"),
    ):
        with pytest.raises(ValueError, match=r".+"):
            Endpoints.from_json(rubbish)

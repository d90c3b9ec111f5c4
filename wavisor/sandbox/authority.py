"""The two chains of trust that a client checks, both made afresh at start.

TLS: a certificate authority and one certificate for WhatsApp's host names. Noise: a root key, an
intermediate and a leaf certificate for the server's static key. Clients are pointed at them by
``SSL_CERT_FILE`` and by ``redirect.apply``. Source of the Noise chain: whatsmeow ``handshake.go``
(``verifyServerCert``).
"""

from __future__ import annotations

import datetime
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wavisor.sandbox.handshake_schemas import CERT_CHAIN, CERT_DETAILS
from wavisor.sandbox.xeddsa import generate_keypair, sign

__all__ = ["CHAT_HOST", "MEDIA_HOST", "NoiseAuthority", "TlsAuthority"]

CHAT_HOST = "web.whatsapp.com"
MEDIA_HOST = "mmg.whatsapp.net"
_NAMES = (CHAT_HOST, MEDIA_HOST, "*.whatsapp.net", "*.whatsapp.com")

_VALIDITY = datetime.timedelta(days=7)
_RENEWAL = datetime.timedelta(days=1)
_SKEW = datetime.timedelta(hours=1)
"""Certificates are dated back by this much, for machines whose clocks differ a little."""


class NoiseAuthority:
    """The server's static Noise key and the chain that certifies it.

    Attributes:
        root: the key that clients must trust.
        static: the server's key in every handshake.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.root = generate_keypair()
        self.static = generate_keypair()
        self._intermediate = generate_keypair()
        self._now = now
        self._chain: tuple[float, bytes] | None = None

    def certificate_chain(self) -> bytes:
        """Return the serialised ``CertChain``, valid since an hour at least and for days to come.

        It is signed anew once a day only: signing takes milliseconds, which would be felt when a
        hundred clients come at once.
        """
        now = self._now()
        if self._chain is None or now - self._chain[0] > _RENEWAL.total_seconds():
            self._chain = (now, self._certify(int(now)))
        return self._chain[1]

    def _certify(self, now: int) -> bytes:
        validity = {
            "notBefore": now - int(_SKEW.total_seconds()),
            "notAfter": now + int(_VALIDITY.total_seconds()),
        }
        # The client demands issuer serial 0 for the intermediate (WACertIssuerSerial).
        intermediate = CERT_DETAILS(
            serial=1, issuerSerial=0, key=self._intermediate.public, **validity
        ).SerializeToString()
        leaf = CERT_DETAILS(
            serial=2, issuerSerial=1, key=self.static.public, **validity
        ).SerializeToString()
        chain = CERT_CHAIN()
        chain.intermediate.details = intermediate
        chain.intermediate.signature = sign(self.root.private, intermediate)
        chain.leaf.details = leaf
        chain.leaf.signature = sign(self._intermediate.private, leaf)
        serialised: bytes = chain.SerializeToString()
        return serialised


class TlsAuthority:
    """A certificate authority for WhatsApp's host names, alive as long as the process.

    The authority's key never leaves memory: only the CA certificate is meant to be given away.
    """

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wavisor local WhatsApp")])
        authority = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        server_key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CHAT_HOST)])
        server = (
            _builder(subject, name, server_key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(host) for host in _NAMES]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self._ca = authority.public_bytes(serialization.Encoding.PEM)
        self._chain = server.public_bytes(serialization.Encoding.PEM)
        self._key = server_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def ca_pem(self) -> bytes:
        """The CA certificate that clients must trust, PEM."""
        return self._ca

    def write_ca(self, path: Path) -> None:
        """Write the CA certificate to a file, replacing it at once."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(self._ca)
        partial.replace(path)

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of the server, offering HTTP/1.1 only.

        The server certificate passes through a private temporary file because Python's ``ssl``
        loads keys from files only.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(self._chain + self._key)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALIDITY)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )

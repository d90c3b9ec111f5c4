"""A client in its QR phase: what a phone needs to link it, by scanning or by a code.

The wire half creates a :class:`PendingPairing` when a client connects without an account; the
simulated phone finds it (``World.pairing_by_ref``, ``World.pairing_by_phone``) and completes it.
Source: whatsmeow ``pair.go`` and ``pair-code.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wavisor.sandbox.codec import Node

if TYPE_CHECKING:
    from wavisor.sandbox.accounts import Device

__all__ = ["LinkCodeHello", "PairingChannel", "PairingRefusedError", "PendingPairing"]


class PairingRefusedError(RuntimeError):
    """The client did not accept the pairing, went away, or did not answer in time.

    ``code`` and ``text`` are the client's own, for example 401 ``hmac-mismatch``; 0 if it gave
    none.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}" if code else text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class LinkCodeHello:
    """A client's wish to be linked by an eight-character code (stage ``companion_hello``)."""

    phone: str
    """The number that the client wants to be linked to, digits only."""
    ref: bytes
    """The pairing ref that the server issued for it."""
    wrapped_companion_ephemeral: bytes
    """80 bytes: salt (32), AES-CTR IV (16), the client's ephemeral key encrypted by the code."""
    companion_noise_key: bytes
    """The client's public Noise key (``companion_server_auth_key_pub``)."""
    platform_id: str
    platform_display: str


class PairingChannel(Protocol):
    """What the connection does for a pairing. The phone uses :class:`PendingPairing` instead."""

    async def complete(self, pair_success: Node) -> Device:
        """See :meth:`PendingPairing.complete`."""
        ...

    async def exchange_link_code(self, registration: Node) -> Node:
        """See :meth:`PendingPairing.exchange_link_code`."""
        ...


class PendingPairing:
    """A connected client that waits for a phone.

    Attributes:
        channel: the connection's side of the pairing.
        refs: the refs in its QR codes; any of them may be scanned as long as it is connected.
        noise_key: its public Noise key, 32 bytes.
        identity_key: its public identity key, 32 bytes without type byte.
        registration_id: its Signal registration id.
        device_props: serialised ``DeviceProps`` (name and kind of the client).
        label: the user name it gave to the proxy, if any.
        link_code: set once it asked for linking by code.
    """

    def __init__(
        self,
        channel: PairingChannel,
        refs: tuple[str, ...],
        *,
        noise_key: bytes,
        identity_key: bytes,
        registration_id: int,
        device_props: bytes,
        label: str | None = None,
    ) -> None:
        self.channel = channel
        self.refs = refs
        self.noise_key = noise_key
        self.identity_key = identity_key
        self.registration_id = registration_id
        self.device_props = device_props
        self.label = label
        self.link_code: LinkCodeHello | None = None

    async def exchange_link_code(self, registration: Node) -> Node:
        """Pass the phone's answer to the client and return the client's ``companion_finish``.

        Args:
            registration: ``<link_code_companion_reg>`` with ``link_code_pairing_ref``,
                ``link_code_pairing_wrapped_primary_ephemeral_pub`` and ``primary_identity_pub``;
                it is sent inside ``<notification type=link_code_companion_reg>``.

        Returns:
            The client's ``<link_code_companion_reg stage=companion_finish>``, with
            ``link_code_pairing_wrapped_key_bundle`` and ``companion_identity_public``.

        Raises:
            PairingRefusedError: the client did not answer within 20 s (a wrong code looks
                like this too) or went away.
        """
        return await self.channel.exchange_link_code(registration)

    async def complete(self, pair_success: Node) -> Device:
        """Send the pairing to the client, link the device, and let the client log in.

        Args:
            pair_success: ``<pair-success>`` with ``<device-identity>`` (a serialised
                ``ADVSignedDeviceIdentityHMAC`` as bytes), ``<device jid lid/>`` (JIDs with the
                number from ``World.allocate_device_id``) and ``<platform name/>``.

        Returns:
            The linked device, after the client signed for it. It logs in by itself after the
            stream restart (515) that follows.

        Raises:
            PairingRefusedError: the client rejected the identity, did not answer within
                20 s, or went away.
        """
        return await self.channel.complete(pair_success)

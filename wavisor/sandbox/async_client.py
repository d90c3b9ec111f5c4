"""The control API's Python client for the event loop. See ``client.py`` for the blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from wavisor.sandbox import control_models as models
from wavisor.sandbox.contacts import ContactKind
from wavisor.sandbox.control_calls import (
    TIMEOUT,
    Call,
    SandboxControlError,
    call,
    listing,
    messages,
    person_path,
    sent,
)
from wavisor.sandbox.faults import FaultKind

__all__ = ["AsyncSandboxControl"]

Answer = TypeVar("Answer")


class AsyncSandboxControl:
    """Client for the event loop, over tornado.

    ``url`` is the base URL, as in ``Endpoints.control_url``; ``timeout`` is in seconds.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._client = AsyncHTTPClient()

    async def endpoints(self) -> models.EndpointsInfo:
        """Return where the local WhatsApp is."""
        return await self.run(call(models.EndpointsInfo, "GET", "/endpoints"))

    async def pairings(self) -> list[models.Pairing]:
        """List the clients that wait for a phone, oldest first."""
        return (await self.run(listing(models.Pairing, "/pairings"))).items

    async def add_phone(self, phone: str, name: str, *, reads: bool = False) -> models.AccountInfo:
        """Give a user a number and a phone; ``reads``: the user reads what arrives."""
        return await self.run(
            call(
                models.AccountInfo,
                "POST",
                "/phones",
                models.NewPhone(phone=phone, name=name, reads=reads),
            )
        )

    async def phones(self) -> list[models.AccountInfo]:
        """List the simulated phones."""
        return (await self.run(listing(models.AccountInfo, "/phones"))).items

    async def phone(self, phone: str) -> models.AccountInfo:
        """Return a phone and its companions."""
        return await self.run(call(models.AccountInfo, "GET", person_path("phones", phone)))

    async def rename(self, phone: str, name: str) -> models.AccountInfo:
        """Change a user's name, as in the phone's settings; companions learn it."""
        return await self.run(
            call(
                models.AccountInfo, "PATCH", person_path("phones", phone), models.Rename(name=name)
            )
        )

    async def scan(self, phone: str, qr: str) -> models.Companion:
        """Scan the text of a QR code; returns when the client has accepted."""
        return await self.run(
            call(models.Companion, "POST", person_path("phones", phone, "scan"), models.Scan(qr=qr))
        )

    async def enter_code(self, phone: str, code: str) -> models.Companion:
        """Type a pairing code; returns when the client has accepted."""
        return await self.run(
            call(
                models.Companion,
                "POST",
                person_path("phones", phone, "enter-code"),
                models.EnterCode(code=code),
            )
        )

    async def unlink(self, phone: str, device: int | None = None) -> models.Unlinked:
        """Unlink one companion, or all."""
        return await self.run(
            call(
                models.Unlinked,
                "POST",
                person_path("phones", phone, "unlink"),
                models.Unlink(device=device),
            )
        )

    async def write_on_phone(self, phone: str, to: str, text: str) -> models.Sent:
        """Type a text on a user's own phone."""
        return await self.run(
            call(
                models.Sent,
                "POST",
                person_path("phones", phone, "write"),
                models.Write(to=to, text=text),
            )
        )

    async def phone_messages(self, phone: str, **query: Any) -> list[models.Message]:
        """List what a phone received; arguments as in ``WaitForMessages``."""
        return (await self.run(messages("phones", phone, query))).items

    async def phone_sent(self, phone: str, message_id: str, **query: Any) -> models.Sent:
        """Return a message typed on a phone; arguments as in ``WaitForSent``."""
        return await self.run(sent("phones", phone, message_id, query))

    async def add_contact(
        self, phone: str, name: str, kind: str, lines: Sequence[str] = ()
    ) -> models.ContactInfo:
        """Add a contact; ``lines`` are what a scripted one says."""
        return await self.run(
            call(
                models.ContactInfo,
                "POST",
                "/contacts",
                models.NewContact(
                    phone=phone, name=name, kind=ContactKind(kind), lines=list(lines)
                ),
            )
        )

    async def contacts(self) -> list[models.ContactInfo]:
        """List the simulated contacts."""
        return (await self.run(listing(models.ContactInfo, "/contacts"))).items

    async def write_as_contact(self, phone: str, to: str, text: str) -> models.Sent:
        """Write a text as a contact."""
        return await self.run(
            call(
                models.Sent,
                "POST",
                person_path("contacts", phone, "write"),
                models.Write(to=to, text=text),
            )
        )

    async def contact_messages(self, phone: str, **query: Any) -> list[models.Message]:
        """List what a contact received; arguments as in ``WaitForMessages``."""
        return (await self.run(messages("contacts", phone, query))).items

    async def contact_sent(self, phone: str, message_id: str, **query: Any) -> models.Sent:
        """Return a message that a contact wrote; arguments as in ``WaitForSent``."""
        return await self.run(sent("contacts", phone, message_id, query))

    async def inject(self, kind: str, **options: Any) -> models.FaultReport:
        """Put a lasting fault in force; options as in ``NewFault``."""
        return await self.run(
            call(
                models.FaultReport,
                "POST",
                "/faults",
                models.NewFault(kind=FaultKind(kind), **options),
            )
        )

    async def cause(self, kind: str, **options: Any) -> models.FaultReport:
        """Let a fault happen once; options as in ``Incident``."""
        return await self.run(
            call(
                models.FaultReport,
                "POST",
                "/faults",
                models.Incident.model_validate({"kind": kind, **options}),
            )
        )

    async def faults(self) -> list[models.ActiveFault]:
        """List the faults in force."""
        return (await self.run(listing(models.ActiveFault, "/faults"))).items

    async def clear_faults(self, fault_id: int | None = None) -> None:
        """End one lasting fault, or all."""
        await self.run(
            call(type(None), "DELETE", "/faults" if fault_id is None else f"/faults/{fault_id}")
        )

    async def settings(self) -> models.SettingsInfo:
        """Return the settings."""
        return await self.run(call(models.SettingsInfo, "GET", "/settings"))

    async def change_settings(self, **changes: Any) -> models.SettingsInfo:
        """Change settings; arguments as in ``SettingsChange``."""
        return await self.run(
            call(models.SettingsInfo, "PATCH", "/settings", models.SettingsChange(**changes))
        )

    async def stats(self) -> models.Stats:
        """Return what the server saw."""
        return await self.run(call(models.Stats, "GET", "/stats"))

    async def clear_stats(self) -> None:
        """Forget the connection attempts."""
        await self.run(call(type(None), "DELETE", "/stats"))

    async def run(self, request: Call[Answer]) -> Answer:
        """Run any call, such as those of ``control_talk_calls.py``."""
        limit = self._timeout + request.wait
        http_request = HTTPRequest(
            self._url + request.path,
            method=request.method,
            body=request.body if request.body is not None or request.method != "POST" else b"",
            headers={"Content-Type": "application/json"} if request.body is not None else None,
            connect_timeout=self._timeout,
            request_timeout=limit,
            allow_nonstandard_methods=True,
        )
        try:
            async with asyncio.timeout(limit):
                response = await self._client.fetch(http_request, raise_error=False)
        except (OSError, TimeoutError) as error:
            raise SandboxControlError(0, f"the control API did not answer: {error}") from error
        if response.code == 599:
            raise SandboxControlError(0, f"the control API did not answer: {response.error}")
        return request.read(response.code, response.body)

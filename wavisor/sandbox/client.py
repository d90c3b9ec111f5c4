"""Python clients of the control API, one synchronous and one for the event loop.

Both take the API's base URL and offer the same methods. Phone numbers may be written in any usual
way. Every method raises SandboxControlError when the API refuses, and pydantic's ValidationError
for arguments that could not be right.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from wavisor.sandbox import control_models as models
from wavisor.sandbox.async_client import AsyncSandboxControl
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

__all__ = ["AsyncSandboxControl", "SandboxControl", "SandboxControlError"]

Answer = TypeVar("Answer")


class SandboxControl:
    """Blocking client. Stateless, so that threads may share one.

    ``url`` is the base URL, as in ``Endpoints.control_url``; ``timeout`` is in seconds.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self._address = urlsplit(url)
        self._timeout = timeout

    def endpoints(self) -> models.EndpointsInfo:
        """Return where the local WhatsApp is."""
        return self.run(call(models.EndpointsInfo, "GET", "/endpoints"))

    def pairings(self) -> list[models.Pairing]:
        """List the clients that wait for a phone, oldest first."""
        return self.run(listing(models.Pairing, "/pairings")).items

    def add_phone(self, phone: str, name: str, *, reads: bool = False) -> models.AccountInfo:
        """Give a user a number and a phone; ``reads``: the user reads what arrives."""
        return self.run(
            call(
                models.AccountInfo,
                "POST",
                "/phones",
                models.NewPhone(phone=phone, name=name, reads=reads),
            )
        )

    def phones(self) -> list[models.AccountInfo]:
        """List the simulated phones."""
        return self.run(listing(models.AccountInfo, "/phones")).items

    def phone(self, phone: str) -> models.AccountInfo:
        """Return a phone and its companions."""
        return self.run(call(models.AccountInfo, "GET", person_path("phones", phone)))

    def rename(self, phone: str, name: str) -> models.AccountInfo:
        """Change a user's name, as in the phone's settings; companions learn it."""
        return self.run(
            call(
                models.AccountInfo, "PATCH", person_path("phones", phone), models.Rename(name=name)
            )
        )

    def scan(self, phone: str, qr: str) -> models.Companion:
        """Scan the text of a QR code; returns when the client has accepted."""
        return self.run(
            call(models.Companion, "POST", person_path("phones", phone, "scan"), models.Scan(qr=qr))
        )

    def enter_code(self, phone: str, code: str) -> models.Companion:
        """Type a pairing code; returns when the client has accepted."""
        return self.run(
            call(
                models.Companion,
                "POST",
                person_path("phones", phone, "enter-code"),
                models.EnterCode(code=code),
            )
        )

    def unlink(self, phone: str, device: int | None = None) -> models.Unlinked:
        """Unlink one companion, or all."""
        return self.run(
            call(
                models.Unlinked,
                "POST",
                person_path("phones", phone, "unlink"),
                models.Unlink(device=device),
            )
        )

    def write_on_phone(self, phone: str, to: str, text: str) -> models.Sent:
        """Type a text on a user's own phone."""
        return self.run(
            call(
                models.Sent,
                "POST",
                person_path("phones", phone, "write"),
                models.Write(to=to, text=text),
            )
        )

    def phone_messages(self, phone: str, **query: Any) -> list[models.Message]:
        """List what a phone received; arguments as in ``WaitForMessages``."""
        return self.run(messages("phones", phone, query)).items

    def phone_sent(self, phone: str, message_id: str, **query: Any) -> models.Sent:
        """Return a message typed on a phone; arguments as in ``WaitForSent``."""
        return self.run(sent("phones", phone, message_id, query))

    def add_contact(
        self, phone: str, name: str, kind: str, lines: Sequence[str] = ()
    ) -> models.ContactInfo:
        """Add a contact; ``lines`` are what a scripted one says."""
        return self.run(
            call(
                models.ContactInfo,
                "POST",
                "/contacts",
                models.NewContact(
                    phone=phone, name=name, kind=ContactKind(kind), lines=list(lines)
                ),
            )
        )

    def contacts(self) -> list[models.ContactInfo]:
        """List the simulated contacts."""
        return self.run(listing(models.ContactInfo, "/contacts")).items

    def write_as_contact(self, phone: str, to: str, text: str) -> models.Sent:
        """Write a text as a contact."""
        return self.run(
            call(
                models.Sent,
                "POST",
                person_path("contacts", phone, "write"),
                models.Write(to=to, text=text),
            )
        )

    def contact_messages(self, phone: str, **query: Any) -> list[models.Message]:
        """List what a contact received; arguments as in ``WaitForMessages``."""
        return self.run(messages("contacts", phone, query)).items

    def contact_sent(self, phone: str, message_id: str, **query: Any) -> models.Sent:
        """Return a message that a contact wrote; arguments as in ``WaitForSent``."""
        return self.run(sent("contacts", phone, message_id, query))

    def inject(self, kind: str, **options: Any) -> models.FaultReport:
        """Put a lasting fault in force; options as in ``NewFault``."""
        return self.run(
            call(
                models.FaultReport,
                "POST",
                "/faults",
                models.NewFault(kind=FaultKind(kind), **options),
            )
        )

    def cause(self, kind: str, **options: Any) -> models.FaultReport:
        """Let a fault happen once; options as in ``Incident``."""
        return self.run(
            call(
                models.FaultReport,
                "POST",
                "/faults",
                models.Incident.model_validate({"kind": kind, **options}),
            )
        )

    def faults(self) -> list[models.ActiveFault]:
        """List the faults in force."""
        return self.run(listing(models.ActiveFault, "/faults")).items

    def clear_faults(self, fault_id: int | None = None) -> None:
        """End one lasting fault, or all."""
        self.run(
            call(type(None), "DELETE", "/faults" if fault_id is None else f"/faults/{fault_id}")
        )

    def settings(self) -> models.SettingsInfo:
        """Return the settings."""
        return self.run(call(models.SettingsInfo, "GET", "/settings"))

    def change_settings(self, **changes: Any) -> models.SettingsInfo:
        """Change settings; arguments as in ``SettingsChange``."""
        return self.run(
            call(models.SettingsInfo, "PATCH", "/settings", models.SettingsChange(**changes))
        )

    def stats(self) -> models.Stats:
        """Return what the server saw."""
        return self.run(call(models.Stats, "GET", "/stats"))

    def clear_stats(self) -> None:
        """Forget the connection attempts."""
        self.run(call(type(None), "DELETE", "/stats"))

    def run(self, request: Call[Answer]) -> Answer:
        """Run any call, such as those of ``control_talk_calls.py``."""
        # http.client knows nothing of proxies in the environment, which must not be used here.
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=self._timeout + request.wait
        )
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        try:
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            return request.read(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise SandboxControlError(0, f"the control API did not answer: {error}") from error
        finally:
            connection.close()

"""Routes of the control API about the server: endpoints, faults, settings and statistics."""

from __future__ import annotations

import time
from typing import get_args

from pydantic import BaseModel

from wavisor.sandbox import incidents
from wavisor.sandbox.control_handlers import ControlHandler, ProblemError
from wavisor.sandbox.control_models import (
    ActiveFault,
    Attempt,
    Client,
    FaultReport,
    Incident,
    NewFault,
    SettingsChange,
    SettingsInfo,
    Stats,
)
from wavisor.sandbox.faults import Fault, Target
from wavisor.sandbox.statistics import peak_rate

__all__ = ["ROUTES"]

_INCIDENTS = frozenset(get_args(Incident.model_fields["kind"].annotation))


class _Kind(BaseModel):
    """The one field that says which model a fault is."""

    kind: str


class EndpointsHandler(ControlHandler):
    """``/endpoints``: where the local WhatsApp is."""

    def get(self) -> None:
        """Return proxy, certificates and root key."""
        self.reply(self.endpoints)


class FaultsHandler(ControlHandler):
    """``/faults``: what goes wrong."""

    def get(self) -> None:
        """List the faults in force."""
        now = time.monotonic()
        self.reply(
            [
                ActiveFault(
                    id=fault.id,
                    kind=fault.kind,
                    phone=fault.target.phone,
                    device=fault.target.device,
                    label=fault.target.label,
                    seconds_left=None if fault.until is None else max(0.0, fault.until - now),
                    uses_left=fault.uses,
                    unheard=fault.unheard,
                )
                for fault in self.world.faults.active()
            ]
        )

    async def post(self) -> None:
        """Put a lasting fault in force, or let one happen at once."""
        if self.body(_Kind).kind not in _INCIDENTS:
            self.reply(self._inject(self.body(NewFault)), 201)
            return
        incident = self.body(Incident)
        self.reply(FaultReport(kind=incident.kind, hit=await self._happen(incident)), 201)

    def delete(self) -> None:
        """End all faults."""
        self.world.faults.clear()
        self.set_status(204)

    def _inject(self, wanted: NewFault) -> FaultReport:
        fault = Fault(
            kind=wanted.kind,
            target=Target(phone=wanted.phone, device=wanted.device, label=wanted.label),
            **wanted.model_dump(exclude={"kind", "phone", "device", "label"}),
        )
        return FaultReport(kind=wanted.kind, id=self.world.faults.inject(fault))

    async def _happen(self, wanted: Incident) -> int:
        target = Target(phone=wanted.phone, device=wanted.device, label=wanted.label)
        match wanted.kind:
            case "drop":
                return await incidents.drop(self.world, target)
            case "close":
                return await incidents.drop(self.world, target, abruptly=False)
            case "stream_error":
                return await incidents.stream_error(self.world, target, code=wanted.code)
            case "replace_stream":
                return await incidents.replace_stream(self.world, target)
            case "log_out":
                return await incidents.log_out(self.world, target)


class FaultHandler(ControlHandler):
    """``/faults/{id}``: one lasting fault."""

    def delete(self, fault_id: str) -> None:
        """End it."""
        if not self.world.faults.clear(int(fault_id)):
            raise ProblemError(404, "no such fault is in force")
        self.set_status(204)


class SettingsHandler(ControlHandler):
    """``/settings``: what can be changed while it runs."""

    def get(self) -> None:
        """Return them."""
        self._reply_settings()

    def patch(self) -> None:
        """Change some."""
        change = self.body(SettingsChange)
        for name in change.model_fields_set:
            value = getattr(change, name)
            if value is not None or name == "qr_lifetime":
                setattr(self.world.settings, name, value)
        self._reply_settings()

    def _reply_settings(self) -> None:
        settings = self.world.settings
        self.reply(
            SettingsInfo(
                qr_refs=settings.qr_refs,
                qr_lifetime=settings.qr_lifetime,
                presence_echo=settings.presence_echo,
                history_messages=settings.history_messages,
            )
        )


class StatsHandler(ControlHandler):
    """``/stats``: what the server saw."""

    def get(self) -> None:
        """Return attempts, clients and counts."""
        attempts = self.world.attempts.since()
        people = [*self.people.phones.values(), *self.people.contacts.values()]
        self.reply(
            Stats(
                attempts_total=self.world.attempts.total,
                peak_per_second=peak_rate(attempts),
                attempts=[
                    Attempt(
                        at=attempt.wall,
                        label=attempt.label,
                        phone=attempt.phone,
                        device=attempt.device,
                        outcome=attempt.outcome,
                    )
                    for attempt in attempts
                ],
                clients=[
                    Client(
                        phone=connection.device.account.phone if connection.device else None,
                        device=connection.device.id if connection.device else None,
                        label=connection.label,
                    )
                    for connection in self.world.connections
                ],
                messages_routed=self.world.messages_routed,
                undecryptable=sum(person.undecryptable for person in people),
            )
        )

    def delete(self) -> None:
        """Forget the connection attempts."""
        self.world.attempts.clear()
        self.set_status(204)


ROUTES: list[tuple[str, type[ControlHandler]]] = [
    (r"/endpoints", EndpointsHandler),
    (r"/faults", FaultsHandler),
    (r"/faults/([0-9]{1,9})", FaultHandler),
    (r"/settings", SettingsHandler),
    (r"/stats", StatsHandler),
]
"""Paths and their handlers."""

"""What neonize cannot encode ends its event loop, and with it the session: known and told.

Its protobufs demand values for which WhatsApp has more kinds than neonize knows
(``goneonize/utils/encoder.go``). When an upgrade mends that, these tests say so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest

from support.sandbox_rig import Rig, eventually, play
from wavisor.ids import Kind, new_id
from wavisor.sandbox.codec import Node
from wavisor.sandbox.people import ECHO_NUMBER
from wavisor.whatsapp.commands import Probe
from wavisor.whatsapp.driver import NeonizeDriver
from wavisor.whatsapp.events import Answer, Connected, ConnectFailed, Event, Exited, QrCode
from wavisor.whatsapp.port import SessionSpec

pytestmark = pytest.mark.e2e

E = TypeVar("E")
PHONE = "12025550177"


class Heard(list[Event]):
    """What a session told, with waiting for more."""

    def __call__(self, _incarnation: str, event: Event) -> None:
        self.append(event)

    async def first(self, kind: type[E]) -> E:
        def found() -> list[E]:
            return [event for event in self if isinstance(event, kind)]

        await eventually(found)
        return found()[0]


@pytest.mark.parametrize(
    ("tag", "attrs", "content"),
    [
        ("chatstate", {}, (Node("composing", {"media": "smoke-signal"}),)),
        ("chatstate", {}, (Node("juggling"),)),
        ("receipt", {"id": "ABC", "t": "1700000000", "type": "weird"}, None),
    ],
    ids=["medium", "state", "receipt"],
)
def test_a_kind_that_neonize_does_not_know_ends_the_session_with_a_word_about_it(
    tmp_path: Path, tag: str, attrs: dict[str, str], content: tuple[Node, ...] | None
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        echo = rig.people.contact(ECHO_NUMBER)
        driver = NeonizeDriver(
            asyncio.get_running_loop(), tmp_path / "sessions", redirect=rig.endpoints
        )
        heard, instance = Heard(), new_id(Kind.INSTANCE)
        session = driver.open(SessionSpec(instance, None), heard)
        phone = rig.people.add_phone(PHONE, "Wanda")
        await phone.scan((await heard.first(QrCode)).text)
        await heard.first(Connected)
        session.send(Probe(instance=instance, id="settled"))
        await heard.first(Answer)
        (device,) = (
            device
            for device in rig.world.devices_of(phone.account)
            if device.connection is not None
        )
        assert device.connection is not None
        await device.connection.send(Node(tag, {"from": echo.account.lid, **attrs}, content))
        failed = await heard.first(ConnectFailed)
        assert (failed.cause, failed.permanent) == ("network", False)
        assert "could not pass on" in failed.detail
        assert (await heard.first(Exited)).exit_code == 2
        await driver.close()

    play(tmp_path, scenario)

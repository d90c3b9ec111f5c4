"""What becomes of a message that was under way when its instance's actor crashed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.instance_lab import InstanceLab, instance_lab
from support.queueing import new_text
from wavisor.actors.instance.messages import Deliver, SettingsChanged
from wavisor.domain import MessageStatus
from wavisor.storage import messages
from wavisor.whatsapp.commands import Command, SendMessage
from wavisor.whatsapp.scripted import SIGKILLED, ScriptedSession


class Undead(ScriptedSession):
    """Takes its time to die, and answers no send: the client has not got to it yet."""

    def on_command(self, command: Command) -> None:
        if not isinstance(command, SendMessage):
            super().on_command(command)

    def kill(self) -> None:
        self.killed = True

    def get_to_it(self) -> None:
        """Note the last message down as the client does right before it leaves."""
        command = self.commands(SendMessage)[-1]
        assert command.secret is not None
        self.driver.noted[self.spec.instance_id, command.secret] = "3EB0LATE"

    def die(self) -> None:
        self.exit(SIGKILLED)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def queue(lab: InstanceLab, instance: str, text: str) -> str:
    message = lab.database.write_wait(messages.enqueue, lab.scope, instance, new_text(text))
    lab.ref(instance).tell(Deliver())
    return message.id


def status(lab: InstanceLab, message: str) -> MessageStatus:
    found = lab.database.read_wait(messages.get, lab.scope, message)
    assert found is not None
    return found.status


def crash(lab: InstanceLab, instance: str) -> None:
    ref = lab.ref(instance)
    ref.tell(SettingsChanged(None))  # type: ignore[arg-type]
    lab.wait_for_actor(instance, other_than=ref)
    lab.look(instance)


@pytest.mark.parametrize("leaves", [True, False])
def test_nothing_is_decided_before_the_killed_session_is_gone(
    lab: InstanceLab, leaves: bool
) -> None:
    instance = lab.create()
    lab.driver.script(Undead)
    old = lab.link(instance)
    assert isinstance(old, Undead)
    first, second = queue(lab, instance, "first"), queue(lab, instance, "second")
    lab.advance(instance, 0.001)
    assert len(old.commands(SendMessage)) == 1
    crash(lab, instance)
    assert old.killed
    new = lab.session(instance)
    assert new is not old
    new.connect()
    lab.advance(instance, 1.0)
    assert new.commands(SendMessage) == []
    assert status(lab, first) is MessageStatus.SENDING
    if leaves:
        old.get_to_it()
    old.die()
    for _ in range(3000):
        lab.advance(instance, 0.1)
        if status(lab, second) is not MessageStatus.QUEUED:
            break
    texts = [command.content.text for command in new.commands(SendMessage)]
    assert texts == (["second"] if leaves else ["first", "second"])
    assert status(lab, first) is (MessageStatus.UNCERTAIN if leaves else MessageStatus.SENT)

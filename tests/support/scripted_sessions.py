"""Scripted sessions with defects that only tests need."""

from __future__ import annotations

from wavisor.whatsapp.commands import Command, SendMessage
from wavisor.whatsapp.scripted_defects import CrashesOnSend


class NotesAndCrashes(CrashesOnSend):
    """Dies when the message may have left: its id is in the key store already."""

    def on_command(self, command: Command) -> None:
        if isinstance(command, SendMessage):
            assert command.secret is not None
            self.driver.noted[self.spec.instance_id, command.secret] = "3EB0LOST"
        super().on_command(command)

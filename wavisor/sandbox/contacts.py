"""Simulated contacts: people with a number who receive, confirm and answer in their own ways."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum

from wavisor.sandbox.content import Content
from wavisor.sandbox.correspondence import ReceivedMessage
from wavisor.sandbox.directory import Account, World
from wavisor.sandbox.person import Person

__all__ = [
    "ECHO_PREFIX",
    "Contact",
    "ContactKind",
    "EchoContact",
    "ScriptedContact",
    "make_contact",
]

ECHO_PREFIX = "echo: "
"""What the echo contact puts before the text that it sends back."""


class ContactKind(StrEnum):
    """How a contact behaves. Every one of them can be made to write through the control API."""

    ECHO = "echo"
    """Confirms, reads, and answers a text with ``echo: `` and the same text."""
    SILENT = "silent"
    """Receives and never confirms: one grey tick for ever."""
    RECEIVER = "receiver"
    """Confirms that a message was delivered, and never reads it."""
    READER = "reader"
    """Confirms and reads, and does not answer."""
    SCRIPTED = "scripted"
    """Confirms, reads, and answers each message with the next line of its script."""
    ABSENT = "absent"
    """A number that is not on WhatsApp. There is nobody behind it."""


class Contact(Person):
    """A contact that only receives, and writes when it is told to."""

    kind = ContactKind.RECEIVER


class SilentContact(Contact):
    """Receives and never confirms."""

    kind = ContactKind.SILENT

    def __init__(self, world: World, account: Account) -> None:
        super().__init__(world, account, delivers=False)


class ReadingContact(Contact):
    """Confirms that messages were delivered and read."""

    kind = ContactKind.READER

    def __init__(self, world: World, account: Account) -> None:
        super().__init__(world, account, reads=True)


class EchoContact(ReadingContact):
    """Sends texts back, in groups when it is mentioned, with :data:`ECHO_PREFIX` before them.

    Echoes are not echoed again, so that two echo contacts do not talk for ever.
    """

    kind = ContactKind.ECHO

    async def on_received(self, message: ReceivedMessage) -> None:
        """Answer a text; in a group only one that mentions it, and never a status."""
        content = message.content
        if content.kind != "text" or (content.text or "").startswith(ECHO_PREFIX):
            return
        if message.chat == message.sender or self._is_mentioned(content):
            await self.write(message.chat, ECHO_PREFIX + (content.text or ""))

    def _is_mentioned(self, content: Content) -> bool:
        return bool({str(self.account.lid), str(self.account.pn)} & set(content.mentions))


class ScriptedContact(ReadingContact):
    """Answers each message with the next of its lines, and falls silent after the last."""

    kind = ContactKind.SCRIPTED

    def __init__(self, world: World, account: Account, lines: Iterable[str] = ()) -> None:
        super().__init__(world, account)
        self.lines = deque(lines)

    async def on_received(self, message: ReceivedMessage) -> None:
        """Say the next line, if there is one, to who writes to it alone."""
        if self.lines and message.chat == message.sender:
            await self.write(message.sender, self.lines.popleft())


_CLASSES: dict[ContactKind, type[Contact]] = {
    ContactKind.ECHO: EchoContact,
    ContactKind.SILENT: SilentContact,
    ContactKind.RECEIVER: Contact,
    ContactKind.READER: ReadingContact,
}


def make_contact(
    world: World, account: Account, kind: ContactKind, lines: Iterable[str] = ()
) -> Contact | None:
    """Put somebody behind an account's number; nobody for a number that is not on WhatsApp.

    ``lines`` are what a scripted contact says.
    """
    if kind is ContactKind.ABSENT:
        return None
    if kind is ContactKind.SCRIPTED:
        return ScriptedContact(world, account, lines)
    return _CLASSES[kind](world, account)

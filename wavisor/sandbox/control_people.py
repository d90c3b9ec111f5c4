"""Routes of the control API about people: phones, contacts, pairings and messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wavisor.sandbox.contacts import Contact
from wavisor.sandbox.control_handlers import ControlHandler, ProblemError
from wavisor.sandbox.control_models import (
    AccountInfo,
    Companion,
    ContactInfo,
    EnterCode,
    MediaInfo,
    Message,
    NewContact,
    NewPhone,
    Pairing,
    Rename,
    Scan,
    Sent,
    Unlink,
    Unlinked,
    WaitForMessages,
    WaitForSent,
    Write,
)
from wavisor.sandbox.correspondence import ReceivedMessage, SentMessage
from wavisor.sandbox.directory import Device
from wavisor.sandbox.person import Person
from wavisor.sandbox.phone import Phone

__all__ = ["ROUTES", "sent_info"]


class PairingsHandler(ControlHandler):
    """``/pairings``: clients that wait for a phone."""

    def get(self) -> None:
        """List them, oldest first."""
        self.reply(
            [
                Pairing(
                    refs=list(pairing.refs),
                    label=pairing.label,
                    code_for=pairing.link_code.phone if pairing.link_code else None,
                    registration_id=pairing.registration_id,
                )
                for pairing in self.world.pending_pairings
            ]
        )


class PhonesHandler(ControlHandler):
    """``/phones``: the users' phones."""

    def get(self) -> None:
        """List them."""
        self.reply([_account_info(phone) for phone in self.people.phones.values()])

    def post(self) -> None:
        """Give a user a number and a phone."""
        wanted = self.body(NewPhone)
        with self.domain_errors():
            phone = self.people.add_phone(wanted.phone, wanted.name, reads=wanted.reads)
        self.reply(_account_info(phone), 201)


class PhoneHandler(ControlHandler):
    """``/phones/{phone}``: one phone and its companions."""

    def get(self, number: str) -> None:
        """Return it."""
        self.reply(_account_info(self.phone(number)))

    async def patch(self, number: str) -> None:
        """Change the user's name; companions learn it."""
        phone, wanted = self.phone(number), self.body(Rename)
        await phone.rename(wanted.name)
        self.reply(_account_info(phone))


class ScanHandler(ControlHandler):
    """``/phones/{phone}/scan``: hold the phone before a QR code."""

    async def post(self, number: str) -> None:
        """Link the client that shows the code; answers when the client has accepted."""
        phone, wanted = self.phone(number), self.body(Scan)
        with self.domain_errors():
            device = await phone.scan(wanted.qr)
        self.reply(_companion(device), 201)


class EnterCodeHandler(ControlHandler):
    """``/phones/{phone}/enter-code``: type a pairing code."""

    async def post(self, number: str) -> None:
        """Link the client that shows the code; answers when the client has accepted."""
        phone, wanted = self.phone(number), self.body(EnterCode)
        with self.domain_errors():
            device = await phone.enter_code(wanted.code)
        self.reply(_companion(device), 201)


class UnlinkHandler(ControlHandler):
    """``/phones/{phone}/unlink``: end the link to companions."""

    async def post(self, number: str) -> None:
        """Unlink one companion, or all."""
        phone, wanted = self.phone(number), self.body(Unlink)
        with self.domain_errors():
            self.reply(Unlinked(devices=await phone.unlink(wanted.device)))


class ContactsHandler(ControlHandler):
    """``/contacts``: the simulated contacts."""

    def get(self) -> None:
        """List them; numbers that are not on WhatsApp have nobody behind them and are left out."""
        self.reply([_contact_info(contact) for contact in self.people.contacts.values()])

    def post(self) -> None:
        """Add one."""
        wanted = self.body(NewContact)
        with self.domain_errors():
            self.people.add_contact(wanted.phone, wanted.name, wanted.kind, wanted.lines)
        account = self.world.accounts[wanted.phone]
        self.reply(
            ContactInfo(
                phone=account.phone,
                lid=account.lid_user,
                name=account.name,
                kind=wanted.kind,
                received=0,
                undecryptable=0,
            ),
            201,
        )


class WriteHandler(ControlHandler):
    """``/phones/{phone}/write`` and ``/contacts/{phone}/write``: type a text."""

    async def post(self, kind: str, number: str) -> None:
        """Send it; answers when the server has taken it."""
        person, wanted = self.person(kind, number), self.body(Write)
        with self.domain_errors():
            self.reply(sent_info(await person.write(wanted.to, wanted.text)), 201)


class MessagesHandler(ControlHandler):
    """``/phones/{phone}/messages`` and ``/contacts/{phone}/messages``: what arrived there."""

    async def get(self, kind: str, number: str) -> None:
        """List what the device decrypted, oldest first; may wait for more."""
        person, wanted = self.person(kind, number), self.query(WaitForMessages)

        def matching() -> list[ReceivedMessage]:
            return [
                message
                for message in person.received
                if wanted.sender in (None, message.sender)
                and wanted.text in (None, message.content.text)
            ]

        await _wait(person, lambda: len(matching()) >= wanted.count, wanted.wait)
        self.reply([_message(message) for message in matching()])


class SentListHandler(ControlHandler):
    """``/phones/{phone}/sent`` and ``/contacts/{phone}/sent``: what was written there."""

    def get(self, kind: str, number: str) -> None:
        """List it, oldest first."""
        sent = self.person(kind, number).sent.values()
        self.reply([sent_info(message) for message in sent if not message.peer])


class SentHandler(ControlHandler):
    """``…/sent/{id}``: how far one message came."""

    async def get(self, kind: str, number: str, message_id: str) -> None:
        """Return it; may wait for a status."""
        person, wanted = self.person(kind, number), self.query(WaitForSent)
        message = person.sent.get(message_id)
        if message is None:
            raise ProblemError(404, "no message with this id was sent from here")
        await _wait(person, lambda: message.reached(wanted.status), wanted.wait)
        self.reply(sent_info(message))


async def _wait(person: Person, ready: Callable[[], bool], seconds: float) -> None:
    """Wait until ``ready``, looking after every message and receipt, but not for ever."""
    try:
        async with asyncio.timeout(seconds):
            await person.wait_for(lambda: True if ready() else None)
    except TimeoutError:
        return


def _companion(device: Device) -> Companion:
    return Companion(
        device=device.id,
        online=device.online,
        waiting=len(device.inbox),
        keys=len(device.keys.one_time) if device.keys else 0,
    )


def _account_info(phone: Phone) -> AccountInfo:
    account = phone.account
    return AccountInfo(
        phone=account.phone,
        lid=account.lid_user,
        name=account.name,
        companions=[_companion(device) for device in phone.companions],
    )


def _contact_info(contact: Contact) -> ContactInfo:
    account = contact.account
    return ContactInfo(
        phone=account.phone,
        lid=account.lid_user,
        name=account.name,
        kind=contact.kind,
        received=len(contact.received),
        undecryptable=contact.undecryptable,
    )


def _message(message: ReceivedMessage) -> Message:
    content, file = message.content, message.content.media
    return Message(
        id=message.id,
        sender=message.sender,
        sender_device=message.sender_device,
        chat=message.chat,
        kind=content.kind,
        text=content.text,
        target=content.target,
        encryption=message.encryption,
        timestamp=message.timestamp,
        quoted=content.quoted,
        mentions=list(content.mentions),
        forwarded=content.forwarded,
        view_once=content.view_once,
        expiration=content.expiration,
        names=list(content.names),
        position=content.position,
        media=MediaInfo(
            mime_type=file.mime_type,
            size=file.size,
            sha256=file.digest.hex(),
            file_name=file.file_name,
            seconds=file.seconds,
        )
        if file
        else None,
    )


def sent_info(message: SentMessage) -> Sent:
    """Return a sent message as the API tells it."""
    return Sent(
        id=message.id,
        to=message.to,
        kind=message.kind,
        status=message.status,
        timestamp=message.timestamp,
        receipts=message.receipts,
    )


_PERSON = r"/(phones|contacts)/([^/]+)"

ROUTES: list[tuple[str, type[ControlHandler]]] = [
    (r"/pairings", PairingsHandler),
    (r"/phones", PhonesHandler),
    (r"/phones/([^/]+)", PhoneHandler),
    (r"/phones/([^/]+)/scan", ScanHandler),
    (r"/phones/([^/]+)/enter-code", EnterCodeHandler),
    (r"/phones/([^/]+)/unlink", UnlinkHandler),
    (r"/contacts", ContactsHandler),
    (_PERSON + r"/write", WriteHandler),
    (_PERSON + r"/messages", MessagesHandler),
    (_PERSON + r"/sent", SentListHandler),
    (_PERSON + r"/sent/([^/]+)", SentHandler),
]
"""Paths and their handlers."""

"""A simulated device of somebody: receives, acknowledges, asks again for what was not readable.

:class:`Person` is a :class:`~wavisor.sandbox.directory.Peer`: the server hands it exactly the
stanzas that a real client would get, and it answers with the stanzas that a real client would
send (``outbox.py``). Phones (``phone.py``) and contacts (``contacts.py``) build on it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, TypeVar

import structlog

from wavisor.sandbox.calls import Call, hang_up, ring
from wavisor.sandbox.codec import Jid, Node
from wavisor.sandbox.content import (
    Content,
    MalformedContentError,
    describe,
    parse,
    said,
    text_message,
)
from wavisor.sandbox.correspondence import ReceivedMessage, SentMessage
from wavisor.sandbox.delivery import present
from wavisor.sandbox.directory import Account, Device, PreKeyBundle, World
from wavisor.sandbox.group_routing import is_shared
from wavisor.sandbox.media_crypto import decrypt_media
from wavisor.sandbox.outbox import MAX_RETRIES, Outbox, RefusedMessageError
from wavisor.sandbox.polls import open_vote
from wavisor.sandbox.recipients import NotOnWhatsAppError, resolve
from wavisor.sandbox.retries import bundle_node
from wavisor.sandbox.routing import submit
from wavisor.sandbox.sender_keys import SenderKeys
from wavisor.sandbox.signal_protocol import (
    Ciphertext,
    DuplicateMessageError,
    SignalDevice,
    SignalError,
    unpad_message,
)

__all__ = ["NotOnWhatsAppError", "Person", "RefusedMessageError"]

log = structlog.get_logger(__name__)

HISTORY_LIMIT = 1000
"""Messages and calls remembered; the oldest are forgotten first."""

_Found = TypeVar("_Found")


class Person:
    """The simulated primary device of an account. Attaches itself to the account.

    Args:
        world: where it lives.
        account: whose device it is.
        delivers: whether it confirms what it receives.
        reads: whether it also says that it has read it.
    """

    def __init__(
        self, world: World, account: Account, *, delivers: bool = True, reads: bool = False
    ) -> None:
        self.world = world
        self.account = account
        self.signal = SignalDevice()
        self.sender_keys = SenderKeys()
        self.outbox = Outbox(world, account, self.signal, self.sender_keys)
        self.received: deque[ReceivedMessage] = deque(maxlen=HISTORY_LIMIT)
        self.undecryptable = 0
        self.calls: deque[Call] = deque(maxlen=HISTORY_LIMIT)
        """Calls that this person made."""
        self.signals: deque[Node] = deque(maxlen=HISTORY_LIMIT)
        """Presence, typing and notifications that arrived, as they are."""
        self._delivers = delivers
        self._reads = reads
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._retries: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Condition()
        account.primary.peer = self

    @property
    def device(self) -> Device:
        """The account's device that this is."""
        return self.account.primary

    @property
    def sent(self) -> OrderedDict[str, SentMessage]:
        """What was sent from here, by id."""
        return self.outbox.sent

    # What the server calls (Peer)

    def prekey_bundle(self) -> PreKeyBundle:
        """Return keys for a new session with this device, a fresh one-time key among them."""
        return self.signal.issue_bundle()

    async def on_message(self, stanza: Node) -> None:
        """Decrypt a message, remember it, confirm it; ask for it again if that is impossible."""
        sender_jid = stanza.jid("participant") or stanza.jid("from")
        sender = self.world.device_of(sender_jid) if sender_jid else None
        if sender is not None:
            await self._take(stanza, sender)

    async def on_receipt(self, stanza: Node) -> None:
        """Note how far sent messages came; send again what the other side could not read."""
        await self.outbox.on_receipt(stanza)
        await self._announce()

    async def on_signal(self, stanza: Node) -> None:
        """Remember presence, typing and notifications, and whether a call was turned down."""
        self.signals.append(stanza)
        rejection = stanza.child("reject") if stanza.tag == "call" else None
        if rejection is not None:
            for call in self.calls:
                if call.id == rejection.text("call-id") and call.status == "ringing":
                    call.status = "rejected"
        await self._announce()

    async def on_received(self, message: ReceivedMessage) -> None:
        """Do what this person does about a message; called after it was confirmed."""

    # What the person does

    def forget(self, device: Device) -> None:
        """Lose all keys to what a device sends, as by a new installation of the app."""
        self.signal.forget(str(device.lid))
        for group in self.world.groups.values():
            self.sender_keys.forget(str(group.jid), str(device.lid))

    async def write(self, to: str, text: str) -> SentMessage:
        """Send a text to a number (digits only) or a group; return when the server has taken it.

        Raises NotOnWhatsAppError and RefusedMessageError.
        """
        return await self.send(to, text_message(text))

    async def send(
        self, to: str, content: bytes, *, kind: str = "text", edit: str | None = None
    ) -> SentMessage:
        """Send content; arguments and errors as in :meth:`Outbox.send`."""
        message = await self.outbox.send(to, content, kind=kind, edit=edit)
        await self._announce()
        return message

    async def confirm(
        self, chat: str, message_ids: Iterable[str], kind: str, *, author: str | None = None
    ) -> None:
        """Send a receipt of its own accord, in whatever order.

        Args:
            chat: where the messages are: a number, the JID of a group, or ``status@broadcast``.
            message_ids: at least one.
            kind: ``delivered``, ``read`` or ``played``.
            author: phone number of who wrote them; needed where many write.

        Raises NotOnWhatsAppError.
        """
        first, *others = message_ids
        recipient = resolve(self.world, self.account, chat)
        writer = self.world.account_by_phone(author) if author else None
        items = tuple(Node("item", {"id": message_id}) for message_id in others)
        attrs: dict[str, str | Jid | None] = {
            "id": first,
            "to": recipient.jid,
            "type": None if kind == "delivered" else kind,
            "participant": writer.lid if writer and recipient.shared else None,
        }
        content = (Node("list", {}, items),) if items else ()
        await submit(self.world, self.device, Node("receipt", present(attrs), content))

    async def show(self, *, available: bool) -> None:
        """Come online, or go."""
        kind = "available" if available else "unavailable"
        await submit(self.world, self.device, Node("presence", {"type": kind}))

    async def type_to(self, to: str, state: Literal["composing", "recording", "paused"]) -> None:
        """Show somebody, or a group, that this person is typing. Raises NotOnWhatsAppError."""
        recipient = resolve(self.world, self.account, to)
        media = {"media": "audio"} if state == "recording" else {}
        doing = Node("paused" if state == "paused" else "composing", media)
        await submit(self.world, self.device, Node("chatstate", {"to": recipient.jid}, (doing,)))

    async def call(self, to: str, *, video: bool = False) -> Call:
        """Call a number. Raises NotOnWhatsAppError."""
        callee = resolve(self.world, self.account, to).accounts[0]
        call = await ring(self.world, self.device, callee, video=video)
        self.calls.append(call)
        return call

    async def hang_up(self, call: Call, reason: str = "timeout") -> None:
        """End a call that this person made."""
        await hang_up(self.world, self.device, self.world.accounts[call.to], call, reason)
        await self._announce()

    async def wait_for(self, found: Callable[[], _Found | None]) -> _Found:
        """Wait until ``found`` returns something, looking after everything that arrives.

        The caller limits the time, with :func:`asyncio.timeout`.
        """
        async with self._news:
            while (result := found()) is None:
                await self._news.wait()
            return result

    # Receiving

    async def on_protocol(self, sender: Device, content: bytes) -> None:
        """Take a message that is not for people: requests of companions, shared keys."""

    async def _take(self, stanza: Node, sender: Device) -> None:
        """Decrypt all parts: where many read, the key to the message comes in one of its own."""
        encryption, plaintext = "", b""
        try:
            for enc in stanza.all("enc"):
                encryption, plaintext = enc.text("type"), self._decrypt(stanza, sender, enc)
                self._learn_key(stanza, sender, plaintext)
            content = describe(plaintext)
        except DuplicateMessageError:
            await self._confirm(stanza, sender)
            return
        except (SignalError, MalformedContentError) as error:
            self.undecryptable += 1
            log.warning("simulated device cannot decrypt", reason=str(error))
            await self._ask_again(stanza, sender)
            return
        await self._confirm(stanza, sender)
        if not self._is_new(sender, stanza.text("id")):
            return
        if content.kind == "protocol":
            await self.on_protocol(sender, plaintext)
            return
        chat = self._chat_of(stanza, sender, content.destination)
        message = ReceivedMessage(
            id=stanza.text("id"),
            sender=sender.account.phone,
            sender_device=sender.id,
            chat=chat,
            content=self._with_vote(sender, content, plaintext),
            encryption=encryption,
            timestamp=int(stanza.text("t") or 0),
            raw=plaintext,
        )
        self.received.append(message)
        await self._announce()
        if sender.account is not self.account:
            await self.on_received(message)

    def _decrypt(self, stanza: Node, sender: Device, enc: Node) -> bytes:
        address = str(sender.lid)
        if enc.text("type") == "skmsg":
            return unpad_message(self.sender_keys.decrypt(stanza.text("from"), address, enc.data))
        kind: Literal["pkmsg", "msg"] = "pkmsg" if enc.text("type") == "pkmsg" else "msg"
        return unpad_message(self.signal.decrypt(address, Ciphertext(kind, enc.data)))

    def _learn_key(self, stanza: Node, sender: Device, plaintext: bytes) -> None:
        message = parse(plaintext)
        if message.HasField("senderKeyDistributionMessage"):
            key = message.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage
            self.sender_keys.learn(stanza.text("from"), str(sender.lid), key)

    def _with_vote(self, voter: Device, content: Content, plaintext: bytes) -> Content:
        """Add to a vote what was chosen, if the poll is known here."""
        if content.kind != "poll_vote" or content.target is None:
            return content
        found = self.find(content.target)
        if found is None:
            return content
        poll, author = found
        update = said(parse(plaintext)).pollUpdateMessage
        chosen = open_vote(poll, update, author=author.lid, voter=voter.account.lid)
        return content if chosen is None else replace(content, names=chosen)

    def find(self, message_id: str) -> tuple[Any, Account] | None:
        """Return a message (``waE2E.Message``) that was sent from or received here; its author."""
        if sent := self.sent.get(message_id):
            return parse(sent.content), self.account
        for message in self.received:
            if message.id == message_id:
                return parse(message.raw), self.world.accounts[message.sender]
        return None

    def file_of(self, message_id: str) -> bytes:
        """Download and decrypt the file in a received message.

        Raises LookupError if there is no such message or file, MediaDecryptionError if the file is
        not what the message says.
        """
        received = next((m for m in self.received if m.id == message_id), None)
        file = received.content.media if received else None
        if file is None:
            raise LookupError("no file came with a message of this id")
        encrypted = self.world.media.at(file.direct_path)
        if encrypted is None:
            raise LookupError("the media host does not have the file")
        return decrypt_media(file, encrypted)

    def _is_new(self, sender: Device, message_id: str) -> bool:
        """Tell whether a message is new; one that was resent may have arrived in the end."""
        key = (str(sender.lid), message_id)
        if key in self._seen:
            return False
        self._seen[key] = None
        while len(self._seen) > HISTORY_LIMIT:
            self._seen.popitem(last=False)
        return True

    def _chat_of(self, stanza: Node, sender: Device, destination: Jid | None) -> str:
        source = stanza.jid("from")
        if source is not None and is_shared(source):
            return str(source)
        if destination is None:
            return sender.account.phone
        account = self.world.account_of(destination)
        return account.phone if account else destination.user

    async def _confirm(self, stanza: Node, sender: Device) -> None:
        if not self._delivers:
            return
        own = sender.account is self.account
        peer = stanza.text("category") == "peer"
        await self._send_receipt(stanza, "peer_msg" if peer else "sender" if own else None)
        if self._reads and not own:
            await self._send_receipt(stanza, "read")

    async def _send_receipt(
        self, stanza: Node, kind: str | None, children: tuple[Node, ...] = ()
    ) -> None:
        attrs: dict[str, str | Jid | None] = {
            "id": stanza.text("id"),
            "to": stanza.attrs["from"],
            "type": kind,
            "recipient": stanza.attrs.get("recipient"),
            "participant": stanza.attrs.get("participant"),
        }
        await submit(self.world, self.device, Node("receipt", present(attrs), children))

    async def _ask_again(self, stanza: Node, sender: Device) -> None:
        """Send a retry receipt with keys for a new session (whatsmeow ``sendRetryReceipt``)."""
        key = (str(sender.lid), stanza.text("id"))
        self._retries[key] += 1
        if self._retries[key] > MAX_RETRIES:
            return
        retry = Node(
            "retry",
            {
                "count": str(self._retries[key]),
                "id": stanza.text("id"),
                "t": stanza.text("t"),
                "v": "1",
            },
        )
        bundle = self.signal.issue_bundle()
        registration = Node("registration", {}, bundle.registration_id.to_bytes(4, "big"))
        await self._send_receipt(stanza, "retry", (retry, registration, bundle_node(bundle)))

    async def send_to_companion(self, device: Device, content: bytes) -> None:
        """Send protocol content to one own companion, which has uploaded its keys."""
        await self.outbox.send_to_companion(device, content)

    async def _announce(self) -> None:
        async with self._news:
            self._news.notify_all()

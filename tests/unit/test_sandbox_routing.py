"""Who gets what, addressed how, when a device of the local WhatsApp sends something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from wavisor.sandbox import accounts, incidents
from wavisor.sandbox.accounts import Account, Device, DeviceKeys, PreKey, PreKeyBundle
from wavisor.sandbox.codec import SERVER_JID, Jid, Node
from wavisor.sandbox.directory import MAX_DEVICE_ID, Settings, World
from wavisor.sandbox.faults import Fault, FaultKind, Target
from wavisor.sandbox.routing import announce_devices, submit, unlink

ANNA, BERT, CARL = "4915550000001", "4915550000002", "4915550000003"


class Line:
    """A connection that remembers what was sent over it."""

    def __init__(self, device: Device | None, label: str | None = None) -> None:
        self.device = device
        self.label = label
        self.active = True
        self.sent: list[Node] = []
        self.closed = False

    async def send(self, stanza: Node) -> None:
        self.sent.append(stanza)

    async def dismiss(self, last: Node) -> None:
        self.sent.append(last)
        self.closed = True

    async def close(self, *, abruptly: bool = False) -> None:
        self.closed = True


class Recorder:
    """A simulated device that remembers what it was given, and fails when told to."""

    def __init__(self) -> None:
        self.got: list[Node] = []
        self.failing = False
        self.news = asyncio.Event()

    async def _take(self, stanza: Node) -> None:
        self.got.append(stanza)
        self.news.set()
        if self.failing:
            raise RuntimeError("broken on purpose")

    on_message = on_receipt = on_signal = _take

    def prekey_bundle(self) -> PreKeyBundle:
        return PreKeyBundle(1, bytes(32), PreKey(1, bytes(32), bytes(64)))

    async def wait_for(self, count: int) -> list[Node]:
        async with asyncio.timeout(5):
            while len(self.got) < count:
                self.news.clear()
                await self.news.wait()
        return self.got


class Town:
    """Anna with two companions, Bert with one, Carl with none; all of them online."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.world = World(settings)
        self.anna = self.world.add_account(ANNA, name="Anna", lid="101")
        self.bert = self.world.add_account(BERT, name="Bert", lid="102")
        self.carl = self.world.add_account(CARL, name="Carl", lid="103", peer=Recorder())
        self.lines: dict[Device, Line] = {}
        for account, count in ((self.anna, 2), (self.bert, 1)):
            account.primary.peer = Recorder()
            for _ in range(count):
                number = self.world.allocate_device_id(account)
                self.connect(self.world.add_device(account, number))

    def connect(self, device: Device) -> Line:
        line = Line(device)
        self.lines[device] = line
        device.connection = line
        self.world.connections.add(line)
        return line

    def recorder(self, account: Account) -> Recorder:
        peer = account.primary.peer
        assert isinstance(peer, Recorder)
        return peer

    def line(self, account: Account, device: int) -> Line:
        return self.lines[account.devices[device]]


def in_town(scenario: Callable[[Town], Awaitable[None]], settings: Settings | None = None) -> None:
    async def run() -> None:
        await scenario(Town(settings))

    asyncio.run(run())


def enc(kind: str = "msg") -> Node:
    return Node("enc", {"v": "2", "type": kind}, b"sealed")


def message(to: Jid, *devices: Jid, message_id: str = "M1", kind: str = "msg") -> Node:
    targets = tuple(Node("to", {"jid": device}, (enc(kind),)) for device in devices)
    identity = Node("device-identity", {}, b"certificate")
    return Node(
        "message",
        {"to": to, "id": message_id, "type": "text"},
        (Node("participants", {}, targets), identity),
    )


def test_each_addressed_device_gets_its_own_ciphertext_from_the_senders_lid():
    async def scenario(town: Town) -> None:
        sender, bert = town.anna.devices[1], town.bert
        stanza = message(bert.lid, bert.lid, bert.lid.with_device(1), kind="pkmsg")
        ack = await submit(town.world, sender, stanza)
        assert ack is not None
        assert ack.tag == "ack"
        assert (ack.text("class"), ack.text("id")) == ("message", "M1")
        assert ack.attrs["from"] == bert.lid
        assert int(ack.text("t")) > 1_700_000_000
        assert "error" not in ack.attrs
        [phone] = await town.recorder(bert).wait_for(1)
        [companion] = town.line(bert, 1).sent
        assert phone == companion
        assert companion.attrs["from"] == sender.lid
        assert companion.attrs["sender_pn"] == town.anna.pn
        assert companion.text("notify") == "Anna"
        assert companion.children == (enc("pkmsg"), Node("device-identity", {}, b"certificate"))
        assert town.world.messages_routed == 1

    in_town(scenario)


def test_device_identity_travels_only_with_first_messages():
    async def scenario(town: Town) -> None:
        stanza = message(town.bert.lid, town.bert.lid.with_device(1))
        await submit(town.world, town.anna.devices[1], stanza)
        assert town.line(town.bert, 1).sent[0].children == (enc(),)

    in_town(scenario)


def test_own_devices_learn_whom_the_message_was_for():
    async def scenario(town: Town) -> None:
        stanza = message(town.bert.lid, town.anna.lid.with_device(2), town.anna.lid)
        await submit(town.world, town.anna.devices[1], stanza)
        [copy] = town.line(town.anna, 2).sent
        assert copy.attrs["from"] == town.anna.lid.with_device(1)
        assert copy.attrs["recipient"] == town.bert.lid
        assert copy.attrs["peer_recipient_pn"] == town.bert.pn
        assert "sender_pn" not in copy.attrs
        assert await town.recorder(town.anna).wait_for(1) == [copy]
        assert town.line(town.anna, 1).sent == []

    in_town(scenario)


def test_message_to_a_phone_number_comes_from_a_phone_number():
    async def scenario(town: Town) -> None:
        stanza = message(town.bert.pn, town.bert.pn.with_device(1))
        await submit(town.world, town.anna.devices[1], stanza)
        [got] = town.line(town.bert, 1).sent
        assert got.attrs["from"] == town.anna.pn.with_device(1)
        assert got.attrs["sender_lid"] == town.anna.lid

    in_town(scenario)


def test_nobody_else_can_be_slipped_in_among_the_participants():
    async def scenario(town: Town) -> None:
        stanza = message(town.bert.lid, town.bert.lid.with_device(1), town.carl.lid)
        await submit(town.world, town.anna.devices[1], stanza)
        assert len(town.line(town.bert, 1).sent) == 1
        await submit(town.world, town.anna.devices[1], message(town.carl.lid, town.carl.lid))
        assert len(await town.recorder(town.carl).wait_for(1)) == 1

    in_town(scenario)


def test_repeated_message_is_acknowledged_but_not_delivered_again():
    async def scenario(town: Town) -> None:
        stanza = message(town.bert.lid, town.bert.lid.with_device(1))
        first = await submit(town.world, town.anna.devices[1], stanza)
        again = await submit(town.world, town.anna.devices[1], stanza)
        assert first == again
        assert len(town.line(town.bert, 1).sent) == 1
        # The same id from another device is another message.
        await submit(town.world, town.anna.devices[2], stanza)
        assert len(town.line(town.bert, 1).sent) == 2

    in_town(scenario)


def test_resent_message_reaches_the_one_device_that_asked():
    async def scenario(town: Town) -> None:
        sender, target = town.anna.devices[1], town.bert.lid.with_device(1)
        await submit(town.world, sender, message(town.bert.lid, target))
        retried = Node(
            "message",
            {"to": target, "id": "M1", "type": "text", "device_fanout": "false"},
            (enc(),),
        )
        await submit(town.world, sender, retried)
        assert len(town.line(town.bert, 1).sent) == 2
        assert town.recorder(town.bert).got == []

    in_town(scenario)


@pytest.mark.parametrize("to", [Jid("999", "lid"), Jid("1-2", "g.us"), SERVER_JID])
def test_message_to_nobody_is_refused(to):
    async def scenario(town: Town) -> None:
        ack = await submit(town.world, town.anna.devices[1], message(to, to))
        assert ack is not None
        assert ack.text("error") == "404"
        assert town.world.messages_routed == 0

    in_town(scenario)


def test_blocked_people_neither_reach_nor_are_reached():
    async def scenario(town: Town) -> None:
        target = town.bert.lid.with_device(1)
        town.bert.blocked[town.anna.lid] = None
        unheard = await submit(
            town.world, town.anna.devices[1], message(town.bert.lid, target, message_id="1")
        )
        assert unheard is not None
        assert "error" not in unheard.attrs
        assert town.line(town.bert, 1).sent == []
        town.bert.blocked.clear()
        town.anna.blocked[town.bert.pn] = None
        refused = await submit(
            town.world, town.anna.devices[1], message(town.bert.lid, target, message_id="2")
        )
        assert refused is not None
        assert refused.text("error") == "403"

    in_town(scenario)


def test_rejected_message_is_not_delivered():
    async def scenario(town: Town) -> None:
        town.world.faults.inject(
            Fault(FaultKind.REJECT_MESSAGES, Target(phone=ANNA), code=463, uses=1)
        )
        stanza = message(town.bert.lid, town.bert.lid.with_device(1))
        ack = await submit(town.world, town.anna.devices[1], stanza)
        assert ack is not None
        assert ack.text("error") == "463"
        assert town.line(town.bert, 1).sent == []
        await submit(town.world, town.anna.devices[1], stanza)
        assert len(town.line(town.bert, 1).sent) == 1

    in_town(scenario)


def test_stanzas_wait_until_they_are_confirmed():
    async def scenario(town: Town) -> None:
        device, line = town.bert.devices[1], town.line(town.bert, 1)
        device.connection = None
        for number in range(3):
            stanza = message(town.bert.lid, device.lid, message_id=f"M{number}")
            await submit(town.world, town.anna.devices[1], stanza)
        assert line.sent == []
        assert [stanza.text("id") for stanza in device.inbox.values()] == ["M0", "M1", "M2"]
        receipt = Node("receipt", {"to": town.anna.lid.with_device(1), "id": "M1"})
        await submit(town.world, device, receipt)
        assert [stanza.text("id") for stanza in device.inbox.values()] == ["M0", "M2"]
        # A request to send again says the opposite of a confirmation.
        retry = receipt.with_attrs(id="M0", type="retry")
        await submit(town.world, device, retry)
        assert [stanza.text("id") for stanza in device.inbox.values()] == ["M0", "M2"]
        assert device.acknowledge(("message", "M0", str(town.anna.lid.with_device(1)), "", ""))
        assert not device.acknowledge(("message", "M0", str(town.anna.lid.with_device(1)), "", ""))

    in_town(scenario)


def test_stanzas_for_a_client_that_is_not_active_yet_are_kept_back():
    async def scenario(town: Town) -> None:
        line = town.line(town.bert, 1)
        line.active = False
        device = town.bert.devices[1]
        await submit(town.world, town.anna.devices[1], message(town.bert.lid, device.lid))
        await device.signal(Node("presence", {"from": town.anna.lid}))
        assert line.sent == []
        assert len(device.inbox) == 1

    in_town(scenario)


def test_inbox_of_a_device_that_never_comes_is_bounded(monkeypatch):
    async def scenario(town: Town) -> None:
        device = town.bert.devices[1]
        device.connection = None
        for number in range(8):
            await device.deliver(Node("receipt", {"id": str(number)}))
        assert [stanza.text("id") for stanza in device.inbox.values()] == ["3", "4", "5", "6", "7"]
        assert device.dropped == 3

    monkeypatch.setattr(accounts, "INBOX_LIMIT", 5)
    in_town(scenario)


def test_delivery_receipt_reaches_all_devices_of_the_sender():
    async def scenario(town: Town) -> None:
        reader = town.bert.devices[1]
        receipt = Node("receipt", {"to": town.anna.lid.with_device(1), "id": "M1"})
        ack = await submit(town.world, reader, receipt)
        assert ack is not None
        assert (ack.text("class"), ack.text("id")) == ("receipt", "M1")
        for line in (town.line(town.anna, 1), town.line(town.anna, 2)):
            [got] = line.sent
            assert got.attrs["from"] == reader.lid
            assert "type" not in got.attrs
        assert len(await town.recorder(town.anna).wait_for(1)) == 1
        assert town.recorder(town.bert).got == []

    in_town(scenario)


def test_reading_is_told_to_the_sender_and_to_the_readers_other_devices():
    async def scenario(town: Town) -> None:
        listed = Node("list", {}, (Node("item", {"id": "M2"}),))
        receipt = Node("receipt", {"to": town.anna.lid, "id": "M1", "type": "read"}, (listed,))
        await submit(town.world, town.bert.devices[1], receipt)
        [got] = town.line(town.anna, 1).sent
        assert got.text("type") == "read"
        assert got.children == (listed,)
        [own] = await town.recorder(town.bert).wait_for(1)
        assert own.attrs["from"] == town.bert.lid.with_device(1)
        assert own.attrs["recipient"] == town.anna.lid

    in_town(scenario)


def test_retry_request_reaches_only_the_device_that_sent_the_message():
    async def scenario(town: Town) -> None:
        retry = Node("retry", {"count": "1", "id": "M1"})
        receipt = Node(
            "receipt", {"to": town.anna.lid.with_device(2), "id": "M1", "type": "retry"}, (retry,)
        )
        await submit(town.world, town.bert.devices[1], receipt)
        [got] = town.line(town.anna, 2).sent
        assert got.children == (retry,)
        assert town.line(town.anna, 1).sent == []
        assert town.recorder(town.anna).got == []

    in_town(scenario)


def test_presence_is_told_to_subscribers_that_are_available_themselves():
    async def scenario(town: Town) -> None:
        watcher, line = town.bert.devices[1], town.line(town.bert, 1)
        await submit(town.world, watcher, Node("presence", {"type": "available", "name": "Bertie"}))
        assert town.bert.name == "Bertie"
        subscription = Node("presence", {"type": "subscribe", "to": town.anna.lid})
        assert await submit(town.world, watcher, subscription) is None
        assert line.sent[-1].text("type") == "unavailable"
        await submit(town.world, town.anna.devices[1], Node("presence", {"type": "available"}))
        assert line.sent[-1].attrs == {"from": town.anna.lid}
        told = len(line.sent)
        # The account stays available as long as one of its devices is.
        await submit(town.world, town.anna.devices[2], Node("presence", {"type": "available"}))
        await submit(town.world, town.anna.devices[1], Node("presence", {"type": "unavailable"}))
        assert len(line.sent) == told
        await submit(town.world, town.anna.devices[2], Node("presence", {"type": "unavailable"}))
        assert line.sent[-1].text("type") == "unavailable"
        assert int(line.sent[-1].text("last")) > 1_700_000_000
        watcher.available = False
        told = len(line.sent)
        await submit(town.world, town.anna.devices[1], Node("presence", {"type": "available"}))
        assert len(line.sent) == told

    in_town(scenario)


def test_presence_can_be_switched_off():
    async def scenario(town: Town) -> None:
        watcher = town.bert.devices[1]
        watcher.available = True
        await submit(
            town.world, watcher, Node("presence", {"type": "subscribe", "to": town.anna.lid})
        )
        told = len(town.line(town.bert, 1).sent)
        await submit(town.world, town.anna.devices[1], Node("presence", {"type": "available"}))
        assert len(town.line(town.bert, 1).sent) == told

    in_town(scenario, Settings(presence_echo=False))


def test_typing_is_passed_on_and_never_kept():
    async def scenario(town: Town) -> None:
        typing = Node("chatstate", {"to": town.bert.lid}, (Node("composing"),))
        await submit(town.world, town.anna.devices[1], typing)
        [got] = town.line(town.bert, 1).sent
        assert got == Node(
            "chatstate", {"from": town.anna.lid.with_device(1)}, (Node("composing"),)
        )
        assert not town.bert.devices[1].inbox

    in_town(scenario)


def test_changed_device_list_is_announced_to_those_who_know_it():
    async def scenario(town: Town) -> None:
        town.anna.contacts.add(BERT)
        await announce_devices(town.world, town.anna)
        told = town.line(town.bert, 1).sent
        assert {(n.text("type"), n.attrs["from"]) for n in told} == {
            ("devices", town.anna.lid),
            ("devices", town.anna.pn),
        }
        assert all(n.child("update") is not None for n in told)
        assert len({n.text("id") for n in told}) == 2
        assert len(town.line(town.anna, 1).sent) == 2
        assert town.recorder(town.carl).got == []

    in_town(scenario)


def test_unlinked_device_is_told_and_gone():
    async def scenario(town: Town) -> None:
        device, line = town.anna.devices[1], town.line(town.anna, 1)
        await unlink(town.world, device)
        [error] = line.sent
        assert (error.tag, error.text("code")) == ("stream:error", "401")
        conflict = error.child("conflict")
        assert conflict is not None
        assert conflict.text("type") == "device_removed"
        assert line.closed
        assert 1 not in town.anna.devices
        sent = len(town.line(town.anna, 2).sent)
        assert sent == 2
        await unlink(town.world, device)
        assert len(town.line(town.anna, 2).sent) == sent

    in_town(scenario)


def test_device_that_left_by_itself_is_not_told():
    async def scenario(town: Town) -> None:
        line = town.line(town.anna, 1)
        await unlink(town.world, town.anna.devices[1], announced=False)
        assert line.sent == []
        assert not line.closed

    in_town(scenario)


def test_failing_simulated_device_still_gets_what_comes_next():
    async def scenario(town: Town) -> None:
        carl = town.recorder(town.carl)
        carl.failing = True
        for number in range(3):
            stanza = message(town.carl.lid, town.carl.lid, message_id=f"M{number}")
            await submit(town.world, town.anna.devices[1], stanza)
        assert [s.text("id") for s in await carl.wait_for(3)] == ["M0", "M1", "M2"]

    in_town(scenario)


def test_incidents_hit_their_target_and_tell_how_many():
    async def scenario(town: Town) -> None:
        assert await incidents.drop(town.world, Target(phone=ANNA, device=2)) == 1
        assert town.line(town.anna, 2).closed
        assert not town.line(town.anna, 1).closed
        assert await incidents.replace_stream(town.world, Target(phone=BERT)) == 1
        assert town.line(town.bert, 1).sent[-1].child("conflict") is not None
        pairing = Line(None, label="new")
        town.world.connections.add(pairing)
        # A client that is not logged in has no stream to end, but a connection to lose.
        assert await incidents.stream_error(town.world, Target(label="new")) == 0
        assert await incidents.drop(town.world, Target(label="new")) == 1
        assert await incidents.log_out(town.world) == 3
        assert not list(town.world.real_devices())

    in_town(scenario)


def test_one_time_keys_are_handed_out_once():
    keys = DeviceKeys(7, bytes(32), PreKey(1, bytes(32), bytes(64)))
    keys.one_time.extend(PreKey(number, bytes([number] * 32)) for number in (10, 11))
    taken = [keys.take_bundle().one_time for _ in range(3)]
    assert [key.id if key else None for key in taken] == [10, 11, None]


def test_accounts_are_found_by_both_addresses():
    async def scenario(town: Town) -> None:
        assert town.world.account_of(town.anna.pn) is town.anna
        assert town.world.account_of(town.anna.lid.with_device(9)) is town.anna
        assert town.world.account_of(Jid("101", "g.us")) is None
        assert town.world.device_of(town.anna.lid.with_device(9)) is None
        assert town.world.device_of(town.anna.pn) is town.anna.primary
        with pytest.raises(ValueError, match="already"):
            town.world.add_account(ANNA, name="again")
        with pytest.raises(ValueError, match="digits"):
            town.world.add_account("+49", name="plus")
        town.anna.next_device_id = MAX_DEVICE_ID + 1
        with pytest.raises(ValueError, match="no device numbers"):
            town.world.allocate_device_id(town.anna)

    in_town(scenario)

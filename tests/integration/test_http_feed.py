"""The websocket feed on real sockets: who may read, what they get, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any

import pytest

from support.feed_client import FeedClient, FeedRefusedError
from support.gateway import GatewayLab, NewGateway
from support.http import PASSWORD, Member
from wavisor import metrics
from wavisor.domain import Role
from wavisor.storage import EventRecord


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def drops(reason: str) -> float:
    return float(metrics.WEBSOCKET_DROPS.labels(reason)._value.get())


# Who may read


def test_a_token_in_the_header_opens_the_feed(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed(owner)
    assert feed.expect("authenticated")["expiresAt"].endswith("Z")
    assert feed.subscribe() == {
        "type": "subscribed",
        "instances": ["*"],
        "events": ["*"],
        "since": None,
    }


@pytest.mark.parametrize("offered", [["bearer.{}"], ["wavisor.v1", "bearer.{}"]])
def test_a_token_in_a_subprotocol_opens_the_feed(
    gateway: GatewayLab, owner: Member, offered: list[str]
) -> None:
    subprotocols = [one.format(owner.token) for one in offered]
    feed = gateway.feed(subprotocols=subprotocols)
    feed.expect("authenticated")
    assert feed.connection.selected_subprotocol == subprotocols[0]


def test_a_token_in_the_first_frame_opens_the_feed(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed()
    feed.say({"type": "auth", "token": owner.token})
    feed.expect("authenticated")


def test_a_ticket_opens_the_feed_once(gateway: GatewayLab, owner: Member) -> None:
    ticket = gateway.post("/api/ws-ticket", {}, token=owner.token).json["ticket"]
    gateway.feed(path=f"/ws?ticket={ticket}").expect("authenticated")
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed(path=f"/ws?ticket={ticket}")
    assert refused.value.status == 401


@pytest.mark.parametrize(
    "handshake",
    [
        {"headers": {"Authorization": "Bearer nonsense"}},
        {"headers": {"Authorization": "Basic eDp5"}},
        {"subprotocols": ["bearer.nonsense"]},
        {"path": "/ws?ticket=nonsense"},
    ],
)
def test_a_wrong_token_in_the_handshake_is_refused_with_a_problem(
    gateway: GatewayLab, handshake: dict[str, Any]
) -> None:
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed(**handshake)
    assert refused.value.status == 401
    assert refused.value.problem["type"] == "urn:wavisor:problem:invalid-token"
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_wrong_query_is_refused(gateway: GatewayLab, owner: Member) -> None:
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed(path=f"/ws?token={owner.token}")
    assert refused.value.status == 422


def test_a_wrong_token_in_the_first_frame_closes_the_feed(gateway: GatewayLab) -> None:
    before = drops("unauthenticated")
    feed = gateway.feed()
    feed.say({"type": "auth", "token": "nonsense"})
    assert feed.wait_closed() == 4401
    assert drops("unauthenticated") == before + 1


def test_nothing_is_told_before_the_token(gateway: GatewayLab) -> None:
    feed = gateway.feed()
    feed.say({"type": "subscribe"})
    assert feed.wait_closed() == 4401


def test_a_client_that_brings_no_token_is_closed(
    gateway: GatewayLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavisor.http.feed.connection.AUTH_SECONDS", 0.1)
    assert gateway.feed().wait_closed() == 4401


def test_only_so_many_may_be_open_without_a_token(
    gateway: GatewayLab, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavisor.http.feed.clients.PENDING_LIMIT", 2)
    waiting = [gateway.feed() for _ in range(2)]
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed()
    assert refused.value.status == 503
    gateway.feed(owner).expect("authenticated")
    waiting[0].say({"type": "auth", "token": owner.token})
    waiting[0].expect("authenticated")
    gateway.feed()


def test_a_plain_request_is_told_to_use_a_websocket(gateway: GatewayLab, owner: Member) -> None:
    answer = gateway.get("/ws", token=owner.token)
    assert answer.status == 426
    assert answer.problem == "upgrade-required"
    assert gateway.post("/ws", {}, token=owner.token).problem == "method-not-allowed"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:{port}", True),
        ("https://app.example.com", True),
        ("https://evil.example.com", False),
        ("null", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_pages_of_other_origins_are_kept_out(
    new_gateway: NewGateway, origin: str, allowed: bool
) -> None:
    gateway = new_gateway(cors_origins=("https://app.example.com",))
    owner = gateway.register()
    headers = {"Origin": origin.format(port=gateway.port)}
    if allowed:
        gateway.feed(owner, headers=headers).expect("authenticated")
        return
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed(owner, headers=headers)
    assert refused.value.status == 403


def test_a_subscription_has_so_many_clients_and_no_more(new_gateway: NewGateway) -> None:
    gateway = new_gateway(feed_clients_per_tenant=2)
    owner, other = gateway.register(), gateway.register()
    feeds = [gateway.feed(owner) for _ in range(2)]
    for feed in feeds:
        feed.expect("authenticated")
    before = drops("too_many")
    assert gateway.feed(owner).wait_closed() == 4429
    assert drops("too_many") == before + 1
    gateway.feed(other).expect("authenticated")

    feeds[0].close()
    _wait_until(lambda: gateway.application.feed_clients.count(owner.subscription_id) == 1)
    gateway.feed(owner).expect("authenticated")


# How it ends


def test_a_token_that_expires_closes_the_feed(gateway: GatewayLab, owner: Member) -> None:
    before = drops("revoked")
    assert gateway.feed_with_short_token(owner).wait_closed() == 4401
    assert drops("revoked") == before + 1


def test_a_new_token_keeps_the_feed_open(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed_with_short_token(owner, seconds=4)
    other = gateway.feed_with_short_token(owner, seconds=4)
    first = feed.expect("authenticated")
    feed.say({"type": "auth", "token": owner.token})
    second = feed.expect("authenticated")
    assert second["expiresAt"] > first["expiresAt"]
    assert other.wait_closed() == 4401  # so the first one's token has ended as well
    feed.say({"type": "ping", "id": 1})
    feed.expect("pong")


def test_a_token_of_somebody_else_does_not_renew(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.say({"type": "auth", "token": gateway.register().token})
    assert feed.wait_closed() == 4401


@pytest.mark.parametrize("how", ["logout", "change-password"])
def test_a_token_that_is_revoked_closes_the_feed(new_gateway: NewGateway, how: str) -> None:
    gateway = new_gateway(feed_ping_interval_seconds=3, feed_ping_timeout_seconds=3)
    owner = gateway.register()
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    body = {}
    if how == "change-password":
        body = {"currentPassword": PASSWORD, "newPassword": "another correct horse"}
    assert gateway.post(f"/api/auth/{how}", body, token=owner.token).status < 300
    assert feed.wait_closed() == 4401


def test_the_feed_is_closed_when_the_gateway_stops(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    gateway.run(gateway.server.stop(1.0))
    assert feed.wait_closed() == 1001


def test_a_client_that_answers_no_ping_is_closed(new_gateway: NewGateway) -> None:
    gateway = new_gateway(feed_ping_interval_seconds=1, feed_ping_timeout_seconds=1)
    owner = gateway.register()
    before = drops("ping_timeout")
    with _mute_client(gateway, owner) as connection:
        received = _read_to_end(connection)
    assert (4406).to_bytes(2, "big") in received
    assert drops("ping_timeout") == before + 1


@pytest.mark.parametrize(
    "frame",
    [
        "no json",
        "[]",
        "{}",
        '{"type":"dance"}',
        '{"type":"subscribe","unknown":1}',
        '{"type":"subscribe","instances":"*"}',
        '{"type":"subscribe","instances":[]}',
        '{"type":"subscribe","instances":["ins_nonsense"]}',
        '{"type":"subscribe","events":["message:nonsense"]}',
        '{"type":"subscribe","events":["nonsense:*"]}',
        '{"type":"subscribe","since":"evt_nonsense"}',
        '{"type":"subscribe","since":5}',
        '{"type":"ping","id":[]}',
        b"\x00\x01",
    ],
)
def test_an_invalid_frame_is_answered_with_an_error(
    gateway: GatewayLab, owner: Member, frame: str | bytes
) -> None:
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.say(frame)
    error = feed.expect("error")
    assert error["code"] == "invalid-frame"
    assert error["detail"]
    assert "Value error" not in error["detail"]  # the validator's own word
    feed.say({"type": "ping", "id": "still here"})
    assert feed.expect("pong")["id"] == "still here"


def test_many_invalid_frames_close_the_feed(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed(owner)
    before = drops("protocol_error")
    for _ in range(5):
        feed.say("no json")
    assert feed.wait_closed() == 4400
    assert drops("protocol_error") == before + 1


def test_a_frame_that_is_too_long_closes_the_feed(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.say("x" * 65_537)
    assert feed.wait_closed() == 1009


def test_websocket_pings_are_answered(gateway: GatewayLab, owner: Member) -> None:
    with _mute_client(gateway, owner) as connection:
        connection.sendall(_client_frame(0x9, b"are you there"))
        received = b""
        while b"\x8a\x0dare you there" not in received:
            chunk = connection.recv(4096)
            assert chunk
            received += chunk


# What they get


def test_events_come_as_they_happen_in_the_one_envelope(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe()
    gateway.link(owner, instance)
    heard = _hear_until_connected(feed)
    assert [one["type"] for one in heard] == [
        "instance:status:changed",
        "instance:qr:updated",
        "instance:status:changed",
        "instance:paired",
        "instance:status:changed",
        "instance:status:changed",
    ]
    assert [one["seq"] for one in heard] == [1, 2, 3, 4, 5, 6]
    assert set(heard[0]) == {"id", "type", "timestamp", "instanceId", "seq", "data"}
    stored = gateway.get(f"/api/instances/{instance}/events", token=owner.token).json["items"]
    assert heard == stored[::-1]


def test_a_message_that_arrives_is_on_the_feed(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(events=["message:*"])
    gateway.receive(instance, "good morning")
    event = feed.expect("message:received")
    assert event["data"]["text"] == "good morning"
    assert event["data"]["sender"] == {
        "jid": "15550199@s.whatsapp.net",
        "lid": None,
        "phone": "+15550199",
    }


def test_only_what_was_asked_for_comes(gateway: GatewayLab, owner: Member) -> None:
    first, second = gateway.create_instance(owner), gateway.create_instance(owner)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    answer = feed.subscribe(instances=[first.lower()], events=["instance:qr:*", "instance:paired"])
    assert answer["instances"] == [first]
    assert answer["events"] == ["instance:paired", "instance:qr:updated"]
    gateway.link(owner, second, "15550102")
    gateway.link(owner, first, "15550101")
    heard = [feed.hear(), feed.hear()]
    assert [one["type"] for one in heard if one] == ["instance:qr:updated", "instance:paired"]
    assert {one["instanceId"] for one in heard if one} == {first}


def test_another_tenants_events_never_come(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner, other = gateway.register(), gateway.register()
    mine, theirs = gateway.create_instance(owner), gateway.create_instance(other)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.say({"type": "subscribe", "instances": [theirs]})
    assert feed.expect("error")["code"] == "unknown-instance"
    feed.subscribe()
    foreign = gateway.store_events(theirs, 3)
    gateway.publish(foreign)
    gateway.publish(gateway.store_events(mine, 1))
    heard = feed.expect("message:received")
    assert heard["instanceId"] == mine
    # Nor by resuming after one of theirs.
    feed.say({"type": "subscribe", "since": foreign[0].id})
    feed.expect("subscribed")
    replayed = feed.hear_until("replayed")
    assert {one["instanceId"] for one in replayed[:-1]} <= {mine}


def test_subscribing_again_replaces_the_subscription(gateway: GatewayLab, owner: Member) -> None:
    first, second = gateway.create_instance(owner), gateway.create_instance(owner)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(instances=[first])
    feed.subscribe(instances=[second])
    gateway.publish(gateway.store_events(first, 1))
    gateway.publish(gateway.store_events(second, 1))
    assert feed.expect("message:received")["instanceId"] == second


def test_a_client_that_comes_back_gets_what_it_missed(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    stored = gateway.store_events(instance, 250)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(since=stored[9].id.lower())
    heard = feed.hear_until("replayed")
    assert [one["id"] for one in heard[:-1]] == [one.id for one in stored[10:]]
    assert (heard[-1]["count"], heard[-1]["complete"]) == (240, True)
    fresh = gateway.store_events(instance, 2)
    gateway.publish(fresh)
    assert [feed.hear()["id"] for _ in fresh] == [one.id for one in fresh]


def test_an_event_that_is_not_known_any_more_is_said_to_be_so(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    gone = gateway.create_instance(owner)
    (lost,) = gateway.store_events(gone, 1)
    gateway.delete(f"/api/instances/{gone}", token=owner.token)
    stored = gateway.store_events(instance, 1)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(since=lost.id)
    heard = feed.hear_until("replayed")
    assert heard[-1]["complete"] is False
    assert stored[0].id in [one.get("id") for one in heard]


def test_ids_from_other_ages_do_no_harm(gateway_on_both: GatewayLab) -> None:
    feed = gateway_on_both.feed(gateway_on_both.register())
    feed.expect("authenticated")
    feed.subscribe(since=f"evt_{'0' * 26}")
    assert feed.hear_until("replayed")[-1]["complete"] is False
    feed.say({"type": "subscribe", "since": f"evt_7{'Z' * 25}"})
    assert feed.expect("error")["code"] == "invalid-frame"


def test_resuming_while_events_happen_leaves_no_gap_and_repeats_nothing(
    gateway_on_both: GatewayLab,
) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instances = [gateway.create_instance(owner) for _ in range(3)]
    stored = gateway.store_events(instances[0], 150)

    async def write(instance: str) -> list[EventRecord]:
        records: list[EventRecord] = []
        for _ in range(60):
            records += await asyncio.to_thread(gateway.store_events, instance, 1)
            gateway.publish(records[-1:])
        return records

    async def write_all() -> list[EventRecord]:
        written = await asyncio.gather(*(write(one) for one in instances))
        return [record for records in written for record in records]

    writing = asyncio.run_coroutine_threadsafe(write_all(), gateway.loop)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(since=stored[0].id)
    heard = []
    while len(heard) < 149 + 180:
        frame = feed.hear()
        assert frame is not None
        if frame["type"] != "replayed":
            heard.append(frame["id"])
    fresh = sorted(writing.result(30), key=lambda one: one.position)
    assert heard == [one.id for one in (*stored[1:], *fresh)]


def test_events_that_reach_the_bus_out_of_order_leave_it_in_order(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe()
    stored = gateway.store_events(instance, 5)
    gateway.publish([stored[1], stored[4], stored[0]])  # two never reach it at all
    heard = [feed.hear() for _ in stored]
    assert [one["id"] for one in heard if one] == [one.id for one in stored]


def test_events_that_are_lost_on_the_way_are_read_from_storage(
    gateway: GatewayLab, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavisor.http.feed.stream._HOP_LIMIT", 10)
    instance = gateway.create_instance(owner)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe()
    stored = gateway.store_events(instance, 100)

    async def block_the_loop() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - blocking the loop is the point

    blocked = asyncio.run_coroutine_threadsafe(block_the_loop(), gateway.loop)
    gateway.publish(stored)
    blocked.result(30)
    assert [feed.hear()["id"] for _ in stored] == [one.id for one in stored]


# Slow readers


def test_a_slow_reader_is_closed_and_delays_nobody(new_gateway: NewGateway) -> None:
    gateway = new_gateway(feed_buffer_frames=50, feed_buffer_bytes=65_536)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    before = drops("slow_reader")
    with _mute_client(gateway, owner) as slow:
        slow.sendall(_client_frame(0x1, b'{"type":"subscribe"}'))
        feed = gateway.feed(owner)
        feed.expect("authenticated")
        feed.subscribe(events=["message:*"])
        sent = []
        while drops("slow_reader") == before:
            assert len(sent) < 2000, "the slow reader was never closed"
            fresh = gateway.store_events(instance, 2, {"text": "x" * 25_000})
            sent += fresh
            gateway.publish(fresh)
            for record in fresh:
                assert feed.expect("message:received")["id"] == record.id
        assert (4408).to_bytes(2, "big") in _read_to_end(slow)
    feed.say({"type": "ping"})
    feed.expect("pong")


def test_a_replay_is_as_slow_as_its_reader_and_no_reason_to_close(
    new_gateway: NewGateway,
) -> None:
    gateway = new_gateway(feed_buffer_frames=10, feed_buffer_bytes=65_536)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    stored = gateway.store_events(instance, 300, {"text": "x" * 30_000})
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(since=stored[0].id)
    fresh = gateway.store_events(instance, 30)
    gateway.publish(fresh)  # more than are kept back meanwhile
    wanted = [one.id for one in (*stored[1:], *fresh)]
    heard = []
    while len(heard) < len(wanted):
        frame = feed.hear()
        assert frame is not None
        if frame["type"] != "replayed":
            heard.append(frame["id"])
    assert heard == wanted


def test_a_client_that_vanishes_leaves_nothing(gateway: GatewayLab, owner: Member) -> None:
    clients = metrics.WEBSOCKET_CLIENTS._value.get()
    with _mute_client(gateway, owner):
        _wait_until(lambda: gateway.application.feed_clients.count(owner.subscription_id) == 1)
    _wait_until(lambda: gateway.application.feed_clients.count(owner.subscription_id) == 0)
    assert metrics.WEBSOCKET_CLIENTS._value.get() == clients
    assert not [one for one in gateway.application.connections if hasattr(one, "ws_connection")]


def test_a_viewer_reads_the_feed(gateway: GatewayLab, owner: Member) -> None:
    viewer = gateway.colleague(owner, Role.VIEWER)
    gateway.feed(viewer).expect("authenticated")


def _hear_until_connected(feed: FeedClient) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["data"].get("new") != "connected":
        frame = feed.hear()
        assert frame is not None
        heard.append(frame)
    return heard


def _wait_until(reached: Any, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _mute_client(gateway: GatewayLab, member: Member) -> socket.socket:
    """A websocket client that reads nothing and answers no ping by itself."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(15)
    connection.connect(("127.0.0.1", gateway.port))
    connection.sendall(
        (
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Authorization: Bearer {member.token}\r\n\r\n"
        ).encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return connection


def _client_frame(opcode: int, payload: bytes) -> bytes:
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def _read_to_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received = received[-200:] + chunk
    except ConnectionResetError:
        return received
    return received

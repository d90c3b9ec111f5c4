"""Figures of the day on the websocket feed."""

from __future__ import annotations

import pytest

from support.gateway import GatewayLab, NewGateway
from support.http import Member
from wavisor.storage import Scope, events

INTERVAL = 0.1


@pytest.fixture
def gateway(new_gateway: NewGateway) -> GatewayLab:
    return new_gateway(feed_statistics_interval_seconds=INTERVAL)


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def test_figures_come_after_messages_and_are_no_events(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    assert feed.subscribe(events=["stats:updated"])["events"] == ["stats:updated"]
    gateway.receive(instance)
    frame = feed.expect("stats:updated")
    assert frame["instanceId"] == instance
    assert frame["data"]["totals"]["received"] == 1
    assert frame["data"]["day"].endswith("T00:00:00.000Z")
    assert {"id", "seq"}.isdisjoint(frame)
    page = gateway.run(
        gateway.database.fetch(
            events.list_for_instance, Scope(owner.subscription_id), instance, limit=100
        )
    )
    assert "stats:updated" not in {one.type for one in page.items}


def test_a_burst_is_told_of_in_few_frames(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    feed.subscribe(events=["message:received", "stats:*"])
    for number in range(30):
        gateway.receive(instance, message_id=f"3EB0{number:04}")
    told, heard = [], 0
    while not told or told[-1] < 30:
        frame = feed.hear()
        assert frame is not None
        if frame["type"] == "stats:updated":
            told.append(frame["data"]["totals"]["received"])
        else:
            heard += 1
    assert heard == 30
    assert told == sorted(set(told))
    assert len(told) < 15


def test_whoever_does_not_ask_for_them_gets_none(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    asks, others = gateway.feed(owner), gateway.feed(owner)
    for feed, wanted in ((asks, ["stats:*"]), (others, ["*"])):
        feed.expect("authenticated")
        feed.subscribe(events=wanted)
    gateway.receive(instance)
    asks.expect("stats:updated")
    others.say({"type": "ping", "id": 1})
    kinds = [frame["type"] for frame in others.hear_until("pong")]
    assert "message:received" in kinds
    assert "stats:updated" not in kinds


def test_another_tenant_or_instance_is_not_told(gateway: GatewayLab, owner: Member) -> None:
    first, second = gateway.create_instance(owner), gateway.create_instance(owner)
    gateway.link(owner, first)
    gateway.link(owner, second, user="15550102")
    stranger = gateway.register()
    feeds = [gateway.feed(owner), gateway.feed(stranger), gateway.feed(owner)]
    for feed, which in zip(feeds, (first, "*", "*"), strict=True):
        feed.expect("authenticated")
        feed.subscribe(events=["stats:*"], instances=[which])
    gateway.receive(second)
    assert feeds[2].expect("stats:updated")["instanceId"] == second
    for feed in feeds[:2]:
        feed.say({"type": "ping", "id": 1})
        feed.expect("pong")


def test_a_new_subscription_without_them_ends_them(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    feed, witness = gateway.feed(owner), gateway.feed(owner)
    for one in (feed, witness):
        one.expect("authenticated")
        one.subscribe(events=["stats:*"])
    feed.subscribe(events=["message:received"])
    gateway.receive(instance)
    feed.expect("message:received")
    witness.expect("stats:updated")
    feed.say({"type": "ping", "id": 1})
    feed.expect("pong")

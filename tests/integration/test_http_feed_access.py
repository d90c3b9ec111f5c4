"""Websockets end within a second of the moment from which their bearer may not be there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.feed_client import FeedClient, FeedRefusedError
from support.gateway import GatewayLab, NewGateway
from support.http import PASSWORD, Member
from support.keys import keys_path, new_key
from wavisor.domain import Role

SOON = 1.0


@pytest.fixture
def gateway(new_gateway: NewGateway) -> GatewayLab:
    # Pings would find out as well, so they are kept out of it.
    return new_gateway(feed_ping_interval_seconds=600, feed_ping_timeout_seconds=600)


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def open_feed(gateway: GatewayLab, key: str) -> FeedClient:
    feed = gateway.feed(headers=bearer(key))
    feed.expect("authenticated")
    return feed


def closed_within_a_second(feed: FeedClient, act: Callable[[], Any]) -> int | None:
    feed.subscribe()  # answered, so the look-up that follows opening has been made
    act()
    started = time.monotonic()
    code = feed.wait_closed()
    assert time.monotonic() - started < SOON
    return code


@pytest.mark.parametrize("way", ["header", "subprotocol", "frame"])
def test_a_key_opens_the_feed(gateway: GatewayLab, owner: Member, way: str) -> None:
    key = new_key(gateway, owner)["key"]
    if way == "header":
        feed = gateway.feed(headers=bearer(key))
    elif way == "subprotocol":
        feed = gateway.feed(subprotocols=[f"bearer.{key}"])
    else:
        feed = gateway.feed()
        feed.say({"type": "auth", "token": key})
    assert feed.expect("authenticated")["expiresAt"] is None
    assert feed.subscribe()["instances"] == ["*"]


def test_a_key_of_an_instance_hears_of_that_one_only(gateway: GatewayLab, owner: Member) -> None:
    mine, other = (gateway.create_instance(owner) for _ in range(2))
    feed = open_feed(gateway, new_key(gateway, owner, mine)["key"])
    assert feed.subscribe()["instances"] == [mine]
    gateway.connect(owner, other)
    gateway.connect(owner, mine)
    gateway.wait_status(mine, "connecting")
    event = feed.hear()
    assert event is not None
    assert event["instanceId"] == mine
    for named in ([other], [mine, other]):
        feed.say({"type": "subscribe", "instances": named})
        while (frame := feed.hear()) is not None and frame["type"] != "error":
            assert frame["instanceId"] == mine
        assert frame is not None
        assert frame["code"] == "unknown-instance"
        assert other in frame["detail"]


def test_replay_is_confined_to_the_keys_instance(gateway: GatewayLab, owner: Member) -> None:
    mine, other = (gateway.create_instance(owner) for _ in range(2))
    for instance in (other, mine):
        gateway.connect(owner, instance)
        gateway.wait_status(instance, "connecting")
    first = gateway.seen.records[0].id
    feed = open_feed(gateway, new_key(gateway, owner, mine)["key"])
    feed.subscribe(since=first)
    frames = feed.hear_until("replayed")
    assert {one["instanceId"] for one in frames[:-1]} == {mine}


def test_a_key_without_the_permission_is_turned_away(gateway: GatewayLab, owner: Member) -> None:
    key = new_key(gateway, owner, permissions=["messages:send"])["key"]
    assert gateway.feed(headers=bearer(key)).wait_closed() == 4403


def test_a_key_from_elsewhere_is_turned_away(gateway: GatewayLab, owner: Member) -> None:
    key = new_key(gateway, owner, addresses=["203.0.113.7"])["key"]
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed(headers=bearer(key))
    assert refused.value.status == 403
    feed = gateway.feed()
    feed.say({"type": "auth", "token": key})
    assert feed.wait_closed() == 4403


def test_revoking_a_key_closes_its_feeds_and_no_others(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    key, other = (new_key(gateway, owner, instance) for _ in range(2))
    staying = open_feed(gateway, other["key"])
    path = keys_path(instance, key["id"])
    feed = open_feed(gateway, key["key"])
    assert closed_within_a_second(feed, lambda: gateway.delete(path, token=owner.token)) == 4401
    staying.say({"type": "ping", "id": 1})
    staying.expect("pong")
    with pytest.raises(FeedRefusedError) as refused:
        gateway.feed(headers=bearer(key["key"]))
    assert refused.value.status == 401


def test_a_feed_of_a_secret_that_was_rotated_out_closes(gateway: GatewayLab, owner: Member) -> None:
    key = new_key(gateway, owner)
    path = keys_path(None, key["id"], "rotate")
    feed = open_feed(gateway, key["key"])
    kept = gateway.post(path, {"graceSeconds": 60}, token=owner.token).json
    feed.subscribe()
    rotated = open_feed(gateway, kept["key"])

    def rotate() -> None:
        gateway.post(path, {"graceSeconds": 60}, token=owner.token)

    assert closed_within_a_second(feed, rotate) == 4401
    rotated.subscribe()  # its secret is in its grace


def test_a_feed_ends_with_the_grace_of_its_secret(gateway: GatewayLab, owner: Member) -> None:
    key = new_key(gateway, owner)
    feed = open_feed(gateway, key["key"])
    path = keys_path(None, key["id"], "rotate")
    gateway.post(path, {"graceSeconds": 1}, token=owner.token)
    assert feed.wait_closed() == 4401


def test_a_feed_ends_when_its_key_expires(gateway: GatewayLab, owner: Member) -> None:
    key = new_key(gateway, owner)
    feed = open_feed(gateway, key["key"])
    soon = (datetime.now(UTC) + timedelta(seconds=0.7)).isoformat()
    path = keys_path(None, key["id"])
    assert gateway.patch(path, {"expiresAt": soon}, token=owner.token).status == 200
    assert feed.wait_closed() == 4401


@pytest.mark.parametrize(
    "change", [{"permissions": ["messages:send"]}, {"addresses": ["203.0.113.7"]}]
)
def test_a_key_that_loses_what_the_feed_needs_closes_it(
    gateway: GatewayLab, owner: Member, change: dict[str, Any]
) -> None:
    key = new_key(gateway, owner)
    path = keys_path(None, key["id"])
    feed = open_feed(gateway, key["key"])
    code = closed_within_a_second(feed, lambda: gateway.patch(path, change, token=owner.token))
    assert code == 4403


def test_a_key_that_loses_statistics_loses_the_feed_that_told_them(
    gateway: GatewayLab, owner: Member
) -> None:
    key = new_key(gateway, owner, permissions=["events:read", "stats:read"])
    feed = open_feed(gateway, key["key"])
    feed.subscribe(events=["stats:updated"])
    path, change = keys_path(None, key["id"]), {"permissions": ["events:read"]}
    gateway.patch(path, change, token=owner.token)
    assert feed.wait_closed() == 4403


def test_deleting_an_instance_closes_the_feeds_of_its_keys(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    feed = open_feed(gateway, new_key(gateway, owner, instance)["key"])
    path = f"/api/instances/{instance}"
    assert closed_within_a_second(feed, lambda: gateway.delete(path, token=owner.token)) == 4401


@pytest.mark.parametrize("everywhere", [False, True])
def test_logging_out_closes_the_feeds_of_the_session(
    gateway: GatewayLab, owner: Member, everywhere: bool
) -> None:
    body = {"email": owner.email, "password": PASSWORD}
    elsewhere = Member.of(gateway.post("/api/auth/login", body).json)
    other = gateway.feed(elsewhere)
    other.expect("authenticated")
    feed = gateway.feed(owner)
    feed.expect("authenticated")

    def log_out() -> None:
        body = {"everywhere": everywhere}
        assert gateway.post("/api/auth/logout", body, token=owner.token).status == 204

    assert closed_within_a_second(feed, log_out) == 4401
    if everywhere:
        assert other.wait_closed() == 4401
    else:
        other.subscribe()


def test_a_new_password_closes_all_feeds_of_the_user(gateway: GatewayLab, owner: Member) -> None:
    feed = gateway.feed(owner)
    feed.expect("authenticated")
    body = {"currentPassword": PASSWORD, "newPassword": "another long password"}

    def change() -> None:
        assert gateway.post("/api/auth/change-password", body, token=owner.token).status == 200

    assert closed_within_a_second(feed, change) == 4401


def test_a_stolen_refresh_token_closes_the_feeds_of_its_session(
    gateway: GatewayLab, owner: Member
) -> None:
    body = {"refreshToken": owner.refresh_token}
    renewed = Member.of(gateway.post("/api/auth/refresh", body).json)
    feed = gateway.feed(renewed)
    feed.expect("authenticated")

    def replay() -> None:
        assert gateway.post("/api/auth/refresh", body).status == 401

    assert closed_within_a_second(feed, replay) == 4401


def test_suspending_a_subscription_closes_its_feeds(gateway: GatewayLab, owner: Member) -> None:
    tenant = gateway.register()
    feed, other = gateway.feed(tenant), gateway.feed(owner)
    feed.expect("authenticated"), other.expect("authenticated")
    program = open_feed(gateway, new_key(gateway, tenant)["key"])
    path = f"/api/admin/subscriptions/{tenant.subscription_id}/suspend"
    # The owner is the first one, and so the operator.
    code = closed_within_a_second(feed, lambda: gateway.post(path, {}, token=owner.token))
    assert code == program.wait_closed() == 4403
    other.subscribe()


def test_a_feed_stays_with_the_key_that_opened_it(gateway: GatewayLab, owner: Member) -> None:
    keys = [new_key(gateway, owner)["key"] for _ in range(2)]
    for token in (keys[1], owner.token):
        feed = open_feed(gateway, keys[0])
        feed.say({"type": "auth", "token": keys[0]})
        feed.expect("authenticated")
        feed.say({"type": "auth", "token": token})
        assert feed.wait_closed() == 4401


def test_nothing_is_left_behind_by_feeds_that_are_over(gateway: GatewayLab, owner: Member) -> None:
    key = new_key(gateway, owner)
    feeds = [open_feed(gateway, key["key"]) for _ in range(3)]
    assert gateway.application.access_changes._watching
    gateway.delete(keys_path(None, key["id"]), token=owner.token)
    for feed in feeds:
        feed.wait_closed()
    assert not gateway.application.access_changes._watching


def test_a_demoted_creator_takes_nothing_from_a_feed_that_viewers_may_read(
    gateway: GatewayLab, owner: Member
) -> None:
    admin = gateway.colleague(owner, Role.ADMIN)
    feed = open_feed(gateway, new_key(gateway, admin)["key"])
    feed.subscribe()
    gateway.run(_announce(gateway, admin.user_id))
    feed.say({"type": "ping", "id": 1})
    feed.expect("pong")


async def _announce(gateway: GatewayLab, user_id: str) -> None:
    gateway.application.access_changes.announce(user_id)

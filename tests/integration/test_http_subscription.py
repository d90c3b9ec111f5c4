"""A tenant's own subscription over HTTP: tier, limits, use, and what happens at the limits."""

from __future__ import annotations

import pytest

from support.gateway import GatewayLab
from support.http import Member
from wavisor.domain import Role, Tier
from wavisor.storage import accounts
from wavisor.storage.models import User


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def override(gateway: GatewayLab, owner: Member, **limits: int | None) -> None:
    gateway.database.write_wait(accounts.set_overrides, owner.subscription_id, limits)


def test_it_tells_tier_limits_and_use(gateway: GatewayLab, owner: Member) -> None:
    gateway.create_instance(owner)
    override(gateway, owner, webhooks=None, messages_per_day=500)
    answer = gateway.get("/api/subscription", token=owner.token)
    assert answer.status == 200
    assert answer.json["tier"] == "BASIC"
    assert answer.json["limits"]["instances"] == 5
    assert answer.json["limits"]["webhooks"] is None
    assert answer.json["ownLimits"] == ["messagesPerDay", "webhooks"]
    assert answer.json["use"]["instances"] == {
        "used": 1,
        "limit": 5,
        "over": False,
        "resetsAt": None,
    }
    today = answer.json["use"]["messagesPerDay"]
    assert (today["used"], today["limit"]) == (0, 500)
    assert today["resetsAt"].endswith("T00:00:00.000Z")


def test_whoever_may_look_may_see_it(gateway: GatewayLab, owner: Member) -> None:
    def demote() -> None:
        User.update(role=Role.VIEWER.value).where(User.id == owner.user_id).execute()

    gateway.database.write_wait(demote)
    assert gateway.get("/api/subscription", token=owner.token).status == 200
    assert gateway.get("/api/subscription").status == 401


def test_a_lower_tier_shows_what_is_over(gateway: GatewayLab, owner: Member) -> None:
    gateway.database.write_wait(accounts.set_tier, owner.subscription_id, Tier.PRO)
    for number in range(6):
        gateway.create_instance(owner, f"Shop {number}")
    gateway.database.write_wait(accounts.set_tier, owner.subscription_id, Tier.BASIC)
    use = gateway.get("/api/subscription", token=owner.token).json["use"]["instances"]
    assert (use["used"], use["limit"], use["over"]) == (6, 5, True)
    refused = gateway.post("/api/instances", {"name": "One more"}, token=owner.token)
    assert (refused.status, refused.problem) == (409, "tier-limit-reached")
    assert refused.json["detail"] == "The subscription may have 5 instances."
    assert (refused.json["resource"], refused.json["limit"]) == ("instances", 5)
    assert len(gateway.get("/api/instances", token=owner.token).json["items"]) == 6


def test_the_days_messages_end_with_a_429_and_its_key_stays_free(
    gateway: GatewayLab, owner: Member
) -> None:
    override(gateway, owner, messages_per_day=1)
    instance = gateway.create_instance(owner)

    def send() -> object:
        return gateway.post(
            "/api/messages/text",
            {"to": "+15550199", "text": "hello"},
            token=owner.token,
            headers={"X-Instance-Id": instance, "Idempotency-Key": next(keys)},
        )

    keys = iter(["first", "second", "second"])
    assert send().status == 202
    refused = send()
    assert (refused.status, refused.problem) == (429, "daily-limit-reached")
    assert (refused.json["resource"], refused.json["limit"]) == ("messagesPerDay", 1)
    assert 1 <= int(refused.headers["Retry-After"]) <= 86_400
    override(gateway, owner, messages_per_day=2)
    assert send().status == 202

"""The platform's administration: tenants, instances, the supervision tree, the audit trail."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import PASSWORD, Member
from wavisor.domain import Role

SUBSCRIPTIONS = "/api/admin/subscriptions"


@pytest.fixture
def operator(gateway: GatewayLab) -> Member:
    return gateway.register()  # the first one of an installation is its operator


@pytest.fixture
def tenant(gateway: GatewayLab, operator: Member) -> Member:
    return gateway.register()


def look(gateway: GatewayLab, operator: Member, tenant: Member) -> Any:
    return gateway.get(f"{SUBSCRIPTIONS}/{tenant.subscription_id}", token=operator.token).json


def act(gateway: GatewayLab, operator: Member, tenant: Member, action: str) -> Any:
    path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}/{action}"
    return gateway.post(path, {}, token=operator.token)


def test_subscriptions_are_found_and_counted(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    operator = gateway.register()
    tenant = gateway.register()
    gateway.colleague(tenant, Role.MEMBER)  # moves there, and leaves an empty subscription
    gateway.create_instance(tenant)
    shown = look(gateway, operator, tenant)
    assert (shown["tier"], shown["users"], shown["instances"]) == ("BASIC", 2, 1)
    assert shown["limits"]["instances"] == 5
    first = gateway.get(f"{SUBSCRIPTIONS}?limit=2", token=operator.token).json
    rest = gateway.get(f"{SUBSCRIPTIONS}?cursor={first['nextCursor']}", token=operator.token).json
    ids = [one["id"] for one in [*first["items"], *rest["items"]]]
    assert (len(first["items"]), len(ids), ids) == (2, 3, sorted(set(ids)))
    for query in ("tier=PRO", "suspended=true", "name=nobody-is-called-so"):
        assert gateway.get(f"{SUBSCRIPTIONS}?{query}", token=operator.token).json["items"] == []


def test_tier_name_and_limits_change_and_hold(
    gateway: GatewayLab, operator: Member, tenant: Member
) -> None:
    path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}"
    body = {"name": "Renamed", "tier": "PRO", "overrides": {"instances": 1, "webhooks": None}}
    changed = gateway.patch(path, body, token=operator.token).json
    assert (changed["name"], changed["tier"]) == ("Renamed", "PRO")
    assert changed["overrides"] == {"instances": 1, "webhooks": None}
    assert (changed["limits"]["instances"], changed["limits"]["webhooks"]) == (1, None)
    gateway.create_instance(tenant)
    refused = gateway.post("/api/instances", {"name": "Second"}, token=tenant.token)
    assert refused.status == 409
    back = gateway.patch(path, {"overrides": None}, token=operator.token).json
    assert (back["overrides"], back["limits"]["instances"]) == ({}, 20)
    gateway.create_instance(tenant)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, []),
        ({"name": None}, []),
        ({"tier": "GOLD"}, ["#/tier"]),
        ({"overrides": {"nothing": 1}}, ["#/overrides"]),
        ({"overrides": {"instances": -1}}, ["#/overrides"]),
        ({"overrides": {"instances": "5"}}, ["#/overrides/instances"]),
        ({"suspendedAt": None}, ["#/suspendedAt"]),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    gateway: GatewayLab, operator: Member, tenant: Member, body: Any, pointers: list[str]
) -> None:
    path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}"
    before = look(gateway, operator, tenant)
    refused = gateway.patch(path, body, token=operator.token)
    assert refused.status == 422
    assert [one for one in refused.pointers if one != "#"] == pointers
    assert look(gateway, operator, tenant) == before


def test_a_suspended_subscription_stands_still_and_goes_on(
    gateway: GatewayLab, operator: Member, tenant: Member
) -> None:
    instance = gateway.create_instance(tenant)
    gateway.link(tenant, instance)
    suspended = act(gateway, operator, tenant, "suspend")
    assert suspended.status == 200
    assert suspended.json["suspendedAt"] is not None
    gateway.wait_status(instance, "disconnected")
    refused = gateway.get("/api/instances", token=tenant.token)
    assert (refused.status, refused.problem) == (403, "subscription-suspended")
    email = gateway.get("/api/admin/users", token=operator.token).json["items"][-1]["email"]
    login = gateway.post("/api/auth/login", {"email": email, "password": PASSWORD})
    assert (login.status, login.problem) == (403, "subscription-suspended")
    (entry,) = gateway.get(
        f"/api/admin/audit?action=account.login_failed&target={tenant.user_id}",
        token=operator.token,
    ).json["items"]
    assert entry["after"] == {"reason": "subscription_suspended"}
    renewal = {"refreshToken": tenant.refresh_token}
    refused = gateway.post("/api/auth/refresh", renewal)
    assert (refused.status, refused.problem) == (403, "subscription-suspended")

    gateway.driver.connects_by_itself = True
    resumed = act(gateway, operator, tenant, "resume")
    assert resumed.json["suspendedAt"] is None
    gateway.wait_status(instance, "connected")
    assert gateway.get("/api/instances", token=tenant.token).status == 200
    assert gateway.post("/api/auth/refresh", renewal).status == 200  # it was not used up
    # Once each, however often it is said.
    act(gateway, operator, tenant, "resume")
    actions = [one for one in gateway.audited() if one.startswith("subscription.")]
    assert actions == ["subscription.suspend", "subscription.resume"]


def test_nobody_suspends_their_own(gateway: GatewayLab, operator: Member) -> None:
    refused = act(gateway, operator, operator, "suspend")
    assert (refused.status, refused.problem) == (409, "own-subscription")
    assert look(gateway, operator, operator)["suspendedAt"] is None


def test_users_are_listed_without_their_secrets(
    gateway: GatewayLab, operator: Member, tenant: Member
) -> None:
    path = f"/api/admin/users?subscription={tenant.subscription_id}"
    (user,) = gateway.get(path, token=operator.token).json["items"]
    assert (user["id"], user["role"], user["isOperator"]) == (tenant.user_id, "OWNER", False)
    assert not any("password" in name.lower() or "token" in name.lower() for name in user)
    assert gateway.get("/api/admin/users?subscription=x", token=operator.token).status == 422


def test_any_instance_is_seen_with_its_actor_and_restarted_and_stopped(
    gateway: GatewayLab, operator: Member, tenant: Member
) -> None:
    instance = gateway.create_instance(tenant)
    gateway.link(tenant, instance)
    path = f"/api/admin/instances?subscription={tenant.subscription_id}&status=connected"
    (shown,) = gateway.get(path, token=operator.token).json["items"]
    assert (shown["id"], shown["actor"]["state"]) == (instance, "running")
    gateway.driver.connects_by_itself = True
    restarted = gateway.post(f"/api/admin/instances/{instance}/restart", {}, token=operator.token)
    assert restarted.status == 202
    gateway.driver.wait_for(2)
    stopped = gateway.post(f"/api/admin/instances/{instance}/stop", {}, token=operator.token)
    assert (stopped.status, stopped.json["desired"]) == (202, "disconnected")
    (entry,) = gateway.get("/api/admin/audit?action=instance.restart", token=operator.token).json[
        "items"
    ]
    told = (entry["actorKind"], entry["actorId"], entry["target"], entry["address"])
    assert told == ("operator", operator.user_id, instance, "127.0.0.1")
    missing = gateway.post(f"/api/admin/instances/ins_{'0' * 26}/stop", {}, token=operator.token)
    assert missing.status == 404


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_tenant_is_told_what_an_operator_did_and_not_who_from_where(
    gateway: GatewayLab, operator: Member, tenant: Member, form: str
) -> None:
    assert act(gateway, operator, tenant, "suspend").status == 200
    assert act(gateway, operator, tenant, "resume").status == 200
    path = f"/api/audit?action=subscription.*&format={form}"
    for caller, known in ((tenant, False), (operator, True)):
        where = "" if caller is tenant else "/admin"
        answer = gateway.get(path.replace("/audit", f"{where}/audit"), token=caller.token)
        body = answer.body.decode()
        assert body.count("operator") == 2
        assert (operator.user_id in body, "127.0.0.1" in body) == (known, known)


def test_a_change_of_a_subscription_is_told_before_and_after(
    gateway: GatewayLab, operator: Member, tenant: Member
) -> None:
    path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}"
    first = {"tier": "PRO", "overrides": {"requestsPerMinute": 5000}}
    assert gateway.patch(path, first, token=operator.token).status == 200
    assert gateway.patch(path, {"overrides": {}}, token=operator.token).status == 200
    entries = gateway.get("/api/audit?action=subscription.update", token=tenant.token).json["items"]
    assert [(one["before"], one["after"]) for one in entries] == [
        ({"overrides": {"requestsPerMinute": 5000}}, {"overrides": {}}),
        ({"tier": "BASIC", "overrides": {}}, first),
    ]


def test_the_supervision_tree_is_shown_live(
    gateway: GatewayLab, operator: Member, tenant: Member
) -> None:
    instance = gateway.create_instance(tenant)
    tree = gateway.get("/api/admin/supervision", token=operator.token).json
    kinds = {child["id"]: child for child in tree["children"]}
    assert {"events", "housekeeping", "instances", "suspensions", "http"} <= set(kinds)
    assert instance in [child["id"] for child in kinds["instances"]["children"]]


def test_a_tenant_sees_its_own_audit_trail_only(
    gateway_on_both: GatewayLab,
) -> None:
    gateway = gateway_on_both
    operator = gateway.register()
    tenant = gateway.register()
    instance = gateway.create_instance(tenant)
    own = gateway.get("/api/audit", token=tenant.token).json["items"]
    assert {one["subscriptionId"] for one in own} == {tenant.subscription_id}
    assert "instance.create" in [one["action"] for one in own]
    everything = gateway.get("/api/admin/audit", token=operator.token).json["items"]
    assert len({one["subscriptionId"] for one in everything}) == 2
    of_one = f"/api/admin/audit?subscription={tenant.subscription_id}&target={instance}"
    entries = gateway.get(of_one, token=operator.token).json["items"]
    assert [one["action"] for one in entries] == ["instance.create"]
    for query, count in (
        ("action=instance.*", 1),
        ("action=instance", 0),
        (f"actor={tenant.user_id}&target={instance}", 1),
        ("since=2999-01-01T00:00:00Z", 0),
        ("until=2999-01-01T00:00:00Z&action=instance.create", 1),
    ):
        found = gateway.get(f"/api/audit?{query}", token=tenant.token).json["items"]
        assert len(found) == count, query


def test_the_audit_trail_is_exported_as_a_table_that_runs_nothing(
    gateway: GatewayLab, operator: Member
) -> None:
    instance = gateway.create_instance(operator, name="=1+1")
    for number in range(60):
        gateway.patch("/api/instances/" + instance, {"name": f"={number}"}, token=operator.token)
    answer = gateway.get("/api/audit?format=csv", token=operator.token)
    assert answer.headers["Content-Type"].startswith("text/csv")
    header, *rows = csv.reader(io.StringIO(answer.body.decode()))
    assert header[:3] == ["id", "at", "subscriptionId"]
    (created,) = [row for row in rows if "instance.create" in row]
    assert '{"name": "=1+1"}' in created
    assert len(rows) > 60
    part = gateway.get("/api/audit?format=csv&limit=2", token=operator.token)
    assert (len(part.body.splitlines()), "X-Next-Cursor" in part.headers) == (3, True)
    assert gateway.get("/api/audit?limit=1000", token=operator.token).status == 422


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_the_audit_trail_is_for_those_who_answer_for_it(
    gateway: GatewayLab, tenant: Member, role: Role
) -> None:
    other = gateway.colleague(tenant, role)
    assert gateway.get("/api/audit", token=other.token).status == 403

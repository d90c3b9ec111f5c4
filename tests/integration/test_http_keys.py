"""Managing API keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import HttpLab, Member, NewHttp
from support.keys import keys_path, new_key
from support.tenants import new_instance
from wavisor.domain import Role
from wavisor.storage import AuditFilter, AuditRecord, Scope, audit
from wavisor.storage.models import ApiKey

MISSING = f"key_{'0' * 26}"


def an_instance(http: HttpLab, owner: Member) -> str:
    return new_instance(http.database, Scope(owner.subscription_id)).id


def trail(http: HttpLab) -> list[AuditRecord]:
    page = http.run(http.database.fetch(audit.list_page, AuditFilter(), limit=50))
    return [entry for entry in reversed(page.items) if entry.action.startswith("key.")]


@pytest.mark.parametrize("bound", [True, False])
def test_a_key_lives_from_making_to_revoking(http_on_both: HttpLab, bound: bool) -> None:
    http, owner = http_on_both, http_on_both.register()
    instance = an_instance(http, owner) if bound else None
    made = new_key(http, owner, instance, name=" Shop ", addresses=["10.0.0.0/8", "::1"])
    secret = made.pop("key")
    assert secret.startswith(f"wav_{made['prefix']}_")
    assert made["instanceId"] == instance
    assert made["name"] == "Shop"
    assert made["addresses"] == ["10.0.0.0/8", "::1"]
    assert made["createdBy"] == owner.user_id
    assert made["lastUsedAt"] is made["expiresAt"] is made["revokedAt"] is None
    path = keys_path(instance, made["id"])
    listed = http.get(keys_path(instance), token=owner.token)
    assert listed.json == {"items": [made], "nextCursor": None}

    changed = http.patch(path, {"name": "Till", "addresses": []}, token=owner.token)
    assert changed.status == 200
    assert changed.json == made | {"name": "Till", "addresses": []}

    rotated = http.post(keys_path(instance, made["id"], "rotate"), {}, token=owner.token)
    assert rotated.status == 200
    assert rotated.json["prefix"] == made["prefix"]
    assert rotated.json["key"] != secret
    assert rotated.json["previousUntil"] == "2026-01-02T00:00:00.000Z"

    assert http.delete(path, token=owner.token).status == 204
    assert http.delete(path, token=owner.token).status == 204
    [left] = http.get(keys_path(instance), token=owner.token).json["items"]
    assert left["revokedAt"] == "2026-01-01T00:00:00.000Z"
    for refused in (
        http.patch(path, {"name": "Again"}, token=owner.token),
        http.post(keys_path(instance, made["id"], "rotate"), {}, token=owner.token),
    ):
        assert (refused.status, refused.problem) == (409, "key-revoked")


def test_every_step_is_on_the_audit_trail_without_a_secret(http: HttpLab) -> None:
    owner = http.register()
    made = new_key(http, owner)
    path = keys_path(None, made["id"])
    http.patch(path, {"name": "Till", "permissions": ["messages:read"]}, token=owner.token)
    http.patch(path, {"name": "Till"}, token=owner.token)  # changes nothing
    rotated = http.post(f"{path}/rotate", {"graceSeconds": 5}, token=owner.token).json
    http.delete(path, token=owner.token)
    http.delete(path, token=owner.token)
    entries = trail(http)
    assert [one.action for one in entries] == [
        "key.create",
        "key.update",
        "key.rotate",
        "key.revoke",
    ]
    assert {one.target for one in entries} == {made["id"]}
    assert {one.actor_id for one in entries} == {owner.user_id}
    assert entries[1].before == {"name": "Shop system", "permissions": made["permissions"]}
    assert entries[1].after == {"name": "Till", "permissions": ["messages:read"]}
    told = repr([(one.before, one.after) for one in entries])
    for secret in (made["key"], rotated["key"]):
        assert secret.rpartition("_")[2] not in told


def test_secrets_are_stored_as_digests_only(http: HttpLab) -> None:
    owner = http.register()
    made = new_key(http, owner)
    rotated = http.post(keys_path(None, made["id"], "rotate"), {}, token=owner.token).json
    rows = http.run(http.database.fetch(lambda: list(ApiKey.select().dicts())))
    for key in (made["key"], rotated["key"]):
        assert key.rpartition("_")[2] not in repr(rows)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "#/name"),
        ({"name": "x" * 101}, "#/name"),
        ({"name": "two\nlines"}, "#/name"),
        ({"name": None}, "#/name"),
        ({"permissions": []}, "#/permissions"),
        ({"permissions": None}, "#/permissions"),
        ({"permissions": "messages:send"}, "#/permissions"),
        ({"permissions": ["messages:send", "everything"]}, "#/permissions/1"),
        ({"permissions": ["keys:manage"]}, "#/permissions/0"),
        ({"permissions": ["account"]}, "#/permissions/0"),
        ({"permissions": ["operator"]}, "#/permissions/0"),
        ({"addresses": ["10.0.0.1/8"]}, "#/addresses/0"),
        ({"addresses": ["::1", "shop.example"]}, "#/addresses/1"),
        ({"addresses": ["fe80::1%eth0"]}, "#/addresses/0"),
        ({"addresses": ["10.0.0.1"] * 51}, "#/addresses"),
        ({"addresses": None}, "#/addresses"),
        ({"expiresAt": "2026-01-01T00:00:00Z"}, "#/expiresAt"),
        ({"expiresAt": "2025-12-31T00:00:00Z"}, "#/expiresAt"),
        ({"expiresAt": "2036-02-01T00:00:00Z"}, "#/expiresAt"),
        ({"expiresAt": "2026-06-01T00:00:00"}, "#/expiresAt"),
        ({"expiresAt": "tomorrow"}, "#/expiresAt"),
        ({"expiresAt": 1_800_000_000}, "#/expiresAt"),
        ({"secret": "mine"}, "#/secret"),
        ({"prefix": "mine"}, "#/prefix"),
    ],
)
def test_bad_values_are_named(http: HttpLab, body: dict[str, Any], pointer: str) -> None:
    owner = http.register()
    made = new_key(http, owner)
    whole = {"name": "Shop", "permissions": ["messages:send"], **body}
    for answer in (
        http.post("/api/keys", whole, token=owner.token),
        http.patch(keys_path(None, made["id"]), body, token=owner.token),
    ):
        assert answer.status == 422, answer.body
        assert answer.problem == "validation-failed"
        assert answer.pointers == [pointer]
    [kept] = http.get("/api/keys", token=owner.token).json["items"]
    assert kept == {name: value for name, value in made.items() if name != "key"}


@pytest.mark.parametrize("seconds", [-1, 604_801, "60", 1.5, None])
def test_grace_is_bounded(http: HttpLab, seconds: object) -> None:
    owner = http.register()
    made = new_key(http, owner)
    path = keys_path(None, made["id"], "rotate")
    answer = http.post(path, {"graceSeconds": seconds}, token=owner.token)
    assert (answer.status, answer.pointers) == (422, ["#/graceSeconds"])


def test_what_is_left_out_stays_and_null_lifts_an_expiry(http: HttpLab) -> None:
    owner = http.register()
    made = new_key(http, owner, expiresAt="2026-06-01T02:00:00+02:00", addresses=["::1"])
    assert made["expiresAt"] == "2026-06-01T00:00:00.000Z"
    path = keys_path(None, made["id"])
    named = http.patch(path, {"name": "Till"}, token=owner.token).json
    assert (named["expiresAt"], named["addresses"]) == (made["expiresAt"], ["::1"])
    lifted = http.patch(path, {"expiresAt": None}, token=owner.token).json
    assert (lifted["expiresAt"], lifted["name"]) == (None, "Till")


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_keys_are_for_administrators(gateway: GatewayLab, role: Role) -> None:
    owner = gateway.register()
    made = new_key(gateway, owner)
    colleague = gateway.colleague(owner, role)
    path = keys_path(None, made["id"])
    for method, target in (
        ("GET", "/api/keys"),
        ("POST", "/api/keys"),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/rotate"),
    ):
        answer = gateway.request(method, target, json={}, token=colleague.token)
        assert (answer.status, answer.problem) == (403, "forbidden")


def test_keys_cannot_manage_keys(http: HttpLab) -> None:
    owner = http.register()
    key = new_key(http, owner)
    for path in ("/api/keys", keys_path(None, key["id"], "rotate")):
        assert http.post(path, {}, token=key["key"]).problem == "forbidden"
    for path in ("/api/auth/me", "/api/keys"):
        assert http.get(path, token=key["key"]).problem == "forbidden"
    assert http.post("/api/ws-ticket", {}, token=key["key"]).problem == "forbidden"
    assert http.post("/api/auth/logout", {}, token=key["key"]).problem == "forbidden"


def test_there_are_only_so_many_keys_also_when_asked_for_at_once(new_http: NewHttp) -> None:
    http = new_http(api_keys_per_instance=3)
    owner = http.register()
    instance = an_instance(http, owner)
    body = {"name": "Shop", "permissions": ["messages:send"]}

    async def race() -> list[int]:
        path = keys_path(instance)
        sent = (http.send("POST", path, json=body, token=owner.token) for _ in range(8))
        return [answer.status for answer in await asyncio.gather(*sent)]

    assert sorted(http.run(race())) == [201] * 3 + [409] * 5
    refused = http.post(keys_path(instance), body, token=owner.token)
    assert (refused.problem, refused.json["limit"]) == ("key-limit-reached", 3)
    new_key(http, owner)  # those of the tenant are counted apart
    [first, *_] = http.get(keys_path(instance), token=owner.token).json["items"]
    http.delete(keys_path(instance, first["id"]), token=owner.token)
    new_key(http, owner, instance)


def test_lists_go_on_page_by_page(http: HttpLab) -> None:
    owner = http.register()
    made = [new_key(http, owner)["id"] for _ in range(3)]
    page = http.get("/api/keys?limit=2", token=owner.token).json
    rest = http.get(f"/api/keys?limit=2&cursor={page['nextCursor']}", token=owner.token).json
    assert [one["id"] for one in page["items"] + rest["items"]] == made[::-1]
    assert rest["nextCursor"] is None


def test_keys_are_reached_only_where_they_belong(http: HttpLab) -> None:
    owner = http.register()
    one, other = an_instance(http, owner), an_instance(http, owner)
    key = new_key(http, owner, one)
    for path in (keys_path(other, key["id"]), keys_path(None, key["id"]), keys_path(one, MISSING)):
        assert http.delete(path, token=owner.token).problem == "not-found"
        assert http.patch(path, {"name": "x"}, token=owner.token).problem == "not-found"
        assert http.post(f"{path}/rotate", {}, token=owner.token).problem == "not-found"
    [left] = http.get(keys_path(one), token=owner.token).json["items"]
    assert left["revokedAt"] is None

"""What API keys may do, and when they are refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import HttpLab, Member, NewHttp
from support.keys import keys_path, new_key
from support.tenants import new_instance
from wavisor.domain import Role
from wavisor.storage import AuditFilter, Scope, audit
from wavisor.storage.models import ApiKey, User

TEXT = {"to": "+15550199", "text": "hello"}
LIST = "/api/instances"


def an_instance(http: HttpLab, owner: Member) -> str:
    return new_instance(http.database, Scope(owner.subscription_id)).id


def refusal(http: HttpLab, key: str, path: str = LIST, **more: Any) -> str:
    answer = http.get(path, token=key, **more)
    assert answer.status in (401, 403)
    return f"{answer.problem}: {answer.json.get('detail', '')}"


def invalid(detail: str) -> str:
    return f"invalid-token: The API key {detail}"


# What it may do


def test_a_key_of_an_instance_needs_no_instance_id(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance, other = (gateway.create_instance(owner) for _ in range(2))
    key = new_key(gateway, owner, instance)["key"]
    sent = gateway.post("/api/messages/text", TEXT, token=key)
    assert sent.status == 202, sent.body
    assert sent.json["instanceId"] == instance
    assert sent.json["createdBy"].startswith("key_")
    same = gateway.post("/api/messages/text", TEXT, token=key, headers={"X-Instance-Id": instance})
    assert same.status == 202
    wrong = gateway.post("/api/messages/text", TEXT, token=key, headers={"X-Instance-Id": other})
    assert wrong.problem == "not-found"
    listed = gateway.get("/api/messages", token=key).json["items"]
    assert [one["id"] for one in listed] == [same.json["id"], sent.json["id"]]


def test_a_key_to_the_tenant_names_the_instance_as_people_do(gateway: GatewayLab) -> None:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    key = new_key(gateway, owner)["key"]
    unnamed = gateway.post("/api/messages/text", TEXT, token=key)
    assert (unnamed.status, unnamed.pointers) == (422, ["X-Instance-Id"])
    named = gateway.post("/api/messages/text", TEXT, token=key, headers={"X-Instance-Id": instance})
    assert named.status == 202


def test_for_a_key_of_an_instance_there_is_no_other(gateway: GatewayLab) -> None:
    owner = gateway.register()
    mine, other = (gateway.create_instance(owner) for _ in range(2))
    headers = {"X-Instance-Id": other}
    sent = gateway.post("/api/messages/text", TEXT, token=owner.token, headers=headers)
    message = f"/api/messages/{sent.json['id']}"
    everything = [
        "instances:read",
        "instances:manage",
        "instances:control",
        "messages:read",
        "messages:send",
        "events:read",
    ]
    key = new_key(gateway, owner, mine, permissions=everything)["key"]
    assert [one["id"] for one in gateway.get(LIST, token=key).json["items"]] == [mine]
    assert gateway.get(f"{LIST}?status=disconnected", token=key).json["items"][0]["id"] == mine
    assert gateway.get("/api/messages", token=key).json["items"] == []
    assert gateway.get("/api/chats", token=key).json["items"] == []
    for method, path, body in (
        ("GET", f"{LIST}/{other}", None),
        ("PATCH", f"{LIST}/{other}", {"name": "Mine"}),
        ("DELETE", f"{LIST}/{other}", None),
        ("POST", f"{LIST}/{other}/connect", {}),
        ("GET", f"{LIST}/{other}/events", None),
        ("GET", message, None),
        ("POST", f"{message}/cancel", {}),
        ("POST", f"{message}/forward", {"to": "+15550100"}),
        ("POST", "/api/messages/text", {**TEXT, "quoted": sent.json["id"]}),
    ):
        answer = gateway.request(method, path, json=body, token=key)
        assert answer.status in (404, 422), (method, path)
        assert answer.status == 404 or answer.pointers == ["#/quoted"]
    assert gateway.get(message, token=owner.token).json["status"] == "queued"
    assert gateway.get(f"{LIST}/{other}", token=owner.token).json["name"] == "Shop"
    refused = gateway.post(LIST, {"name": "Another"}, token=key)
    assert (refused.status, refused.problem) == (403, "forbidden")


def test_a_key_may_do_what_it_was_given_and_no_more(http: HttpLab) -> None:
    owner = http.register()
    an_instance(http, owner)
    key = new_key(http, owner, permissions=["messages:read"])
    assert http.get("/api/messages", token=key["key"]).status == 200
    assert "lacks `instances:read`" in refusal(http, key["key"])
    path = keys_path(None, key["id"])
    http.patch(path, {"permissions": ["instances:read"]}, token=owner.token)
    assert http.get(LIST, token=key["key"]).status == 200
    assert "lacks `messages:read`" in refusal(http, key["key"], "/api/messages")


def test_a_key_may_never_do_more_than_its_creator(gateway: GatewayLab) -> None:
    owner = gateway.register()
    admin = gateway.colleague(owner, Role.ADMIN)
    instance = gateway.create_instance(owner)
    wanted = ["messages:send", "messages:read"]
    key = new_key(gateway, admin, instance, permissions=wanted)["key"]
    assert gateway.post("/api/messages/text", TEXT, token=key).status == 202

    def demote(role: Role) -> None:
        def write() -> None:
            User.update(role=role.value).where(User.id == admin.user_id).execute()

        gateway.database.write_wait(write)

    demote(Role.VIEWER)
    refused = gateway.post("/api/messages/text", TEXT, token=key)
    assert (refused.status, refused.problem) == (403, "forbidden")
    assert gateway.get("/api/messages", token=key).status == 200
    demote(Role.MEMBER)
    assert gateway.post("/api/messages/text", TEXT, token=key).status == 202


def test_operators_do_not_hand_their_rights_to_keys(http: HttpLab) -> None:
    operator = http.register()
    key = new_key(http, operator)

    def widen() -> None:
        ApiKey.update(permissions=["operator", "account", "instances:read"]).execute()

    http.database.write_wait(widen)
    assert http.get(LIST, token=key["key"]).status == 200
    assert http.get("/api/auth/me", token=key["key"]).problem == "forbidden"


def test_a_file_is_seen_only_by_keys_of_instances_that_had_it(gateway: GatewayLab) -> None:
    owner = gateway.register()
    mine, other = (gateway.create_instance(owner) for _ in range(2))
    body = {"to": "+15550199", "base64": "aGVsbG8=", "fileName": "a.txt"}
    headers = {"X-Instance-Id": mine}
    sent = gateway.post("/api/messages/document", body, token=owner.token, headers=headers)
    assert sent.status == 202, sent.body
    path = f"/api/media/{sent.json['mediaId']}"
    assert gateway.get(path, token=new_key(gateway, owner, mine)["key"]).body == b"hello"
    assert gateway.get(path, token=new_key(gateway, owner)["key"]).status == 200
    assert gateway.get(path, token=new_key(gateway, owner, other)["key"]).problem == "not-found"


def test_what_keys_do_is_on_the_audit_trail_as_theirs(gateway: GatewayLab) -> None:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    key = new_key(gateway, owner, instance, permissions=["instances:manage"])
    gateway.patch(f"{LIST}/{instance}", {"name": "Till"}, token=key["key"])
    entry = gateway.run(gateway.database.fetch(audit.list_page, AuditFilter(), limit=1)).items[0]
    assert (entry.action, entry.actor_kind) == ("instance.update", "api_key")
    assert entry.actor_id == key["id"]


def test_a_request_with_a_key_costs_one_query_more_than_it_asks(http_on_both: HttpLab) -> None:
    http, owner = http_on_both, http_on_both.register()
    key = new_key(http, owner)["key"]
    for token in (owner.token, key):
        http.get(LIST, token=token)
        with http.database.count_queries() as counted:
            assert http.get(LIST, token=token).status == 200
        assert counted.count == 2, counted.statements


# When it is refused


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"),
        lambda key: key[:-1],
        lambda key: key + "a",
        lambda key: "wav_",
        lambda key: "wav_" + "a" * 12 + "_" + "b" * 40,
        lambda key: key.replace("_", "-"),
        lambda key: key.lower() if key != key.lower() else key.upper(),
    ],
)
def test_what_is_no_key_is_refused_alike(http: HttpLab, spoil: Any) -> None:
    key = new_key(http, http.register())["key"]
    answer = http.get(LIST, token=spoil(key))
    assert (answer.status, answer.problem) == (401, "invalid-token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_revoked_key_is_refused_at_once(http_on_both: HttpLab) -> None:
    http, owner = http_on_both, http_on_both.register()
    key = new_key(http, owner)
    assert http.get(LIST, token=key["key"]).status == 200
    http.delete(keys_path(None, key["id"]), token=owner.token)
    assert refusal(http, key["key"]) == invalid("was revoked.")
    wrong = key["key"][:-3] + "aaa"
    assert refusal(http, wrong) == invalid("is not valid.")


def test_an_expired_key_is_refused_until_it_is_prolonged(http_on_both: HttpLab) -> None:
    http, owner = http_on_both, http_on_both.register()
    key = new_key(http, owner, expiresAt="2026-01-01T00:00:10Z")
    http.clock.advance(9.999)
    assert http.get(LIST, token=key["key"]).status == 200
    http.clock.advance(0.001)
    assert refusal(http, key["key"]) == invalid("has expired.")
    path = keys_path(None, key["id"])
    http.patch(path, {"expiresAt": "2026-01-02T00:00:00Z"}, token=owner.token)
    assert http.get(LIST, token=key["key"]).status == 200


def test_the_secret_before_a_rotation_is_good_for_its_grace(http_on_both: HttpLab) -> None:
    http, owner = http_on_both, http_on_both.register()
    first = new_key(http, owner)
    path = keys_path(None, first["id"], "rotate")
    second = http.post(path, {"graceSeconds": 60}, token=owner.token).json
    for one in (first, second):
        assert http.get(LIST, token=one["key"]).status == 200
    http.clock.advance(60)
    assert refusal(http, first["key"]) == invalid("was rotated.")
    third = http.post(path, {"graceSeconds": 60}, token=owner.token).json
    # Of three secrets the first is good no more, also within the grace of the second.
    assert refusal(http, first["key"]) == invalid("is not valid.")
    assert http.get(LIST, token=second["key"]).status == 200
    fourth = http.post(path, {"graceSeconds": 0}, token=owner.token).json
    assert refusal(http, third["key"]) == invalid("was rotated.")
    assert http.get(LIST, token=fourth["key"]).status == 200


def test_a_key_without_its_creator_is_refused(http: HttpLab) -> None:
    owner = http.register()
    key = new_key(http, owner)["key"]
    http.database.write_wait(lambda: User.delete().where(User.id == owner.user_id).execute())
    assert refusal(http, key) == invalid("is not valid.")


def test_a_key_that_is_revoked_during_an_upload_does_nothing(
    gateway: GatewayLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header is admitted, the body drags on, and the key is revoked meanwhile."""
    monkeypatch.setattr("wavisor.http.handler._STALE_SECONDS", 0.0)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    key = new_key(gateway, owner, instance)
    body = json.dumps(TEXT).encode()

    async def drag() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = (
            "POST /api/messages/text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {key['key']}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        writer.write(head.encode())
        # Asked for the body, so admitted.
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body[:5])
        path = keys_path(instance, key["id"])
        assert (await gateway.send("DELETE", path, token=owner.token)).status == 204
        writer.write(body[5:])
        answer = await reader.read()
        writer.close()
        return answer

    assert gateway.run(drag()).startswith(b"HTTP/1.1 401 ")
    assert gateway.get("/api/messages", token=owner.token).json["items"] == []


# From where


@pytest.mark.parametrize(
    ("allowed", "came_from", "good"),
    [
        (["127.0.0.1"], None, True),
        (["203.0.113.0/24"], None, False),
        (["203.0.113.0/24"], "203.0.113.7", True),
        (["203.0.113.0/24"], "198.51.100.1", False),
        (["2001:db8::/32"], "2001:db8:1::7", True),
        (["2001:db8::/32"], "2001:db9::7", False),
        (["203.0.113.7"], "::ffff:203.0.113.7", True),
        (["::ffff:203.0.113.7"], "203.0.113.7", True),
        (["10.0.0.0/8", "2001:db8::1"], "2001:db8::1", True),
        # What the client wrote itself stands before what the proxy saw.
        (["203.0.113.7"], "203.0.113.7, 198.51.100.1", False),
    ],
)
def test_a_key_is_good_only_from_where_it_may_be_used(
    new_http: NewHttp, allowed: list[str], came_from: str | None, good: bool
) -> None:
    http = new_http(trusted_proxies=("127.0.0.1",))
    key = new_key(http, http.register(), addresses=allowed)["key"]
    headers = {} if came_from is None else {"X-Forwarded-For": came_from}
    answer = http.get(LIST, token=key, headers=headers)
    assert answer.status == (200 if good else 403)
    assert good or answer.problem == "address-not-allowed"


def test_nobody_is_believed_about_their_address_without_a_trusted_proxy(http: HttpLab) -> None:
    key = new_key(http, http.register(), addresses=["203.0.113.7"])["key"]
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert http.get(LIST, token=key, headers=headers).problem == "address-not-allowed"


def test_whether_a_key_exists_is_told_to_its_bearers_only(http: HttpLab) -> None:
    key = new_key(http, http.register(), addresses=["203.0.113.7"])["key"]
    wrong = key[:-3] + "aaa"
    assert http.get(LIST, token=wrong).problem == "invalid-token"


# When it was used last


def test_the_last_use_is_written_later_and_at_once_for_many(http_on_both: HttpLab) -> None:
    http, owner = http_on_both, http_on_both.register()
    key = new_key(http, owner)
    with http.database.count_queries() as counted:
        for _ in range(5):
            http.clock.advance(1)
            http.get(LIST, token=key["key"])
    assert not [one for one in counted.statements if one.startswith("UPDATE")]
    with http.database.count_queries() as counted:
        http.run(http.application.key_uses.flush())
        http.run(http.application.key_uses.flush())
    assert len([one for one in counted.statements if one.startswith("UPDATE")]) == 1
    [listed] = http.get("/api/keys", token=owner.token).json["items"]
    assert listed["lastUsedAt"] == "2026-01-01T00:00:05.000Z"
    assert listed["lastUsedAddress"] == "127.0.0.1"


def test_last_uses_are_written_by_themselves(
    http: HttpLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavisor.http.keys.uses._DELAY", 0.0)
    owner = http.register()
    key = new_key(http, owner)

    async def used() -> None:
        async with asyncio.timeout(10):
            while True:
                await http.send("GET", LIST, token=key["key"])
                listed = await http.send("GET", "/api/keys", token=owner.token)
                if listed.json["items"][0]["lastUsedAt"] is not None:
                    return

    http.run(used())


def test_last_uses_are_remembered_in_bounded_memory(
    http: HttpLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavisor.http.keys.uses._CAPACITY", 2)
    uses = http.application.key_uses

    async def note() -> int:
        for number in range(5):
            uses.note(f"key_{number}", "10.0.0.1")
        return len(uses._uses)

    assert http.run(note()) == 2


def test_a_refused_key_was_not_used(http: HttpLab) -> None:
    owner = http.register()
    key = new_key(http, owner, addresses=["203.0.113.7"])
    http.get(LIST, token=key["key"])
    http.run(http.application.key_uses.flush())
    [listed] = http.get("/api/keys", token=owner.token).json["items"]
    assert listed["lastUsedAt"] is None

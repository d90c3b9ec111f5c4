"""Users of a subscription and invitations to it, through the API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.feed_client import FeedRefusedError
from support.gateway import GatewayLab
from support.http import PASSWORD, Answer, HttpLab, Member, NewHttp
from support.keys import new_key
from wavisor.domain import RegistrationMode, Role
from wavisor.storage import AuditFilter, AuditRecord, audit, platform
from wavisor.storage.models import Invitation

INVITATIONS = "/api/invitations"
ACCEPT = "/api/auth/accept-invitation"
GUEST = "guest@example.com"


def invite(
    http: HttpLab, by: Member, email: str = GUEST, role: Role = Role.MEMBER
) -> dict[str, Any]:
    answer = http.post(INVITATIONS, {"email": email, "role": role.value}, token=by.token)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


def accept(http: HttpLab, token: str, password: str = PASSWORD) -> Answer:
    return http.post(ACCEPT, {"token": token, "password": password})


def join(http: HttpLab, by: Member, role: Role, email: str = GUEST) -> Member:
    answer = accept(http, invite(http, by, email, role)["token"])
    assert answer.status == 201, answer.body
    return Member.of(answer.json)


def trail(http: HttpLab) -> list[AuditRecord]:
    page = http.run(http.database.fetch(audit.list_page, AuditFilter(), limit=50))
    return [one for one in reversed(page.items) if one.action.startswith(("user.", "invitation."))]


def test_an_invited_person_joins_and_logs_in(http_on_both: HttpLab) -> None:
    http, owner = http_on_both, http_on_both.register()
    made = invite(http, owner, "Guest@Example.com", Role.ADMIN)
    token = made.pop("token")
    assert (made["status"], made["email"], made["role"]) == ("open", GUEST, "ADMIN")
    assert made["expiresAt"] == "2026-01-08T00:00:00.000Z"
    assert http.get(INVITATIONS, token=owner.token).json["items"] == [made]
    answer = accept(http, token)
    assert answer.status == 201
    guest = Member.of(answer.json)
    assert guest.subscription_id == owner.subscription_id
    assert answer.json["account"]["user"]["role"] == "ADMIN"
    assert not answer.json["account"]["user"]["isOperator"]
    logged_in = http.post("/api/auth/login", {"email": GUEST, "password": PASSWORD})
    assert logged_in.status == 200
    users = http.get("/api/users", token=guest.token).json["items"]
    assert [(one["id"], one["role"]) for one in users] == [
        (owner.user_id, "OWNER"),
        (guest.user_id, "ADMIN"),
    ]
    [listed] = http.get(INVITATIONS, token=owner.token).json["items"]
    assert (listed["status"], listed["acceptedAt"]) == ("accepted", "2026-01-01T00:00:00.000Z")


def test_an_invitation_is_good_once(http_on_both: HttpLab) -> None:
    http = http_on_both
    token = invite(http, http.register())["token"]

    async def race() -> list[int]:
        body = {"token": token, "password": PASSWORD}
        return [
            answer.status
            for answer in await asyncio.gather(
                *(http.send("POST", ACCEPT, json=body) for _ in range(4))
            )
        ]

    statuses = sorted(http.run(race()))
    # Who comes while it is being used hears of the account, who comes after hears of nothing.
    assert statuses[0] == 201
    assert set(statuses[1:]) <= {404, 409}
    assert accept(http, token).problem == "invitation-invalid"


def test_strangers_learn_nothing_from_what_is_wrong_with_a_token(http: HttpLab) -> None:
    owner, elsewhere = http.register(), http.register()
    used, revoked, replaced, late = (
        invite(http, owner, f"{name}@example.com")
        for name in ("used", "revoked", "replaced", "late")
    )
    accept(http, used["token"])
    http.delete(f"{INVITATIONS}/{revoked['id']}", token=owner.token)
    invite(http, owner, "replaced@example.com")
    taken = invite(http, owner, elsewhere.email)
    documents = []
    for token in (used["token"], revoked["token"], replaced["token"], "nonsense", "\u00e9"):
        answer = accept(http, token)
        document = answer.json
        del document["requestId"]
        documents.append(document)
    http.clock.advance(7 * 86_400)
    for token in (late["token"], taken["token"]):
        document = accept(http, token).json
        del document["requestId"]
        documents.append(document)
    assert all(one == documents[0] for one in documents)
    assert documents[0]["status"] == 404


def test_an_address_that_is_registered_is_told_to_the_invited_only(http: HttpLab) -> None:
    owner, elsewhere = http.register(), http.register()
    known, unknown = (
        http.post(INVITATIONS, {"email": email, "role": "MEMBER"}, token=owner.token)
        for email in (elsewhere.email, "nobody@example.com")
    )
    assert known.status == unknown.status == 201
    assert known.json.keys() == unknown.json.keys()
    answer = accept(http, known.json["token"])
    assert (answer.status, answer.problem) == (409, "email-taken")
    same = http.post(INVITATIONS, {"email": owner.email, "role": "MEMBER"}, token=owner.token)
    assert (same.status, same.problem) == (409, "already-member")
    assert http.get("/api/auth/me", token=elsewhere.token).json["user"]["role"] == "OWNER"


def test_invitations_work_where_registration_is_closed(new_http: NewHttp) -> None:
    http = new_http(registration=RegistrationMode.FIRST)
    owner = http.register()
    body = {"email": "other@example.com", "password": PASSWORD}
    assert http.post("/api/auth/register", body).problem == "registration-closed"
    assert accept(http, invite(http, owner)["token"]).status == 201


def test_nobody_joins_a_suspended_subscription(http: HttpLab) -> None:
    http.register()
    owner = http.register()
    token = invite(http, owner)["token"]
    http.database.write_wait(platform.set_suspended, owner.subscription_id, suspended=True)
    assert accept(http, token).problem == "subscription-suspended"


def test_tokens_are_stored_as_digests_only(http: HttpLab) -> None:
    token = invite(http, http.register())["token"]
    rows = http.run(http.database.fetch(lambda: list(Invitation.select().dicts())))
    assert token not in repr(rows)
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "MEMBER"}, "#/email"),
        ({"email": "nobody", "role": "MEMBER"}, "#/email"),
        ({"email": None, "role": "MEMBER"}, "#/email"),
        ({"email": f"{'a' * 250}@example.com", "role": "MEMBER"}, "#/email"),
        ({"email": GUEST}, "#/role"),
        ({"email": GUEST, "role": "member"}, "#/role"),
        ({"email": GUEST, "role": "OPERATOR"}, "#/role"),
        ({"email": GUEST, "role": "MEMBER", "password": "x"}, "#/password"),
    ],
)
def test_bad_invitations_are_named(http: HttpLab, body: dict[str, Any], pointer: str) -> None:
    owner = http.register()
    answer = http.post(INVITATIONS, body, token=owner.token)
    assert (answer.status, answer.pointers) == (422, [pointer])
    assert http.get(INVITATIONS, token=owner.token).json["items"] == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"password": "short"}, "#/password"),
        ({"password": None}, "#/password"),
        ({"password": "x" * 1025}, "#/password"),
        ({"token": ""}, "#/token"),
        ({"token": "x" * 201}, "#/token"),
        ({"email": GUEST}, "#/email"),
    ],
)
def test_a_bad_acceptance_does_not_use_the_invitation_up(
    http: HttpLab, change: dict[str, Any], pointer: str
) -> None:
    token = invite(http, http.register())["token"]
    answer = http.post(ACCEPT, {"token": token, "password": PASSWORD, **change})
    assert (answer.status, answer.pointers) == (422, [pointer])
    assert accept(http, token).status == 201


def test_only_so_many_invitations_are_open(http: HttpLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavisor.http.people.invitations._OPEN_LIMIT", 2)
    owner = http.register()
    for name in "ab":
        invite(http, owner, f"{name}@example.com")
    body = {"email": "c@example.com", "role": "MEMBER"}
    answer = http.post(INVITATIONS, body, token=owner.token)
    assert (answer.status, answer.problem) == (409, "too-many-invitations")


# Roles


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_people_are_managed_by_administrators(http: HttpLab, role: Role) -> None:
    owner = http.register()
    guest = join(http, owner, role)
    for method, path, body in (
        ("GET", "/api/users", None),
        ("PATCH", f"/api/users/{owner.user_id}", {"role": "VIEWER"}),
        ("DELETE", f"/api/users/{owner.user_id}", None),
        ("GET", INVITATIONS, None),
        ("POST", INVITATIONS, {"email": "x@example.com", "role": "VIEWER"}),
    ):
        answer = http.request(method, path, json=body, token=guest.token)
        assert (answer.status, answer.problem) == (403, "forbidden")


def test_nobody_gives_a_role_above_their_own(http: HttpLab) -> None:
    owner = http.register()
    admin = join(http, owner, Role.ADMIN)
    own = f"/api/users/{admin.user_id}"
    assert http.patch(own, {"role": "OWNER"}, token=admin.token).problem == "above-own-role"
    body = {"email": "x@example.com", "role": "OWNER"}
    assert http.post(INVITATIONS, body, token=admin.token).problem == "above-own-role"
    for act in (
        http.patch(f"/api/users/{owner.user_id}", {"role": "VIEWER"}, token=admin.token),
        http.delete(f"/api/users/{owner.user_id}", token=admin.token),
    ):
        assert (act.status, act.problem) == (403, "above-own-role")


def test_the_last_owner_stays(http: HttpLab) -> None:
    owner = http.register()
    path = f"/api/users/{owner.user_id}"
    for answer in (
        http.patch(path, {"role": "ADMIN"}, token=owner.token),
        http.delete(path, token=owner.token),
    ):
        assert (answer.status, answer.problem) == (409, "last-owner")
    second = join(http, owner, Role.OWNER)
    assert http.patch(path, {"role": "ADMIN"}, token=second.token).json["role"] == "ADMIN"


def test_a_role_holds_at_once(http: HttpLab) -> None:
    owner = http.register()
    guest = join(http, owner, Role.ADMIN)
    key = new_key(http, guest, permissions=["instances:manage", "instances:read"])["key"]
    path = f"/api/users/{guest.user_id}"
    for token in (guest.token, key):
        assert http.post("/api/instances", {}, token=token).problem == "validation-failed"
    assert http.patch(path, {"role": "VIEWER"}, token=owner.token).json["role"] == "VIEWER"
    for token in (guest.token, key):
        assert http.post("/api/instances", {}, token=token).problem == "forbidden"
        assert http.get("/api/instances", token=token).status == 200


@pytest.mark.parametrize("role", ["", "owner", None, 1, ["OWNER"]])
def test_bad_roles_are_named(http: HttpLab, role: object) -> None:
    owner = http.register()
    answer = http.patch(f"/api/users/{owner.user_id}", {"role": role}, token=owner.token)
    assert (answer.status, answer.pointers) == (422, ["#/role"])


def test_who_is_removed_is_out_at_once_everywhere(gateway: GatewayLab) -> None:
    owner = gateway.register()
    guest = join(gateway, owner, Role.ADMIN)
    key = new_key(gateway, guest)["key"]
    bearers = [{"Authorization": f"Bearer {one}"} for one in (guest.token, key)]
    feeds = [gateway.feed(headers=headers) for headers in bearers]
    for feed in feeds:
        feed.expect("authenticated")
    back_door = invite(gateway, guest, "back-door@example.com")["token"]
    path = f"/api/users/{guest.user_id}"
    assert gateway.delete(path, token=owner.token).status == 204
    assert [feed.wait_closed() for feed in feeds] == [4401, 4401]
    for token in (guest.token, key):
        assert gateway.get("/api/instances", token=token).problem == "invalid-token"
    for headers in bearers:
        with pytest.raises(FeedRefusedError) as refused:
            gateway.feed(headers=headers)
        assert refused.value.status == 401
    renewed = gateway.post("/api/auth/refresh", {"refreshToken": guest.refresh_token})
    assert renewed.problem == "invalid-token"
    login = gateway.post("/api/auth/login", {"email": GUEST, "password": PASSWORD})
    assert login.problem == "invalid-credentials"
    assert accept(gateway, back_door).problem == "invitation-invalid"
    [left] = gateway.get("/api/keys", token=owner.token).json["items"]
    assert left["createdBy"] is None
    assert left["revokedAt"] is not None
    assert gateway.delete(path, token=owner.token).problem == "not-found"
    # The address is free again.
    assert accept(gateway, invite(gateway, owner)["token"]).status == 201


def test_a_demoted_person_keeps_only_the_feed_of_their_role(gateway: GatewayLab) -> None:
    owner = gateway.register()
    guest = join(gateway, owner, Role.ADMIN)
    feed = gateway.feed(guest)
    feed.expect("authenticated")
    gateway.patch(f"/api/users/{guest.user_id}", {"role": "VIEWER"}, token=owner.token)
    feed.subscribe()


def test_everything_is_on_the_audit_trail_without_secrets(http: HttpLab) -> None:
    owner = http.register()
    made = invite(http, owner)
    guest = Member.of(accept(http, made["token"]).json)
    path = f"/api/users/{guest.user_id}"
    http.patch(path, {"role": "VIEWER"}, token=owner.token)
    http.patch(path, {"role": "VIEWER"}, token=owner.token)  # changes nothing
    http.delete(path, token=owner.token)
    void = invite(http, owner)
    for _ in range(2):
        http.delete(f"{INVITATIONS}/{void['id']}", token=owner.token)
    entries = trail(http)
    assert [(one.action, one.actor_id, one.target) for one in entries] == [
        ("invitation.create", owner.user_id, made["id"]),
        ("invitation.accept", guest.user_id, guest.user_id),
        ("user.change_role", owner.user_id, guest.user_id),
        ("user.remove", owner.user_id, guest.user_id),
        ("invitation.create", owner.user_id, void["id"]),
        ("invitation.revoke", owner.user_id, void["id"]),
    ]
    assert (entries[2].before, entries[2].after) == ({"role": "MEMBER"}, {"role": "VIEWER"})
    told = repr([(one.before, one.after) for one in entries])
    for secret in (made["token"], void["token"], GUEST, PASSWORD):
        assert secret not in told

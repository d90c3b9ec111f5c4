"""Instances over HTTP, with real actors and storage; only the WhatsApp session is scripted."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest

from support.gateway import GatewayLab, NewGateway, locked
from support.http import Answer, Member
from wavisor.actors.ask import ask_sync
from wavisor.actors.instances import InstanceUnavailableError
from wavisor.actors.supervisor import TerminateChild
from wavisor.domain import ALLOWED_COMMANDS, InstanceCommand, InstanceStatus, Role, Tier
from wavisor.limits import TIERS
from wavisor.storage import accounts, instances
from wavisor.whatsapp.commands import Command, Logout, RequestPairingCode
from wavisor.whatsapp.events import (
    ClientOutdated,
    Failure,
    QrPhaseEnded,
    StreamReplaced,
    TemporaryBan,
)
from wavisor.whatsapp.port import SessionError
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession
from wavisor.whatsapp.scripted_defects import SlowSession

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


# The resource


def test_an_instance_is_created_read_renamed_and_deleted(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    created = gateway.post("/api/instances", {"name": " Shop "}, token=owner.token)
    assert created.status == 201
    instance = created.json["id"]
    assert created.headers["Location"] == f"/api/instances/{instance}"
    assert created.json["name"] == "Shop"
    assert created.json["status"] == "disconnected"
    assert created.json["desired"] == "disconnected"
    assert created.json["allowed"] == ["connect", "disconnect", "logout"]
    assert created.json["account"] is None

    renamed = gateway.patch(f"/api/instances/{instance}", {"name": "Till"}, token=owner.token)
    assert renamed.status == 200
    assert renamed.json["name"] == "Till"
    assert gateway.get(f"/api/instances/{instance}", token=owner.token).json == renamed.json

    assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 204
    assert gateway.get(f"/api/instances/{instance}", token=owner.token).status == 404
    assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 404
    entries = gateway.user_audit_of(instance)
    actions = [entry.action for entry in entries]
    assert actions == ["instance.create", "instance.update", "instance.delete"]
    assert (entries[1].before, entries[1].after) == ({"name": "Shop"}, {"name": "Till"})


def test_changed_settings_are_audited_before_and_after_without_the_proxys_password(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    proxy = "socks5://me:secret@8.8.8.8:1080"
    for settings in ({"proxy": proxy, "defaultRegion": "DE"}, {"proxy": None}):
        answer = gateway.patch(
            f"/api/instances/{instance}", {"settings": settings}, token=owner.token
        )
        assert answer.status == 200, answer.body
    first, second = (
        entry for entry in gateway.user_audit_of(instance) if entry.action == "instance.update"
    )
    assert first.before == {"settings": {"proxy": None, "defaultRegion": None}}
    assert first.after["settings"]["defaultRegion"] == "DE"
    assert second.before == {"settings": {"proxy": first.after["settings"]["proxy"]}}
    assert second.after == {"settings": {"proxy": None}}
    assert "8.8.8.8" in str(first.after) and "secret" not in str((first, second))


def test_every_command_is_audited_with_user_address_and_request(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    gateway.post(
        f"/api/instances/{instance}/connect",
        {},
        token=owner.token,
        headers={"X-Request-Id": "my-request-0001"},
    )
    entry = gateway.user_audit_of(instance)[-1]
    assert entry.action == "instance.connect"
    assert entry.actor_id == owner.user_id
    assert entry.subscription_id == owner.subscription_id
    assert entry.address == "127.0.0.1"
    assert entry.request_id == "my-request-0001"
    # What came of it is on the trail as well, by the system.
    assert any(
        one.actor_kind == "system" and one.after["status"] == "connecting"
        for one in gateway.audit_of(instance)
    )


def test_lists_come_in_pages_and_by_status(gateway: GatewayLab, owner: Member) -> None:
    made = [gateway.create_instance(owner, f"Shop {n}") for n in range(3)]
    first = gateway.get("/api/instances?limit=2", token=owner.token).json
    assert [one["id"] for one in first["items"]] == made[:2]
    cursor = first["nextCursor"]
    rest = gateway.get(f"/api/instances?limit=2&cursor={cursor}", token=owner.token).json
    assert [one["id"] for one in rest["items"]] == made[2:]
    assert rest["nextCursor"] is None

    gateway.link(owner, made[1])
    connected = gateway.get("/api/instances?status=connected", token=owner.token).json["items"]
    assert [one["id"] for one in connected] == [made[1]]
    assert connected[0]["account"]["phone"] == "+15550100"


def test_a_list_costs_one_query_however_long_it_is(gateway: GatewayLab, owner: Member) -> None:
    for number in range(5):
        gateway.create_instance(owner, f"Shop {number}")
    with gateway.database.count_queries() as counter:
        assert len(gateway.get("/api/instances", token=owner.token).json["items"]) == 5
    assert _lookups(counter.statements) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "Other"}),
        ("GET", "/status", None),
        ("GET", "/events", None),
        ("POST", "/connect", {}),
        ("POST", "/disconnect", {}),
        ("POST", "/logout", {}),
        ("DELETE", "", None),
    ],
)
def test_an_operation_costs_one_look_up_by_id(
    gateway_on_both: GatewayLab, method: str, path: str, body: object
) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    with gateway.database.count_queries() as counter:
        answer = gateway.request(
            method, f"/api/instances/{instance}{path}", json=body, token=owner.token
        )
        assert answer.status < 300, answer.body
    assert _lookups(counter.statements) == 1, counter.statements


@pytest.mark.parametrize("path", ["/restart", "/qr"])
def test_an_operation_on_a_live_session_costs_one_look_up_by_id(
    gateway: GatewayLab, owner: Member, path: str
) -> None:
    instance = gateway.create_instance(owner)
    gateway.show_qr(owner, instance)
    method = "GET" if path == "/qr" else "POST"
    with gateway.database.count_queries() as counter:
        answer = gateway.request(method, f"/api/instances/{instance}{path}", token=owner.token)
        assert answer.status in (200, 202)
    assert _lookups(counter.statements) == 1


def _lookups(statements: list[str]) -> int:
    return sum(one.startswith("SELECT") and 'FROM "instances"' in one for one in statements)


def test_ids_are_taken_in_any_letter_case(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    for spelled in (instance.lower(), instance.upper(), instance.swapcase()):
        assert gateway.get(f"/api/instances/{spelled}", token=owner.token).json["id"] == instance
        assert gateway.command(owner, spelled, "disconnect").status == 202


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"name": 5},
        {"name": None},
        {"name": "Shop", "tier": "MAX"},
        {"name": "Shop", "id": "ins_00000000000000000000000000"},
    ],
)
def test_a_wrong_body_creates_and_changes_nothing(
    gateway: GatewayLab, owner: Member, body: object
) -> None:
    instance = gateway.create_instance(owner)
    assert gateway.post("/api/instances", body, token=owner.token).problem == "validation-failed"
    wrong = gateway.patch(f"/api/instances/{instance}", body, token=owner.token)
    assert wrong.problem == "validation-failed"
    names = [one["name"] for one in gateway.get("/api/instances", token=owner.token).json["items"]]
    assert names == ["Shop"]


def test_the_tier_limits_how_many_instances_there_are(gateway: GatewayLab, owner: Member) -> None:
    for number in range(TIERS[Tier.BASIC].instances or 0):
        gateway.create_instance(owner, f"Shop {number}")
    refused = gateway.post("/api/instances", {"name": "One more"}, token=owner.token)
    assert refused.status == 409
    assert refused.problem == "tier-limit-reached"
    assert (refused.json["tier"], refused.json["limit"]) == ("BASIC", 5)

    gateway.database.write_wait(accounts.set_tier, owner.subscription_id, Tier.PRO)
    gateway.create_instance(owner, "One more")


def test_the_tier_limit_holds_when_many_are_created_at_once(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()

    async def race() -> list[int]:
        asked = [
            gateway.send("POST", "/api/instances", json={"name": f"Shop {n}"}, token=owner.token)
            for n in range(20)
        ]
        return [answer.status for answer in await asyncio.gather(*asked)]

    assert Counter(gateway.run(race(), timeout=30)) == {201: 5, 409: 15}
    assert len(gateway.get("/api/instances", token=owner.token).json["items"]) == 5


def test_a_viewer_reads_and_changes_nothing(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    viewer = gateway.colleague(owner, Role.VIEWER)
    path = f"/api/instances/{instance}"
    for allowed in (path, f"{path}/status", f"{path}/events", "/api/instances"):
        assert gateway.get(allowed, token=viewer.token).status == 200
    for method, where, body in [
        ("POST", "/api/instances", {"name": "Mine"}),
        ("PATCH", path, {"name": "Mine"}),
        ("DELETE", path, None),
        ("POST", f"{path}/pairing-code", {"phone": "+15550100"}),
        *(
            ("POST", f"{path}/{command}", {})
            for command in ("connect", "disconnect", "restart", "logout")
        ),
    ]:
        answer = gateway.request(method, where, json=body, token=viewer.token)
        assert answer.problem == "forbidden", where
    assert gateway.driver.sessions == []
    assert gateway.state(owner, instance)["status"] == "disconnected"


def test_a_member_connects_but_does_not_unlink_or_delete(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    member = gateway.colleague(owner, Role.MEMBER)
    assert gateway.command(member, instance, "connect").status == 202
    assert gateway.command(member, instance, "logout").problem == "forbidden"
    assert gateway.delete(f"/api/instances/{instance}", token=member.token).problem == "forbidden"


# Commands


def test_connecting_shows_a_qr_code_and_ends_connected(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    answer = gateway.command(owner, instance, "connect")
    assert answer.status == 202
    assert answer.headers["Location"] == f"/api/instances/{instance}/status"
    assert (answer.json["status"], answer.json["desired"]) == ("connecting", "connected")

    gateway.driver.wait_for(1, instance)
    session = gateway.session(instance)
    session.show_qr("2@first")
    gateway.wait_status(instance, "qr")
    state = gateway.state(owner, instance)
    assert (state["qr"]["attempt"], state["qr"]["limit"]) == (1, 3)

    session.pair("15550100:1@s.whatsapp.net")
    session.connect("15550100:1@s.whatsapp.net")
    gateway.wait_status(instance, "connected")
    detail = gateway.get(f"/api/instances/{instance}", token=owner.token).json
    assert detail["status"] == "connected"
    assert detail["qr"] is None
    assert detail["lastError"] is None
    assert detail["account"]["jid"] == "15550100:1@s.whatsapp.net"
    assert detail["account"]["pushName"] == "Scripted"
    listed = gateway.get("/api/instances", token=owner.token).json["items"][0]
    assert listed["account"] == detail["account"]


def test_connecting_twice_at_once_opens_one_session(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)

    async def twice() -> list[int]:
        path = f"/api/instances/{instance}/connect"
        asked = [gateway.send("POST", path, json={}, token=owner.token) for _ in range(5)]
        return [answer.status for answer in await asyncio.gather(*asked)]

    assert gateway.run(twice()) == [202] * 5
    gateway.driver.wait_for(1, instance)
    gateway.state(owner, instance)  # a question is answered after all that was asked before it
    assert len(gateway.driver.sessions) == 1


def test_commands_may_be_repeated(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    for _ in range(2):
        assert gateway.command(owner, instance, "connect").json["status"] == "connected"
    for _ in range(2):
        assert gateway.command(owner, instance, "disconnect").status == 202
    gateway.wait_status(instance, "disconnected")
    assert gateway.command(owner, instance, "disconnect").json["status"] == "disconnected"
    assert gateway.state(owner, instance)["account"] is not None
    assert len(gateway.driver.sessions) == 1


def test_restart_replaces_the_session_and_keeps_the_account(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    first = gateway.link(owner, instance)
    assert gateway.command(owner, instance, "restart").status == 202
    gateway.driver.wait_for(2, instance)
    second = gateway.session(instance)
    assert not first.alive
    assert second.spec.jid == "15550100:1@s.whatsapp.net"
    second.connect()
    gateway.wait_status(instance, "connected")


def test_logout_unlinks_discards_the_keys_and_keeps_the_slot(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    assert instance in gateway.driver.keys
    answer = gateway.command(owner, instance, "logout")
    assert answer.status == 202
    assert answer.json["status"] == "logged_out"
    assert answer.json["account"] is None
    assert not session.alive
    assert instance not in gateway.driver.keys
    assert gateway.command(owner, instance, "connect").status == 202


def test_logout_of_an_instance_that_is_down_discards_its_keys(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    gateway.command(owner, instance, "disconnect")
    gateway.wait_status(instance, "disconnected")
    assert gateway.command(owner, instance, "logout").json["status"] == "logged_out"
    assert instance not in gateway.driver.keys


def test_deleting_while_connecting_leaves_nothing(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    session = gateway.connect(owner, instance)
    session.show_qr()
    session.pair("15550100:1@s.whatsapp.net")
    assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 204
    assert not session.alive
    assert instance not in gateway.driver.keys
    assert gateway.database.read_wait(instances.find, instance) is None
    assert gateway.gateway is not None
    assert gateway.gateway.environment.directory.find(f"instances/{instance}") is None


def test_deleting_twice_at_once_deletes_once(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)

    async def twice() -> list[int]:
        path = f"/api/instances/{instance}"
        asked = [gateway.send("DELETE", path, token=owner.token) for _ in range(3)]
        return sorted(answer.status for answer in await asyncio.gather(*asked))

    statuses = gateway.run(twice())
    assert set(statuses) <= {204, 404}
    assert 204 in statuses
    assert gateway.database.read_wait(instances.find, instance) is None


class KeepsKeysOnce(ScriptedDriver):
    """The disk refuses the first deletion of a key store."""

    refused = False

    def discard_keys(self, instance_id: str, jid: str | None = None) -> None:
        if not self.refused:
            self.refused = True
            raise SessionError("the disk refuses")
        super().discard_keys(instance_id, jid)


def test_an_instance_whose_keys_cannot_be_deleted_stays_until_they_can(
    new_gateway: NewGateway,
) -> None:
    gateway = new_gateway(driver=KeepsKeysOnce())
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    path = f"/api/instances/{instance}"
    assert gateway.delete(path, token=owner.token).problem == "busy"
    state = gateway.state(owner, instance)
    assert (state["status"], state["lastError"]["reason"]) == ("failed", "key_store_unavailable")
    assert instance in gateway.driver.keys
    assert gateway.delete(path, token=owner.token).status == 204
    assert instance not in gateway.driver.keys


def test_deleting_goes_on_where_an_earlier_try_stopped(
    new_gateway: NewGateway,
) -> None:
    """Session and keys were gone already, but the row could not be deleted."""
    gateway = new_gateway(database_busy_timeout_seconds=0.1)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    gateway.run(gateway.services.instances.delete(instance))
    assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 204
    assert gateway.database.read_wait(instances.find, instance) is None


def test_files_that_were_on_their_way_are_gone_when_the_instance_is(
    gateway: GatewayLab, owner: Member
) -> None:
    """Its session's own directory is dropped in the background, which may come later."""
    instance = gateway.create_instance(owner)
    room = gateway.services.media.new_room(instance).result(60)
    (room / "half").write_bytes(b"half of a file")
    assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 204
    assert not room.exists()


def _disconnected(gateway: GatewayLab, owner: Member, instance: str) -> None:
    """As created."""


def _connecting(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.connect(owner, instance)


def _qr(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.show_qr(owner, instance)


def _pairing(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.show_qr(owner, instance).pair()


def _connected(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.link(owner, instance)


def _reconnecting(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.link(owner, instance).drop()


def _force_disconnected(gateway: GatewayLab, owner: Member, instance: str) -> None:
    session = gateway.show_qr(owner, instance)
    session.show_qr("the second")
    session.show_qr("the third")
    session.emit(QrPhaseEnded(instance=instance, outcome="timeout"))


def _passkey_required(gateway: GatewayLab, owner: Member, instance: str) -> None:
    session = gateway.show_qr(owner, instance)
    session.emit(QrPhaseEnded(instance=instance, outcome="passkey_required"))


def _logged_out(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.link(owner, instance).log_out()


def _replaced(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.link(owner, instance).emit(StreamReplaced(instance=instance))


def _banned(gateway: GatewayLab, owner: Member, instance: str) -> None:
    ban = TemporaryBan(instance=instance, code=101, detail="spam", expires_in=None)
    gateway.link(owner, instance).emit(ban)


def _outdated(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.link(owner, instance).emit(ClientOutdated(instance=instance))


def _failed(gateway: GatewayLab, owner: Member, instance: str) -> None:
    gateway.link(owner, instance).exit(-6)


IN_STATUS = {
    InstanceStatus.DISCONNECTED: _disconnected,
    InstanceStatus.CONNECTING: _connecting,
    InstanceStatus.QR: _qr,
    InstanceStatus.PAIRING: _pairing,
    InstanceStatus.CONNECTED: _connected,
    InstanceStatus.RECONNECTING: _reconnecting,
    InstanceStatus.FORCE_DISCONNECTED: _force_disconnected,
    InstanceStatus.PASSKEY_REQUIRED: _passkey_required,
    InstanceStatus.LOGGED_OUT: _logged_out,
    InstanceStatus.REPLACED: _replaced,
    InstanceStatus.BANNED: _banned,
    InstanceStatus.OUTDATED: _outdated,
    InstanceStatus.FAILED: _failed,
}


def test_every_status_is_reached_by_a_test() -> None:
    assert set(IN_STATUS) == set(InstanceStatus)


@pytest.mark.parametrize("status", list(InstanceStatus))
def test_a_status_allows_its_commands_and_no_others(
    new_gateway: NewGateway, status: InstanceStatus
) -> None:
    gateway = new_gateway(instance_max_restarts=0)
    owner = gateway.register()
    gateway.database.write_wait(accounts.set_tier, owner.subscription_id, Tier.PRO)
    allowed = ALLOWED_COMMANDS[status]

    first = _in_status(gateway, owner, status)
    for command in set(InstanceCommand) - allowed:
        answer = _try(gateway, owner, first, command)
        assert answer.status == 409, command
        no_code = command is InstanceCommand.QR
        assert answer.problem == ("no-qr-code" if no_code else "command-forbidden")
        assert answer.json["instanceStatus"] == status.value
        assert answer.json["allowed"] == sorted(allowed)
    assert gateway.status(owner, first) == status.value  # nothing has changed it

    for command in allowed:
        answer = _try(gateway, owner, _in_status(gateway, owner, status), command)
        assert answer.status in (200, 202), (command, answer.body)


def _in_status(gateway: GatewayLab, owner: Member, status: InstanceStatus) -> str:
    instance = gateway.create_instance(owner)
    IN_STATUS[status](gateway, owner, instance)
    if status is not InstanceStatus.DISCONNECTED:
        gateway.wait_status(instance, status.value)
    return instance


def _try(gateway: GatewayLab, owner: Member, instance: str, command: InstanceCommand) -> Answer:
    if command is InstanceCommand.QR:
        return gateway.get(f"/api/instances/{instance}/qr", token=owner.token)
    body = {"phone": "+15550100"} if command is InstanceCommand.PAIRING_CODE else {}
    return gateway.command(owner, instance, command.value, body)


def test_a_ban_with_an_end_is_waited_out(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    ban = TemporaryBan(instance=instance, code=101, detail="spam", expires_in=3600)
    gateway.link(owner, instance).emit(ban)
    gateway.wait_status(instance, "banned")
    assert gateway.state(owner, instance)["bannedUntil"] is not None
    refused = gateway.command(owner, instance, "connect")
    assert refused.problem == "command-forbidden"
    assert "connect" not in refused.json["allowed"]
    assert "banned" in refused.json["detail"]


def test_a_restart_while_disconnecting_connects_again(gateway: GatewayLab, owner: Member) -> None:
    gateway.driver.session_type = SlowSession
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    assert isinstance(session, SlowSession)
    gateway.driver.session_type = ScriptedSession
    assert gateway.command(owner, instance, "disconnect").json["desired"] == "disconnected"
    assert gateway.command(owner, instance, "restart").json["desired"] == "connected"
    session.release()
    gateway.driver.wait_for(2, instance)


class NeverLogsOut(ScriptedSession):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.logout_sent = threading.Event()

    def on_command(self, command: Command) -> None:
        if isinstance(command, Logout):
            self.logout_sent.set()
        else:
            super().on_command(command)


def test_a_session_that_ends_before_it_confirms_the_logout_is_logged_out_all_the_same(
    gateway: GatewayLab, owner: Member
) -> None:
    gateway.driver.session_type = NeverLogsOut
    instance = gateway.create_instance(owner)
    session = gateway.link(owner, instance)
    assert isinstance(session, NeverLogsOut)

    async def log_out() -> object:
        path = f"/api/instances/{instance}/logout"
        asked = asyncio.ensure_future(gateway.send("POST", path, json={}, token=owner.token))
        await asyncio.to_thread(session.logout_sent.wait, 10)
        await asyncio.to_thread(session.exit, -9)
        return await asked

    answer = gateway.run(log_out())
    assert answer.status == 202
    assert answer.json["status"] == "logged_out"
    assert instance not in gateway.driver.keys


# QR and pairing codes


@pytest.mark.parametrize(
    ("query", "accept", "media_type", "beginning"),
    [
        ("", None, "application/json", b"{"),
        ("", "*/*", "application/json", b"{"),
        ("", "image/png", "image/png", PNG_SIGNATURE),
        ("", "image/svg+xml", "image/svg+xml", b"<?xml"),
        ("", "text/html, image/*;q=0.5", "image/png", PNG_SIGNATURE),
        ("", "text/plain", "text/plain; charset=utf-8", "█".encode()),
        ("?format=png", "application/json", "image/png", PNG_SIGNATURE),
        ("?format=svg", None, "image/svg+xml", b"<?xml"),
        ("?format=text", None, "text/plain; charset=utf-8", "█".encode()),
        ("?format=json", "image/png", "application/json", b"{"),
    ],
)
def test_the_qr_code_comes_in_the_form_that_is_asked_for(
    gateway: GatewayLab,
    owner: Member,
    query: str,
    accept: str | None,
    media_type: str,
    beginning: bytes,
) -> None:
    instance = gateway.create_instance(owner)
    gateway.show_qr(owner, instance, "2@abc,def,ghi")
    headers = {} if accept is None else {"Accept": accept}
    answer = gateway.get(f"/api/instances/{instance}/qr{query}", token=owner.token, headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body.strip().startswith(beginning)


def test_the_qr_code_says_its_attempt_and_end(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    session = gateway.show_qr(owner, instance, "2@first")
    session.show_qr("2@second")
    code = gateway.get(f"/api/instances/{instance}/qr", token=owner.token).json
    assert (code["code"], code["attempt"], code["limit"]) == ("2@second", 2, 3)
    assert code["expiresAt"].endswith("Z")


def test_the_svg_is_well_formed(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.show_qr(owner, instance)
    image = gateway.get(f"/api/instances/{instance}/qr?format=svg", token=owner.token).body
    assert ElementTree.fromstring(image).tag.endswith("svg")


def test_an_unknown_form_of_the_qr_code_is_refused(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.show_qr(owner, instance)
    path = f"/api/instances/{instance}/qr"
    headers = {"Accept": "text/html"}
    assert gateway.get(path, token=owner.token, headers=headers).problem == "not-acceptable"
    assert gateway.get(f"{path}?format=gif", token=owner.token).problem == "validation-failed"


def test_a_pairing_code_is_given_while_a_qr_code_is_shown(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    gateway.show_qr(owner, instance)
    answer = gateway.command(owner, instance, "pairing-code", {"phone": "+1 555 01-00"})
    assert answer.status == 200
    assert (answer.json["code"], answer.json["phone"]) == ("ABCD-1234", "15550100")
    assert gateway.state(owner, instance)["pairingCode"]["code"] == "ABCD-1234"


@pytest.mark.parametrize("phone", ["", "abc", "0151 1234567", "+0 123 456", "12", "+1" + "5" * 30])
def test_a_wrong_number_gets_no_pairing_code(
    gateway: GatewayLab, owner: Member, phone: str
) -> None:
    instance = gateway.create_instance(owner)
    session = gateway.show_qr(owner, instance)
    answer = gateway.command(owner, instance, "pairing-code", {"phone": phone})
    assert answer.problem == "validation-failed"
    assert answer.pointers == ["#/phone"]
    assert session.commands(RequestPairingCode) == []


class RefusesPairing(ScriptedSession):
    def on_command(self, command: Command) -> None:
        if isinstance(command, RequestPairingCode):
            failure = Failure(reason="rate_limited", detail="too many codes", code=429)
            self.emit(self.answer(command.id, failure=failure))
        else:
            super().on_command(command)


def test_a_pairing_code_that_whatsapp_refuses_is_a_problem_with_its_reason(
    gateway: GatewayLab, owner: Member
) -> None:
    gateway.driver.session_type = RefusesPairing
    instance = gateway.create_instance(owner)
    gateway.show_qr(owner, instance)
    answer = gateway.command(owner, instance, "pairing-code", {"phone": "+15550100"})
    assert answer.status == 502
    assert answer.problem == "pairing-failed"
    assert answer.json["reason"] == "rate_limited"


# Events


def test_events_come_newest_first_in_pages_and_by_type(gateway_on_both: GatewayLab) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    path = f"/api/instances/{instance}/events"
    everything = gateway.get(path, token=owner.token).json["items"]
    assert [one["seq"] for one in everything] == list(range(len(everything), 0, -1))
    assert everything[0]["type"] == "instance:status:changed"
    assert everything[0]["data"]["new"] == "connected"
    assert everything[0]["instanceId"] == instance

    collected, cursor = [], ""
    while True:
        page = gateway.get(f"{path}?limit=2{cursor}", token=owner.token).json
        collected += page["items"]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert collected == everything

    codes = gateway.get(
        f"{path}?types=instance:qr:updated,instance:paired", token=owner.token
    ).json["items"]
    assert {one["type"] for one in codes} == {"instance:qr:updated", "instance:paired"}


@pytest.mark.parametrize("query", ["types=message:nonsense", "types=", "cursor=abc", "limit=0"])
def test_a_wrong_query_for_events_is_refused(
    gateway: GatewayLab, owner: Member, query: str
) -> None:
    instance = gateway.create_instance(owner)
    answer = gateway.get(f"/api/instances/{instance}/events?{query}", token=owner.token)
    assert answer.problem == "validation-failed"


# Faults


def test_a_locked_database_answers_503_and_changes_nothing(new_gateway: NewGateway) -> None:
    gateway = new_gateway(database_busy_timeout_seconds=0.2)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    with locked(gateway):
        for method, path, body in [
            ("POST", "/api/instances", {"name": "More"}),
            ("PATCH", f"/api/instances/{instance}", {"name": "Other"}),
            ("POST", f"/api/instances/{instance}/connect", {}),
            ("DELETE", f"/api/instances/{instance}", None),
        ]:
            answer = gateway.request(method, path, json=body, token=owner.token)
            assert answer.status == 503, path
            assert answer.problem == "busy"
            assert int(answer.headers["Retry-After"]) > 0
        # Reading is possible all the while.
        assert gateway.get(f"/api/instances/{instance}", token=owner.token).status == 200
    assert gateway.driver.sessions == []
    assert gateway.get("/api/instances", token=owner.token).json["items"][0]["name"] == "Shop"
    gateway.show_qr(owner, instance)


@pytest.mark.parametrize("command", ["connect", "disconnect", "logout", "delete"])
def test_an_actor_that_cannot_write_refuses_and_can_be_asked_again(
    new_gateway: NewGateway, command: str
) -> None:
    """The audit entry went through, and then the database was locked."""
    gateway = new_gateway(
        database_busy_timeout_seconds=0.1, policy={"storage_timeout": 0.2, "storage_patience": 0.3}
    )
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    if command != "connect":
        gateway.link(owner, instance)

    with locked(gateway), pytest.raises(InstanceUnavailableError):
        gateway.run(getattr(gateway.services.instances, command)(instance))
    if command == "delete":
        assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 204
    else:
        assert gateway.command(owner, instance, command).status == 202


def test_an_instance_whose_actor_cannot_start_is_stored_and_said_to_be_pending(
    new_gateway: NewGateway,
) -> None:
    gateway = new_gateway()
    owner = gateway.register()
    assert gateway.gateway is not None
    directory = gateway.gateway.environment.directory
    supervisor = directory.find("instances")
    directory.leave("instances")  # as while it is being restarted
    answer = gateway.post("/api/instances", {"name": "Shop"}, token=owner.token)
    assert answer.status == 202
    instance = answer.json["id"]
    assert gateway.command(owner, instance, "connect").problem == "busy"
    assert gateway.get(f"/api/instances/{instance}", token=owner.token).status == 200

    directory.enter("instances", supervisor)
    assert gateway.command(owner, instance, "connect").status == 202
    gateway.driver.wait_for(1, instance)


def test_an_instance_whose_actor_was_given_up_can_be_connected_and_deleted(
    gateway: GatewayLab, owner: Member
) -> None:
    instance = gateway.create_instance(owner)
    assert gateway.gateway is not None
    supervisor = gateway.gateway.environment.directory.find("instances")
    gateway.link(owner, instance)
    ask_sync(supervisor, TerminateChild(instance), 10)
    state = gateway.get(f"/api/instances/{instance}", token=owner.token).json
    assert (state["status"], state["desired"]) == ("connecting", "connected")
    assert gateway.command(owner, instance, "connect").status == 202
    ask_sync(supervisor, TerminateChild(instance), 10)
    assert gateway.delete(f"/api/instances/{instance}", token=owner.token).status == 204

"""A subscription that goes: everything it has, bit by bit, whatever dies on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.gateway import GatewayLab
from support.http import PASSWORD, HttpLab, Member
from support.keys import new_key
from support.manual_clock import ManualClock
from support.processes import wait_until
from support.queueing import new_inbound, receive
from support.tenants import new_account, new_instance, new_scope
from wavisor.actors.instances import InstanceUnavailableError
from wavisor.actors.media_upkeep import MediaUpkeep
from wavisor.actors.removals import Removal
from wavisor.domain import Role
from wavisor.media import MediaStore
from wavisor.media.store import KEEP_SECONDS
from wavisor.storage import (
    AuditFilter,
    BeingDeleted,
    Database,
    DatabaseBusy,
    HasOperator,
    NewCampaign,
    NewEndpoint,
    NewEvent,
    NewRecipient,
    NewTemplateVersion,
    NotFound,
    Scope,
    audit,
    campaign_recipients,
    campaigns,
    deletions,
    events,
    idempotency,
    instances,
    media,
    opt_outs,
    platform,
    templates,
    webhooks,
)
from wavisor.storage.models import MODELS, AuditLog, Subscription, User

SUBSCRIPTIONS = "/api/admin/subscriptions"


def rows_of(database: Database, subscription_id: str) -> dict[str, int]:
    """How many rows of each table belong to a tenant, audit trail aside."""

    def count() -> dict[str, int]:
        found = {}
        for model in MODELS:
            column = getattr(model, "subscription", None)
            if model is not AuditLog and column is not None:
                number = model.select().where(column == subscription_id).count()
                found |= {model.__name__: number} if number else {}
        there = Subscription.select().where(Subscription.id == subscription_id).count()
        return found | ({"Subscription": there} if there else {})

    return database.read_wait(count)


def everything(database: Database) -> dict[str, int]:
    """How many rows each table has, audit trail aside."""

    def count() -> dict[str, int]:
        return {one.__name__: one.select().count() for one in MODELS if one is not AuditLog}

    return database.read_wait(count)


class Sessions:
    """Ends instances; writes down which. ``failures`` of the first calls find nobody."""

    def __init__(self, failures: int = 0) -> None:
        self.ended: list[str] = []
        self.failures = failures

    async def delete(self, instance_id: str) -> None:
        if self.failures:
            self.failures -= 1
            raise InstanceUnavailableError("nobody answers")
        self.ended.append(instance_id)

    async def forget(self, instance_id: str) -> None:
        """There are no actors here."""


class Died(BaseException):
    """The process is killed here; nothing that anybody would catch."""


class Mortal:
    """A database whose process dies before the commit of this number."""

    def __init__(self, database: Database, commits: int) -> None:
        self._database = database
        self._left = commits

    async def fetch(self, *arguments: Any, **named: Any) -> Any:
        return await self._database.fetch(*arguments, **named)

    async def commit(self, *arguments: Any, **named: Any) -> Any:
        if self._left == 0:
            raise Died
        self._left -= 1
        return await self._database.commit(*arguments, **named)


class House:
    """A database and a store with a tenant that has some of everything, and a neighbour."""

    def __init__(self, database: Database, clock: ManualClock, path: Path) -> None:
        self.database, self.clock = database, clock
        self.store = MediaStore(path / "media", now=lambda: clock.now().timestamp())
        self.store.open()
        new_account(database)  # the first one of an installation is its operator
        self.scope = new_scope(database)
        self.gone: list[str] = []
        self.sessions = Sessions()

    def fill(self, scope: Scope | None = None, *, count: int = 3) -> list[str]:
        """Give a tenant some of everything; return the ids of its instances."""
        scope, write = scope or self.scope, self.database.write_wait
        hook = NewEndpoint(url="https://8.8.8.8/", secret="whsec_YQ==")
        write(webhooks.create, scope, hook)
        made = [new_instance(self.database, scope) for _ in range(2)]
        shared = self.file(b"shared", scope)
        for instance in made:
            write(webhooks.create, scope, replace(hook, instance_id=instance.id))
            fresh = [NewEvent("message:received", {"n": n}) for n in range(count)]
            write(events.append, instance.id, fresh)
            for number in range(count):
                message = new_inbound(f"number {number}", media_id=shared)
                assert receive(self.database, instance, message) is not None
        self.file(scope.subscription_id.encode(), scope)
        version = NewTemplateVersion(kind="text", content={"text": "hi"}, variables=[])
        template = write(templates.create, scope, name="t", description=None, version=version)
        self.campaign(scope, template.id, made[0].id, count)
        write(opt_outs.add, scope, "1555@s.whatsapp.net", "api")
        write(idempotency.begin, scope, "key", "0" * 64)
        return [one.id for one in made]

    def campaign(self, scope: Scope, template_id: str, instance_id: str, count: int) -> None:
        new = NewCampaign(
            name="c",
            template_id=template_id,
            template_name="t",
            template_version=1,
            kind="text",
            instances=(instance_id,),
        )
        write = self.database.write_wait
        campaign = write(campaigns.create, scope, new)
        token = write(campaign_recipients.begin_import, scope, campaign.id)
        people = [
            NewRecipient(chat=f"1{n}@s.whatsapp.net", recipient=f"+1{n}", content={}, text="hi")
            for n in range(count)
        ]
        write(campaign_recipients.add_recipients, scope, campaign.id, token, 0, people)
        write(
            campaign_recipients.finish_import,
            scope,
            campaign.id,
            token,
            length=count,
            duplicates=0,
        )

    def file(self, content: bytes, scope: Scope) -> str:
        source = self.store.root / "incoming" / "x"
        source.write_bytes(content)
        stored = self.store.take_in(source).result(60).stored
        return self.database.write_wait(
            media.put,
            scope,
            sha256=stored.sha256,
            size=stored.size,
            mime_type="x/y",
            path=stored.relative,
        ).id

    def has(self, content: bytes) -> bool:
        return self.store.find(hashlib.sha256(content).hexdigest()) is not None

    def removal(self, database: Any = None) -> Removal:
        return Removal(
            database=database or self.database,
            sessions=self.sessions,
            media=self.store,
            files=MediaUpkeep(self.database, self.store, None),
            on_endpoint_gone=self.gone.append,
        )

    def look(self, database: Any = None) -> None:
        asyncio.run(self.removal(database).look())

    def audited(self) -> list[str]:
        page = self.database.read_wait(audit.list_page, AuditFilter(), limit=200)
        return [one.action for one in reversed(page.items)]


@pytest.fixture
def house(database: Database, storage_clock: ManualClock, tmp_path: Path) -> Iterator[House]:
    made = House(database, storage_clock, tmp_path)
    yield made
    made.store.close()


def test_all_that_a_tenant_has_goes_and_nothing_of_others(house: House) -> None:
    neighbour = new_scope(house.database)
    house.fill(neighbour)
    before = everything(house.database)
    scope = new_scope(house.database)
    made = house.fill(scope)
    assert {"Instance", "Message", "Event", "WebhookDelivery", "Campaign", "MessageStat"} <= set(
        rows_of(house.database, scope.subscription_id)
    )
    house.clock.advance(KEEP_SECONDS + 1)
    house.look()  # nobody is to go yet
    assert house.sessions.ended == []

    assert house.database.write_wait(deletions.begin, scope.subscription_id) is not None
    house.look()
    assert rows_of(house.database, scope.subscription_id) == {}
    assert everything(house.database) == before
    assert house.sessions.ended == made
    assert len(house.gone) == 3
    # What a neighbour has as well stays, its own alone goes.
    assert house.has(b"shared") and house.has(neighbour.subscription_id.encode())
    assert not house.has(scope.subscription_id.encode())
    assert house.audited() == ["subscription.deleted"]
    house.look()
    assert house.audited() == ["subscription.deleted"]


def test_much_goes_in_portions(house: House) -> None:
    instance, *_ = house.fill(count=5)
    house.database.write_wait(deletions.begin, house.scope.subscription_id)
    scope = house.scope

    def shed() -> int:
        return house.database.write_wait(deletions.shed, scope, limit=2)

    house.database.write_wait(instances.delete, scope, instance)
    while shed():
        pass
    assert house.database.write_wait(deletions.finish, scope) is False
    for rest in rows_of(house.database, scope.subscription_id):
        assert rest not in {"OptOut", "MessageStat", "IdempotencyKey", "Campaign"}
    house.look()
    assert rows_of(house.database, scope.subscription_id) == {}


def test_a_process_that_dies_anywhere_leaves_the_rest_to_the_next(house: House) -> None:
    empty = everything(house.database)
    del empty["Subscription"], empty["User"]
    for commits in range(100):
        account = new_account(house.database)
        scope = Scope(account.subscription.id)
        made = house.fill(scope)
        house.database.write_wait(deletions.begin, scope.subscription_id)
        try:
            house.look(Mortal(house.database, commits))
        except Died:
            assert "Subscription" in rows_of(house.database, scope.subscription_id)
        else:
            break  # it had as many as it takes
        house.look()
        assert rows_of(house.database, scope.subscription_id) == {}, commits
        assert set(made) <= set(house.sessions.ended), commits
    else:
        raise AssertionError("it never came to an end")
    assert commits > 15
    after = everything(house.database)
    assert {name: after[name] for name in empty} == empty


def test_an_instance_that_does_not_answer_is_tried_again(house: House) -> None:
    made = house.fill()
    other = new_scope(house.database)
    for scope in (house.scope, other):
        house.database.write_wait(deletions.begin, scope.subscription_id)
        house.clock.advance(1)
    house.sessions.failures = 1
    house.look()
    assert "Instance" in rows_of(house.database, house.scope.subscription_id)
    assert rows_of(house.database, other.subscription_id) == {}  # it did not have to wait
    house.look()
    assert rows_of(house.database, house.scope.subscription_id) == {}
    assert house.sessions.ended == made


def test_a_database_that_is_busy_puts_it_off(house: House) -> None:
    class Busy(Mortal):
        async def fetch(self, *arguments: Any, **named: Any) -> Any:
            raise DatabaseBusy("too much is going on")

    house.database.write_wait(deletions.begin, house.scope.subscription_id)
    house.look(Busy(house.database, 0))
    house.look()
    assert rows_of(house.database, house.scope.subscription_id) == {}


def test_what_a_late_request_adds_goes_as_well(house: House) -> None:
    house.database.write_wait(deletions.begin, house.scope.subscription_id)
    late: list[str] = []

    class Late(Mortal):
        """Lets an instance be made just before the row itself would go."""

        async def commit(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            if function is deletions.finish and not late:
                made = await self._database.commit(instances.create, house.scope, name="late")
                late.append(made.id)
            return await super().commit(function, *arguments, **named)

    house.look(Late(house.database, 1000))
    assert house.sessions.ended == late
    assert rows_of(house.database, house.scope.subscription_id) == {}


def test_a_mark_is_made_once_and_is_for_good(house: House) -> None:
    subscription = house.scope.subscription_id
    marked = house.database.write_wait(deletions.begin, subscription)
    assert marked is not None and marked.suspended_at is None
    assert house.database.write_wait(deletions.begin, subscription) is None
    found = house.database.read_wait(platform.get_subscription, subscription)
    assert found is not None
    assert found.subscription.deleted_at == found.subscription.suspended_at == house.clock.now()
    with pytest.raises(BeingDeleted):
        house.database.write_wait(platform.set_suspended, subscription, suspended=False)
    with pytest.raises(NotFound):
        house.database.write_wait(deletions.begin, f"sub_{'0' * 26}")


def test_an_operator_is_not_removed_by_accident(house: House) -> None:
    database = house.database

    def promote(account: Any) -> None:
        User.update(is_operator=True).where(User.id == account.user.id).execute()

    def demote_all() -> None:
        User.update(is_operator=False).execute()

    database.write_wait(demote_all)
    first = new_account(database)
    database.write_wait(promote, first)
    for operators_too in (False, True):
        with pytest.raises(HasOperator):
            database.write_wait(deletions.begin, first.subscription.id, operators_too=operators_too)
    database.write_wait(promote, new_account(database))
    with pytest.raises(HasOperator):
        database.write_wait(deletions.begin, first.subscription.id)
    assert database.write_wait(deletions.begin, first.subscription.id, operators_too=True)


# Over HTTP


@pytest.fixture
def operator(gateway: GatewayLab) -> Member:
    return gateway.register()  # the first one of an installation is its operator


def test_a_subscription_is_deleted_with_everything(
    gateway: GatewayLab, operator: Member, tmp_path: Path
) -> None:
    tenant = gateway.register()
    email = gateway.get("/api/admin/users", token=operator.token).json["items"][-1]["email"]
    instance = gateway.create_instance(tenant)
    session = gateway.link(tenant, instance)
    key = new_key(gateway, tenant, instance, permissions=["instances:read", "events:read"])["key"]
    feed = gateway.feed(tenant)
    message = {"to": "+15550199", "text": "hello"}
    headers = {"X-Instance-Id": instance, "Prefer": "wait=10"}
    gateway.post("/api/messages/text", message, token=tenant.token, headers=headers)
    hook = {"url": "https://8.8.8.8/", "enabled": False}
    assert gateway.post("/api/webhooks", hook, token=tenant.token).status == 201
    path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}"

    answer = gateway.request("DELETE", path, token=operator.token)
    assert answer.status == 202
    assert answer.json["deletedAt"] is not None
    refused = gateway.get("/api/instances", token=tenant.token)
    assert refused.status in (401, 403)
    assert gateway.get("/api/instances", token=key).status in (401, 403)
    wait_until(lambda: gateway.get(path, token=operator.token).status == 404)
    assert not session.alive
    assert feed.wait_closed() in (4401, 4403)
    assert rows_of(gateway.database, tenant.subscription_id) == {}
    login = gateway.post("/api/auth/login", {"email": email, "password": PASSWORD})
    assert (login.status, login.problem) == (401, "invalid-credentials")
    assert gateway.get("/api/instances", token=key).status == 401
    assert gateway.request("DELETE", path, token=operator.token).status == 404
    trail = gateway.get(
        f"/api/admin/audit?subscription={tenant.subscription_id}&action=subscription.*",
        token=operator.token,
    ).json["items"]
    assert [(one["action"], one["actorKind"]) for one in trail] == [
        ("subscription.deleted", "system"),
        ("subscription.delete", "operator"),
    ]
    assert trail[1]["before"]["tier"] == "BASIC"
    # The address is free again.
    again = gateway.post("/api/auth/register", {"email": email, "password": PASSWORD})
    assert again.status == 201


def test_what_is_being_deleted_is_told_so_and_does_not_go_on(http: HttpLab) -> None:
    operator, tenant = http.register(), http.register()
    path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}"
    for _ in range(2):  # nobody removes it here: asking again does no harm
        answer = http.request("DELETE", path, token=operator.token)
        assert (answer.status, answer.json["id"]) == (202, tenant.subscription_id)
    shown = http.get(path, token=operator.token).json
    assert shown["deletedAt"] == shown["suspendedAt"] == answer.json["deletedAt"]
    refused = http.post(f"{path}/resume", {}, token=operator.token)
    assert (refused.status, refused.problem) == (409, "being-deleted")
    assert http.audited().count("subscription.delete") == 1


def test_nobody_deletes_their_own_or_an_operators(gateway: GatewayLab, operator: Member) -> None:
    own = f"{SUBSCRIPTIONS}/{operator.subscription_id}"
    refused = gateway.request("DELETE", own, token=operator.token)
    assert (refused.status, refused.problem) == (409, "own-subscription")
    other = gateway.register()

    def promote() -> None:
        User.update(is_operator=True).where(User.id == other.user_id).execute()

    gateway.database.write_wait(promote)
    refused = gateway.request(
        "DELETE", f"{SUBSCRIPTIONS}/{other.subscription_id}", token=operator.token
    )
    assert (refused.status, refused.problem) == (409, "has-operator")
    tenant = gateway.register()
    for role in (Role.OWNER, Role.ADMIN):
        member = tenant if role is Role.OWNER else gateway.colleague(tenant, role)
        path = f"{SUBSCRIPTIONS}/{tenant.subscription_id}"
        assert gateway.request("DELETE", path, token=member.token).status == 403

"""Writes that meet on PostgreSQL take their locks in one order: none is done again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.locks import until_somebody_waits
from support.manual_clock import ManualClock
from support.queueing import ALICE, new_inbound, receive
from support.tenants import new_account, new_instance
from wavisor.domain import CampaignStatus, DeliveryStatus, InstanceStatus, Role
from wavisor.http.messages.composing import Draft, Keepsake
from wavisor.http.messages.sending import queue_drafts
from wavisor.media.store import StoredFile
from wavisor.storage import (
    AccountRecord,
    Attempt,
    Database,
    ExpectedFile,
    HistoryBatch,
    NewCampaign,
    NewEndpoint,
    NewEvent,
    NewRecipient,
    Party,
    QueueLimits,
    Scope,
    campaign_recipients,
    campaign_release,
    campaigns,
    chats,
    current,
    deliveries,
    events,
    instances,
    invitations,
    media,
    messages,
    quotas,
    webhooks,
)
from wavisor.storage.deliveries import DisableRule
from wavisor.storage.models import Invitation, Message
from wavisor.storage.queue import take_place
from wavisor.whatsapp.content import Text

WAIT = 60.0

Step = Callable[[], Any]


@pytest.fixture
def postgres(database: Database) -> Database:
    if database.engine_name == "sqlite":
        pytest.skip("SQLite has one writer")
    return database


@pytest.fixture
def account(postgres: Database) -> AccountRecord:
    return new_account(postgres)


@pytest.fixture
def scope(account: AccountRecord) -> Scope:
    return Scope(account.subscription.id)


def meet(database: Database, first: Step, then: Step, other: Step) -> None:
    """Let a write run into the locks that another one holds, which then goes on.

    Fails when one of them had to be done again because they waited for each other.
    """
    runs: Counter[str] = Counter()
    held, may_go_on = threading.Event(), threading.Event()

    def patiently() -> None:
        current.current_database().execute_sql("SET LOCAL lock_timeout = '25s'")

    def one() -> None:
        runs["one"] += 1
        patiently()
        first()
        held.set()
        assert may_go_on.wait(WAIT)
        then()

    def another() -> None:
        runs["another"] += 1
        patiently()
        other()

    slow = database.write(one)
    assert held.wait(WAIT)
    met = database.write(another)
    until_somebody_waits(database, WAIT)
    may_go_on.set()
    slow.result(WAIT)
    met.result(WAIT)
    assert runs == {"one": 1, "another": 1}


def lock(model: Any, which: Any) -> None:
    assert list(current.lock_rows(model.select().where(which)))


def invite(database: Database, clock: ManualClock, account: AccountRecord, digest: str) -> None:
    database.write_wait(
        invitations.create,
        Scope(account.subscription.id),
        email=f"{digest}@example.org",
        role=Role.ADMIN,
        digest=digest,
        creator_id=account.user.id,
        expires_at=clock.now() + timedelta(days=1),
        limit=9,
    )


def test_an_invitation_is_accepted_while_another_to_the_same_address_voids_it(
    postgres: Database, storage_clock: ManualClock, account: AccountRecord
) -> None:
    invite(postgres, storage_clock, account, "same")

    def again() -> None:
        invitations.create(
            Scope(account.subscription.id),
            email="same@example.org",
            role=Role.ADMIN,
            digest="other",
            creator_id=account.user.id,
            expires_at=storage_clock.now() + timedelta(days=1),
            limit=9,
        )

    meet(
        postgres,
        lambda: lock(Invitation, Invitation.digest == "same"),
        lambda: invitations.accept("same", "x"),
        again,
    )


@pytest.mark.parametrize("second", [True, False])
def test_two_webhooks_are_switched_off_while_one_of_their_instances_has_an_event(
    postgres: Database, storage_clock: ManualClock, scope: Scope, second: bool
) -> None:
    for instance in (new_instance(postgres, scope).id for _ in range(2)):
        new = NewEndpoint(
            url="https://example.org", secret="s", events=("*",), instance_id=instance
        )
        postgres.write_wait(webhooks.create, scope, new)
        postgres.write_wait(events.append, instance, [NewEvent("message:sent", {})])
    attempts = [
        Attempt(
            position=parcel.position,
            endpoint_id=parcel.endpoint_id,
            instance_id=parcel.instance_id,
            attempts=1,
            at=storage_clock.now(),
            status=DeliveryStatus.FAILED,
            next_attempt_at=None,
            response_status=410,
            response_excerpt=None,
            error="gone",
            latency_ms=1,
            gone=True,
        )
        for parcel in postgres.read_wait(deliveries.read_new, 0, limit=9)
    ]
    held = sorted(attempts, key=lambda one: one.endpoint_id)[second].instance_id
    assert held is not None
    meet(
        postgres,
        lambda: instances.record_transition(held, {"push_name": "x"}, []),
        lambda: events.append(held, [NewEvent("message:sent", {})]),
        lambda: deliveries.settle(attempts, DisableRule()),
    )
    found = postgres.read_wait(deliveries.find_endpoints, [one.endpoint_id for one in attempts])
    assert [one.enabled for one in found] == [False, False]


def test_a_message_is_deleted_while_its_chat_is_marked_as_read(
    postgres: Database, scope: Scope
) -> None:
    instance = new_instance(postgres, scope)
    message = receive(postgres, instance, new_inbound(unread=True))
    receive(postgres, instance, new_inbound(unread=True))
    meet(
        postgres,
        lambda: lock(Message, Message.id == message.id),
        lambda: messages.delete(scope, message.id),
        lambda: chats.mark_read(scope, instance.id, ALICE),
    )
    chat = postgres.read_wait(chats.get, scope, instance.id, ALICE)
    assert chat is not None
    assert chat.unread == 0


def test_a_message_comes_in_while_its_chat_is_marked_as_read(
    postgres: Database, scope: Scope
) -> None:
    instance = new_instance(postgres, scope)
    for _ in range(2):
        receive(postgres, instance, new_inbound(unread=True))
    meet(
        postgres,
        lambda: messages.receive(scope, instance.id, new_inbound(unread=True)),
        lambda: None,
        lambda: chats.mark_read(scope, instance.id, ALICE),
    )
    chat = postgres.read_wait(chats.get, scope, instance.id, ALICE)
    assert chat is not None
    # It came before the marking, or after it.
    assert chat.unread == len(postgres.read_wait(chats.list_unread, scope, instance.id, ALICE))


@pytest.mark.parametrize("second", [True, False])
def test_a_campaign_writes_from_two_instances_while_one_of_them_sends(
    postgres: Database, scope: Scope, second: bool
) -> None:
    ours = [new_instance(postgres, scope).id for _ in range(2)]
    for instance in ours:
        on: Any = {"status": InstanceStatus.CONNECTED}
        postgres.write_wait(instances.record_transition, instance, on, [])
    new = NewCampaign(
        name="Spring",
        template_id=f"tpl_{'0' * 26}",
        template_name="Offer",
        template_version=1,
        kind="text",
        instances=tuple(ours),
    )
    campaign = postgres.write_wait(campaigns.create, scope, new).id
    token = postgres.write_wait(campaign_recipients.begin_import, scope, campaign)
    to = [
        NewRecipient(chat, chat, {"type": "text", "text": "x"}, "x")
        for chat in (f"1555000000{number}@s.whatsapp.net" for number in range(4))
    ]
    postgres.write_wait(campaign_recipients.add_recipients, scope, campaign, token, 0, to)
    postgres.write_wait(
        campaign_recipients.finish_import, scope, campaign, token, length=4, duplicates=0
    )
    postgres.write_wait(
        campaigns.set_status,
        scope,
        campaign,
        CampaignStatus.RUNNING,
        out_of=[CampaignStatus.DRAFT],
    )
    # As a send does, whose message and chat are its own.
    meet(
        postgres,
        lambda: take_place(scope, ours[second], QueueLimits()),
        lambda: quotas.count_messages(scope),
        lambda: campaign_release.release(campaign, 4, QueueLimits()),
    )
    assert postgres.read_wait(campaigns.load, scope, campaign).released == 4


def file(number: int) -> ExpectedFile:
    return ExpectedFile({"source": f"s{number}"}, "image/png", sha256=f"{number:064}")


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_histories_have_the_same_files_in_another_order(
    postgres: Database, scope: Scope, order: tuple[int, int]
) -> None:
    instance = new_instance(postgres, scope)
    # The newest message first.
    told = tuple(new_inbound(file=file(number)) for number in order)
    batch = HistoryBatch(Party(ALICE), None, archived=False, pinned=False, messages=told)
    meet(
        postgres,
        lambda: media.expect(scope, file(1)),
        lambda: media.expect(scope, file(2)),
        lambda: messages.receive_history(scope, instance.id, batch),
    )


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_requests_send_the_same_files_in_another_order(
    postgres: Database, scope: Scope, order: tuple[int, int]
) -> None:
    instance = new_instance(postgres, scope)

    def put(number: int) -> None:
        media.put(scope, sha256=f"{number:064}", size=3, mime_type="image/png", path=f"{number}")

    drafts = [
        Draft(
            chat=ALICE,
            kind="image",
            content=Text(text="x"),
            keepsake=Keepsake(
                StoredFile(f"{number:064}", 3, Path(f"/{number}"), f"{number}"), "image/png"
            ),
        )
        for number in order
    ]
    meet(
        postgres,
        lambda: put(1),
        lambda: put(2),
        lambda: queue_drafts(scope, instance, drafts, QueueLimits()),
    )

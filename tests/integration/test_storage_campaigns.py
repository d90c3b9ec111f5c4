"""Campaigns in storage: nobody twice and nobody left out, whatever dies."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from support import campaign_child
from support.locks import until_somebody_waits
from support.manual_clock import ManualClock
from support.queueing import new_inbound, receive
from support.tenants import new_instance, new_scope
from wavisor.domain import CampaignStatus, InstanceStatus
from wavisor.storage import (
    Conflict,
    Database,
    NewCampaign,
    NewRecipient,
    QueueLimits,
    Scope,
    accounts,
    campaign_recipients,
    campaign_release,
    campaigns,
    instances,
    media,
    messages,
    opt_outs,
    quotas,
)
from wavisor.storage.models import CampaignRecipient, Chat, Message

COUNT = 200
NEW = NewCampaign(
    name="Spring",
    template_id=f"tpl_{'0' * 26}",
    template_name="Offer",
    template_version=1,
    kind="text",
    instances=(),
)


def recipient(number: int) -> NewRecipient:
    chat = f"1555{number:07}@s.whatsapp.net"
    return NewRecipient(chat, chat, {"type": "text", "text": f"hello {number}"}, f"hello {number}")


def draft(database: Database, count: int = COUNT) -> tuple[Scope, str, str]:
    scope = new_scope(database)
    instance = new_instance(database, scope).id
    database.write_wait(
        instances.record_transition, instance, {"status": InstanceStatus.CONNECTED}, []
    )
    new = replace(NEW, instances=(instance,))
    campaign = database.write_wait(campaigns.create, scope, new).id
    fill(database, scope, campaign, 0, count)
    return scope, campaign, instance


def fill(database: Database, scope: Scope, campaign: str, first: int, last: int) -> None:
    token = database.write_wait(campaign_recipients.begin_import, scope, campaign)
    new = [recipient(number) for number in range(first, last)]
    added = database.write_wait(campaign_recipients.add_recipients, scope, campaign, token, 0, new)
    database.write_wait(
        campaign_recipients.finish_import, scope, campaign, token, length=added, duplicates=0
    )


def add(database: Database, scope: Scope, campaign: str, *chats: str) -> int:
    """Add people by their addresses; return how many were new."""
    token = database.write_wait(campaign_recipients.begin_import, scope, campaign)
    new = [NewRecipient(one, one, {"type": "text", "text": "hi"}, "hi") for one in chats]
    added: int = database.write_wait(
        campaign_recipients.add_recipients, scope, campaign, token, 0, new
    )
    database.write_wait(
        campaign_recipients.finish_import, scope, campaign, token, length=added, duplicates=0
    )
    return added


def start(database: Database, scope: Scope, campaign: str) -> None:
    database.write_wait(
        campaigns.set_status,
        scope,
        campaign,
        CampaignStatus.RUNNING,
        out_of=[CampaignStatus.DRAFT],
    )


def queued_chats(database: Database) -> Counter[str]:
    return Counter(database.read_wait(lambda: [row.chat for row in Message.select(Message.chat)]))


def test_kills_in_the_middle_repeat_nobody_and_leave_nobody_out(
    database: Database, database_url: str
) -> None:
    scope, campaign, _ = draft(database)
    start(database, scope, campaign)
    rng = random.Random(11)
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, campaign_child.__file__, database_url, campaign],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        for _ in range(rng.randint(1, 6)):
            assert child.stdout.readline()
        child.kill()
        child.wait(30)
        child.stdout.close()
        record = database.read_wait(campaigns.get, scope, campaign)
        assert record is not None
        assert record.released == len(queued_chats(database)) < COUNT
    while True:
        database.write_wait(campaign_child.empty_queue)
        done = database.write_wait(campaign_release.release, campaign, 50, QueueLimits())
        assert done is not None
        if done.count == 0:
            break
    chats = queued_chats(database)
    assert len(chats) == COUNT
    assert set(chats.values()) == {1}
    record = database.read_wait(campaigns.get, scope, campaign)
    assert record is not None
    # All are in a queue, and none of them was sent: so it is not completed yet.
    assert (record.released, record.status) == (COUNT, CampaignStatus.RUNNING)


def test_what_a_dead_import_left_never_counts(database: Database) -> None:
    scope, campaign, _ = draft(database, 2)
    token = database.write_wait(campaign_recipients.begin_import, scope, campaign)
    new = [recipient(number) for number in range(10, 15)]
    assert (
        database.write_wait(campaign_recipients.add_recipients, scope, campaign, token, 0, new) == 5
    )
    # Its process dies here. Until its lease is over nobody else may begin.
    with pytest.raises(Conflict):
        database.write_wait(campaign_recipients.begin_import, scope, campaign)
    assert (
        len(database.read_wait(campaign_recipients.list_recipients, scope, campaign, limit=10)) == 2
    )
    assert database.read_wait(campaign_recipients.results, scope, campaign) == {"pending": 2}


def test_an_import_whose_lease_is_over_gives_way(database: Database, storage_clock: object) -> None:
    scope, campaign, _ = draft(database, 2)
    old = database.write_wait(campaign_recipients.begin_import, scope, campaign)
    new = [recipient(number) for number in range(10, 15)]
    database.write_wait(campaign_recipients.add_recipients, scope, campaign, old, 0, new)
    storage_clock.advance(121)  # type: ignore[attr-defined]
    fill(database, scope, campaign, 12, 14)
    with pytest.raises(Conflict):
        database.write_wait(campaign_recipients.add_recipients, scope, campaign, old, 5, new)
    listed = database.read_wait(campaign_recipients.list_recipients, scope, campaign, limit=10)
    numbers = [one.position for one in listed]
    assert numbers == [0, 1, 2, 3]
    assert listed[2].chat == recipient(12).chat


def test_an_instance_gets_only_so_many_ahead(database: Database) -> None:
    scope, campaign, instance = draft(database)
    start(database, scope, campaign)
    done = database.write_wait(campaign_release.release, campaign, 100, QueueLimits())
    assert done is not None
    assert (done.count, done.instances) == (campaign_release.AHEAD, {instance})
    again = database.write_wait(campaign_release.release, campaign, 100, QueueLimits())
    assert again is not None
    assert (again.count, again.campaign.waiting) == (0, None)


def test_a_campaign_sends_what_the_day_and_the_queues_have_left(
    database: Database, storage_clock: ManualClock
) -> None:
    scope, campaign, _ = draft(database, 10)
    start(database, scope, campaign)
    database.write_wait(accounts.set_overrides, scope.subscription_id, {"messages_per_day": 7})

    def release(**limits: int) -> tuple[int, str | None]:
        done = database.write_wait(campaign_release.release, campaign, 100, QueueLimits(**limits))
        assert done is not None
        return done.campaign.released, done.campaign.waiting

    assert release(instance=2) == (2, None)
    assert release(subscription=5) == (5, None)
    assert release() == (7, "daily_limit")
    assert release() == (7, "daily_limit")
    storage_clock.advance(24 * 3600)
    assert release() == (10, None)
    assert queued_chats(database) == {recipient(number).chat: 1 for number in range(10)}


def test_what_others_take_at_that_moment_is_not_released(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope, campaign, _ = draft(database, 4)
    database.write_wait(opt_outs.add, scope, recipient(1).chat, "api")
    start(database, scope, campaign)
    database.write_wait(accounts.set_overrides, scope.subscription_id, {"messages_per_day": 2})
    monkeypatch.setattr(quotas, "messages_left", lambda _: 3)
    done = database.write_wait(campaign_release.release, campaign, 9, QueueLimits())
    assert done is not None
    assert (done.campaign.released, done.campaign.waiting) == (0, "daily_limit")
    assert done.campaign.skipped == 1
    assert queued_chats(database) == {}


def test_the_instances_of_a_campaign_share_its_messages(database: Database) -> None:
    scope, _, first = draft(database, 0)
    other = new_instance(database, scope).id
    database.write_wait(
        instances.record_transition, other, {"status": InstanceStatus.CONNECTED}, []
    )
    new = replace(NEW, instances=(first, other))
    campaign = database.write_wait(campaigns.create, scope, new).id
    fill(database, scope, campaign, 0, 9)
    start(database, scope, campaign)
    done = database.write_wait(campaign_release.release, campaign, 9, QueueLimits())
    assert done is not None
    assert done.instances == {first, other}
    by_instance: dict[str, list[str]] = {first: [], other: []}
    for message in database.read_wait(messages.list_page, scope, limit=99).items[::-1]:
        by_instance[message.instance_id].append(message.chat)
    assert sorted(map(len, by_instance.values())) == [4, 5]
    assert all(chats == sorted(chats) for chats in by_instance.values())
    # Told once, to the first of them.
    assert {one.instance_id for one in done.events} == {first}


def test_what_was_written_is_kept_with_the_message_only(database: Database) -> None:
    scope, campaign, _ = draft(database, 3)
    database.write_wait(opt_outs.add, scope, recipient(1).chat, "api")
    start(database, scope, campaign)
    database.write_wait(campaign_release.release, campaign, 2, QueueLimits())
    kept = database.read_wait(
        lambda: [
            (row.content, row.text)
            for row in CampaignRecipient.select().order_by(CampaignRecipient.position)
        ]
    )
    assert kept == [({}, None), ({}, None), (recipient(2).content, recipient(2).text)]
    [text] = database.read_wait(lambda: [row.text for row in Message.select()])
    assert text == recipient(0).text


def test_a_deleted_campaign_leaves_its_messages(database: Database) -> None:
    scope, campaign, _ = draft(database, 3)
    start(database, scope, campaign)
    database.write_wait(campaign_release.release, campaign, 10, QueueLimits())
    with pytest.raises(Conflict):
        database.write_wait(campaigns.delete, scope, campaign)
    database.write_wait(
        campaigns.set_status,
        scope,
        campaign,
        CampaignStatus.CANCELLED,
        out_of=[CampaignStatus.RUNNING],
    )
    database.write_wait(campaigns.delete, scope, campaign)
    assert len(queued_chats(database)) == 3
    assert not database.read_wait(lambda: CampaignRecipient.select().exists())


def test_who_opted_out_under_another_address_gets_nothing(database: Database) -> None:
    scope, campaign, instance = draft(database, 4)
    by_lid, by_alias, by_former = (recipient(number).chat for number in range(3))

    def known() -> None:
        common = {"subscription": scope.subscription_id, "instance": instance, "kind": "person"}
        Chat.create(**common, jid=by_lid, lid="77@lid", last_position=0)
        Chat.create(**common, jid=by_alias, alias="1999@s.whatsapp.net", last_position=0)
        Chat.create(**common, jid="1888@s.whatsapp.net", alias=by_former, last_position=0)

    database.write_wait(known)
    stranger = new_scope(database)
    for number in range(4):
        database.write_wait(opt_outs.add, stranger, recipient(number).chat, "api")
    for said_as in ("77@lid", "1999@s.whatsapp.net", "1888@s.whatsapp.net"):
        database.write_wait(opt_outs.add, scope, said_as, "keyword")
    start(database, scope, campaign)
    done = database.write_wait(campaign_release.release, campaign, 10, QueueLimits())
    assert done is not None
    assert (done.campaign.released, done.campaign.skipped) == (1, 3)
    assert queued_chats(database) == {recipient(3).chat: 1}


def test_who_opted_out_gets_nothing_under_another_form_or_the_hidden_address(
    database: Database,
) -> None:
    scope, campaign, instance = draft(database, 0)
    old, new, hidden = "5491112345678", "541112345678", "88@lid"
    add(database, scope, campaign, f"{old}@s.whatsapp.net", hidden, "5511912345678@s.whatsapp.net")

    def known() -> None:
        common = {"subscription": scope.subscription_id, "instance": instance, "kind": "person"}
        Chat.create(**common, jid="1777@s.whatsapp.net", lid=hidden, last_position=0)

    database.write_wait(known)
    for said_as in (f"{new}@s.whatsapp.net", "1777@s.whatsapp.net"):
        database.write_wait(opt_outs.add, scope, said_as, "api")
    start(database, scope, campaign)
    done = database.write_wait(campaign_release.release, campaign, 10, QueueLimits())
    assert done is not None
    assert (done.campaign.released, done.campaign.skipped) == (1, 2)
    assert queued_chats(database) == {"5511912345678@s.whatsapp.net": 1}


def test_a_person_with_several_addresses_is_in_a_campaign_once(database: Database) -> None:
    scope, campaign, instance = draft(database, 0)
    number, hidden = "1777@s.whatsapp.net", "88@lid"

    def known() -> None:
        common = {"subscription": scope.subscription_id, "instance": instance, "kind": "person"}
        Chat.create(**common, jid=number, lid=hidden, alias="1666@s.whatsapp.net", last_position=0)

    database.write_wait(known)
    forms = ("5511987654321@s.whatsapp.net", "551187654321@s.whatsapp.net")
    # Within one portion, and with what an earlier one added.
    assert add(database, scope, campaign, hidden, forms[0], number, forms[1], "1999@lid") == 3
    assert add(database, scope, campaign, number, "1666@s.whatsapp.net", forms[1], hidden) == 0
    assert add(database, scope, campaign, "1555@s.whatsapp.net") == 1
    people = database.read_wait(campaign_recipients.list_recipients, scope, campaign, limit=9)
    assert [one.chat for one in people] == [hidden, forms[0], "1999@lid", "1555@s.whatsapp.net"]
    # Another tenant knows nothing of it.
    stranger, theirs, _ = draft(database, 0)
    assert add(database, stranger, theirs, number, hidden) == 2


def test_the_file_of_a_campaign_is_kept_until_it_ended(
    database: Database, storage_clock: ManualClock
) -> None:
    scope = new_scope(database)
    file = database.write_wait(
        media.put, scope, sha256="ab" * 32, size=3, mime_type="image/png", path="ab/x"
    )
    instance = new_instance(database, scope)
    new = replace(NEW, instances=(instance.id,), media_id=file.id)
    campaign = database.write_wait(campaigns.create, scope, new).id
    sent = receive(database, instance, new_inbound(media_id=file.id))
    assert sent is not None
    storage_clock.advance(90_000)
    now = storage_clock.now()
    # No message has it any more, or the only one is of an instance that keeps no files.
    assert database.write_wait(media.purge, now, instance_id=instance.id) == []
    assert database.write_wait(messages.delete, scope, sent.id)
    assert database.write_wait(media.purge, now) == []
    record = database.read_wait(campaigns.get, scope, campaign)
    assert record is not None
    assert record.media_id == file.id
    database.write_wait(
        campaigns.set_status,
        scope,
        campaign,
        CampaignStatus.CANCELLED,
        out_of=[CampaignStatus.DRAFT],
    )
    assert [one.id for one in database.write_wait(media.purge, now)] == [file.id]


def test_an_import_that_ended_cannot_be_given_up(database: Database) -> None:
    scope, campaign, _ = draft(database, 2)
    token = database.write_wait(campaign_recipients.begin_import, scope, campaign)
    database.write_wait(
        campaign_recipients.add_recipients, scope, campaign, token, 0, [recipient(10)]
    )
    finish = partial(campaign_recipients.finish_import, length=1, duplicates=0)
    if database.engine_name == "sqlite":
        database.write_wait(finish, scope, campaign, token)
        database.write_wait(campaign_recipients.cancel_import, scope, campaign, token)
    else:
        finishing, may_commit = threading.Event(), threading.Event()

        def finish_slowly() -> None:
            finish(scope, campaign, token)
            finishing.set()
            assert may_commit.wait(60)

        ended = database.write(finish_slowly)
        assert finishing.wait(60)
        given_up = database.write(campaign_recipients.cancel_import, scope, campaign, token)
        until_somebody_waits(database)
        may_commit.set()
        ended.result(60)
        given_up.result(60)
    assert database.read_wait(campaign_recipients.results, scope, campaign) == {"pending": 3}

"""The rows of files: shared by content, fetched, failed, tried again, purged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.queueing import new_inbound, new_text, receive
from support.tenants import new_instance, new_scope
from wavisor.domain import MediaState
from wavisor.storage import (
    Database,
    DueFiles,
    ExpectedFile,
    InstanceRecord,
    MediaRecord,
    Scope,
    media,
    messages,
)

HASH = "ab" * 32


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


@pytest.fixture
def instance(database: Database, scope: Scope) -> InstanceRecord:
    return new_instance(database, scope)


def put(database: Database, scope: Scope, sha256: str = HASH) -> MediaRecord:
    return database.write_wait(
        media.put, scope, sha256=sha256, size=3, mime_type="image/png", path=f"ab/{sha256}"
    )


def expect(
    database: Database, scope: Scope, sha256: str | None = None, skipped: Any = None
) -> MediaRecord:
    file = ExpectedFile(
        descriptor={"source": "s", "limit": 9},
        mime_type="image/png",
        sha256=sha256,
        skipped=skipped,
    )
    return database.write_wait(media.expect, scope, file)


def due(
    database: Database, instance: InstanceRecord, under_way: tuple[str, ...] = (), limit: int = 10
) -> DueFiles:
    scope = Scope(instance.subscription_id)
    return database.read_wait(media.list_due, scope, instance.id, limit=limit, under_way=under_way)


def test_same_content_is_one_row_per_tenant(
    database: Database, scope: Scope, storage_clock: ManualClock
) -> None:
    first = put(database, scope)
    assert first.state is MediaState.STORED
    storage_clock.advance(5)
    again = put(database, scope)
    assert again.id == first.id
    assert again.last_used_at == storage_clock.now()
    elsewhere = new_scope(database)
    assert put(database, elsewhere).id != first.id
    assert database.read_wait(media.get, elsewhere, first.id) is None
    assert database.read_wait(media.paths_in_use, [first.path, "other"]) == {first.path}


def test_file_that_is_there_already_needs_no_fetching(database: Database, scope: Scope) -> None:
    stored = put(database, scope)
    assert expect(database, scope, HASH) == stored


def test_fetched_file_is_stored_once_and_not_failed_after(database: Database, scope: Scope) -> None:
    pending = expect(database, scope, HASH)
    assert (pending.state, pending.path) == (MediaState.PENDING, None)
    assert expect(database, scope, HASH).id == pending.id
    stored = database.write_wait(media.mark_stored, pending.id, sha256=HASH, size=3, path="ab/file")
    assert stored is not None
    assert (stored.state, stored.path, stored.size) == (MediaState.STORED, "ab/file", 3)
    assert database.write_wait(media.mark_failed, pending.id, {"reason": "late"}) is None
    assert database.write_wait(media.mark_stored, "med_x", sha256="", size=0, path="x") is None


def test_file_whose_content_was_not_foretold_keeps_its_id_and_shares_the_path(
    database: Database, scope: Scope
) -> None:
    there = put(database, scope)
    pending = expect(database, scope)
    stored = database.write_wait(
        media.mark_stored, pending.id, sha256=HASH, size=3, path=there.path
    )
    assert stored is not None
    assert (stored.id, stored.path, stored.sha256) == (pending.id, there.path, None)


def test_failed_file_can_be_tried_again_by_its_tenant(database: Database, scope: Scope) -> None:
    pending = expect(database, scope, HASH)
    failed = database.write_wait(media.mark_failed, pending.id, {"reason": "gone"})
    assert failed is not None
    assert (failed.state, failed.failure) == (MediaState.FAILED, {"reason": "gone"})
    assert database.write_wait(media.retry, new_scope(database), pending.id) is None
    again = database.write_wait(media.retry, scope, pending.id)
    assert again is not None
    assert (again.state, again.failure) == (MediaState.PENDING, None)
    # Asked for twice, it is fetched once.
    assert database.write_wait(media.retry, scope, pending.id) == again


def test_pending_files_of_an_instance_are_found_after_a_crash(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    pending, stored = expect(database, scope), put(database, scope)
    later = expect(database, scope, "cd" * 32)
    for one in (pending, pending, stored, later):
        receive(database, instance, new_inbound(media_id=one.id))
    assert [one.id for one in due(database, instance).files] == [pending.id, later.id]
    assert [one.id for one in due(database, instance, limit=1).files] == [pending.id]
    assert [one.id for one in due(database, instance, (pending.id,)).files] == [later.id]
    assert due(database, new_instance(database, scope)).files == ()
    assert len(database.read_wait(media.list_users, pending.id)) == 2


def test_file_that_was_put_off_is_due_when_its_time_has_come(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    pending = expect(database, scope)
    receive(database, instance, new_inbound(media_id=pending.id))
    at = storage_clock.now() + timedelta(seconds=30)
    later = database.write_wait(media.put_off, pending.id, {"reason": "media_unreachable"}, at)
    assert later is not None
    assert (later.state, later.attempts, later.retry_at) == (MediaState.PENDING, 1, at)
    assert due(database, instance) == DueFiles((), at)
    storage_clock.advance(30)
    assert [one.id for one in due(database, instance).files] == [pending.id]
    # Who asks for it does not have to wait.
    at = storage_clock.now() + timedelta(seconds=30)
    database.write_wait(media.put_off, pending.id, {"reason": "media_unreachable"}, at)
    again = database.write_wait(media.retry, scope, pending.id)
    assert again is not None
    assert (again.attempts, again.retry_at, again.failure) == (0, None, None)


def test_skipped_file_waits_until_somebody_wants_it(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    why = {"reason": "fetch_off", "detail": "not wanted"}
    skipped = expect(database, scope, HASH, skipped=why)
    receive(database, instance, new_inbound(media_id=skipped.id))
    assert (skipped.state, skipped.failure) == (MediaState.SKIPPED, why)
    assert due(database, instance).files == ()
    # Another message has the same file, and is of an instance that wants it.
    assert expect(database, scope, HASH).state is MediaState.PENDING
    assert expect(database, scope, HASH, skipped=why).state is MediaState.PENDING
    other = expect(database, scope, "cd" * 32, skipped=why)
    asked = database.write_wait(media.retry, scope, other.id)
    assert asked is not None
    assert (asked.state, asked.failure) == (MediaState.PENDING, None)
    assert asked.descriptor == {"source": "s"}  # without the limit of the rules


def test_file_that_only_its_message_describes_can_be_asked_for(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    told = {"kind": "image", "mime_type": "image/png", "size": 3, "source": "s", "sha256": HASH}
    message = receive(database, instance, new_inbound(content={"type": "image", "media": told}))
    plain = receive(database, instance, new_inbound())
    assert message is not None
    assert plain is not None
    record = database.write_wait(media.request, scope, message.id)
    assert record is not None
    assert (record.state, record.descriptor) == (
        MediaState.PENDING,
        {"source": "s", "kind": "image"},
    )
    found = database.read_wait(messages.get, scope, message.id)
    assert found is not None
    assert found.media_id == record.id
    assert database.write_wait(media.request, scope, plain.id) is None
    assert database.write_wait(media.request, new_scope(database), message.id) is None


def test_same_content_at_the_same_moment_is_one_row(database: Database, scope: Scope) -> None:
    files = [ExpectedFile(descriptor={"source": "s"}, mime_type="x/y", sha256=HASH)] * 8
    jobs = [database.write(media.expect, scope, file) for file in files]
    assert len({job.result(60).id for job in jobs}) == 1


def test_files_of_messages_are_told_to_all_of_them(
    database: Database, scope: Scope, instance: InstanceRecord
) -> None:
    other = new_instance(database, scope)
    pending = expect(database, scope)
    first = receive(database, instance, new_inbound(media_id=pending.id))
    second = receive(database, other, new_inbound(media_id=pending.id))
    users = database.read_wait(media.list_users, pending.id)
    assert first is not None
    assert second is not None
    assert [(one.instance_id, one.message_id) for one in users] == [
        (instance.id, first.id),
        (other.id, second.id),
    ]


def test_purge_spares_what_is_used_elsewhere_or_waits_to_be_sent(
    database: Database, scope: Scope, instance: InstanceRecord, storage_clock: ManualClock
) -> None:
    other = new_instance(database, scope)
    hashes = {
        name: f"{number:064x}" for number, name in enumerate(["mine", "shared", "waits", "none"])
    }
    rows = {name: put(database, scope, sha256) for name, sha256 in hashes.items()}
    mine = receive(database, instance, new_inbound(media_id=rows["mine"].id))
    assert mine is not None
    for where in (instance, other):
        receive(database, where, new_inbound(media_id=rows["shared"].id))
    database.write_wait(messages.enqueue, scope, instance, new_text("x", media_id=rows["waits"].id))
    before = storage_clock.now()
    assert database.write_wait(media.purge, before, instance_id=instance.id) == []
    storage_clock.advance(1)
    now = storage_clock.now()
    gone = database.write_wait(media.purge, now, instance_id=instance.id)
    assert [one.id for one in gone] == [rows["mine"].id]
    kept = database.read_wait(messages.get, scope, mine.id)
    assert kept is not None
    assert kept.media_id is None
    assert [one.id for one in database.write_wait(media.purge, now)] == [rows["none"].id]
    # Once nobody keeps it, what two instances share goes as well.
    gone = database.write_wait(media.purge, now, instance_id=instance.id, keepers=[])
    assert [one.id for one in gone] == [rows["shared"].id]
    paths = [one.path for one in rows.values()]
    assert database.read_wait(media.paths_in_use, paths) == {rows["waits"].path}
    database.write_wait(media.touch, scope, rows["waits"].id)
    assert database.write_wait(media.purge, now, instance_id=instance.id) == []

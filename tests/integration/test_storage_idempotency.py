"""A request with a key is done once, however often and however fast it comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from support.manual_clock import ManualClock
from support.queueing import new_text, waiting
from support.tenants import new_instance, new_scope
from wavisor.storage import (
    Claim,
    ClaimOutcome,
    Conflict,
    Database,
    InstanceRecord,
    Scope,
    idempotency,
    messages,
)

C = ClaimOutcome


@pytest.fixture
def scope(database: Database) -> Scope:
    return new_scope(database)


def begin(database: Database, scope: Scope, key: str = "k", request: str = "r") -> Claim:
    return database.write_wait(idempotency.begin, scope, key, request)


def finish(database: Database, scope: Scope, token: str | None) -> None:
    assert token is not None
    database.write_wait(idempotency.finish, scope, "k", token, status=202, response={"id": "msg_1"})


def test_second_request_gets_the_answer_of_the_first(database: Database, scope: Scope) -> None:
    first = begin(database, scope)
    assert first.outcome is C.NEW
    assert begin(database, scope).outcome is C.RUNNING
    assert begin(database, scope, request="other").outcome is C.CONFLICT
    finish(database, scope, first.token)
    again = begin(database, scope)
    assert (again.outcome, again.status, again.response) == (C.DONE, 202, {"id": "msg_1"})
    assert begin(database, scope, request="other").outcome is C.CONFLICT
    assert begin(database, new_scope(database)).outcome is C.NEW


def test_claim_that_was_given_up_can_be_made_again(database: Database, scope: Scope) -> None:
    first = begin(database, scope)
    database.write_wait(idempotency.abandon, scope, "k", "not the token")
    assert begin(database, scope).outcome is C.RUNNING
    database.write_wait(idempotency.abandon, scope, "k", first.token)
    assert begin(database, scope, request="other").outcome is C.NEW


def test_claim_left_by_a_crash_is_taken_over_and_the_first_one_can_do_nothing_more(
    database: Database, scope: Scope, storage_clock: ManualClock
) -> None:
    instance = new_instance(database, scope)
    first = begin(database, scope)
    storage_clock.advance(301)
    second = begin(database, scope)
    assert second.outcome is C.NEW

    def late(token: str | None) -> None:
        assert token is not None
        messages.enqueue(scope, instance, new_text())
        idempotency.finish(scope, "k", token, status=202, response=None)

    with pytest.raises(Conflict):
        database.write_wait(late, first.token)
    assert waiting(database, instance.id) == 0
    database.write_wait(late, second.token)
    assert waiting(database, instance.id) == 1
    database.write_wait(idempotency.abandon, scope, "k", second.token)
    assert begin(database, scope).outcome is C.DONE


def test_key_is_free_again_after_a_day(
    database: Database, scope: Scope, storage_clock: ManualClock
) -> None:
    finish(database, scope, begin(database, scope).token)
    storage_clock.advance(24 * 3600 - 1)
    assert begin(database, scope).outcome is C.DONE
    storage_clock.advance(1)
    assert begin(database, scope, request="other").outcome is C.NEW
    storage_clock.advance(3600)
    begin(database, scope, key="young")
    before = storage_clock.now()
    assert database.write_wait(idempotency.purge, before) == 1
    assert database.write_wait(idempotency.purge, before + timedelta(seconds=1)) == 1


def test_fifty_at_once_send_one_message(database: Database, scope: Scope) -> None:
    instance: InstanceRecord = new_instance(database, scope)

    def accept() -> tuple[ClaimOutcome, object]:
        claim = idempotency.begin(scope, "k", "r")
        if claim.outcome is not C.NEW:
            return claim.outcome, claim.response
        assert claim.token is not None
        message = messages.enqueue(scope, instance, new_text())
        idempotency.finish(scope, "k", claim.token, status=202, response={"id": message.id})
        return claim.outcome, {"id": message.id}

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: database.write_wait(accept), range(50)))
    outcomes = [outcome for outcome, _ in answers]
    assert outcomes.count(C.NEW) == 1
    assert outcomes.count(C.DONE) == 49
    assert len({str(answer) for _, answer in answers}) == 1
    assert waiting(database, instance.id) == 1


def test_fifty_claims_at_once_have_one_winner(database: Database, scope: Scope) -> None:
    with ThreadPoolExecutor(50) as threads:
        claims = list(threads.map(lambda _: begin(database, scope), range(50)))
    outcomes = [one.outcome for one in claims]
    assert (outcomes.count(C.NEW), outcomes.count(C.RUNNING)) == (1, 49)

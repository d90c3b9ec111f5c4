"""Deliveries from the table to real sockets, in virtual time, on both engines."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from support.dispatch_lab import DispatchLab
from support.manual_clock import ManualClock
from support.receivers import Received, Receiver, answers, hangs, resets
from support.tenants import new_instance
from wavisor.domain import DeliveryStatus, DisabledReason
from wavisor.storage import Database, delivery_log, webhooks
from wavisor.webhooks import DispatchPolicy, new_secret

SUCCEEDED, FAILED, PENDING = (
    DeliveryStatus.SUCCEEDED,
    DeliveryStatus.FAILED,
    DeliveryStatus.PENDING,
)
DELAYS = DispatchPolicy().delays


@pytest.fixture
def lab(database: Database, storage_clock: ManualClock) -> DispatchLab:
    return DispatchLab(database, storage_clock)


def run(test: Any) -> None:
    asyncio.run(test())


def verify(received: Received, secret: str) -> Any:
    """Check a request as a receiver does that uses the standard's own library."""
    hook = Webhook(secret)
    # The time of the test is not that of the library, which would refuse what is so old.
    body, headers = received.body.decode(), received.headers
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = hook.sign(headers["webhook-id"], moment, body)
    if expected not in headers["webhook-signature"].split(" "):
        raise WebhookVerificationError("no signature fits")
    return json.loads(body)


def test_event_arrives_signed_in_its_envelope(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver() as receiver, lab:
            endpoint = await lab.endpoint(receiver.url("/hook?x=1"), headers={"X-Key": "mine"})
            [event] = await lab.event(data={"text": "Grüße \U0001f44b", "media": {"id": "med_1"}})
            [received] = await receiver.wait(1)
            told = verify(received, endpoint.secret)
            assert told == {
                "id": event.id,
                "type": "message:sent",
                "timestamp": "2026-01-01T00:00:00.000Z",
                "instanceId": lab.instance.id,
                "seq": 1,
                "data": event.data,
            }
            assert received.path == "/hook?x=1"
            assert received.headers["content-type"] == "application/json"
            assert received.headers["x-key"] == "mine"
            assert received.headers["webhook-id"] == event.id
            [attempt] = await lab.written(1)
            assert (attempt.status, attempt.response_status) == (SUCCEEDED, 200)
            [entry] = await lab.log(endpoint)
            assert (entry.status, entry.response_excerpt, entry.error) == (SUCCEEDED, "ok", None)

    run(test)


def test_first_attempts_keep_the_order_of_each_instance(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver() as receiver, lab:
            await lab.endpoint(receiver.url())
            other = new_instance(lab.database, lab.scope)
            stored = [*await lab.event(60), *await lab.event(60, other), *await lab.event(30)]
            await receiver.wait(150)
            for instance in (lab.instance, other):
                mine = [one.id for one in stored if one.instance_id == instance.id]
                assert [one for one in receiver.ids if one in mine] == mine
            assert receiver.connections <= 2  # reused, one for each instance
            await lab.written(150)

    run(test)


def test_failed_delivery_is_attempted_again_on_schedule_with_the_same_bytes(
    lab: DispatchLab,
) -> None:
    async def test() -> None:
        async with Receiver(answers(500, b"no")) as receiver, lab:
            endpoint = await lab.endpoint(receiver.url())
            await lab.event()
            for number, delay in enumerate(DELAYS, 1):
                attempt = (await lab.written(number))[-1]
                assert (attempt.status, attempt.attempts) == (PENDING, number)
                wait = (attempt.next_attempt_at - lab.clock.now()).total_seconds()
                assert 0.9 * delay <= wait <= 1.1 * delay
                await lab.advance(wait + 1)
            last = (await lab.written(len(DELAYS) + 1))[-1]
            assert (last.status, last.next_attempt_at) == (FAILED, None)
            assert len({one.body for one in receiver.received}) == 1
            assert len(set(receiver.ids)) == 1
            stamps = [int(one.headers["webhook-timestamp"]) for one in receiver.received]
            assert stamps == sorted(set(stamps))
            [entry] = await lab.log(endpoint)
            assert (entry.status, entry.attempts, entry.response_excerpt) == (FAILED, 10, "no")

    run(test)


def test_endpoint_that_fails_for_an_hour_gets_all_of_it_later(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(500)) as receiver, lab:
            await lab.endpoint(receiver.url())
            stored = await lab.event(20)
            await lab.written(20)
            began = lab.clock.monotonic()
            await lab.pass_until(lambda: lab.clock.monotonic() - began >= 3600, step=600)
            assert all(one.status is PENDING for one in lab.attempts)
            receiver.behaviour = answers(200)

            def all_arrived() -> bool:
                return sum(one.status is SUCCEEDED for one in lab.attempts) == 20

            await lab.pass_until(all_arrived, step=600)
            assert lab.clock.monotonic() - began < 4 * 3600
            assert set(receiver.ids) == {one.id for one in stored}

    run(test)


def test_retry_after_is_honoured_and_bounded(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(429, headers="Retry-After: 120\r\n")) as receiver, lab:
            await lab.endpoint(receiver.url())
            await lab.event()
            [first] = await lab.written(1)
            assert first.next_attempt_at == lab.clock.now() + timedelta(seconds=120)
            receiver.behaviour = answers(503, headers="Retry-After: 999999999\r\n")
            await lab.advance(121)
            second = (await lab.written(2))[1]
            assert second.next_attempt_at == lab.clock.now() + timedelta(days=1)

    run(test)


def test_gone_endpoint_is_switched_off_and_nothing_more_is_sent(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(410)) as receiver, lab:
            endpoint = await lab.endpoint(receiver.url())
            await lab.event(5)
            [attempt] = await lab.written(1)
            assert (attempt.status, attempt.gone) == (FAILED, True)
            [told] = lab.published
            assert (told.type, told.data["reason"]) == ("webhook:disabled", "gone")
            after = await lab.database.fetch(webhooks.get, lab.scope, None, endpoint.id)
            assert after.disabled_reason is DisabledReason.GONE
            assert len(receiver.received) == 1
            # Switched on again, what waited arrives.
            receiver.behaviour = answers(200)
            await lab.database.commit(
                webhooks.update, lab.scope, None, endpoint.id, {"enabled": True}
            )
            lab.dispatcher.ring(endpoint.id)
            await lab.written(5)
            assert [entry.status for entry in await lab.log(endpoint)] == [FAILED, *[SUCCEEDED] * 4]

    run(test)


def test_endpoint_that_fails_for_five_days_is_switched_off(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(500)) as receiver, lab:
            endpoint = await lab.endpoint(receiver.url())
            began = lab.clock.monotonic()
            await lab.event(4)
            while lab.clock.monotonic() - began < 4.9 * 86_400:
                # One delivery alone is given up after three days; an endpoint in use goes on.
                lab.clock.advance(3600)
                await lab.event()
                await lab.written(len(lab.attempts) + 1)
            assert lab.published == []
            await lab.pass_until(lambda: bool(lab.published), step=3600)
            assert lab.clock.monotonic() - began >= 5 * 86_400
            [told] = lab.published
            assert told.data["reason"] == "failing"
            after = await lab.database.fetch(webhooks.get, lab.scope, None, endpoint.id)
            assert after.disabled_reason is DisabledReason.FAILING

    run(test)


def test_strict_order_waits_for_the_earlier_one(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(500)) as receiver, lab:
            await lab.endpoint(receiver.url(), strict_order=True)
            other = new_instance(lab.database, lab.scope)
            stored = await lab.event(4)
            await lab.written(1)
            [elsewhere] = await lab.event(1, other)  # another instance has an order of its own
            await lab.written(2)
            stored += await lab.event(1)  # one more behind the one that failed
            await lab.advance(1)
            assert receiver.ids == [stored[0].id, elsewhere.id]
            receiver.behaviour = answers(200)
            await lab.advance(6)
            await lab.written(8)
            mine = [one for one in receiver.ids if one != elsewhere.id]
            assert mine == [stored[0].id, *[one.id for one in stored]]

    run(test)


def test_dead_endpoint_delays_nobody_else(database: Database, storage_clock: ManualClock) -> None:
    lab = DispatchLab(database, storage_clock, policy=DispatchPolicy(concurrency=8), seconds=3.0)

    async def test() -> None:
        async with Receiver() as receiver, lab:
            receiver.by_path["/dead"] = hangs
            await lab.endpoint(receiver.url("/dead"))
            for number in range(9):
                await lab.endpoint(receiver.url(f"/{number}"))
            loop = asyncio.get_running_loop()
            began = loop.time()
            await lab.event(20)
            async with receiver._changed, asyncio.timeout(15):
                await receiver._changed.wait_for(
                    lambda: sum(one.path != "/dead" for one in receiver.received) == 180
                )
            assert loop.time() - began < 2.9, "the nine waited for the dead one"
            assert sum(one.path == "/dead" for one in receiver.received) == 1

    run(test)


def test_what_a_crash_left_is_delivered_by_the_next_run(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver() as receiver, lab:
            await lab.endpoint(receiver.url())
            await lab.stop()
            stored = await lab.event(50)
            lab.start()
            await receiver.wait(50)
            await lab.written(50)
            assert receiver.ids == [one.id for one in stored]
            await lab.stop()
            lab.start()
            await lab.event()
            await lab.written(51)
            assert len(receiver.received) == 51  # nothing twice after an orderly stop

    run(test)


def test_broken_connection_is_attempted_again(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(resets) as receiver, lab:
            await lab.endpoint(receiver.url())
            await lab.event()
            [first] = await lab.written(1)
            assert (first.status, first.error) == (PENDING, "broken_off")
            receiver.behaviour = answers(204, b"")
            await lab.advance(6)
            assert (await lab.written(2))[1].status is SUCCEEDED

    run(test)


def test_clock_that_jumps_neither_holds_back_nor_hurries(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(500)) as receiver, lab:
            await lab.endpoint(receiver.url())
            await lab.event()
            [first] = await lab.written(1)
            for jump in (timedelta(days=400), timedelta(days=-800)):
                lab.clock._start += jump  # set by somebody, while no time passes
                await lab.advance(1)
                assert len(receiver.received) == 1
            receiver.behaviour = answers(200)
            await lab.advance(5)
            assert (await lab.written(2))[1].status is SUCCEEDED
            await lab.event()  # made in the past, by the clock
            assert (await lab.written(3))[2].status is SUCCEEDED
            assert first.status is PENDING

    run(test)


def test_wait_written_by_a_clock_that_was_ahead_is_cut_short_at_the_next_start(
    lab: DispatchLab,
) -> None:
    async def test() -> None:
        lab.clock._start += timedelta(days=1000)
        async with Receiver(answers(500)) as receiver, lab:
            await lab.endpoint(receiver.url())
            await lab.event()
            await lab.written(1)
            await lab.stop()
            lab.clock._start -= timedelta(days=1000)
            receiver.behaviour = answers(200)
            lab.start()
            await lab.event()
            await lab.written(2)
            await lab.advance(27 * 3600)
            assert (await lab.written(3))[2].status is SUCCEEDED

    run(test)


def test_secret_rotated_under_load_leaves_no_request_unverifiable(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver() as receiver, lab:
            endpoint = await lab.endpoint(receiver.url())
            secrets = [endpoint.secret]
            for _ in range(5):
                await lab.event(20)
                secrets.append(new_secret())
                await lab.database.commit(
                    webhooks.rotate_secret,
                    lab.scope,
                    None,
                    endpoint.id,
                    secret=secrets[-1],
                    previous_until=lab.clock.now() + timedelta(hours=1),
                )
                lab.dispatcher.ring(endpoint.id)
            await receiver.wait(100)
            await lab.written(100)
            used = [_fitting(one, secrets) for one in receiver.received]
            assert all(used)
            # Never with a secret that was rotated out before the previous one.
            assert all(max(fits) - min(fits) <= 1 for fits in used)
            assert all(one.status is SUCCEEDED for one in lab.attempts)
            # After the time of grace the newest secret signs alone.
            lab.clock.advance(3700)
            await lab.event()
            last = (await receiver.wait(101))[-1]
            assert _fitting(last, secrets) == [5]
            await lab.written(101)

    run(test)


def _fitting(received: Received, secrets: list[str]) -> list[int]:
    found = []
    for number, secret in enumerate(secrets):
        try:
            verify(received, secret)
        except WebhookVerificationError:
            continue
        found.append(number)
    return found


def test_trial_and_replay_arrive(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver() as receiver, lab:
            endpoint = await lab.endpoint(receiver.url())
            await lab.database.commit(
                delivery_log.add_test,
                lab.scope,
                endpoint,
                body='{"id":"{id}","type":"webhook:test"}',
                event_type="webhook:test",
            )
            lab.dispatcher.ring(endpoint.id)
            [received] = await receiver.wait(1)
            assert verify(received, endpoint.secret)["id"] == received.headers["webhook-id"]
            [event] = await lab.event()
            await lab.written(2)
            entry = (await lab.log(endpoint))[-1]
            await lab.database.commit(delivery_log.replay, lab.scope, entry.id)
            lab.dispatcher.ring(endpoint.id)
            await lab.written(3)
            assert receiver.ids[1:] == [event.id, event.id]
            assert receiver.received[1].body == receiver.received[2].body

    run(test)


def test_endpoint_deleted_or_changed_in_between_is_respected(lab: DispatchLab) -> None:
    async def test() -> None:
        async with Receiver(answers(500)) as receiver, lab:
            endpoint = await lab.endpoint(receiver.url("/old"))
            await lab.event()
            await lab.written(1)
            await lab.database.commit(
                webhooks.update, lab.scope, None, endpoint.id, {"url": receiver.url("/new")}
            )
            lab.dispatcher.ring(endpoint.id)
            await lab.advance(6)
            await lab.written(2)
            assert [one.path for one in receiver.received] == ["/old", "/new"]
            await lab.database.commit(webhooks.delete, lab.scope, None, endpoint.id)
            lab.dispatcher.ring(endpoint.id)
            await lab.advance(86_400)
            witness = await lab.endpoint(receiver.url("/witness"))
            await lab.event()
            await lab.written(3)
            assert receiver.received[-1].path == "/witness"
            assert [one.endpoint_id for one in lab.attempts].count(witness.id) == 1

    run(test)


def test_memory_is_bounded_while_much_waits(database: Database, storage_clock: ManualClock) -> None:
    policy = replace(DispatchPolicy(), memory=30, batch=10, concurrency=4, unwritten=20)
    lab = DispatchLab(database, storage_clock, policy=policy)

    async def test() -> None:
        most = 0

        async def counts(one: Received, writer: asyncio.StreamWriter) -> bool:
            nonlocal most
            most = max(most, lab.dispatcher._lanes.held)
            return await answers()(one, writer)

        async with Receiver(counts) as receiver, lab:
            for number in range(3):
                await lab.endpoint(receiver.url(f"/{number}"))
            stored = await lab.event(200)
            await lab.written(600)
            assert most <= 30 + 4 * 10 + 20 + 4
            for number in range(3):
                got = [
                    one.headers["webhook-id"]
                    for one in receiver.received
                    if one.path == f"/{number}"
                ]
                assert got == [one.id for one in stored]
            await lab.advance(31)
            await asyncio.sleep(0.05)
            assert lab.backlog == 0

    run(test)

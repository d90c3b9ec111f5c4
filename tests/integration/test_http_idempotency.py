"""A request with a key that takes long: it keeps its key, or does nothing."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from support.http import WAIT, Answer, HttpLab, Member
from support.media_samples import picture
from support.tenants import new_instance
from wavisor.http import idempotency
from wavisor.storage import DatabaseBusy, Scope, messages
from wavisor.storage import idempotency as stored
from wavisor.storage.models import IdempotencyKey

BODY = {"to": "+15550199", "base64": base64.b64encode(picture("PNG", 40, 30)).decode()}


class Desk:
    """Somebody whose files take as long to be taken in as a test wants the first one to."""

    def __init__(self, http: HttpLab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.http = http
        self.member: Member = http.register()
        self.scope = Scope(self.member.subscription_id)
        self.instance = new_instance(http.database, self.scope).id
        self.entered = threading.Event()
        self._released = asyncio.Event()
        self._prepare = http.application.intake.prepare
        monkeypatch.setattr(http.application.intake, "prepare", self._prepare_late)

    async def _prepare_late(self, *arguments: Any) -> Any:
        first = not self.entered.is_set()
        self.entered.set()
        if first:
            await self._released.wait()
        return await self._prepare(*arguments)

    def release(self) -> None:
        self.http.loop.call_soon_threadsafe(self._released.set)

    def begin(self) -> Future[Answer]:
        return asyncio.run_coroutine_threadsafe(
            self.http.send(
                "POST",
                "/api/messages/image",
                json=BODY,
                token=self.member.token,
                headers={"X-Instance-Id": self.instance, "Idempotency-Key": "k"},
            ),
            self.http.loop,
        )

    def wait_until_renewed(self) -> None:
        """Until the claim is of now, by a clock that stands still."""

        def renewed() -> bool:
            made = IdempotencyKey.created_at == self.http.clock.now()
            return bool(IdempotencyKey.select().where(made).exists())

        give_up = time.monotonic() + WAIT
        while not self.http.database.read_wait(renewed):
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def count(self) -> int:
        return len(self.http.database.read_wait(messages.list_page, self.scope, limit=9).items)

    def leftovers(self) -> list[str]:
        folder = self.http.services.media.root / "incoming"
        return [one.name for one in folder.iterdir()] if folder.exists() else []


@pytest.fixture
def desk(http_on_both: HttpLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(http_on_both, monkeypatch)
    yield made
    made.release()


def test_request_whose_key_was_taken_over_does_nothing_and_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As when the gateway stood still, or could not reach its database, for that long.
    monkeypatch.setattr(idempotency, "RENEWAL_SECONDS", 3600.0)
    slow = desk.begin()
    assert desk.entered.wait(WAIT)
    desk.http.clock.advance(301)
    repeated = desk.begin().result(WAIT)
    assert repeated.status == 202
    desk.release()
    late = slow.result(WAIT)
    assert (late.status, late.problem) == (409, "request-running")
    assert late.headers["Retry-After"] == "1"
    assert desk.count() == 1
    assert desk.leftovers() == []
    again = desk.begin().result(WAIT)
    assert (again.status, again.json["id"]) == (202, repeated.json["id"])
    assert again.headers["Idempotency-Replayed"] == "true"


def test_request_keeps_its_key_for_as_long_as_it_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RENEWAL_SECONDS", 0.01)
    slow = desk.begin()
    assert desk.entered.wait(WAIT)
    for _ in range(3):
        desk.http.clock.advance(200)
        desk.wait_until_renewed()
    repeated = desk.begin().result(WAIT)
    assert (repeated.status, repeated.problem) == (409, "request-running")
    desk.release()
    answer = slow.result(WAIT)
    assert answer.status == 202
    again = desk.begin().result(WAIT)
    assert again.json["id"] == answer.json["id"]
    assert desk.count() == 1


def test_claim_is_renewed_once_the_database_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RENEWAL_SECONDS", 0.01)
    renew, refusals = stored.renew, iter(range(2))

    def renew_late(*arguments: Any) -> bool:
        if next(refusals, None) is not None:
            raise DatabaseBusy("locked")
        return renew(*arguments)

    monkeypatch.setattr(stored, "renew", renew_late)
    slow = desk.begin()
    assert desk.entered.wait(WAIT)
    desk.http.clock.advance(200)
    desk.wait_until_renewed()
    assert next(refusals, None) is None
    desk.release()
    assert slow.result(WAIT).status == 202


CREATIONS = {
    "/api/instances": {"name": "Shop"},
    "/api/templates": {"name": "Offer", "content": {"text": "hi"}},
    "/api/campaigns": {"name": "Spring", "template": "Known"},
}


@pytest.mark.parametrize("path", CREATIONS)
def test_what_is_created_with_a_key_is_created_once(http_on_both: HttpLab, path: str) -> None:
    http = http_on_both
    owner = http.register()
    known = {"name": "Known", "content": {"text": "hi"}}
    body = dict(CREATIONS[path])
    if path == "/api/campaigns":
        assert http.post("/api/templates", known, token=owner.token).status == 201
        instance = new_instance(http.database, Scope(owner.subscription_id)).id
        body["instances"] = [instance]
    headers = {"Idempotency-Key": "once"}
    first = http.post(path, body, token=owner.token, headers=headers)
    assert first.status in (201, 202)  # there are no actors here that could be ready
    again = http.post(path, body, token=owner.token, headers=headers)
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    other = http.post(path, {**body, "name": "Other"}, token=owner.token, headers=headers)
    assert (other.status, other.problem) == (422, "idempotency-key-reused")
    names = [one["name"] for one in http.get(path, token=owner.token).json["items"]]
    assert names.count(body["name"]) == 1 and "Other" not in names
    # A request that failed gives its key back.
    failed = http.post(path, {**body, "name": ""}, token=owner.token, headers=headers)
    assert failed.status == 422
    stranger = http.register()
    if path != "/api/campaigns":
        assert http.post(path, body, token=stranger.token, headers=headers).status in (201, 202)

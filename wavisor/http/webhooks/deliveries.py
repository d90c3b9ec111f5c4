"""Deliveries of webhooks: listed, tried out, and asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from wavisor.http.auditing import audit_entry
from wavisor.http.failures import as_problem
from wavisor.http.positions import decode_position, encode_position
from wavisor.http.problems import NOT_FOUND, ProblemError, ProblemKind
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty, Page
from wavisor.http.webhooks.routes import (
    MANAGED,
    ONE,
    ONE_OF_INSTANCE,
    READ,
    load_webhook,
    place_of,
)
from wavisor.http.webhooks.schemas import (
    DeliveriesQuery,
    Delivery,
    Replayed,
    ReplayRange,
    delivery_model,
)
from wavisor.ids import Kind
from wavisor.storage import (
    DeliveryRecord,
    EndpointRecord,
    NewAudit,
    NothingToReplay,
    ReplayOutcome,
    Scope,
    audit,
    delivery_log,
)
from wavisor.webhooks import sample_body
from wavisor.webhooks.payload import TEST_EVENT

__all__ = ["REPLAY_LIMIT", "router"]

router = Router("deliveries", "What webhooks were told, and what waits for them.")

REPLAY_LIMIT = 1000
"""How many events one request for a range looks at."""

WEBHOOK_DISABLED = ProblemKind(
    "webhook-disabled",
    409,
    "The webhook is switched off",
    "Switch it on with POST …/enable first.",
)
EVENT_GONE = ProblemKind(
    "event-gone",
    409,
    "The event is no longer kept",
    "Events are kept for a time only, and go with their instance.",
)

_LIST: Mapping[str, Any] = {**READ, "query": DeliveriesQuery, "responses": {200: Page[Delivery]}}
_TEST: Mapping[str, Any] = {
    **MANAGED,
    "body": Empty,
    "responses": {202: Delivery},
    "problems": [WEBHOOK_DISABLED],
}
_REPLAY: Mapping[str, Any] = {**MANAGED, "body": ReplayRange, "responses": {202: Replayed}}


@as_problem.register
def _(_error: NothingToReplay) -> ProblemError:
    return ProblemError(EVENT_GONE)


@router.route(
    "GET",
    "/api/instances/{id}/webhooks/{webhookId}/deliveries",
    operation="listInstanceWebhookDeliveries",
    summary="List the deliveries of an instance's webhook",
    **ONE_OF_INSTANCE,
    **_LIST,
)
@router.route(
    "GET",
    "/api/webhooks/{webhookId}/deliveries",
    operation="listWebhookDeliveries",
    summary="List the deliveries of a webhook for all instances",
    **ONE,
    **_LIST,
)
async def list_deliveries(call: Call[None, DeliveriesQuery]) -> Reply:
    """Lists deliveries, newest first, with the beginnings of request and answer."""
    webhook = await load_webhook(call)
    page = await call.services.database.fetch(
        delivery_log.list_page,
        _scope(call),
        webhook.id,
        limit=call.query.limit,
        cursor=decode_position(call.query.cursor),
        status=call.query.status,
    )
    items = [delivery_model(record) for record in page.items]
    return Reply(Page[Delivery](items=items, next_cursor=encode_position(page.next_cursor)))


@router.route(
    "POST",
    "/api/instances/{id}/webhooks/{webhookId}/test",
    operation="testInstanceWebhook",
    summary="Try an instance's webhook",
    **ONE_OF_INSTANCE,
    **_TEST,
)
@router.route(
    "POST",
    "/api/webhooks/{webhookId}/test",
    operation="testWebhook",
    summary="Try a webhook for all instances",
    **ONE,
    **_TEST,
)
async def test_webhook(call: Call[Empty, None]) -> Reply:
    """Sends an event of the type `webhook:test`, signed and repeated as all others are."""
    webhook = await load_webhook(call)
    if not webhook.enabled:
        raise ProblemError(WEBHOOK_DISABLED)
    body = sample_body(webhook.id, webhook.instance_id, call.services.clock.now())
    entry = audit_entry(call, "webhook.test", webhook.id)
    record = await call.services.database.commit(_try, _scope(call), webhook, body, entry)
    call.services.webhooks_changed(webhook.id)
    return Reply(delivery_model(record), HTTPStatus.ACCEPTED)


@router.route(
    "POST",
    "/api/instances/{id}/webhooks/{webhookId}/replay",
    operation="replayInstanceWebhook",
    summary="Deliver a time's events to an instance's webhook once more",
    **ONE_OF_INSTANCE,
    **_REPLAY,
)
@router.route(
    "POST",
    "/api/webhooks/{webhookId}/replay",
    operation="replayWebhook",
    summary="Deliver a time's events to a webhook for all instances once more",
    **ONE,
    **_REPLAY,
)
async def replay_range(call: Call[ReplayRange, None]) -> Reply:
    """Delivers the events of a time, also those that were never to be delivered to it.

    Looks at 1,000 events at most; where there are more, `nextFrom` says where to go on. Each has
    the id that it always had, so that a receiver can tell what it has already.
    """
    webhook = await load_webhook(call)
    body = call.body
    entry = audit_entry(
        call,
        "webhook.replay",
        webhook.id,
        after={"from": body.since.isoformat(), "to": body.to.isoformat()},
    )
    outcome = await call.services.database.commit(
        _replay_range, _scope(call), webhook, body.since, body.to, body.undelivered, entry
    )
    call.services.webhooks_changed(webhook.id)
    return Reply(Replayed(count=outcome.count, next_from=outcome.next_from), HTTPStatus.ACCEPTED)


@router.route(
    "GET",
    "/api/deliveries/{id}",
    operation="getDelivery",
    summary="Read a delivery",
    parameters={"id": Kind.DELIVERY},
    responses={200: Delivery},
    **READ,
)
async def get_delivery(call: Call[None, None]) -> Reply:
    """Returns a delivery and how it went so far."""
    record = await call.services.database.fetch(delivery_log.get, _scope(call), call.path["id"])
    if record is None:
        raise ProblemError(NOT_FOUND)
    return Reply(delivery_model(record))


@router.route(
    "POST",
    "/api/deliveries/{id}/replay",
    operation="replayDelivery",
    summary="Deliver once more",
    parameters={"id": Kind.DELIVERY},
    body=Empty,
    responses={202: Delivery},
    problems=[EVENT_GONE],
    **MANAGED,
)
async def replay_delivery(call: Call[Empty, None]) -> Reply:
    """Delivers an event once more, whether it arrived or was given up.

    To a webhook that is switched off, as soon as it is on again. One that waits anyway is left
    as it is.
    """
    entry = audit_entry(call, "delivery.replay", call.path["id"])
    record = await call.services.database.commit(_replay, _scope(call), call.path["id"], entry)
    call.services.webhooks_changed(record.endpoint_id)
    return Reply(delivery_model(record), HTTPStatus.ACCEPTED)


def _scope(call: Call[Any, Any]) -> Scope:
    return place_of(call)[0]


def _try(scope: Scope, webhook: EndpointRecord, body: str, entry: NewAudit) -> DeliveryRecord:
    identifier = delivery_log.add_test(scope, webhook, body=body, event_type=TEST_EVENT)
    audit.append(scope.subscription_id, entry)
    record = delivery_log.get(scope, identifier)
    if record is None:
        raise NothingToReplay("the trial was deleted with its webhook")
    return record


def _replay(scope: Scope, delivery_id: str, entry: NewAudit) -> DeliveryRecord:
    record = delivery_log.replay(scope, delivery_id)
    audit.append(scope.subscription_id, entry)
    return record


def _replay_range(
    scope: Scope,
    webhook: EndpointRecord,
    since: datetime,
    until: datetime,
    undelivered: bool,
    entry: NewAudit,
) -> ReplayOutcome:
    outcome = delivery_log.replay_range(
        scope, webhook, since=since, until=until, limit=REPLAY_LIMIT, undelivered=undelivered
    )
    audit.append(scope.subscription_id, entry)
    return outcome

"""The series about webhooks."""

from __future__ import annotations

from enum import StrEnum

from wavisor.domain import DeliveryStatus
from wavisor.metrics.registry import counter, create, gauge, histogram

__all__ = [
    "WEBHOOK_ATTEMPTS",
    "WEBHOOK_BACKLOG",
    "WEBHOOK_DELIVERIES",
    "WEBHOOK_LATENCY",
    "WebhookOutcome",
    "observe_webhook_attempt",
    "observe_webhook_delivery",
]


class WebhookOutcome(StrEnum):
    """How an attempt to deliver went."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    REDIRECTED = "redirected"
    GONE = "gone"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN_OFF = "broken_off"
    CERTIFICATE = "certificate"
    FORBIDDEN = "forbidden"
    EVENT_GONE = "event_gone"


# From one attempt on a good day to the last one after days.
_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0),
)

WEBHOOK_ATTEMPTS = counter(
    "wavisor_webhook_attempts_total", "Requests to webhooks, by how they went.", ("outcome",)
)
WEBHOOK_DELIVERIES = counter(
    "wavisor_webhook_deliveries_total", "Deliveries to webhooks that ended.", ("status",)
)
WEBHOOK_LATENCY = histogram(
    "wavisor_webhook_latency_seconds",
    "Time from an event to its receipt by a webhook, all attempts included.",
    buckets=_BUCKETS,
)
WEBHOOK_BACKLOG = gauge(
    "wavisor_webhook_backlog_deliveries", "Deliveries to webhooks that wait for an attempt."
)

create(WEBHOOK_ATTEMPTS, WebhookOutcome)
create(WEBHOOK_DELIVERIES, (DeliveryStatus.SUCCEEDED, DeliveryStatus.FAILED))


def observe_webhook_attempt(outcome: WebhookOutcome) -> None:
    """Note how a request to a webhook went."""
    WEBHOOK_ATTEMPTS.labels(outcome.value).inc()


def observe_webhook_delivery(status: DeliveryStatus, seconds: float) -> None:
    """Note that a delivery ended, so many seconds after its event."""
    WEBHOOK_DELIVERIES.labels(status.value).inc()
    if status is DeliveryStatus.SUCCEEDED:
        WEBHOOK_LATENCY.observe(seconds)

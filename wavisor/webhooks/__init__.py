"""Webhooks: events brought to tenants' servers, each at least once, as Standard Webhooks 1.0.

:class:`Dispatcher` takes deliveries from the table and settles them there; :class:`Courier` makes
the requests. The actor in :mod:`wavisor.actors.webhooks` keeps the dispatcher going.
"""

from __future__ import annotations

from wavisor.webhooks.courier import Courier, Outcome, Verdict
from wavisor.webhooks.dispatcher import Dispatcher, DispatchPolicy
from wavisor.webhooks.doorbell import Doorbell
from wavisor.webhooks.payload import body_of, sample_body
from wavisor.webhooks.signing import new_secret, signed_headers

__all__ = [
    "Courier",
    "DispatchPolicy",
    "Dispatcher",
    "Doorbell",
    "Outcome",
    "Verdict",
    "body_of",
    "new_secret",
    "sample_body",
    "signed_headers",
]

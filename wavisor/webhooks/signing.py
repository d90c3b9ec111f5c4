"""Signatures as Standard Webhooks 1.0 has them.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

from wavisor.storage import EndpointRecord

__all__ = ["new_secret", "signed_headers"]

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret, in the form in which receivers configure it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(
    endpoint: EndpointRecord, event_id: str, body: bytes, now: datetime
) -> dict[str, str]:
    """Return the headers that tell what a request is and who sent it.

    During a rotation there are two signatures; a receiver is content when one of them fits.

    Args:
        endpoint: whose secrets sign.
        event_id: the same on every attempt.
        body: as it is sent.
        now: the time of this attempt.
    """
    timestamp = str(int(now.timestamp()))
    valid = [endpoint.secret]
    until = endpoint.previous_until
    if endpoint.previous_secret is not None and until is not None and now < until:
        valid.append(endpoint.previous_secret)
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_sign(secret, signed) for secret in valid),
    }


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"

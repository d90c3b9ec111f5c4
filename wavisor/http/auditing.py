"""Entries for the audit trail about what a request asked for."""

from __future__ import annotations

from typing import Any

from wavisor.http.routing import Call
from wavisor.storage import NewAudit

__all__ = ["OPERATOR", "audit_entry", "author_of"]

OPERATOR = "operator"
"""The kind of actor that acts for the platform, in whosever subscription."""


def audit_entry(
    call: Call[Any, Any],
    action: str,
    target: str | None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    as_operator: bool = False,
) -> NewAudit:
    """Return an entry that names the user or the key, their address and the request.

    Args:
        call: the request.
        action: what was asked for, such as ``instance.connect``.
        target: the id of what it was asked of.
        before: what was, as far as it changes.
        after: what is from now on.
        as_operator: whether it was asked for on behalf of the platform.
    """
    kind = OPERATOR if as_operator else "user" if call.principal.key is None else "api_key"
    return NewAudit(
        action=action,
        actor_kind=kind,
        actor_id=author_of(call),
        target=target,
        before=before,
        after=after,
        address=call.address,
        request_id=call.request_id,
    )


def author_of(call: Call[Any, Any]) -> str:
    """Return the id of who asks: of the API key, or of the user."""
    key = call.principal.key
    return call.principal.user_id if key is None else key.id

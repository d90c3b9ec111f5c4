"""Asking WhatsApp on behalf of a request; changes go on the audit trail first."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from wavisor.http.auditing import audit_entry
from wavisor.http.pagination import no_cursor, pack, unpack
from wavisor.http.routing import Call
from wavisor.http.schemas import ApiModel
from wavisor.storage import audit
from wavisor.whatsapp.queries import QueryModel

__all__ = ["ask", "change", "decode_jid_cursor", "encode_jid_cursor", "wire"]

ResultT = TypeVar("ResultT", bound=BaseModel)
WireT = TypeVar("WireT", bound=ApiModel)

_VERSION = "j1:"
_LONGEST_JID = 64


async def ask(call: Call[Any, Any], query: QueryModel[ResultT]) -> ResultT:
    """Return WhatsApp's answer to a query of the instance that the request is about."""
    return await call.services.instances.query(call.instance.id, query)


async def change(
    call: Call[Any, Any],
    action: str,
    target: str | None,
    query: QueryModel[ResultT],
    after: dict[str, Any] | None = None,
) -> ResultT:
    """Note on the audit trail what was asked for, then let it be done.

    Args:
        call: the request.
        action: what is done, such as ``group.update``.
        target: the JID that it is done to; None for the account itself.
        query: what does it.
        after: what is to be from now on, as far as the trail should tell.
    """
    details = {"instance": call.instance.id} | (after or {})
    entry = audit_entry(call, action, target or call.instance.id, after=details)
    await call.services.database.commit(audit.append, call.instance.subscription_id, entry)
    return await ask(call, query)


def wire(model: type[WireT], result: BaseModel) -> WireT:
    """Return a result in the form that it has on the wire."""
    return model.model_validate(result, from_attributes=True)


def encode_jid_cursor(jid: str | None) -> str | None:
    """Return the cursor for what follows this JID; None for None, the end."""
    if jid is None:
        return None
    return pack(_VERSION + jid)


def decode_jid_cursor(cursor: str | None) -> str | None:
    """Return the JID that a cursor stands for; None for the first page.

    Raises:
        ProblemError: it is no cursor of such a list (422).
    """
    if cursor is None:
        return None
    text = unpack(cursor)
    jid = text.removeprefix(_VERSION)
    if not text.startswith(_VERSION) or "@" not in jid or len(jid) > _LONGEST_JID:
        raise no_cursor()
    return jid

"""Calls: a linked device can only reject them."""

from __future__ import annotations

from http import HTTPStatus

from wavisor.http.permissions import Permission
from wavisor.http.queries.addresses import CALL_ID
from wavisor.http.queries.asking import change
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.queries.schemas import RejectCall
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.whatsapp import queries

__all__ = ["router"]

router = Router("calls", "Rejecting calls.")


@router.route(
    "POST",
    "/api/calls/{id}/reject",
    operation="rejectCall",
    summary="Reject a call",
    access=Permission.PRESENCE_MANAGE,
    parameters={"id": CALL_ID},
    instance=InstanceFrom.HEADER,
    body=RejectCall,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def reject_call(call: Call[RejectCall, None]) -> Reply:
    """Rejects a call that an event `call:offered` told of; `caller` is its caller's `jid`.

    WhatsApp does not confirm it, nor say when there is no such call.
    """
    identifier, caller = call.path["id"], call.body.caller
    query = queries.RejectCall(call=identifier, caller=caller)
    await change(call, "call.reject", caller, query, {"call": identifier})
    return Reply(status=HTTPStatus.NO_CONTENT)

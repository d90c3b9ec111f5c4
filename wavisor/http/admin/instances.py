"""All instances, whoever owns them, and the actors that run them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from wavisor.actors.instance.messages import InstanceSnapshot
from wavisor.actors.supervisor import ChildInfo
from wavisor.http.admin.schemas import AdminInstance, AdminInstanceQuery, TreeNode
from wavisor.http.auditing import audit_entry
from wavisor.http.instances.failures import COMMAND_FORBIDDEN
from wavisor.http.instances.schemas import InstanceState
from wavisor.http.instances.views import state_model
from wavisor.http.pagination import decode_cursor, encode_cursor
from wavisor.http.permissions import Permission
from wavisor.http.problems import BUSY, NOT_FOUND, ProblemError
from wavisor.http.routing import Call, Reply, Router
from wavisor.http.schemas import Empty, Page
from wavisor.ids import Kind
from wavisor.storage import InstanceRecord, audit, platform

__all__ = ["router"]

router = Router("administrationInstances", "All instances, and the supervision tree.")

_INSTANCE_KIND = "instance"
_DEEPEST = 16


@router.route(
    "GET",
    "/api/admin/instances",
    operation="listAllInstances",
    summary="List the instances of all subscriptions",
    access=Permission.OPERATOR,
    query=AdminInstanceQuery,
    responses={200: Page[AdminInstance]},
)
async def list_instances(call: Call[None, AdminInstanceQuery]) -> Reply:
    """Lists instances, oldest first, each with the actor that runs it."""
    query = call.query
    page = await call.services.database.fetch(
        platform.list_instances,
        subscription_id=query.subscription,
        status=query.status,
        limit=query.limit,
        cursor=decode_cursor(query.cursor, Kind.INSTANCE),
    )
    actors = _actors(call.services.tree())
    items = [_model(record, actors.get(record.id)) for record in page.items]
    return Reply(Page[AdminInstance](items=items, next_cursor=encode_cursor(page.next_cursor)))


@router.route(
    "POST",
    "/api/admin/instances/{id}/restart",
    operation="restartAnyInstance",
    summary="Restart any instance",
    access=Permission.OPERATOR,
    parameters={"id": Kind.INSTANCE},
    body=Empty,
    responses={202: InstanceState},
    problems=[COMMAND_FORBIDDEN],
)
async def restart_instance(call: Call[Empty, None]) -> Reply:
    """Replaces the session process of an instance, whoever owns it."""
    return await _command(call, "instance.restart", call.services.instances.restart)


@router.route(
    "POST",
    "/api/admin/instances/{id}/stop",
    operation="stopAnyInstance",
    summary="Stop any instance",
    access=Permission.OPERATOR,
    parameters={"id": Kind.INSTANCE},
    body=Empty,
    responses={202: InstanceState},
    problems=[COMMAND_FORBIDDEN],
)
async def stop_instance(call: Call[Empty, None]) -> Reply:
    """Disconnects an instance, whoever owns it; its keys stay, and its owner can connect it."""
    return await _command(call, "instance.disconnect", call.services.instances.disconnect)


@router.route(
    "GET",
    "/api/admin/supervision",
    operation="getSupervision",
    summary="Look at the supervision tree",
    access=Permission.OPERATOR,
    responses={200: TreeNode},
)
async def get_supervision(call: Call[None, None]) -> Reply:
    """Returns all actors of the gateway as they are at this moment."""
    tree = call.services.tree()
    if tree is None:
        raise ProblemError(BUSY, "The gateway is starting.")
    return Reply(_node(tree))


async def _command(
    call: Call[Empty, None],
    action: str,
    command: Callable[[str], Awaitable[InstanceSnapshot]],
) -> Reply:
    record = await call.services.database.fetch(platform.get_instance, call.path["id"])
    if record is None:
        raise ProblemError(NOT_FOUND)
    entry = audit_entry(call, action, record.id, as_operator=True)
    await call.services.database.commit(audit.append, record.subscription_id, entry)
    snapshot = await command(record.id)
    return Reply(state_model(record, snapshot), HTTPStatus.ACCEPTED)


def _actors(tree: ChildInfo | None) -> dict[str, ChildInfo]:
    found: dict[str, ChildInfo] = {}
    waiting = [] if tree is None else [tree]
    while waiting:
        node = waiting.pop()
        if node.kind == _INSTANCE_KIND:
            found[node.id] = node
        waiting.extend(node.children)
    return found


def _model(record: InstanceRecord, actor: ChildInfo | None) -> AdminInstance:
    return AdminInstance(
        id=record.id,
        subscription_id=record.subscription_id,
        name=record.name,
        status=record.status,
        desired=record.desired,
        reason=record.reason,
        status_changed_at=record.status_changed_at,
        queued=record.queued,
        actor=None if actor is None else _node(actor),
    )


def _node(info: ChildInfo, depth: int = 0) -> TreeNode:
    children: Any = info.children if depth < _DEEPEST else ()
    return TreeNode(
        id=info.id,
        kind=info.kind,
        state=info.state.value,
        generation=info.generation,
        restarts=info.restarts,
        last_reason=None if info.last_reason is None else str(info.last_reason),
        inbox_depth=info.inbox_depth,
        children=[_node(child, depth + 1) for child in children],
    )

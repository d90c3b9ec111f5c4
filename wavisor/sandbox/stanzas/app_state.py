"""Synchronised settings on the server: clients fetch and upload patches, the others are told.

Source: whatsmeow ``appstate.go`` and ``notification.go`` (``server_sync``).
"""

from __future__ import annotations

from wavisor.sandbox.app_state import AppStateStore, InvalidPatchError, StaleVersionError
from wavisor.sandbox.codec import Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Device
from wavisor.sandbox.routing import announce_app_state
from wavisor.sandbox.stanzas.answers import error, result

__all__ = ["on_query"]


async def on_query(connection: ClientConnection, device: Device, query: Node) -> Node | None:
    """Answer ``<sync><collection name version return_snapshot>…``, an upload if it has a patch."""
    sync = query.child("sync")
    if sync is None:
        return error(query, 400, "bad-request")
    answers, changed = [], []
    for collection in sync.all("collection"):
        patch = collection.child("patch")
        if patch is None:
            answers.append(_newer(device.account.app_state, collection))
            continue
        answer = _store(device.account.app_state, collection, patch.data)
        answers.append(answer)
        if answer.text("type") != "error":
            changed.append(collection.text("name"))
    for name in changed:
        await announce_app_state(connection.world, device.account, name, author=device)
    return result(query, Node("sync", {}, tuple(answers)))


def _version(collection: Node) -> int:
    text = collection.text("version")
    return int(text) if text.isdecimal() else 0


def _newer(store: AppStateStore, collection: Node, *, failure: Node | None = None) -> Node:
    """Return what a client lacks. Snapshots, which it may ask for, are never needed for that."""
    name = collection.text("name")
    patches = tuple(Node("patch", {}, data) for data in store.since(name, _version(collection)))
    attrs = {"name": name, "version": str(store.version(name))}
    if failure is None:
        return Node("collection", attrs, (Node("patches", {}, patches),))
    return Node("collection", attrs | {"type": "error"}, (failure, Node("patches", {}, patches)))


def _store(store: AppStateStore, collection: Node, patch: bytes) -> Node:
    name = collection.text("name")
    try:
        version = store.append(name, _version(collection), patch)
    except StaleVersionError:
        # The client applies what it lacks and tries again.
        conflict = Node("error", {"code": "409", "text": "conflict"})
        return _newer(store, collection, failure=conflict)
    except InvalidPatchError as failure:
        refusal = Node("error", {"code": "400", "text": str(failure)})
        return Node("collection", {"name": name, "type": "error"}, (refusal,))
    return Node("collection", {"name": name, "version": str(version)})

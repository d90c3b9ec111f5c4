"""Answers to queries (``<iq>``), as clients expect them. Source: whatsmeow ``request.go``."""

from __future__ import annotations

from wavisor.sandbox.codec import SERVER_JID, Node

__all__ = ["error", "result"]


def result(query: Node, *content: Node) -> Node:
    """Return the result of a query, empty unless content is given."""
    return Node(
        "iq", {"from": SERVER_JID, "type": "result", "id": query.text("id")}, tuple(content)
    )


def error(query: Node, code: int, text: str) -> Node:
    """Return an error as answer to a query."""
    reason = Node("error", {"code": str(code), "text": text})
    return Node("iq", {"from": SERVER_JID, "type": "error", "id": query.text("id")}, (reason,))

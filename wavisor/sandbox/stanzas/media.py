"""Where to upload and download media. Source: whatsmeow ``mediaconn.go``."""

from __future__ import annotations

from wavisor.sandbox.authority import MEDIA_HOST
from wavisor.sandbox.codec import Node
from wavisor.sandbox.connection import ClientConnection
from wavisor.sandbox.directory import Device
from wavisor.sandbox.stanzas.answers import result

__all__ = ["on_query"]

_HOUR = "3600"


async def on_query(connection: ClientConnection, device: Device, query: Node) -> Node:
    """Name the one media host, which is this server too."""
    auth = connection.world.media.grant(device)
    host = Node("host", {"hostname": MEDIA_HOST})
    attrs = {"auth": auth, "ttl": _HOUR, "auth_ttl": _HOUR, "max_buckets": "1"}
    return result(query, Node("media_conn", attrs, (host,)))

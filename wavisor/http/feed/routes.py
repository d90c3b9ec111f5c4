"""The feed as the OpenAPI document shows it; ``handler`` serves it."""

from __future__ import annotations

from wavisor.http.feed.handler import UPGRADE_REQUIRED, FeedQuery
from wavisor.http.permissions import PUBLIC
from wavisor.http.problems import (
    FORBIDDEN,
    INVALID_TOKEN,
    SUBSCRIPTION_SUSPENDED,
    ProblemError,
)
from wavisor.http.routing import Call, Reply, Router

__all__ = ["router"]

router = Router("feed", "Events as they happen, over a websocket.")


@router.route(
    "GET",
    "/ws",
    operation="openFeed",
    summary="Open the websocket feed",
    access=PUBLIC,
    query=FeedQuery,
    responses={101: None},
    problems=[INVALID_TOKEN, FORBIDDEN, SUBSCRIPTION_SUSPENDED, UPGRADE_REQUIRED],
    headers={
        "Authorization": "`Bearer` and an access token.",
        "Sec-WebSocket-Protocol": "`bearer.` and an access token, for browsers; `wavisor.v1` may "
        "be offered beside it.",
    },
)
async def open_feed(call: Call[None, FeedQuery]) -> Reply:
    """Opens a websocket that carries events as JSON text frames.

    The token comes in the header `Authorization`, in a subprotocol `bearer.<token>`, as a
    one-time ticket, or in a first frame `{"type":"auth","token":"…"}` within 5 s. After
    `{"type":"subscribe","instances":["*"],"events":["*"],"since":"evt_…"}` the events that were
    missed since that one follow, and then those that happen. Events have the same envelope as in
    `/api/instances/{id}/events`. The guide to the feed tells of all frames and close codes.
    """
    raise ProblemError(UPGRADE_REQUIRED)  # the websocket's own handler answers before this does

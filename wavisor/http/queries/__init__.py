"""The routes of what is asked of WhatsApp at once, and of changes that are no messages.

Nothing here is queued or stored: the instance must be connected, and WhatsApp's answer, or why
there is none, is the answer to the request.
"""

from __future__ import annotations

from wavisor.http.queries.calls import router as calls_router
from wavisor.http.queries.channels import router as channels_router
from wavisor.http.queries.contacts import router as contacts_router
from wavisor.http.queries.groups import router as groups_router
from wavisor.http.queries.presence import router as presence_router
from wavisor.http.queries.profile import router as profile_router

__all__ = [
    "calls_router",
    "channels_router",
    "contacts_router",
    "groups_router",
    "presence_router",
    "profile_router",
]

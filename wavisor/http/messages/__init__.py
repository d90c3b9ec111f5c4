"""The routes of messages: sending them, and what became of them."""

from __future__ import annotations

from wavisor.http.messages.actions import router as actions_router
from wavisor.http.messages.forwarding import router as forwarding_router
from wavisor.http.messages.intake import MediaIntake
from wavisor.http.messages.keeping import router as keeping_router
from wavisor.http.messages.posts import router as posts_router
from wavisor.http.messages.routes import router
from wavisor.http.messages.sends import router as sends_router
from wavisor.http.messages.waiting import MessageWaits

__all__ = [
    "MediaIntake",
    "MessageWaits",
    "actions_router",
    "forwarding_router",
    "keeping_router",
    "posts_router",
    "router",
    "sends_router",
]

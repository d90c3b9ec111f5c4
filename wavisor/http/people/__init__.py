"""The people of a subscription: who they are, what they may, and how others join."""

from __future__ import annotations

from wavisor.http.people.invitations import router as invitations_router
from wavisor.http.people.users import router as users_router

__all__ = ["invitations_router", "users_router"]

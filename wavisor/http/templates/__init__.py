"""Messages with places for values: kept, tried and sent."""

from __future__ import annotations

from wavisor.http.templates.routes import router
from wavisor.http.templates.sends import router as template_sends_router

__all__ = ["router", "template_sends_router"]

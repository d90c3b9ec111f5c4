"""Routes for those who run the gateway: health, metrics, and where to go from here."""

from __future__ import annotations

from wavisor.http.operations.health import HealthReporter
from wavisor.http.operations.routes import router

__all__ = ["HealthReporter", "router"]

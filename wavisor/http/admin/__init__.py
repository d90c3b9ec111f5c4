"""The platform's own administration, for operators: every tenant, and the gateway itself."""

from __future__ import annotations

from wavisor.http.admin.audit import router as audit_router
from wavisor.http.admin.instances import router as admin_instances_router
from wavisor.http.admin.subscriptions import router as subscriptions_router

__all__ = ["admin_instances_router", "audit_router", "subscriptions_router"]

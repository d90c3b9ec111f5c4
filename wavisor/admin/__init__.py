"""What an operator does to an installation from the command line, with or without it running."""

from __future__ import annotations

from wavisor.admin.accounts import create_operator, set_password
from wavisor.admin.common import AdminError
from wavisor.admin.tenants import (
    delete_subscription,
    list_audit,
    list_instances,
    list_subscriptions,
    list_users,
    set_limits,
    set_suspended,
    set_tier,
)

__all__ = [
    "AdminError",
    "create_operator",
    "delete_subscription",
    "list_audit",
    "list_instances",
    "list_subscriptions",
    "list_users",
    "set_limits",
    "set_password",
    "set_suspended",
    "set_tier",
]

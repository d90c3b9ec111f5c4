"""What a role permits, declared once as data; routes name the permission that they need."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Literal

from wavisor.domain import Role

__all__ = ["KEY_PERMISSIONS", "PUBLIC", "Access", "Permission", "permissions_of"]


class Permission(StrEnum):
    """Something that a request may be entitled to."""

    ACCOUNT = "account"
    """One's own account: who am I, password, logout, feed tickets."""
    INSTANCES_READ = "instances:read"
    INSTANCES_CONTROL = "instances:control"
    """Connect, disconnect, restart, pair: what changes the state but not the configuration."""
    INSTANCES_MANAGE = "instances:manage"
    """Create, rename, delete and log out."""
    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    CONTACTS_READ = "contacts:read"
    CONTACTS_MANAGE = "contacts:manage"
    """Check numbers, which is rationed by WhatsApp; block people; set chats' disappearing time."""
    PRESENCE_MANAGE = "presence:manage"
    """Be seen online or typing, and watch others; reject calls."""
    GROUPS_READ = "groups:read"
    GROUPS_MANAGE = "groups:manage"
    CHANNELS_READ = "channels:read"
    CHANNELS_MANAGE = "channels:manage"
    PROFILE_READ = "profile:read"
    """The account's own profile and privacy settings."""
    PROFILE_MANAGE = "profile:manage"
    EVENTS_READ = "events:read"
    STATS_READ = "stats:read"
    """Statistics, and what is used of the subscription's limits."""
    TEMPLATES_READ = "templates:read"
    TEMPLATES_MANAGE = "templates:manage"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_MANAGE = "campaigns:manage"
    """Make and run campaigns, and keep the opt-out list."""
    AUDIT_READ = "audit:read"
    """Who did what in the subscription, from which address."""
    WEBHOOKS_READ = "webhooks:read"
    """Webhooks and their deliveries, with what these say."""
    WEBHOOKS_MANAGE = "webhooks:manage"
    KEYS_MANAGE = "keys:manage"
    """Make, change, rotate and revoke API keys."""
    USERS_MANAGE = "users:manage"
    """Invite people, give them roles, remove them."""
    OPERATOR = "operator"
    """The platform's own administration; never given by a role."""


class _Public(Enum):
    PUBLIC = "public"


PUBLIC: Literal[_Public.PUBLIC] = _Public.PUBLIC
"""In place of a permission: no token is needed."""

Access = Permission | Literal[_Public.PUBLIC]

_VIEWER = frozenset(
    {
        Permission.ACCOUNT,
        Permission.INSTANCES_READ,
        Permission.MESSAGES_READ,
        Permission.CONTACTS_READ,
        Permission.GROUPS_READ,
        Permission.CHANNELS_READ,
        Permission.PROFILE_READ,
        Permission.EVENTS_READ,
        Permission.STATS_READ,
        Permission.TEMPLATES_READ,
        Permission.CAMPAIGNS_READ,
    }
)
_MEMBER = _VIEWER | {
    Permission.INSTANCES_CONTROL,
    Permission.MESSAGES_SEND,
    Permission.CONTACTS_MANAGE,
    Permission.PRESENCE_MANAGE,
    Permission.GROUPS_MANAGE,
    Permission.CHANNELS_MANAGE,
    Permission.TEMPLATES_MANAGE,
    Permission.CAMPAIGNS_MANAGE,
    Permission.WEBHOOKS_READ,
}
_ADMIN = _MEMBER | {
    Permission.INSTANCES_MANAGE,
    Permission.AUDIT_READ,
    Permission.PROFILE_MANAGE,
    Permission.KEYS_MANAGE,
    Permission.USERS_MANAGE,
    Permission.WEBHOOKS_MANAGE,
}

_BY_ROLE: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.MEMBER: _MEMBER,
    Role.ADMIN: _ADMIN,
    Role.OWNER: _ADMIN,
}

KEY_PERMISSIONS = frozenset(Permission) - {
    Permission.ACCOUNT,
    Permission.KEYS_MANAGE,
    Permission.USERS_MANAGE,
    Permission.OPERATOR,
}
"""What API keys may be given. The rest is for people: with it, a key that leaked could make itself
successors, and outlive its own revocation."""


def permissions_of(role: Role, *, is_operator: bool) -> frozenset[Permission]:
    """Return what a user with this role may do inside their subscription."""
    granted = _BY_ROLE[role]
    return granted | {Permission.OPERATOR} if is_operator else granted

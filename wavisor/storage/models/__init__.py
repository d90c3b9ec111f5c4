"""The tables, as peewee models. Only repositories use them; records are what leaves storage."""

from __future__ import annotations

import peewee

from wavisor.storage.models.access import ApiKey, Invitation
from wavisor.storage.models.base import BaseModel
from wavisor.storage.models.campaigns import Campaign, CampaignRecipient, OptOut
from wavisor.storage.models.messaging import (
    Chat,
    IdempotencyKey,
    Media,
    Message,
    MessageReceipt,
    MessageResponse,
)
from wavisor.storage.models.statistics import MessageStat
from wavisor.storage.models.templates import Template, TemplateVersion
from wavisor.storage.models.tenancy import (
    AuditLog,
    Event,
    Instance,
    RefreshToken,
    RevokedToken,
    Subscription,
    TenantModel,
    TokenFamily,
    User,
)
from wavisor.storage.models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "MODELS",
    "ApiKey",
    "AuditLog",
    "BaseModel",
    "Campaign",
    "CampaignRecipient",
    "Chat",
    "Event",
    "IdempotencyKey",
    "Instance",
    "Invitation",
    "Media",
    "Message",
    "MessageReceipt",
    "MessageResponse",
    "MessageStat",
    "OptOut",
    "RefreshToken",
    "RevokedToken",
    "Subscription",
    "Template",
    "TemplateVersion",
    "TenantModel",
    "TokenFamily",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
]

MODELS: tuple[type[peewee.Model], ...] = (
    Subscription,
    User,
    Instance,
    Event,
    AuditLog,
    TokenFamily,
    RefreshToken,
    RevokedToken,
    Media,
    Message,
    MessageReceipt,
    MessageResponse,
    MessageStat,
    Chat,
    IdempotencyKey,
    Template,
    TemplateVersion,
    WebhookEndpoint,
    WebhookDelivery,
    ApiKey,
    Invitation,
    Campaign,
    CampaignRecipient,
    OptOut,
)
"""Every table, parents first."""

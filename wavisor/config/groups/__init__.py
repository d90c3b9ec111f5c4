"""The settings themselves, in groups: type, bounds, default and meaning of each.

A part of the gateway takes the group it needs (``SessionSettings``, say) and not the whole, so
that its tests can build just that. Durations are plain numbers of seconds and their names end in
``_seconds``; sizes end in ``_bytes``.
"""

from __future__ import annotations

from pydantic import BaseModel

from wavisor.config.groups.messaging import MediaSettings, SendingSettings, WebhookSettings
from wavisor.config.groups.running import (
    LogFormat,
    LogLevel,
    ObservabilitySettings,
    SessionSettings,
    StorageSettings,
)
from wavisor.config.groups.serving import AccountSettings, RateLimitSettings, ServerSettings

__all__ = [
    "GROUPS",
    "AccountSettings",
    "LogFormat",
    "LogLevel",
    "MediaSettings",
    "ObservabilitySettings",
    "RateLimitSettings",
    "SendingSettings",
    "ServerSettings",
    "SessionSettings",
    "StorageSettings",
    "WebhookSettings",
]

GROUPS: tuple[type[BaseModel], ...] = (
    ServerSettings,
    AccountSettings,
    RateLimitSettings,
    StorageSettings,
    SessionSettings,
    SendingSettings,
    MediaSettings,
    WebhookSettings,
    ObservabilitySettings,
)
"""All groups in the order in which they are documented and shown."""

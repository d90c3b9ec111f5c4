"""Typed settings, the data directory and the set-up of logs. Imported by everybody."""

from __future__ import annotations

from wavisor.config.directory import (
    JWT_SECRET_FILE,
    LOCK_FILE,
    DataDirectoryError,
    claimed_data_directory,
    jwt_secret,
    prepare_data_directory,
)
from wavisor.config.groups import (
    GROUPS,
    AccountSettings,
    LogFormat,
    LogLevel,
    MediaSettings,
    ObservabilitySettings,
    RateLimitSettings,
    SendingSettings,
    ServerSettings,
    SessionSettings,
    StorageSettings,
    WebhookSettings,
)
from wavisor.config.settings import (
    EffectiveValue,
    Problem,
    Settings,
    SettingsError,
    Source,
    load_settings,
)

__all__ = [
    "GROUPS",
    "JWT_SECRET_FILE",
    "LOCK_FILE",
    "AccountSettings",
    "DataDirectoryError",
    "EffectiveValue",
    "LogFormat",
    "LogLevel",
    "MediaSettings",
    "ObservabilitySettings",
    "Problem",
    "RateLimitSettings",
    "SendingSettings",
    "ServerSettings",
    "SessionSettings",
    "Settings",
    "SettingsError",
    "Source",
    "StorageSettings",
    "WebhookSettings",
    "claimed_data_directory",
    "jwt_secret",
    "load_settings",
    "prepare_data_directory",
]

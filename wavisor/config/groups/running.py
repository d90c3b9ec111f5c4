"""Where data is kept, how sessions are run, and what is told about it."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from wavisor.config.groups.base import SettingsGroup
from wavisor.config.values import (
    Networks,
    Textual,
    check_database_url,
    check_postgresql_url,
    check_sandbox_url,
)

__all__ = [
    "LogFormat",
    "LogLevel",
    "ObservabilitySettings",
    "SessionSettings",
    "StorageSettings",
]


class LogLevel(StrEnum):
    """The least serious log line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class StorageSettings(SettingsGroup):
    """The data directory and the database."""

    data_dir: Path = Field(
        Path("data"),
        description="Directory for everything the gateway keeps: embedded database, key stores, "
        "generated secrets. Created with mode 0700.",
    )
    database_url: str | None = Field(
        None,
        repr=False,
        description="`postgresql://user:password@host/name` or `sqlite:///path`. Unset: "
        "`wavisor.db` in the data directory.",
        json_schema_extra={"secret": "url"},
    )
    session_store_url: str | None = Field(
        None,
        repr=False,
        description="`postgresql://…` database for WhatsApp device keys. Unset: one SQLite file "
        "for each instance in the data directory.",
        json_schema_extra={"secret": "url"},
    )
    database_pool_size: int = Field(8, ge=2, le=200, description="Connections kept to PostgreSQL.")
    # Each has a thread, and more of them than two only contend for the interpreter's lock.
    database_readers: int = Field(
        1,
        ge=1,
        le=64,
        description="Reading connections to SQLite. More let others read on beside a slow search, "
        "and cost all of them time: the threads contend for the interpreter's lock.",
    )
    database_queue_limit: int = Field(
        2000,
        ge=10,
        le=1_000_000,
        description="Database jobs that may wait before new ones are refused with 503.",
    )
    database_busy_timeout_seconds: float = Field(
        5.0, ge=0, le=60, description="Wait for a locked database before giving up, in seconds."
    )
    database_timeout_seconds: float = Field(
        10.0, ge=0.1, le=600, description="Longest that one database job may take, in seconds."
    )
    event_retention_days: int = Field(
        30, ge=1, le=3650, description="Days that events can be replayed."
    )
    message_retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days that messages are kept; 0 for as long as their instance. What waits to "
        "be sent always stays.",
    )
    media_retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="How long files of messages are kept after their last use, in days; 0 for as "
        "long as their messages.",
    )
    audit_retention_days: int = Field(
        365, ge=1, le=36_500, description="Days that the audit log is kept."
    )

    @field_validator("data_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url", mode="after")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        return check_database_url(value)

    @field_validator("session_store_url", mode="after")
    @classmethod
    def _session_store(cls, value: str | None) -> str | None:
        return check_postgresql_url(value)

    @property
    def effective_database_url(self) -> str:
        """The database's URL, also when none was set: an SQLite file in the data directory."""
        return self.database_url or f"sqlite:///{quote(str(self.data_dir / 'wavisor.db'))}"


class SessionSettings(SettingsGroup):
    """Sessions of instances: connecting, liveness, reconnection, restart budget.

    After the network returns, an instance is back within ``connect_timeout_seconds`` (an attempt
    may have begun into the void a moment before) + ``backoff_maximum_seconds`` (the longest pause
    after it) + its own start. The defaults give 10 + 8 and leave 12 of the 30 seconds for queueing
    behind other instances and for the start itself.
    """

    connect_timeout_seconds: float = Field(
        10.0,
        ge=1,
        le=300,
        description="Time from the start of a session process to its first QR code or its login, "
        "in seconds; then the attempt counts as failed.",
    )
    pairing_timeout_seconds: float = Field(
        60.0, ge=5, le=600, description="Time from a scan to the login, in seconds."
    )
    liveness_ping_interval_seconds: float = Field(
        10.0, ge=0.1, le=600, description="Seconds between pings to a session process."
    )
    liveness_ping_timeout_seconds: float = Field(
        5.0,
        ge=0.1,
        le=600,
        description="Seconds that a session process has for its answer; then it is killed.",
    )
    liveness_probe_interval_seconds: float = Field(
        30.0,
        ge=0.1,
        le=3600,
        description="Seconds between probes that go through WhatsApp and back.",
    )
    liveness_probe_timeout_seconds: float = Field(
        10.0,
        ge=0.1,
        le=600,
        description="Seconds that such a probe may take; then the session is restarted.",
    )
    backoff_initial_seconds: float = Field(
        1.0,
        ge=0.01,
        le=60,
        description="Upper bound of the pause before the second attempt to reconnect, in seconds; "
        "it doubles with each attempt. The first attempt is made at once.",
    )
    backoff_maximum_seconds: float = Field(
        8.0, ge=0.01, le=3600, description="Longest pause between two attempts, in seconds."
    )
    backoff_reset_after_seconds: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="A connection that lasted this long starts the pauses anew, in seconds.",
    )
    restore_concurrency: int = Field(
        8, ge=1, le=1000, description="Sessions that may be starting at the same time."
    )
    restore_stagger_seconds: float = Field(
        0.1,
        ge=0,
        le=60,
        description="Mean pause between two sessions brought back at the start, in seconds.",
    )
    instance_max_restarts: int = Field(
        5,
        ge=0,
        le=1000,
        description="Crashes of an instance within the period before it is `failed`.",
    )
    instance_restart_period_seconds: float = Field(
        300.0, ge=1, le=86_400, description="Period in which crashes are counted, in seconds."
    )
    session_stop_grace_seconds: float = Field(
        3.0,
        ge=0,
        le=60,
        description="Seconds that a session process has to end when asked; then it is killed. "
        "Less than the shutdown timeout.",
    )
    proxy_allow_private: bool = Field(
        False,
        description="Whether the proxies of instances may be at private and loopback addresses. "
        "Whoever may change instances can then have this machine connect there.",
    )
    sandbox_url: str | None = Field(
        None,
        description="Local WhatsApp to use instead of the real one, such as "
        "`http://127.0.0.1:9090`; loopback only. For demonstrations and tests.",
    )

    @field_validator("sandbox_url", mode="after")
    @classmethod
    def _sandbox(cls, value: str | None) -> str | None:
        return check_sandbox_url(value)


class ObservabilitySettings(SettingsGroup):
    """Logs and metrics."""

    log_level: Annotated[LogLevel, Textual] = Field(
        LogLevel.INFO, description="Least serious log line that is written."
    )
    log_format: Annotated[LogFormat, Textual] = Field(
        LogFormat.AUTO, description="`auto` is `console` on a terminal and `json` elsewhere."
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that opens `/metrics` from any address.",
    )
    metrics_allow: Annotated[Networks, NoDecode] = Field(
        (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        description="Addresses or networks that may read `/metrics` without a token.",
    )
    metrics_instance_label: bool = Field(
        False, description="Whether some series also come for each instance, labelled by its id."
    )
    metrics_instance_label_limit: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Instances that get a label of their own; the others share `other`.",
    )

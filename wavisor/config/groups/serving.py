"""Who may ask, and how often."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from wavisor.config.groups.base import DAY, MIB, SettingsGroup
from wavisor.config.values import (
    Networks,
    Origins,
    check_public_url,
)
from wavisor.domain import RegistrationMode

__all__ = [
    "AccountSettings",
    "RateLimitSettings",
    "ServerSettings",
]


class ServerSettings(SettingsGroup):
    """HTTP and the websocket feed."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. `0.0.0.0` or `::` listens on every interface.",
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    public_url: str | None = Field(
        None,
        description="Where clients reach the gateway, such as `https://wa.example.com`; links to "
        "files begin with it. Without it they begin with `/api`.",
    )
    cors_origins: Annotated[Origins, NoDecode] = Field(
        (),
        description="Origins whose pages may call the API from a browser, such as "
        "`https://app.example.com`; `*` for any.",
    )
    trusted_proxies: Annotated[Networks, NoDecode] = Field(
        (),
        description="Addresses or networks of reverse proxies whose `X-Forwarded-*` headers are "
        "believed.",
    )
    body_limit_bytes: int = Field(
        MIB, ge=1024, le=1024 * MIB, description="Longest request body accepted, in bytes."
    )
    shutdown_timeout_seconds: float = Field(
        10.0, ge=1, le=300, description="Longest orderly stop, in seconds; then the process ends."
    )
    feed_buffer_frames: int = Field(
        1000,
        ge=10,
        le=100_000,
        description="Frames waiting for one websocket client before it is closed as too slow.",
    )
    feed_buffer_bytes: int = Field(
        MIB,
        ge=65_536,
        le=64 * MIB,
        description="Bytes waiting for one websocket client before it is closed as too slow.",
    )
    feed_clients_per_tenant: int = Field(
        100, ge=1, le=10_000, description="Websocket clients that one subscription may have open."
    )
    feed_statistics_interval_seconds: float = Field(
        3.0,
        ge=0.05,
        le=3600,
        description="Seconds between two `stats:updated` frames about one instance.",
    )
    feed_ping_interval_seconds: float = Field(
        30.0, ge=1, le=600, description="Seconds between pings to a websocket client."
    )
    feed_ping_timeout_seconds: float = Field(
        15.0,
        ge=1,
        le=600,
        description="Seconds that a websocket client has for its answer to a ping; at most the "
        "interval.",
    )

    @field_validator("public_url", mode="after")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        return check_public_url(value)


class AccountSettings(SettingsGroup):
    """Accounts, passwords and tokens."""

    registration: RegistrationMode = Field(
        RegistrationMode.OPEN,
        description="Who may open an account: `open` everybody, `closed` nobody, `first` only the "
        "first one of the installation.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Key that signs access tokens. Unset: generated at the first start into "
        "`jwt.secret` in the data directory.",
    )
    access_token_ttl_seconds: float = Field(
        900.0, ge=30, le=DAY, description="Life of an access token, in seconds."
    )
    refresh_token_ttl_seconds: float = Field(
        30 * DAY, ge=60, le=400 * DAY, description="Life of a refresh token, in seconds."
    )
    invitation_ttl_seconds: float = Field(
        7 * DAY, ge=60, le=90 * DAY, description="Life of an invitation, in seconds."
    )
    api_keys_per_instance: int = Field(
        50,
        ge=1,
        le=10_000,
        description="Good API keys that one instance may have, and one subscription for all of its "
        "instances.",
    )
    bcrypt_rounds: int = Field(
        12, ge=4, le=18, description="Cost of a password hash; each step doubles the time."
    )
    login_attempts_per_account: int = Field(
        10, ge=1, le=10_000, description="Failed logins of one account within the window."
    )
    login_attempts_per_address: int = Field(
        50, ge=1, le=100_000, description="Failed logins from one address within the window."
    )
    login_window_seconds: float = Field(
        900.0, ge=1, le=DAY, description="Window in which failed logins are counted, in seconds."
    )


class RateLimitSettings(SettingsGroup):
    """How many requests are let through. The rates of subscriptions are in docs/limits.md."""

    rate_limits_enabled: bool = Field(
        True, description="Whether requests are limited at all; failed logins always are."
    )
    rate_limit_address_per_minute: int = Field(
        60_000,
        ge=0,
        le=100_000_000,
        description="Requests from one address, before anybody knows who asks; 0 for no limit. "
        "Behind a reverse proxy, name it in `WAVISOR_TRUSTED_PROXIES` first.",
    )
    rate_limit_accounts_per_minute: int = Field(
        120,
        ge=0,
        le=1_000_000,
        description="Registrations, logins and renewals of tokens from one address; 0 for no "
        "limit.",
    )
    rate_limit_registrations_per_hour: int = Field(
        30, ge=0, le=1_000_000, description="Registrations from one address; 0 for no limit."
    )
    rate_limit_caller_percent: int = Field(
        80,
        ge=1,
        le=100,
        description="How much of its subscription's rate one user or API key may take, in "
        "percent, so that one of them cannot lock out the others.",
    )
    rate_limit_buckets: int = Field(
        50_000,
        ge=100,
        le=10_000_000,
        description="Addresses, callers and subscriptions whose rate is remembered, each; about "
        "200 bytes apiece.",
    )

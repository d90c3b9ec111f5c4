"""What the routes of API keys take and answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from wavisor.http.keys.checks import network_text
from wavisor.http.permissions import KEY_PERMISSIONS, Permission
from wavisor.http.schemas import ApiModel, Moment, Name, Time

__all__ = ["GRACE_LIMIT_SECONDS", "ApiKey", "ChangeKey", "CreateKey", "NewApiKey", "RotateKey"]

GRACE_LIMIT_SECONDS = 7 * 86_400
_GRACE_SECONDS = 86_400
_ADDRESS_LIMIT = 50


def _for_keys(value: Permission) -> Permission:
    if value not in KEY_PERMISSIONS:
        raise ValueError("is for people, not for API keys")
    return value


def _unique_permissions(values: list[Permission]) -> list[Permission]:
    return sorted(set(values))


def _unique_addresses(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


Permissions = Annotated[
    list[Annotated[Permission, AfterValidator(_for_keys)]],
    Field(
        min_length=1,
        max_length=len(Permission),
        description="What it may do: any of the permissions that keys may have, as far as you "
        "have them yourself. Never more than its creator may at the time of the request.",
        examples=[["messages:send", "messages:read"]],
    ),
    AfterValidator(_unique_permissions),
]
Addresses = Annotated[
    list[Annotated[str, Field(min_length=2, max_length=64), AfterValidator(network_text)]],
    Field(
        max_length=_ADDRESS_LIMIT,
        description="Addresses and networks that it may be used from, such as `203.0.113.7` or "
        "`2001:db8::/32`; none for everywhere.",
    ),
    AfterValidator(_unique_addresses),
]
_EXPIRY = "When it ceases to be good; within 10 years. Null for never."


class CreateKey(ApiModel):
    """A new API key."""

    name: Name = Field(description="What it is for, such as the program that will use it.")
    permissions: Permissions
    addresses: Addresses = Field(default=[])
    expires_at: Moment | None = Field(default=None, description=_EXPIRY)


class ChangeKey(ApiModel):
    """What is to change about a key; what is left out stays."""

    name: Name | None = None
    permissions: Permissions | None = None
    addresses: Addresses | None = None
    expires_at: Moment | None = Field(default=None, description=_EXPIRY)

    @field_validator("name", "permissions", "addresses")
    @classmethod
    def _stated(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it")
        return value


class RotateKey(ApiModel):
    """How to rotate."""

    grace_seconds: int = Field(
        default=_GRACE_SECONDS,
        ge=0,
        le=GRACE_LIMIT_SECONDS,
        description="How long the secret that it has now stays good beside the new one.",
    )


class ApiKey(ApiModel):
    """An API key; its secret is not kept, and never shown again."""

    id: str
    instance_id: str | None = Field(description="Null for a key to all of the subscription.")
    name: str
    prefix: str = Field(description="What the key begins with, to tell it by: `wav_<prefix>_…`.")
    permissions: list[str]
    addresses: list[str]
    created_by: str | None = Field(description="Null once that user is gone.")
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None = Field(description="To within 15 seconds.")
    last_used_address: str | None
    previous_until: Time | None = Field(
        description="Until when the secret before the last rotation is good."
    )
    revoked_at: Time | None


class NewApiKey(ApiKey):
    """A key with its secret, which is shown this once."""

    key: str = Field(description="To be sent as `Authorization: Bearer <key>`.")

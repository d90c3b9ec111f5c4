"""API keys for tests that need some to be there."""

from __future__ import annotations

from typing import Any

from support.http import HttpLab, Member

EVERYTHING = ["events:read", "instances:read", "messages:read", "messages:send"]


def new_key(
    http: HttpLab, owner: Member, instance: str | None = None, **body: Any
) -> dict[str, Any]:
    """Make a key, of an instance or to the whole tenant; return the answer with its secret."""
    answer = http.post(
        keys_path(instance),
        {"name": "Shop system", "permissions": EVERYTHING, **body},
        token=owner.token,
    )
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


def keys_path(instance: str | None, key: str | None = None, action: str | None = None) -> str:
    path = f"/api/instances/{instance}/keys" if instance else "/api/keys"
    return "/".join([path, *(one for one in (key, action) if one)])

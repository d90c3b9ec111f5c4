"""Writes ``docs/permissions.md`` from the routes: ``python -m wavisor.http.permission_table FILE``.

``make docs`` calls it, and a test fails when the file is not what this would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from wavisor.domain import Role
from wavisor.http.application import ROUTERS
from wavisor.http.permissions import KEY_PERMISSIONS, PUBLIC, Permission, permissions_of
from wavisor.http.routing import Route, Router

__all__ = ["permission_table"]

_INTRODUCTION = """\
# What each operation needs

<!-- Written by `make docs` from the routes' declarations; do not edit. -->

Every operation needs one permission, or none. People have the permissions of their
[role](authentication.md#roles); [API keys](api-keys.md) have those that they were given, as far as
their creator has them at that moment.
"""

_OPERATIONS = """\
## Operations

*Roles*: who has the permission. *Keys*: `yes` where both kinds of keys may come, `subscription`
where only keys to a whole subscription may.
"""

_ROLES = (Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER)


def permission_table(routers: Sequence[Router] = ROUTERS) -> str:
    """Return the page that tells which permission each operation needs, and who has it."""
    lines = [_INTRODUCTION, *_permissions(), "", _OPERATIONS]
    for router in routers:
        lines += [f"### {router.tag}", "", router.description, ""]
        lines += _table(
            ("operation", "path", "permission", "roles", "keys"),
            (_operation(route) for route in router.routes),
        )
        lines.append("")
    return "\n".join(lines)


def _permissions() -> Iterable[str]:
    names = [role.value for role in _ROLES]
    return _table(
        ("permission", *names, "keys"),
        (
            (
                f"`{permission.value}`",
                *("yes" if permission in _of(role) else "" for role in _ROLES),
                "yes" if permission in KEY_PERMISSIONS else "",
            )
            for permission in Permission
        ),
    )


def _operation(route: Route) -> tuple[str, ...]:
    path = f"`{route.method} {route.path}`"
    if route.access is PUBLIC:
        return route.summary, path, "none", "everybody", ""
    having = [role.value for role in _ROLES if route.access in _of(role)]
    keys = "yes" if route.for_bound_keys else "subscription" if route.for_keys else ""
    roles = "all" if len(having) == len(_ROLES) else ", ".join(having) or "operators"
    return route.summary, path, f"`{route.access.value}`", roles, keys


def _of(role: Role) -> frozenset[object]:
    return frozenset(permissions_of(role, is_operator=False))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(permission_table(), encoding="utf-8")

"""The tables of roles and operations in the documentation are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from wavisor.domain import Role
from wavisor.http.application import ROUTERS
from wavisor.http.permission_table import permission_table
from wavisor.http.permissions import PUBLIC, Permission, permissions_of
from wavisor.http.routing import check_routes

PAGE = Path(__file__).parents[2] / "docs" / "authentication.md"


def test_documented_permissions_are_those_that_roles_have() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| permission |"))
    roles = [Role(cell.strip()) for cell in lines[head].strip("|").split("|")[1:]]
    documented: dict[Role, set[Permission]] = {role: set() for role in roles}
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        first, *cells = line.strip("|").split("|")
        for name in re.findall(r"`([a-z:]+)`", first):
            for role, cell in zip(roles, cells, strict=True):
                if cell.strip() == "yes":
                    documented[role].add(Permission(name))
    assert documented == {role: set(permissions_of(role, is_operator=False)) for role in Role}


def test_the_table_of_operations_is_current() -> None:
    page = PAGE.with_name("permissions.md").read_text(encoding="utf-8")
    assert page == permission_table(), "run `make docs`"


def test_the_table_tells_of_every_operation() -> None:
    page = permission_table()
    for route in check_routes(ROUTERS):
        [line] = [one for one in page.splitlines() if f"| `{route.method} {route.path}` |" in one]
        assert (f"`{route.access.value}`" in line) == (route.access is not PUBLIC)

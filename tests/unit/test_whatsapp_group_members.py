"""Members of groups are asked for once, and anew after a change."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from wavisor.whatsapp.group_members import KEPT_FOR, GroupMembers

GROUP = "120363000000000001@g.us"


class Server:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        self.error: Exception | None = None

    def ask(self, group: str) -> Sequence[str]:
        self.asked.append(group)
        if self.error is not None:
            raise self.error
        return [f"{len(self.asked)}@lid"]

    def members(self, capacity: int = 256) -> GroupMembers:
        return GroupMembers(self.ask, capacity, lambda: self.now)


def test_a_group_is_asked_about_once() -> None:
    server = Server()
    members = server.members()
    assert members.of(GROUP) == members.of(GROUP) == ("1@lid",)
    assert server.asked == [GROUP]


def test_a_change_or_the_passing_of_time_asks_again() -> None:
    server = Server()
    members = server.members()
    members.of(GROUP)
    members.forget(GROUP)
    assert members.of(GROUP) == ("2@lid",)
    server.now = KEPT_FOR
    assert members.of(GROUP) == ("3@lid",)


def test_a_change_during_the_question_keeps_nothing() -> None:
    server = Server()
    members: GroupMembers

    def ask(group: str) -> Sequence[str]:
        if not server.asked:
            members.forget(group)
        return server.ask(group)

    members = GroupMembers(ask)
    assert members.of(GROUP) == ("1@lid",)
    assert members.of(GROUP) == ("2@lid",)
    assert members.of(GROUP) == ("2@lid",)


def test_a_question_that_fails_is_asked_again() -> None:
    server = Server()
    members = server.members()
    server.error = RuntimeError("no answer")
    with pytest.raises(RuntimeError):
        members.of(GROUP)
    server.error = None
    assert members.of(GROUP) == ("2@lid",)


def test_only_so_many_groups_are_remembered() -> None:
    server = Server()
    members = server.members(capacity=2)
    for group in ("a", "b", "a", "c", "a"):
        members.of(group)
    assert server.asked == ["a", "b", "c"]
    members.of("b")
    assert server.asked == ["a", "b", "c", "b"]

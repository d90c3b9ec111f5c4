from __future__ import annotations

import pytest

from support.manual_clock import ManualClock
from wavisor.whatsapp.registrations import REGISTERED_FOR, UNREGISTERED_FOR, Registrations


class Directory:
    def __init__(self) -> None:
        self.registered = {"1"}
        self.asked: list[str] = []

    def ask(self, number: str) -> bool:
        self.asked.append(number)
        return number in self.registered


def test_a_number_is_asked_about_once_until_the_answer_is_stale() -> None:
    directory, clock = Directory(), ManualClock()
    known = Registrations(directory.ask, now=clock.monotonic).known
    assert known("1")
    assert known("1")
    assert not known("2")
    assert not known("2")
    assert directory.asked == ["1", "2"]
    clock.advance(UNREGISTERED_FOR)
    directory.registered.add("2")
    assert known("1")
    assert known("2")
    assert directory.asked == ["1", "2", "2"]
    clock.advance(REGISTERED_FOR)
    known("1")
    assert directory.asked == ["1", "2", "2", "1"]


def test_the_least_recently_used_number_is_forgotten_first() -> None:
    directory = Directory()
    known = Registrations(directory.ask, capacity=2).known
    for number in ("1", "2", "1", "3", "1", "2"):
        known(number)
    assert directory.asked == ["1", "2", "3", "2"]


def test_a_question_that_failed_is_not_remembered() -> None:
    answers = iter([RuntimeError("offline"), True])

    def ask(_: str) -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    known = Registrations(ask).known
    with pytest.raises(RuntimeError, match="offline"):
        known("1")
    assert known("1")

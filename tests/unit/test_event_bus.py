"""The event bus: each committed event to every listener, whatever the others do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.instance_lab import InstanceLab, instance_lab
from wavisor.actors.event_bus import Published
from wavisor.storage import EventRecord


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[InstanceLab]:
    with instance_lab(tmp_path) as one:
        yield one


def publish_changes(lab: InstanceLab) -> list[EventRecord]:
    """Make events and hand them to the bus; all listeners have had them on return."""
    instance = lab.create()
    lab.link(instance)
    stored = lab.stored_events(instance)
    lab.environment.directory.find("events").ask(Published(()), block=True, timeout=60)
    return stored


def test_a_listener_that_raises_harms_nobody(lab: InstanceLab) -> None:
    bus = lab.environment.directory.find("events")
    heard: list[str] = []

    def broken(_: EventRecord) -> None:
        raise RuntimeError("of the listener")

    for listener in (broken, lambda record: heard.append(record.id)):
        lab.hub.subscribe(listener)
    stored = publish_changes(lab)
    assert heard == [record.id for record in stored]
    assert [record.id for record in lab.seen] == heard
    assert lab.environment.directory.find("events") is bus


def test_who_takes_itself_off_hears_nothing_more(lab: InstanceLab) -> None:
    heard: list[EventRecord] = []
    unsubscribe = lab.hub.subscribe(heard.append)
    unsubscribe()
    unsubscribe()
    assert len(publish_changes(lab)) > 0
    assert heard == []

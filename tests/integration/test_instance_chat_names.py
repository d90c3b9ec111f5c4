"""Chats with groups and channels have names: those that WhatsApp tells, or answers when asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.instance_lab import InstanceLab, instance_lab
from support.native_messages import said
from support.queueing import new_text
from wavisor.actors.instance.messages import Deliver
from wavisor.storage import chats, messages
from wavisor.whatsapp.commands import Query
from wavisor.whatsapp.events import Failure, GroupUpdated, MessageReceived, Person
from wavisor.whatsapp.group_queries import GroupInfo
from wavisor.whatsapp.query_results import Channel, Group

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUB = Person(jid="120363000000000001@g.us")
TEAM = Person(jid="120363000000000002@g.us")
NEWS = Person(jid="120363000000000003@newsletter")
ANNA = Person(jid="77@lid", lid="77@lid", phone="+15550101")


class Member:
    """A connected instance that is in groups; WhatsApp calls those it is asked about "Asked"."""

    def __init__(self, lab: InstanceLab) -> None:
        self.lab = lab
        self.instance = lab.create()
        self.lab.driver.results["group_info"] = _group("Asked")
        self.session = lab.link(self.instance)

    def hear(self, group: Person, message_id: str = "M") -> None:
        self.session.emit(
            MessageReceived(
                instance=self.instance,
                message_id=message_id,
                chat=group,
                sender=ANNA,
                from_me=False,
                is_group=True,
                timestamp=NOW,
                content=said("hi"),
            )
        )
        self.lab.look(self.instance)

    def called(self, group: Person, name: str) -> None:
        """Let WhatsApp tell what a group is called now."""
        self.session.emit(
            GroupUpdated(instance=self.instance, group=group, actor=None, timestamp=NOW, name=name)
        )
        self.lab.look(self.instance)

    def send(self, group: Person) -> None:
        text = new_text("hello", chat=group.jid)
        self.lab.database.write_wait(messages.enqueue, self.lab.scope, self.instance, text)
        self.lab.ref(self.instance).tell(Deliver())
        for _ in range(6):
            self.lab.advance(self.instance, 0.001)

    def name(self, group: Person) -> str | None:
        found = self.lab.database.read_wait(chats.get, self.lab.scope, self.instance, group.jid)
        assert found is not None
        return found.name

    @property
    def asked(self) -> list[str]:
        queries = [one.query for one in self.session.commands(Query)]
        return [one.group for one in queries if isinstance(one, GroupInfo)]


def _group(name: str) -> Group:
    return Group(
        jid=CLUB.jid,
        name=name,
        owner=None,
        created_at=None,
        size=1,
        role=None,
        announce=False,
        locked=False,
        ephemeral_seconds=0,
        is_community=False,
        community=None,
        description=None,
        participants=(),
    )


@pytest.fixture
def member(tmp_path: Path, database_url: str) -> Iterator[Member]:
    with instance_lab(tmp_path, url=database_url) as lab:
        yield Member(lab)


def test_a_name_told_before_the_first_message_is_that_of_the_chat(member: Member) -> None:
    member.called(CLUB, "Club")
    member.hear(CLUB)
    assert (member.name(CLUB), member.asked) == ("Club", [])


def test_a_group_is_called_as_it_was_renamed(member: Member) -> None:
    member.called(CLUB, "Club")
    member.hear(CLUB)
    member.called(CLUB, "Society")
    assert member.name(CLUB) == "Society"
    member.hear(CLUB, "N")
    assert (member.name(CLUB), member.asked) == ("Society", [])


def test_a_group_of_which_nothing_was_told_is_asked_about_once(member: Member) -> None:
    member.hear(CLUB)
    assert member.name(CLUB) == "Asked"
    member.hear(CLUB, "N")
    member.send(CLUB)
    assert member.asked == [CLUB.jid]


def test_a_group_that_is_only_written_to_has_a_name_as_well(member: Member) -> None:
    member.send(TEAM)
    assert (member.name(TEAM), member.asked) == ("Asked", [TEAM.jid])


def test_what_is_known_from_before_a_restart_is_not_asked_again(member: Member) -> None:
    member.hear(CLUB)
    ref = member.lab.ref(member.instance)
    ref.stop()
    member.lab.wait_for_actor(member.instance, other_than=ref)
    member.lab.driver.wait_for(2)
    member.session = member.lab.session(member.instance)
    member.session.connect()
    member.hear(CLUB, "N")
    assert (member.name(CLUB), member.asked) == ("Asked", [])


@pytest.mark.parametrize(("reason", "times"), [("busy", 2), ("not_found", 1)])
def test_a_group_that_could_not_be_asked_about_is_asked_about_again_where_that_may_help(
    member: Member, reason: str, times: int
) -> None:
    member.lab.driver.results["group_info"] = Failure.model_validate(
        {"reason": reason, "detail": "not now"}
    )
    for message_id in ("M", "N"):
        member.hear(CLUB, message_id)
    assert (member.name(CLUB), len(member.asked)) == (None, times)


def test_a_channel_is_asked_about_as_well(member: Member) -> None:
    member.lab.driver.results["channel_info"] = Channel(
        jid=NEWS.jid,
        name="News",
        description=None,
        subscribers=1,
        verified=False,
        state="active",
        role="subscriber",
        muted=False,
        invite_link=None,
        picture_path=None,
        created_at=None,
    )
    for message_id in ("M", "N"):
        member.hear(NEWS, message_id)
    assert member.name(NEWS) == "News"
    queries = [one.query for one in member.session.commands(Query)]
    assert [one.kind for one in queries] == ["channel_info"]


def test_nobody_else_is_asked_about(member: Member) -> None:
    member.hear(ANNA)
    member.hear(Person(jid="status@broadcast"), "N")
    member.hear(Person(jid="no-group@g.us"), "O")
    assert member.asked == []

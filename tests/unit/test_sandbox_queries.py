"""Answers of the server to queries that the installed client has no method for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from wavisor.sandbox.accounts import Account
from wavisor.sandbox.codec import SERVER_JID, Node
from wavisor.sandbox.directory import World
from wavisor.sandbox.profiles import BusinessProfile
from wavisor.sandbox.stanzas import groups, profile

ANNA, BERT, CARL = "4915550000001", "4915550000002", "4915550000003"


class Desk:
    """A world with three accounts, and queries from their phones."""

    def __init__(self) -> None:
        self.world = World()
        self.anna, self.bert, self.carl = (
            self.world.add_account(phone, name=phone) for phone in (ANNA, BERT, CARL)
        )

    async def ask(self, handler: Any, account: Account, kind: str, to: Any, asked: Node) -> Node:
        connection: Any = SimpleNamespace(world=self.world)
        query = Node("iq", {"type": kind, "to": to, "id": "1"}, (asked,))
        answer = await handler(connection, account.primary, query)
        assert answer.text("id") == "1"
        return answer


def play(scenario: Any) -> None:
    async def run() -> None:
        await scenario(Desk())

    asyncio.run(run())


def participants(*accounts: Account) -> tuple[Node, ...]:
    return tuple(Node("participant", {"jid": account.lid}) for account in accounts)


def test_business_profile_is_told_and_ordinary_people_have_none():
    async def scenario(desk: Desk) -> None:
        desk.bert.business = BusinessProfile(
            address="1 Pier", email="shop@example.org", category="Shop", hours=(("mon", 540, 1020),)
        )

        async def profile_of(account: Account) -> Node:
            asked = Node("business_profile", {}, (Node("profile", {"jid": account.lid}),))
            return await desk.ask(profile.on_business, desk.anna, "get", SERVER_JID, asked)

        answer = await profile_of(desk.bert)
        shown = answer.child("business_profile", "profile")
        assert shown is not None
        assert shown.child("address").data == b"1 Pier"
        hours = shown.child("business_hours", "business_hours_config")
        assert (hours.text("open_time"), hours.text("close_time")) == ("540", "1020")
        assert (await profile_of(desk.carl)).child("error").text("code") == "404"

    play(scenario)


def test_admins_decide_about_requests_to_join():
    async def scenario(desk: Desk) -> None:
        join = Node("membership_approval_mode", {}, (Node("group_join", {"state": "on"}),))
        wanted = Node("create", {"subject": "Friends"}, (*participants(desk.bert), join))
        answer = await desk.ask(groups.on_query, desk.anna, "set", "g.us", wanted)
        group = desk.world.groups[answer.child("group").text("id")]
        assert group.members == {ANNA: "superadmin", BERT: "member"}
        invite = Node("invite", {"code": group.invite_code})
        answer = await desk.ask(groups.on_query, desk.carl, "set", "g.us", invite)
        assert answer.child("membership_approval_request") is not None

        async def decide(account: Account, decision: str) -> Node:
            choice = Node(decision, {}, participants(desk.carl))
            asked = Node("membership_requests_action", {}, (choice,))
            return await desk.ask(groups.on_query, account, "set", group.jid, asked)

        assert (await decide(desk.bert, "approve")).child("error").text("code") == "401"
        assert (await decide(desk.anna, "reject")).text("type") == "result"
        assert CARL not in group.members
        answer = await decide(desk.anna, "approve")  # he does not ask any more
        changed = answer.child("membership_requests_action", "approve", "participant")
        assert changed.text("error") == "404"
        await desk.ask(groups.on_query, desk.carl, "set", "g.us", invite)
        await decide(desk.anna, "approve")
        assert CARL in group.members

    play(scenario)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (Node("nonsense"), "400"),
        (Node("create", {"subject": ""}), "406"),
        (Node("create", {"subject": "x" * 101}), "406"),
        (Node("create", {"subject": "x"}, (Node("participant", {"jid": "1@lid"}),)), "400"),
        (Node("invite", {"code": "short"}), "406"),
        (Node("invite", {"code": "x" * 22}), "410"),
        (Node("leave", {}, (Node("group", {"id": "1@g.us"}),)), "404"),
    ],
)
def test_queries_about_groups_that_make_no_sense_are_refused(asked, code):
    async def scenario(desk: Desk) -> None:
        answer = await desk.ask(groups.on_query, desk.anna, "set", "g.us", asked)
        assert answer.child("error").text("code") == code

    play(scenario)


def test_strangers_learn_nothing_of_a_group_and_change_nothing():
    async def scenario(desk: Desk) -> None:
        wanted = Node("create", {"subject": "Friends"})
        answer = await desk.ask(groups.on_query, desk.anna, "set", "g.us", wanted)
        [group] = desk.world.groups.values()
        assert answer.child("group").text("id") == group.id
        for asked in (
            Node("query", {"request": "interactive"}),
            Node("invite"),
            Node("subject", {}, b"mine"),
            Node("add", {}, participants(desk.bert)),
            Node("locked"),
            Node("ephemeral", {"expiration": "60"}),
        ):
            kind = "get" if asked.tag in ("query", "invite") else "set"
            answer = await desk.ask(groups.on_query, desk.bert, kind, group.jid, asked)
            assert answer.child("error").text("code") == "403", asked.tag
        assert (group.subject, list(group.members)) == ("Friends", [ANNA])

    play(scenario)

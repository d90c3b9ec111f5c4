"""Users of a subscription and invitations to it, in both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from support.manual_clock import ManualClock
from support.tenants import new_account
from wavisor.domain import Role
from wavisor.storage import (
    AboveOwnRole,
    AccountRecord,
    AlreadyMember,
    Database,
    EmailTaken,
    InvitationInvalid,
    InvitationRecord,
    LastOwner,
    NotFound,
    Scope,
    TooMany,
    accounts,
    invitations,
    people,
)

INVITERS = (Role.OWNER, Role.ADMIN)


@pytest.fixture
def owner(database: Database) -> AccountRecord:
    new_account(database)  # the operator of the platform
    return new_account(database)


def invite(
    database: Database,
    by: AccountRecord,
    email: str = "guest@example.org",
    role: Role = Role.MEMBER,
    *,
    digest: str = "d",
    limit: int = 10,
    clock: ManualClock | None = None,
) -> InvitationRecord:
    start = (clock or ManualClock()).now()
    return database.write_wait(
        invitations.create,
        Scope(by.subscription.id),
        email=email,
        role=role,
        digest=digest,
        creator_id=by.user.id,
        expires_at=start + timedelta(days=1),
        limit=limit,
    )


def join(database: Database, by: AccountRecord, role: Role, email: str) -> AccountRecord:
    invite(database, by, email, role, digest=email)
    return database.write_wait(invitations.accept, email, "hash")[1]


def set_role(database: Database, by: AccountRecord, who: AccountRecord, role: Role) -> Any:
    return database.write_wait(
        people.set_role,
        Scope(by.subscription.id),
        who.user.id,
        role,
        by=by.user.id,
        may_invite=INVITERS,
    )


def remove(database: Database, by: AccountRecord, who: AccountRecord) -> Any:
    return database.write_wait(people.remove, Scope(by.subscription.id), who.user.id, by=by.user.id)


def at_once(tasks: list[Callable[[], Any]]) -> list[type[Exception] | None]:
    barrier = threading.Barrier(len(tasks))

    def attempt(task: Callable[[], Any]) -> type[Exception] | None:
        barrier.wait(timeout=30)
        try:
            task()
        except Exception as error:
            return type(error)
        return None

    with ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(attempt, tasks))


def test_who_accepts_becomes_a_user_of_that_role(database: Database, owner: AccountRecord) -> None:
    made = invite(database, owner, "Guest@Example.org", Role.ADMIN)
    invitation, account = database.write_wait(invitations.accept, "d", "hash")
    assert (invitation.id, invitation.email) == (made.id, "guest@example.org")
    assert account.subscription == owner.subscription
    assert (account.user.role, account.user.is_operator) == (Role.ADMIN, False)
    users = database.read_wait(people.list_page, Scope(owner.subscription.id), limit=9).items
    assert users == (owner.user, account.user)


def test_an_invitation_is_good_once_also_for_many_at_once(
    database: Database, owner: AccountRecord
) -> None:
    invite(database, owner)
    accept = lambda: database.write_wait(invitations.accept, "d", "hash")  # noqa: E731
    outcomes = at_once([accept] * 6)
    assert outcomes.count(None) == 1
    assert set(outcomes) == {None, InvitationInvalid}


def test_an_invitation_ends_by_time(
    database: Database, owner: AccountRecord, storage_clock: ManualClock
) -> None:
    made = invite(database, owner, clock=storage_clock)
    storage_clock.advance(86_400 - 1)
    assert database.read_wait(invitations.find_open, "d")[0] == made
    storage_clock.advance(1)
    for attempt in (
        lambda: database.read_wait(invitations.find_open, "d"),
        lambda: database.write_wait(invitations.accept, "d", "hash"),
    ):
        with pytest.raises(InvitationInvalid):
            attempt()
    assert database.write_wait(invitations.purge, storage_clock.now()) == 0
    storage_clock.advance(1)
    assert database.write_wait(invitations.purge, storage_clock.now()) == 1


def test_a_newer_invitation_voids_the_earlier_one(database: Database, owner: AccountRecord) -> None:
    invite(database, owner, digest="first")
    invite(database, owner, "GUEST@example.org", digest="second", limit=1)
    with pytest.raises(InvitationInvalid):
        database.write_wait(invitations.accept, "first", "hash")
    database.write_wait(invitations.accept, "second", "hash")


def test_only_so_many_are_open(database: Database, owner: AccountRecord) -> None:
    made = invite(database, owner, "a@example.org", digest="a", limit=1)
    with pytest.raises(TooMany):
        invite(database, owner, "b@example.org", digest="b", limit=1)
    scope = Scope(owner.subscription.id)
    assert database.write_wait(invitations.revoke, scope, made.id) is not None
    assert database.write_wait(invitations.revoke, scope, made.id) is None
    invite(database, owner, "b@example.org", digest="b", limit=1)


def test_only_accounts_of_the_own_tenant_are_told_of(
    database: Database, owner: AccountRecord
) -> None:
    with pytest.raises(AlreadyMember):
        invite(database, owner, owner.user.email.upper())
    elsewhere = new_account(database)
    invite(database, owner, elsewhere.user.email)
    with pytest.raises(EmailTaken):
        database.write_wait(invitations.accept, "d", "hash")
    # Not used up: the account elsewhere may be closed.
    [left] = database.read_wait(invitations.list_page, Scope(owner.subscription.id), limit=9).items
    assert left.accepted_at is None


def test_another_tenants_invitation_is_not_there(database: Database, owner: AccountRecord) -> None:
    made = invite(database, owner)
    stranger = Scope(new_account(database).subscription.id)
    with pytest.raises(NotFound):
        database.write_wait(invitations.revoke, stranger, made.id)
    assert database.read_wait(invitations.list_page, stranger, limit=9).items == ()
    assert database.read_wait(invitations.find_open, "d")[0] == made


@pytest.mark.parametrize("role", list(Role))
def test_nobody_gives_a_role_above_their_own(
    database: Database, owner: AccountRecord, role: Role
) -> None:
    admin = join(database, owner, Role.ADMIN, "admin@example.org")
    member = join(database, owner, Role.MEMBER, "member@example.org")
    if role is Role.OWNER:
        with pytest.raises(AboveOwnRole):
            set_role(database, admin, member, role)
        with pytest.raises(AboveOwnRole):
            invite(database, admin, role=role)
    else:
        assert set_role(database, admin, member, role)[1].role is role
        invite(database, admin, role=role)


def test_nobody_touches_who_is_above_them(database: Database, owner: AccountRecord) -> None:
    join(database, owner, Role.OWNER, "second@example.org")
    admin = join(database, owner, Role.ADMIN, "admin@example.org")
    with pytest.raises(AboveOwnRole):
        set_role(database, admin, owner, Role.VIEWER)
    with pytest.raises(AboveOwnRole):
        remove(database, admin, owner)
    assert database.read_wait(accounts.find_user, owner.user.id) == owner


def test_an_operator_of_the_platform_is_removed_by_nobody_else(database: Database) -> None:
    first = database.write_wait(
        accounts.create_subscription_with_owner,
        email="operator@example.org",
        password_hash="x",
        name="Platform",
        operator=True,
    )
    second = join(database, first, Role.OWNER, "second-operator@example.org")
    with pytest.raises(AboveOwnRole):
        remove(database, second, first)
    remove(database, first, first)


def test_the_last_owner_stays(database: Database, owner: AccountRecord) -> None:
    join(database, owner, Role.ADMIN, "admin@example.org")
    with pytest.raises(LastOwner):
        set_role(database, owner, owner, Role.ADMIN)
    with pytest.raises(LastOwner):
        remove(database, owner, owner)


def test_of_two_owners_who_demote_each_other_one_stays(
    database: Database, owner: AccountRecord
) -> None:
    second = join(database, owner, Role.OWNER, "second@example.org")
    outcomes = at_once(
        [
            lambda: set_role(database, owner, second, Role.VIEWER),
            lambda: set_role(database, second, owner, Role.VIEWER),
        ]
    )
    assert sorted(outcomes, key=str) == [AboveOwnRole, None]


def test_of_two_owners_who_leave_at_once_one_stays(
    database: Database, owner: AccountRecord
) -> None:
    second = join(database, owner, Role.OWNER, "second@example.org")
    outcomes = at_once(
        [lambda: remove(database, owner, owner), lambda: remove(database, second, second)]
    )
    assert sorted(outcomes, key=str) == [LastOwner, None]


def test_who_is_removed_takes_their_invitations_along(
    database: Database, owner: AccountRecord
) -> None:
    admin = join(database, owner, Role.ADMIN, "admin@example.org")
    invite(database, admin, "back-door@example.org", digest="back door")
    remove(database, owner, admin)
    assert database.read_wait(accounts.find_user, admin.user.id) is None
    with pytest.raises(InvitationInvalid):
        database.write_wait(invitations.accept, "back door", "hash")


@pytest.mark.parametrize(("role", "kept"), [(Role.ADMIN, {"member"}), (Role.MEMBER, set())])
def test_who_is_demoted_loses_the_invitations_they_could_not_send_any_more(
    database: Database, owner: AccountRecord, role: Role, kept: set[str]
) -> None:
    second = join(database, owner, Role.OWNER, "second@example.org")
    invite(database, second, "o@example.org", Role.OWNER, digest="owner")
    invite(database, second, "m@example.org", Role.MEMBER, digest="member")
    set_role(database, owner, second, role)
    for digest in ("owner", "member"):
        if digest in kept:
            database.read_wait(invitations.find_open, digest)
        else:
            with pytest.raises(InvitationInvalid):
                database.read_wait(invitations.find_open, digest)


def test_people_of_another_tenant_are_not_there(database: Database, owner: AccountRecord) -> None:
    stranger = new_account(database)
    for act in (
        lambda: set_role(database, stranger, owner, Role.VIEWER),
        lambda: remove(database, stranger, owner),
    ):
        with pytest.raises(NotFound):
            act()
    assert database.read_wait(accounts.find_user, owner.user.id) == owner

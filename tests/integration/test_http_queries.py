"""Questions and changes over HTTP: a whole gateway, with sessions whose answers are scripted."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from support.gateway import GatewayLab, NewGateway
from support.http import Answer, Member
from wavisor.domain import Role
from wavisor.whatsapp import queries as asked
from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.commands import Query
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.person import Person
from wavisor.whatsapp.scripted_defects import SlowSession

ANNA = Person(jid="77010001@lid", lid="77010001@lid", phone="+15550101")
ANNA_JID = "15550101@s.whatsapp.net"
WIRE_ANNA = {"jid": "77010001@lid", "lid": "77010001@lid", "phone": "+15550101"}
GROUP_JID = "120363000000000001@g.us"
CHANNEL_JID = "120363000000000002@newsletter"
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
WIRE_NOW = "2026-03-01T12:30:00.000Z"
IMAGE = base64.b64encode(b"\x89PNG picture").decode()

SUMMARY: dict[str, Any] = {
    "jid": GROUP_JID,
    "name": "Team",
    "owner": ANNA,
    "created_at": NOW,
    "size": 1,
    "role": "admin",
    "announce": False,
    "locked": True,
    "ephemeral_seconds": 0,
    "is_community": False,
    "community": None,
}
WIRE_SUMMARY: dict[str, Any] = {
    "jid": GROUP_JID,
    "name": "Team",
    "owner": WIRE_ANNA,
    "createdAt": WIRE_NOW,
    "size": 1,
    "role": "admin",
    "announce": False,
    "locked": True,
    "ephemeralSeconds": 0,
    "isCommunity": False,
    "community": None,
}
GROUP = results.Group(
    **SUMMARY,
    description="What we do",
    participants=(results.Participant(person=ANNA, role="member"),),
    not_added=(results.ParticipantOutcome(person=ANNA, reason="invitation_needed", code=403),),
)
WIRE_OUTCOME = {"person": WIRE_ANNA, "reason": "invitation_needed", "code": 403}
WIRE_GROUP = WIRE_SUMMARY | {
    "description": "What we do",
    "participants": [{"person": WIRE_ANNA, "role": "member"}],
    "notAdded": [WIRE_OUTCOME],
}
CHANNEL = results.Channel(
    jid=CHANNEL_JID,
    name="News",
    description=None,
    subscribers=7,
    verified=True,
    state="active",
    role="subscriber",
    muted=False,
    invite_link="https://whatsapp.com/channel/abc",
    picture_path=None,
    created_at=NOW,
)
WIRE_CHANNEL = {
    "jid": CHANNEL_JID,
    "name": "News",
    "description": None,
    "subscribers": 7,
    "verified": True,
    "state": "active",
    "role": "subscriber",
    "muted": False,
    "inviteLink": "https://whatsapp.com/channel/abc",
    "picturePath": None,
    "createdAt": WIRE_NOW,
}
CONTACT = results.Contact(person=ANNA, name="Anna B", push_name="Anna")
WIRE_CONTACT = {
    "person": WIRE_ANNA,
    "name": "Anna B",
    "firstName": None,
    "pushName": "Anna",
    "businessName": None,
}
PRIVACY = results.PrivacySettings(last_seen="none", online="all")
WIRE_PRIVACY = {
    "lastSeen": "none",
    "online": "all",
    "profilePicture": None,
    "about": None,
    "groupAdd": None,
    "callAdd": None,
    "readReceipts": None,
}
PICTURE = results.Picture(id="9", url="https://pps.whatsapp.net/9")
WIRE_PICTURE = {"id": "9", "url": "https://pps.whatsapp.net/9"}

# Request; what the session is asked; what it answers; what the client gets.
READS: list[tuple[str, asked.QueryModel[Any], Any, Any]] = [
    (
        "/api/contacts?limit=1",
        asked.ListContacts(limit=1),
        results.ContactList(items=(CONTACT,)),
        {"items": [WIRE_CONTACT], "nextCursor": None},
    ),
    ("/api/contacts/+15550101", asked.GetContact(person=ANNA_JID), CONTACT, WIRE_CONTACT),
    ("/api/contacts/77010001@lid", asked.GetContact(person=ANNA.jid), CONTACT, WIRE_CONTACT),
    (
        "/api/contacts/+15550101/about",
        asked.GetUser(person=ANNA_JID),
        results.UserDetails(
            person=ANNA, about="busy", verified_name=None, picture_id="9", devices=2
        ),
        {
            "person": WIRE_ANNA,
            "about": "busy",
            "verifiedName": None,
            "pictureId": "9",
            "devices": 2,
        },
    ),
    ("/api/contacts/15550101/picture", asked.GetPicture(of=ANNA_JID), PICTURE, WIRE_PICTURE),
    (
        "/api/contacts/15550101/picture?size=preview",
        asked.GetPicture(of=ANNA_JID, preview=True),
        PICTURE,
        WIRE_PICTURE,
    ),
    (
        "/api/contacts/blocked",
        asked.BlockList(),
        results.People(people=(ANNA,)),
        {"items": [WIRE_ANNA]},
    ),
    (
        "/api/lids/+15550101",
        asked.LookUpAddress(people=(ANNA_JID,)),
        results.People(people=(ANNA,)),
        WIRE_ANNA,
    ),
    (
        "/api/profile",
        asked.GetProfile(),
        results.Profile(
            person=ANNA,
            name="Anna",
            about=None,
            picture_id=None,
            verified_name=None,
            platform="android",
        ),
        {
            "person": WIRE_ANNA,
            "name": "Anna",
            "about": None,
            "pictureId": None,
            "verifiedName": None,
            "platform": "android",
        },
    ),
    ("/api/privacy", asked.GetPrivacy(), PRIVACY, WIRE_PRIVACY),
    (
        "/api/groups",
        asked.ListGroups(),
        results.GroupList(items=(results.GroupSummary(**SUMMARY),)),
        {"items": [WIRE_SUMMARY], "nextCursor": None},
    ),
    (f"/api/groups/{GROUP_JID}", asked.GroupInfo(group=GROUP_JID), GROUP, WIRE_GROUP),
    (f"/api/groups/{GROUP_JID}/picture", asked.GetPicture(of=GROUP_JID), PICTURE, WIRE_PICTURE),
    (
        f"/api/groups/{GROUP_JID}/join-requests",
        asked.ListJoinRequests(group=GROUP_JID),
        results.JoinRequestList(items=(results.JoinRequest(person=ANNA, requested_at=NOW),)),
        {"items": [{"person": WIRE_ANNA, "requestedAt": WIRE_NOW}]},
    ),
    (
        f"/api/groups/{GROUP_JID}/invite",
        asked.GetInviteLink(group=GROUP_JID),
        results.InviteLink(link="https://chat.whatsapp.com/AbCdEf"),
        {"link": "https://chat.whatsapp.com/AbCdEf"},
    ),
    ("/api/groups/invites/AbCdEf", asked.GroupFromLink(code="AbCdEf"), GROUP, WIRE_GROUP),
    (
        "/api/channels",
        asked.ListChannels(),
        results.ChannelList(items=(CHANNEL,)),
        {"items": [WIRE_CHANNEL]},
    ),
    (
        f"/api/channels/{CHANNEL_JID}",
        asked.ChannelInfo(channel=CHANNEL_JID),
        CHANNEL,
        WIRE_CHANNEL,
    ),
    (
        "/api/channels/invites/0029VaAbCdEf",
        asked.ChannelFromLink(code="0029VaAbCdEf"),
        CHANNEL,
        WIRE_CHANNEL,
    ),
]

# Request; what the session is asked; its answer (None: done); status and body for the client;
# what stands on the audit trail.
CHANGES: list[tuple[str, str, Any, asked.QueryModel[Any], Any, int, Any, str | None]] = [
    (
        "POST",
        "/api/contacts/+15550101/block",
        {},
        asked.SetBlocked(person=ANNA_JID, blocked=True),
        None,
        204,
        None,
        "contact.block",
    ),
    (
        "POST",
        "/api/contacts/77010001@lid/unblock",
        {},
        asked.SetBlocked(person=ANNA.jid, blocked=False),
        None,
        204,
        None,
        "contact.unblock",
    ),
    (
        "PUT",
        "/api/contacts/+15550101/disappearing",
        {"seconds": 604_800},
        asked.SetDisappearing(chat=ANNA_JID, seconds=604_800),
        None,
        204,
        None,
        "contact.disappearing",
    ),
    (
        "PUT",
        "/api/presence",
        {"available": True},
        asked.SetPresence(available=True),
        None,
        204,
        None,
        None,
    ),
    (
        "POST",
        "/api/presence/subscribe",
        {"person": "+1 555 0101"},
        asked.SubscribePresence(person=ANNA_JID),
        None,
        204,
        None,
        None,
    ),
    (
        "POST",
        "/api/presence/typing",
        {"chat": GROUP_JID, "state": "recording"},
        asked.ShowTyping(chat=GROUP_JID, state="recording"),
        None,
        204,
        None,
        None,
    ),
    (
        "PATCH",
        "/api/profile",
        {"about": ""},
        asked.SetProfileAbout(about=""),
        None,
        204,
        None,
        "profile.about",
    ),
    (
        "PATCH",
        "/api/profile",
        {"name": "Shop"},
        asked.SetProfileName(name="Shop"),
        None,
        204,
        None,
        "profile.name",
    ),
    (
        "PUT",
        "/api/profile/picture",
        {"image": IMAGE},
        asked.SetProfilePicture(image=IMAGE),
        results.PictureChanged(id="10"),
        200,
        {"id": "10"},
        "profile.picture",
    ),
    (
        "PATCH",
        "/api/privacy",
        {"lastSeen": "none", "readReceipts": "all"},
        asked.SetPrivacy(last_seen="none", read_receipts="all"),
        PRIVACY,
        200,
        WIRE_PRIVACY,
        "profile.privacy",
    ),
    (
        "PUT",
        "/api/privacy/disappearing",
        {"seconds": 0},
        asked.SetDisappearing(seconds=0),
        None,
        204,
        None,
        "profile.disappearing",
    ),
    (
        "POST",
        "/api/groups",
        {"name": "Team", "participants": ["+15550101", "15550101", "77010001@lid"]},
        asked.CreateGroup(name="Team", participants=(ANNA_JID, ANNA.jid)),
        GROUP,
        201,
        WIRE_GROUP,
        "group.create",
    ),
    (
        "PATCH",
        f"/api/groups/{GROUP_JID}",
        {"name": "Crew", "announce": True, "description": ""},
        asked.UpdateGroup(group=GROUP_JID, name="Crew", announce=True, description=""),
        None,
        204,
        None,
        "group.update",
    ),
    (
        "PATCH",
        f"/api/groups/{GROUP_JID}",
        {"ephemeralSeconds": 86_400},
        asked.SetDisappearing(chat=GROUP_JID, seconds=86_400),
        None,
        204,
        None,
        "group.disappearing",
    ),
    (
        "PUT",
        f"/api/groups/{GROUP_JID}/picture",
        {"image": IMAGE},
        asked.SetGroupPicture(group=GROUP_JID, image=IMAGE),
        results.PictureChanged(id="11"),
        200,
        {"id": "11"},
        "group.picture",
    ),
    (
        "POST",
        f"/api/groups/{GROUP_JID}/participants",
        {"change": "promote", "people": ["+15550101"]},
        asked.ChangeParticipants(group=GROUP_JID, change="promote", people=(ANNA_JID,)),
        results.ParticipantOutcomes(
            outcomes=(
                results.ParticipantOutcome(person=ANNA, reason="invitation_needed", code=403),
            )
        ),
        200,
        {"items": [WIRE_OUTCOME]},
        "group.promote",
    ),
    (
        "POST",
        f"/api/groups/{GROUP_JID}/invite/revoke",
        {},
        asked.GetInviteLink(group=GROUP_JID, revoke=True),
        results.InviteLink(link="https://chat.whatsapp.com/new"),
        200,
        {"link": "https://chat.whatsapp.com/new"},
        "group.invite.revoke",
    ),
    (
        "POST",
        "/api/groups/join",
        {"link": "https://chat.whatsapp.com/AbCdEf?mode=ac_t"},
        asked.JoinGroup(code="AbCdEf"),
        results.JoinedGroup(jid=GROUP_JID),
        200,
        {"jid": GROUP_JID},
        "group.join",
    ),
    (
        "POST",
        f"/api/groups/{GROUP_JID}/leave",
        {},
        asked.LeaveGroup(group=GROUP_JID),
        None,
        204,
        None,
        "group.leave",
    ),
    (
        "POST",
        f"/api/channels/{CHANNEL_JID}/follow",
        {},
        asked.FollowChannel(channel=CHANNEL_JID, follow=True),
        None,
        204,
        None,
        "channel.follow",
    ),
    (
        "POST",
        f"/api/channels/{CHANNEL_JID}/unfollow",
        {},
        asked.FollowChannel(channel=CHANNEL_JID, follow=False),
        None,
        204,
        None,
        "channel.unfollow",
    ),
    (
        "POST",
        f"/api/channels/{CHANNEL_JID}/reactions",
        {"message": 100, "emoji": "👍"},
        asked.ChannelReaction(channel=CHANNEL_JID, message=100, emoji="👍"),
        None,
        204,
        None,
        None,
    ),
    (
        "POST",
        "/api/calls/3EB0CALL/reject",
        {"caller": "77010001@lid"},
        asked.RejectCall(call="3EB0CALL", caller=ANNA.jid),
        None,
        204,
        None,
        "call.reject",
    ),
]


class Desk:
    """One connected instance, and requests about it."""

    def __init__(self, gateway: GatewayLab) -> None:
        self.gateway = gateway
        self.owner = gateway.register()
        self.instance = gateway.create_instance(self.owner)
        self.session = gateway.link(self.owner, self.instance)

    def send(
        self, method: str, path: str, json: Any = None, *, sender: Member | None = None
    ) -> Answer:
        return self.gateway.request(
            method,
            path,
            json=json,
            token=(sender or self.owner).token,
            headers={"X-Instance-Id": self.instance},
        )

    def asked(self) -> list[Any]:
        return [command.query for command in self.session.commands(Query)]


@pytest.fixture
def desk(gateway: GatewayLab) -> Desk:
    return Desk(gateway)


def test_every_read_asks_the_session_and_answers_in_the_wire_form(desk: Desk) -> None:
    for path, query, result, expected in READS:
        desk.gateway.driver.results[query.kind] = result  # type: ignore[attr-defined]
        answer = desk.send("GET", path)
        assert answer.status == 200, (path, answer.body)
        assert answer.json == expected, path
        assert desk.asked()[-1] == query, path
    assert len(desk.asked()) == len(READS)


def test_every_change_is_made_and_stands_on_the_audit_trail(desk: Desk) -> None:
    for method, path, body, query, result, status, expected, action in CHANGES:
        if result is not None:
            desk.gateway.driver.results[query.kind] = result  # type: ignore[attr-defined]
        before = len(desk.gateway.audited())
        answer = desk.send(method, path, body)
        assert answer.status == status, (path, answer.body)
        assert (answer.json if answer.body else None) == expected, path
        assert desk.asked()[-1] == query, path
        assert desk.gateway.audited()[before:] == ([action] if action else []), path
    assert len(desk.asked()) == len(CHANGES)


def test_the_audit_trail_names_instance_and_target_but_no_words(desk: Desk) -> None:
    body = {"name": "Crew", "description": "our secrets"}
    desk.send("PATCH", f"/api/groups/{GROUP_JID}", body)
    (entry,) = desk.gateway.user_audit_of(GROUP_JID)
    assert entry.after == {"instance": desk.instance, "name": "Crew", "description": True}
    assert entry.actor_id == desk.owner.user_id


def test_numbers_are_checked_as_they_are_written(desk: Desk) -> None:
    desk.gateway.driver.results["check_numbers"] = results.CheckedNumbers(
        numbers=(
            results.CheckedNumber(
                number="5511987654321",
                on_whatsapp=True,
                person=Person(jid="7@lid", lid="7@lid", phone="+551187654321"),
                verified_name="Padaria",
            ),
            results.CheckedNumber(number="15550102", on_whatsapp=False),
        )
    )
    numbers = ["+55 (11) 98765-4321", "15550102", "+1 555 0102"]
    answer = desk.send("POST", "/api/contacts/check", {"numbers": numbers})
    assert answer.status == 200, answer.body
    assert [one["query"] for one in answer.json["items"]] == numbers
    assert [one["onWhatsapp"] for one in answer.json["items"]] == [True, False, False]
    assert answer.json["items"][0]["person"]["phone"] == "+551187654321"
    assert answer.json["items"][0]["verifiedName"] == "Padaria"
    # A number that is written twice is asked about once.
    assert desk.asked() == [asked.CheckNumbers(numbers=("5511987654321", "15550102"))]


def test_wrong_numbers_are_named_and_nothing_is_asked(desk: Desk) -> None:
    answer = desk.send("POST", "/api/contacts/check", {"numbers": ["+15550101", "0049", "abc"]})
    assert (answer.status, answer.problem) == (422, "validation-failed")
    assert answer.pointers == ["#/numbers/1", "#/numbers/2"]
    assert desk.asked() == []


def test_lists_go_on_where_the_page_before_ended(desk: Desk) -> None:
    desk.gateway.driver.results["list_contacts"] = results.ContactList(
        items=(CONTACT,), next="15550101@s.whatsapp.net"
    )
    first = desk.send("GET", "/api/contacts?limit=1")
    desk.send("GET", f"/api/contacts?limit=1&cursor={first.json['nextCursor']}")
    assert [query.after for query in desk.asked()] == [None, "15550101@s.whatsapp.net"]


@pytest.mark.parametrize("cursor", ["x", "MTp4", "ajE6eA", "%00", "ä", "ajE6QGFhYWFhYWFh" * 9])
def test_what_is_no_cursor_is_refused(desk: Desk, cursor: str) -> None:
    answer = desk.gateway.request(
        "GET",
        f"/api/groups?cursor={cursor if cursor != 'ä' else '%C3%A4'}",
        token=desk.owner.token,
        headers={"X-Instance-Id": desk.instance},
    )
    assert answer.status == 422
    assert answer.pointers == ["cursor"]


@pytest.mark.parametrize(
    ("reason", "code", "status", "slug"),
    [
        ("not_found", 404, 404, "not-found"),
        ("forbidden", 403, 403, "whatsapp-forbids"),
        ("invalid", 406, 422, "validation-failed"),
        ("rate_limited", 429, 429, "whatsapp-limits"),
        ("rejected", 500, 502, "whatsapp-refuses"),
        ("internal", None, 502, "whatsapp-refuses"),
        ("timeout", None, 504, "whatsapp-silent"),
        ("not_connected", None, 409, "command-forbidden"),
        ("busy", None, 503, "busy"),
    ],
)
def test_each_failure_becomes_a_problem_of_its_own(
    desk: Desk, reason: Any, code: int | None, status: int, slug: str
) -> None:
    failure = Failure(reason=reason, detail="it went wrong", code=code)
    desk.gateway.driver.results["group_info"] = failure
    answer = desk.send("GET", f"/api/groups/{GROUP_JID}")
    assert (answer.status, answer.problem) == (status, slug)
    assert answer.json["detail"] == "It went wrong."
    assert answer.json.get("code") == (code if status not in (409, 503) else None)
    assert ("Retry-After" in answer.headers) is (status in (429, 503))


def test_an_instance_that_is_not_connected_cannot_be_asked(
    gateway: GatewayLab,
) -> None:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    headers = {"X-Instance-Id": instance}
    for method, path, body in [("GET", "/api/groups", None), ("POST", "/api/groups/join", LINK)]:
        answer = gateway.request(method, path, json=body, token=owner.token, headers=headers)
        assert (answer.status, answer.problem) == (409, "command-forbidden")
        assert answer.json["instanceStatus"] == "disconnected"
        assert "connect" in answer.json["allowed"]
    assert gateway.driver.sessions == []


LINK = {"link": "AbCdEf"}


def test_a_silent_whatsapp_is_not_waited_for_for_ever(new_gateway: NewGateway) -> None:
    gateway = new_gateway(policy={"query_timeout": 0.3})
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.driver.script(SlowSession)
    gateway.link(owner, instance)
    headers = {"X-Instance-Id": instance}
    answer = gateway.get("/api/groups", token=owner.token, headers=headers)
    assert (answer.status, answer.problem) == (504, "whatsapp-silent")
    gateway.session(instance).kill()


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("GET", "/api/contacts/somebody", None, "jid"),
        ("GET", "/api/contacts/15550101@g.us", None, "jid"),
        ("GET", "/api/contacts/15550101:2@s.whatsapp.net", None, "jid"),
        ("GET", "/api/contacts/%2B15550101%00", None, "jid"),
        ("GET", "/api/groups/15550101@s.whatsapp.net", None, "jid"),
        ("GET", "/api/groups/@g.us", None, "jid"),
        ("GET", "/api/channels/1@g.us", None, "jid"),
        ("GET", "/api/lids/-", None, "phoneOrLid"),
        ("GET", "/api/groups/invites/a%20b", None, "code"),
        ("GET", "/api/contacts/15550101/picture?size=huge", None, "size"),
        ("POST", "/api/contacts/check", {"numbers": []}, "#/numbers"),
        ("POST", "/api/contacts/check", {"numbers": ["+15550101"] * 101}, "#/numbers"),
        ("POST", "/api/contacts/check", {"numbers": "+15550101"}, "#/numbers"),
        ("POST", "/api/contacts/check", {}, "#/numbers"),
        ("PUT", "/api/presence", {"available": "yes"}, "#/available"),
        ("PUT", "/api/presence", {"available": True, "more": 1}, "#/more"),
        ("POST", "/api/presence/typing", {"chat": "x", "state": "paused"}, "#/chat"),
        ("POST", "/api/presence/typing", {"chat": "15550101", "state": "idle"}, "#/state"),
        ("POST", "/api/presence/subscribe", {"person": GROUP_JID}, "#/person"),
        ("PATCH", "/api/profile", {}, "#"),
        ("PATCH", "/api/profile", {"name": ""}, "#/name"),
        ("PATCH", "/api/profile", {"name": "x" * 26}, "#/name"),
        ("PATCH", "/api/profile", {"about": "x" * 140}, "#/about"),
        ("PATCH", "/api/privacy", {"lastSeen": "nobody"}, "#/lastSeen"),
        ("PATCH", "/api/privacy", {}, "#"),
        ("PUT", "/api/privacy/disappearing", {"seconds": 5}, "#/seconds"),
        ("PUT", "/api/profile/picture", {"image": ""}, "#/image"),
        ("PUT", "/api/profile/picture", {"image": "x" * 720_000}, "#/image"),
        ("POST", "/api/groups", {"name": "", "participants": []}, "#/name"),
        ("POST", "/api/groups", {"name": "x" * 101, "participants": []}, "#/name"),
        ("POST", "/api/groups", {"name": "Team", "participants": ["?"]}, "#/participants/0"),
        (
            "POST",
            "/api/groups",
            {"name": "Team", "participants": ["15550101"] * 257},
            "#/participants",
        ),
        ("PATCH", f"/api/groups/{GROUP_JID}", {}, "#"),
        ("PATCH", f"/api/groups/{GROUP_JID}", {"description": "x" * 2049}, "#/description"),
        ("POST", f"/api/groups/{GROUP_JID}/participants", {"change": "add"}, "#/people"),
        (
            "POST",
            f"/api/groups/{GROUP_JID}/participants",
            {"change": "ban", "people": ["15550101"]},
            "#/change",
        ),
        ("POST", "/api/groups/join", {"link": "https://example.com/AbCdEf"}, "#/link"),
        (
            "POST",
            f"/api/channels/{CHANNEL_JID}/reactions",
            {"message": 0, "emoji": ""},
            "#/message",
        ),
        ("POST", "/api/calls/a%20b/reject", {"caller": "15550101"}, "id"),
        ("POST", "/api/calls/A1/reject", {}, "#/caller"),
    ],
)
def test_bad_input_is_named_and_never_reaches_the_session(
    desk: Desk, method: str, path: str, body: Any, where: str
) -> None:
    answer = desk.send(method, path, body)
    assert (answer.status, answer.problem) == (422, "validation-failed"), answer.body
    assert answer.pointers == [where]
    assert desk.asked() == []


def test_what_others_own_does_not_exist(desk: Desk) -> None:
    stranger = desk.gateway.register()
    for method, path, body in [
        ("GET", "/api/groups", None),
        ("POST", f"/api/groups/{GROUP_JID}/leave", {}),
        ("PUT", "/api/presence", {"available": True}),
    ]:
        answer = desk.send(method, path, body, sender=stranger)
        assert (answer.status, answer.problem) == (404, "not-found")
    assert desk.asked() == []


def test_roles_may_do_what_their_permissions_say(desk: Desk) -> None:
    desk.gateway.driver.results["group_info"] = GROUP
    viewer = desk.gateway.colleague(desk.owner, Role.VIEWER)
    member = desk.gateway.colleague(desk.owner, Role.MEMBER)
    read = ("GET", f"/api/groups/{GROUP_JID}", None)
    leave = ("POST", f"/api/groups/{GROUP_JID}/leave", {})
    rename = ("PATCH", "/api/profile", {"name": "Shop"})
    statuses = {
        who: [desk.send(*request, sender=sender).status for request in (read, leave, rename)]
        for who, sender in (("viewer", viewer), ("member", member), ("owner", desk.owner))
    }
    assert statuses == {
        "viewer": [200, 403, 403],
        "member": [200, 204, 403],
        "owner": [200, 204, 204],
    }


def test_an_instance_must_be_named(desk: Desk) -> None:
    answer = desk.gateway.get("/api/groups", token=desk.owner.token)
    assert (answer.status, answer.pointers) == (422, ["X-Instance-Id"])


def test_paths_with_addresses_are_described(desk: Desk) -> None:
    document = desk.gateway.get("/openapi.json").json
    operation = document["paths"]["/api/contacts/{jid}"]["get"]
    (jid, instance) = operation["parameters"]
    assert (jid["name"], jid["in"], jid["required"]) == ("jid", "path", True)
    assert jid["example"].startswith("+")
    assert instance["name"] == "X-Instance-Id"
    for status in ("404", "403", "409", "429", "502", "504"):
        assert status in operation["responses"], status

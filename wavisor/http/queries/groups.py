"""Groups: what they are, who is in them, and the links that lead there."""

from __future__ import annotations

from http import HTTPStatus

from wavisor.http.permissions import Permission
from wavisor.http.queries.addresses import GROUP, INVITE_CODE
from wavisor.http.queries.asking import (
    ask,
    change,
    decode_jid_cursor,
    encode_jid_cursor,
    wire,
)
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.queries.group_schemas import (
    ChangeParticipants,
    CreateGroup,
    GroupModel,
    GroupSummaryModel,
    InviteLinkModel,
    JoinedGroupModel,
    JoinGroup,
    JoinRequestListModel,
    JoinRequestModel,
    OutcomeModel,
    OutcomesModel,
    UpdateGroup,
)
from wavisor.http.queries.schemas import (
    PictureChangedModel,
    PictureModel,
    PictureQuery,
    PictureSize,
    SetPicture,
)
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Empty, Page, PageQuery
from wavisor.whatsapp import queries

__all__ = ["router"]

router = Router("groups", "Groups, their members and their invite links.")


@router.route(
    "GET",
    "/api/groups",
    operation="listGroups",
    summary="List groups",
    access=Permission.GROUPS_READ,
    instance=InstanceFrom.HEADER,
    query=PageQuery,
    responses={200: Page[GroupSummaryModel]},
    problems=QUERY_PROBLEMS,
)
async def list_groups(call: Call[None, PageQuery]) -> Reply:
    """Lists the groups that the account is in, in the order of their addresses."""
    after = decode_jid_cursor(call.query.cursor)
    found = await ask(call, queries.ListGroups(after=after, limit=call.query.limit))
    items = [wire(GroupSummaryModel, group) for group in found.items]
    return Reply(Page[GroupSummaryModel](items=items, next_cursor=encode_jid_cursor(found.next)))


@router.route(
    "POST",
    "/api/groups",
    operation="createGroup",
    summary="Create a group",
    access=Permission.GROUPS_MANAGE,
    instance=InstanceFrom.HEADER,
    body=CreateGroup,
    responses={201: GroupModel},
    problems=QUERY_PROBLEMS,
)
async def create_group(call: Call[CreateGroup, None]) -> Reply:
    """Creates a group; `notAdded` of the answer tells who could not be added, and why.

    After 504 the group may exist all the same: look at the list before you try again.
    """
    body = call.body
    query = queries.CreateGroup(
        name=body.name,
        participants=tuple(dict.fromkeys(body.participants)),
        community=body.community,
    )
    group = await change(call, "group.create", None, query, {"name": body.name})
    return Reply(
        wire(GroupModel, group), HTTPStatus.CREATED, {"Location": f"/api/groups/{group.jid}"}
    )


@router.route(
    "GET",
    "/api/groups/{jid}",
    operation="getGroup",
    summary="Read a group",
    access=Permission.GROUPS_READ,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    responses={200: GroupModel},
    problems=QUERY_PROBLEMS,
)
async def get_group(call: Call[None, None]) -> Reply:
    """Returns a group with its members; 403 (`whatsapp-forbids`) when the account is not in it."""
    return Reply(wire(GroupModel, await ask(call, queries.GroupInfo(group=call.path["jid"]))))


@router.route(
    "PATCH",
    "/api/groups/{jid}",
    operation="updateGroup",
    summary="Change a group",
    access=Permission.GROUPS_MANAGE,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    body=UpdateGroup,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def update_group(call: Call[UpdateGroup, None]) -> Reply:
    """Changes what is given, one after the other in the order of the fields of the model.

    When one fails, what came before it is done.
    """
    jid = call.path["jid"]
    changes = call.body.model_dump(exclude_none=True, by_alias=False)
    seconds = changes.pop("ephemeral_seconds", None)
    if changes:
        # A description may hold anything; that it was changed is enough.
        told = {name: value for name, value in changes.items() if name != "description"}
        told |= {"description": True} if "description" in changes else {}
        await change(call, "group.update", jid, queries.UpdateGroup(group=jid, **changes), told)
    if seconds is not None:
        query = queries.SetDisappearing(chat=jid, seconds=seconds)
        await change(call, "group.disappearing", jid, query, {"seconds": seconds})
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "GET",
    "/api/groups/{jid}/picture",
    operation="getGroupPicture",
    summary="Get the picture of a group",
    access=Permission.GROUPS_READ,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    query=PictureQuery,
    responses={200: PictureModel},
    problems=QUERY_PROBLEMS,
)
async def get_group_picture(call: Call[None, PictureQuery]) -> Reply:
    """Asks WhatsApp where the picture of a group is; 404 when it has none."""
    preview = call.query.size is PictureSize.PREVIEW
    picture = await ask(call, queries.GetPicture(of=call.path["jid"], preview=preview))
    return Reply(wire(PictureModel, picture))


@router.route(
    "PUT",
    "/api/groups/{jid}/picture",
    operation="setGroupPicture",
    summary="Change the picture of a group",
    access=Permission.GROUPS_MANAGE,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    body=SetPicture,
    responses={200: PictureChangedModel},
    problems=QUERY_PROBLEMS,
)
async def set_group_picture(call: Call[SetPicture, None]) -> Reply:
    """Changes the picture. It cannot be removed from here, only on the phone."""
    jid = call.path["jid"]
    query = queries.SetGroupPicture(group=jid, image=call.body.image)
    return Reply(wire(PictureChangedModel, await change(call, "group.picture", jid, query)))


@router.route(
    "POST",
    "/api/groups/{jid}/participants",
    operation="changeParticipants",
    summary="Add, remove, promote or demote members",
    access=Permission.GROUPS_MANAGE,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    body=ChangeParticipants,
    responses={200: OutcomesModel},
    problems=QUERY_PROBLEMS,
)
async def change_participants(call: Call[ChangeParticipants, None]) -> Reply:
    """Changes some members; the answer tells for each whether it was done."""
    jid, people = call.path["jid"], tuple(dict.fromkeys(call.body.people))
    query = queries.ChangeParticipants(group=jid, people=people, change=call.body.change)
    told = {"people": list(people)}
    answer = await change(call, f"group.{call.body.change}", jid, query, told)
    return Reply(OutcomesModel(items=[wire(OutcomeModel, one) for one in answer.outcomes]))


@router.route(
    "GET",
    "/api/groups/{jid}/join-requests",
    operation="listJoinRequests",
    summary="List who wants to join a group",
    access=Permission.GROUPS_READ,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    responses={200: JoinRequestListModel},
    problems=QUERY_PROBLEMS,
)
async def list_join_requests(call: Call[None, None]) -> Reply:
    """Lists who wants to join a group that asks its admins first.

    Only on the phone can they be let in: the client offers no way to.
    """
    found = await ask(call, queries.ListJoinRequests(group=call.path["jid"]))
    return Reply(JoinRequestListModel(items=[wire(JoinRequestModel, one) for one in found.items]))


@router.route(
    "GET",
    "/api/groups/{jid}/invite",
    operation="getGroupInvite",
    summary="Get the invite link of a group",
    access=Permission.GROUPS_MANAGE,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    responses={200: InviteLinkModel},
    problems=QUERY_PROBLEMS,
)
async def get_group_invite(call: Call[None, None]) -> Reply:
    """Returns the link by which anybody can join; for admins of the group."""
    return Reply(
        wire(InviteLinkModel, await ask(call, queries.GetInviteLink(group=call.path["jid"])))
    )


@router.route(
    "POST",
    "/api/groups/{jid}/invite/revoke",
    operation="revokeGroupInvite",
    summary="Replace the invite link of a group",
    access=Permission.GROUPS_MANAGE,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    body=Empty,
    responses={200: InviteLinkModel},
    problems=QUERY_PROBLEMS,
)
async def revoke_group_invite(call: Call[Empty, None]) -> Reply:
    """Ends the present link and returns a new one."""
    jid = call.path["jid"]
    query = queries.GetInviteLink(group=jid, revoke=True)
    return Reply(wire(InviteLinkModel, await change(call, "group.invite.revoke", jid, query)))


@router.route(
    "GET",
    "/api/groups/invites/{code}",
    operation="getGroupOfInvite",
    summary="See where an invite link leads",
    access=Permission.GROUPS_READ,
    parameters={"code": INVITE_CODE},
    instance=InstanceFrom.HEADER,
    responses={200: GroupModel},
    problems=QUERY_PROBLEMS,
)
async def get_group_of_invite(call: Call[None, None]) -> Reply:
    """Returns the group that a link leads to, without joining it; WhatsApp tells some members."""
    group = await ask(call, queries.GroupFromLink(code=call.path["code"]))
    return Reply(wire(GroupModel, group))


@router.route(
    "POST",
    "/api/groups/join",
    operation="joinGroup",
    summary="Join a group",
    access=Permission.GROUPS_MANAGE,
    instance=InstanceFrom.HEADER,
    body=JoinGroup,
    responses={200: JoinedGroupModel},
    problems=QUERY_PROBLEMS,
)
async def join_group(call: Call[JoinGroup, None]) -> Reply:
    """Joins the group that a link leads to, or asks its admins to be let in."""
    joined = await change(call, "group.join", None, queries.JoinGroup(code=call.body.link))
    return Reply(wire(JoinedGroupModel, joined))


@router.route(
    "POST",
    "/api/groups/{jid}/leave",
    operation="leaveGroup",
    summary="Leave a group",
    access=Permission.GROUPS_MANAGE,
    parameters={"jid": GROUP},
    instance=InstanceFrom.HEADER,
    body=Empty,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def leave_group(call: Call[Empty, None]) -> Reply:
    """Leaves a group."""
    jid = call.path["jid"]
    await change(call, "group.leave", jid, queries.LeaveGroup(group=jid))
    return Reply(status=HTTPStatus.NO_CONTENT)

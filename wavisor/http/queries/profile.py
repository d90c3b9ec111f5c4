"""The account's own profile and privacy."""

from __future__ import annotations

from http import HTTPStatus

from wavisor.http.permissions import Permission
from wavisor.http.queries.asking import ask, change, wire
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.queries.schemas import (
    DisappearingModel,
    PictureChangedModel,
    PrivacyModel,
    ProfileModel,
    SetPicture,
    UpdatePrivacy,
    UpdateProfile,
)
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.whatsapp import queries

__all__ = ["router"]

router = Router("profile", "The account's own name, picture and privacy.")


@router.route(
    "GET",
    "/api/profile",
    operation="getProfile",
    summary="Read the account's profile",
    access=Permission.PROFILE_READ,
    instance=InstanceFrom.HEADER,
    responses={200: ProfileModel},
    problems=QUERY_PROBLEMS,
)
async def get_profile(call: Call[None, None]) -> Reply:
    """Returns what the account shows of itself."""
    return Reply(wire(ProfileModel, await ask(call, queries.GetProfile())))


@router.route(
    "PATCH",
    "/api/profile",
    operation="updateProfile",
    summary="Change the account's name or about",
    access=Permission.PROFILE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=UpdateProfile,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def update_profile(call: Call[UpdateProfile, None]) -> Reply:
    """Changes what is given, the name first; when one fails, what came before it is done.

    The name can be changed only after the phone has shared its keys, soon after linking.
    """
    if call.body.name is not None:
        await change(call, "profile.name", None, queries.SetProfileName(name=call.body.name))
    if call.body.about is not None:
        await change(call, "profile.about", None, queries.SetProfileAbout(about=call.body.about))
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "PUT",
    "/api/profile/picture",
    operation="setProfilePicture",
    summary="Change the account's picture",
    access=Permission.PROFILE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=SetPicture,
    responses={200: PictureChangedModel},
    problems=QUERY_PROBLEMS,
)
async def set_profile_picture(call: Call[SetPicture, None]) -> Reply:
    """Changes the picture. It cannot be removed from here, only on the phone."""
    query = queries.SetProfilePicture(image=call.body.image)
    return Reply(wire(PictureChangedModel, await change(call, "profile.picture", None, query)))


@router.route(
    "GET",
    "/api/privacy",
    operation="getPrivacy",
    summary="Read the account's privacy settings",
    access=Permission.PROFILE_READ,
    instance=InstanceFrom.HEADER,
    responses={200: PrivacyModel},
    problems=QUERY_PROBLEMS,
)
async def get_privacy(call: Call[None, None]) -> Reply:
    """Returns who may see or do what."""
    return Reply(wire(PrivacyModel, await ask(call, queries.GetPrivacy())))


@router.route(
    "PATCH",
    "/api/privacy",
    operation="updatePrivacy",
    summary="Change the account's privacy settings",
    access=Permission.PROFILE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=UpdatePrivacy,
    responses={200: PrivacyModel},
    problems=QUERY_PROBLEMS,
)
async def update_privacy(call: Call[UpdatePrivacy, None]) -> Reply:
    """Changes what is given, one after the other, and returns what holds then."""
    changes = call.body.model_dump(exclude_none=True, by_alias=False)
    query = queries.SetPrivacy(**changes)
    return Reply(wire(PrivacyModel, await change(call, "profile.privacy", None, query, changes)))


@router.route(
    "PUT",
    "/api/privacy/disappearing",
    operation="setDefaultDisappearing",
    summary="Let messages of new chats disappear",
    access=Permission.PROFILE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=DisappearingModel,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def set_default_disappearing(call: Call[DisappearingModel, None]) -> Reply:
    """Lets messages of chats that begin from now on disappear after a while."""
    query = queries.SetDisappearing(seconds=call.body.seconds)
    await change(call, "profile.disappearing", None, query, {"seconds": call.body.seconds})
    return Reply(status=HTTPStatus.NO_CONTENT)

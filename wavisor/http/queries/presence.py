"""Presence: being seen online or typing, and watching others."""

from __future__ import annotations

from http import HTTPStatus

from wavisor.http.permissions import Permission
from wavisor.http.queries.asking import ask
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.queries.schemas import PresenceModel, ShowTyping, SubscribePresence
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.whatsapp import queries

__all__ = ["router"]

router = Router("presence", "Being seen online or typing, and watching others.")


@router.route(
    "PUT",
    "/api/presence",
    operation="setPresence",
    summary="Be seen online, or not",
    access=Permission.PRESENCE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=PresenceModel,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def set_presence(call: Call[PresenceModel, None]) -> Reply:
    """Shows the account as online or not, until the connection ends.

    While it is online, the phone may show no notifications. WhatsApp does not confirm it.
    """
    await ask(call, queries.SetPresence(available=call.body.available))
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "POST",
    "/api/presence/subscribe",
    operation="subscribePresence",
    summary="Watch somebody come and go",
    access=Permission.PRESENCE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=SubscribePresence,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def subscribe_presence(call: Call[SubscribePresence, None]) -> Reply:
    """Asks to be told, by events `presence:updated`, when somebody comes and goes.

    It lasts until the connection ends. WhatsApp tells only accounts that are online themselves,
    and only of people who let them see it; it does not say when it will not.
    """
    await ask(call, queries.SubscribePresence(person=call.body.person))
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "POST",
    "/api/presence/typing",
    operation="showTyping",
    summary="Show that you type or record",
    access=Permission.PRESENCE_MANAGE,
    instance=InstanceFrom.HEADER,
    body=ShowTyping,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def show_typing(call: Call[ShowTyping, None]) -> Reply:
    """Shows in a chat that somebody types, records, or stopped to.

    Other clients forget it after some seconds, so repeat it while it lasts.
    """
    await ask(call, queries.ShowTyping(chat=call.body.chat, state=call.body.state))
    return Reply(status=HTTPStatus.NO_CONTENT)

"""Tenants see nothing of each other: every route is asked with another tenant's ids."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel

from support.gateway import GatewayLab
from support.http import Member
from support.keys import new_key
from support.media_samples import picture
from wavisor.domain import Role
from wavisor.http.admin.schemas import UpdateSubscription
from wavisor.http.application import ROUTERS
from wavisor.http.bulk import SendBulk
from wavisor.http.campaigns.schemas import AddRecipients, CreateCampaign, OptOutRequest
from wavisor.http.chats.schemas import ReadChat, ReadMessages, UpdateChat
from wavisor.http.instances.schemas import CreateInstance, RequestPairing, UpdateInstance
from wavisor.http.keys.schemas import ChangeKey, CreateKey, RotateKey
from wavisor.http.media.routes import CreateLink
from wavisor.http.messages import requests as sends
from wavisor.http.messages.actions import RetryMessage
from wavisor.http.paths import PathText
from wavisor.http.people.schemas import ChangeRole, Invite
from wavisor.http.permissions import KEY_PERMISSIONS, PUBLIC, Permission
from wavisor.http.queries import group_schemas as groups
from wavisor.http.queries import schemas as queries
from wavisor.http.routing import InstanceFrom, Route, check_routes
from wavisor.http.schemas import Empty
from wavisor.http.templates import schemas as template_bodies
from wavisor.http.webhooks import schemas as hooks
from wavisor.ids import Kind
from wavisor.storage import MediaRecord, NewEndpoint, Scope, delivery_log, media, webhooks
from wavisor.storage.models import MODELS, IdempotencyKey

PERSON = "+15550199"
PICTURE = base64.b64encode(picture("JPEG", 640, 640)).decode()

BODIES: dict[type[BaseModel], dict[str, Any]] = {
    Empty: {},
    CreateInstance: {"name": "Other"},
    UpdateInstance: {"name": "Other"},
    RequestPairing: {"phone": "+15550100"},
    CreateKey: {"name": "Other", "permissions": ["messages:send"]},
    ChangeKey: {"name": "Other"},
    ChangeRole: {"role": "VIEWER"},
    Invite: {"email": "other@example.com", "role": "MEMBER"},
    RotateKey: {"graceSeconds": 0},
    RetryMessage: {},
    ReadChat: {},
    ReadMessages: {"messages": [f"msg_{'0' * 26}"]},
    UpdateChat: {"archived": True},
    sends.SendText: {"to": PERSON, "text": "hello"},
    **{
        kind: {"to": PERSON, "base64": PICTURE}
        for kind in (
            sends.SendImage,
            sends.SendVideo,
            sends.SendAudio,
            sends.SendVoice,
            sends.SendDocument,
            sends.SendSticker,
        )
    },
    sends.SendLocation: {"to": PERSON, "latitude": 1.0, "longitude": 1.0},
    sends.SendContact: {"to": PERSON, "contacts": [{"name": "Ann", "phone": PERSON}]},
    sends.SendPoll: {"to": PERSON, "question": "Tea?", "options": ["yes", "no"]},
    sends.SendReaction: {"messageId": f"msg_{'0' * 26}", "emoji": "\N{THUMBS UP SIGN}"},
    SendBulk: {"messages": [{"kind": "text", "to": PERSON, "text": "hello"}]},
    CreateCampaign: {"name": "Other", "template": "Private", "instances": [f"ins_{'0' * 26}"]},
    AddRecipients: {"recipients": [{"to": PERSON}]},
    OptOutRequest: {"person": PERSON},
    sends.EditMessage: {"text": "other"},
    sends.PinMessage: {"seconds": 0},
    sends.PostText: {"text": "hello"},
    sends.PostImage: {"base64": PICTURE},
    sends.PostVideo: {"base64": PICTURE},
    sends.ForwardMessage: {"to": PERSON},
    template_bodies.CreateTemplate: {"name": "Other", "content": {"text": "other"}},
    template_bodies.UpdateTemplate: {"name": "Other"},
    template_bodies.PreviewTemplate: {},
    template_bodies.SendTemplate: {"to": PERSON, "template": "Private"},
    UpdateSubscription: {"name": "Other"},
    CreateLink: {},
    hooks.CreateWebhook: {"url": "https://8.8.8.8/"},
    hooks.UpdateWebhook: {"description": "Other"},
    hooks.RotateSecret: {},
    hooks.ReplayRange: {"from": "2026-01-01T00:00:00Z", "to": "2036-01-01T00:00:00Z"},
    queries.CheckNumbers: {"numbers": [PERSON]},
    queries.DisappearingModel: {"seconds": 0},
    queries.SetPicture: {"image": PICTURE},
    queries.PresenceModel: {"available": True},
    queries.SubscribePresence: {"person": PERSON},
    queries.ShowTyping: {"chat": PERSON, "state": "composing"},
    queries.UpdateProfile: {"name": "Other"},
    queries.UpdatePrivacy: {"lastSeen": "none"},
    queries.RejectCall: {"caller": PERSON},
    groups.CreateGroup: {"name": "Other", "participants": [PERSON]},
    groups.UpdateGroup: {"name": "Other"},
    groups.ChangeParticipants: {"change": "add", "people": [PERSON]},
    groups.JoinGroup: {"link": "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"},
    groups.ReactInChannel: {"message": 1, "emoji": "\N{THUMBS UP SIGN}"},
}
"""A good body for each; a bad one would be refused before anybody's id was looked up."""

ROUTES = [
    route
    for route in check_routes(ROUTERS)
    if route.parameters
    or route.instance is InstanceFrom.HEADER
    or "X-Instance-Id" in route.header_parameters
]
PROTECTED = [route for route in check_routes(ROUTERS) if route.access is not PUBLIC]


@dataclass
class Victim:
    """A tenant with one of everything that has an id."""

    owner: Member
    ids: dict[Kind, str]


@pytest.fixture
def victim(gateway: GatewayLab) -> Victim:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    sent = gateway.post(
        "/api/messages/text",
        {"to": "+15550199", "text": "private"},
        token=owner.token,
        headers={"X-Instance-Id": instance, "Prefer": "wait=10"},
    )
    ids = {
        Kind.SUBSCRIPTION: owner.subscription_id,
        Kind.INSTANCE: instance,
        Kind.MESSAGE: sent.json["id"],
    }
    # A file of the victim's: its row alone decides who may read it.
    ids[Kind.MEDIA] = gateway.database.write_wait(_a_file, Scope(owner.subscription_id)).id
    template = {"name": "Private", "content": {"text": "private"}}
    ids[Kind.TEMPLATE] = gateway.post("/api/templates", template, token=owner.token).json["id"]
    campaign = {"name": "Private", "template": "Private", "instances": [instance]}
    ids[Kind.CAMPAIGN] = gateway.post("/api/campaigns", campaign, token=owner.token).json["id"]
    gateway.post("/api/opt-outs", {"person": PERSON}, token=owner.token)
    ids[Kind.API_KEY] = new_key(gateway, owner, instance)["id"]
    ids[Kind.USER] = gateway.colleague(owner, Role.MEMBER).user_id
    invitation = {"email": "guest@example.com", "role": "MEMBER"}
    invited = gateway.post("/api/invitations", invitation, token=owner.token)
    ids[Kind.INVITATION] = invited.json["id"]
    scope = Scope(owner.subscription_id)
    ids |= gateway.database.write_wait(_a_webhook, scope, instance)
    return Victim(owner, ids)


def callers(gateway: GatewayLab, victim: Victim) -> dict[str, str]:
    """By name, the tokens of everybody who must not see the victim's things.

    The neighbour is of the same tenant: a key that is bound to another of its instances.
    """
    stranger, everything = gateway.register(), sorted(KEY_PERMISSIONS)
    others, beside = gateway.create_instance(stranger), gateway.create_instance(victim.owner)
    keys = {
        "a stranger's key": new_key(gateway, stranger, permissions=everything),
        "a stranger's instance": new_key(gateway, stranger, others, permissions=everything),
        "a neighbour": new_key(gateway, victim.owner, beside, permissions=everything),
    }
    return {"a stranger": stranger.token} | {name: key["key"] for name, key in keys.items()}


def is_theirs(route: Route, caller: str) -> bool:
    """Tell whether a route is about what the neighbour may see: all of the tenant share it."""
    return route.shared and caller == "a neighbour"


def refusal(route: Route, caller: str) -> tuple[int, str]:
    """How a caller is refused: routes that are not for keys do not even look at ids."""
    bound = caller in ("a stranger's instance", "a neighbour")
    if route.access is Permission.OPERATOR:  # whose routes nobody else may even ask
        return 403, "forbidden"
    if caller == "a stranger" or (route.for_bound_keys if bound else route.for_keys):
        return 404, "not-found"
    return 403, "forbidden"


def test_routes_that_take_ids_were_found() -> None:
    assert len(ROUTES) >= 14


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_another_tenants_ids_name_nothing_and_do_nothing(
    gateway: GatewayLab, victim: Victim, route: Route
) -> None:
    tokens = callers(gateway, victim)
    before = _everything(gateway)
    path = _path(route, victim.ids)
    headers = {}
    if route.instance is InstanceFrom.HEADER or "X-Instance-Id" in route.header_parameters:
        headers["X-Instance-Id"] = victim.ids[Kind.INSTANCE]
    for caller, token in tokens.items():
        if is_theirs(route, caller):
            continue
        answer = gateway.request(
            route.method,
            path,
            json=None if route.body is None else BODIES[route.body],
            token=token,
            headers=headers,
        )
        assert (answer.status, answer.problem) == refusal(route, caller), caller
        assert _everything(gateway) == before, caller
    assert gateway.session(victim.ids[Kind.INSTANCE]).alive
    assert gateway.status(victim.owner, victim.ids[Kind.INSTANCE]) == "connected"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_foreign_and_missing_ids_are_answered_alike(
    gateway: GatewayLab, victim: Victim, route: Route
) -> None:
    missing = {kind: f"{kind.value}_{'0' * 26}" for kind in victim.ids}
    for caller, token in callers(gateway, victim).items():
        if is_theirs(route, caller):
            continue
        answers = []
        for ids in (victim.ids, missing):
            answer = gateway.request(
                route.method,
                _path(route, ids),
                json=None if route.body is None else BODIES[route.body],
                token=token,
                headers={"X-Instance-Id": ids[Kind.INSTANCE]},
            )
            document = answer.json
            document.pop("instance"), document.pop("requestId")
            answers.append((answer.status, document))
        # Not even a hint: an id that never existed is answered in the same words.
        assert answers[0] == answers[1], caller


@pytest.mark.parametrize("route", PROTECTED, ids=lambda route: route.operation)
def test_nothing_is_done_without_a_token(gateway: GatewayLab, route: Route) -> None:
    path = _path(route, {kind: f"{kind.value}_{'0' * 26}" for kind in Kind})
    answer = gateway.request(route.method, path)
    assert (answer.status, answer.problem) == (401, "invalid-token")


def test_lists_hold_nothing_of_others(gateway: GatewayLab, victim: Victim) -> None:
    for path in ("/api/instances", "/api/messages", "/api/chats", "/api/templates"):
        assert len(gateway.get(path, token=victim.owner.token).json["items"]) == 1
    for caller, token in callers(gateway, victim).items():
        own = 0 if caller == "a stranger" else 1
        listed = gateway.get("/api/instances", token=token).json["items"]
        assert victim.ids[Kind.INSTANCE] not in [one["id"] for one in listed], caller
        assert len(listed) >= own
        for path in ("/api/messages", "/api/chats", "/api/templates"):
            listed = gateway.get(path, token=token).json["items"]
            # What the tenant's instances share is the neighbour's as well.
            shared = path == "/api/templates" and caller == "a neighbour"
            assert len(listed) == shared, caller


def _a_file(scope: Scope) -> MediaRecord:
    return media.put(scope, sha256="0" * 64, size=1, mime_type="image/png", path="00/00/x")


def _a_webhook(scope: Scope, instance_id: str) -> dict[Kind, str]:
    """One that is switched off, so that nothing happens to its delivery by itself."""
    new = NewEndpoint(
        url="https://8.8.8.8/", secret="whsec_YQ==", enabled=False, instance_id=instance_id
    )
    webhook = webhooks.create(scope, new)
    delivery = delivery_log.add_test(scope, webhook, body="{}", event_type="webhook:test")
    return {Kind.WEBHOOK: webhook.id, Kind.DELIVERY: delivery}


def _path(route: Route, ids: dict[Kind, str]) -> str:
    path = route.path
    for name, kind in route.parameters.items():
        value = kind.example if isinstance(kind, PathText) else ids[kind]
        path = path.replace(f"{{{name}}}", quote(value))
    return path


def _everything(gateway: GatewayLab) -> str:
    """All rows but answers kept for repeated requests, and when keys were used, as text."""

    def read() -> dict[str, list[Any]]:
        tables = [model for model in MODELS if model is not IdempotencyKey]
        rows = {model.__name__: list(model.select().dicts()) for model in tables}
        for key in rows["ApiKey"]:
            del key["last_used_at"], key["last_used_address"]
        return rows

    return json.dumps(gateway.database.read_wait(read), default=str, sort_keys=True)

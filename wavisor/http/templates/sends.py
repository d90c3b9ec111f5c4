"""Sending a template."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from wavisor.http.messages.composing import Draft, wrong
from wavisor.http.messages.intake import MEDIA_PROBLEMS
from wavisor.http.messages.kinds import compose
from wavisor.http.messages.schemas import MessageModel
from wavisor.http.messages.sending import SEND_HEADERS, SEND_PROBLEMS, accept
from wavisor.http.permissions import Permission
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.templates.rendering import body_of
from wavisor.http.templates.schemas import SendTemplate
from wavisor.ids import Kind, normalise_id
from wavisor.storage import Scope, TemplateRecord, templates

__all__ = ["router", "template_named"]

router = Router("templateSends", "Sending templates.")


@router.route(
    "POST",
    "/api/messages/template",
    operation="sendTemplate",
    summary="Send a template",
    access=Permission.MESSAGES_SEND,
    instance=InstanceFrom.HEADER,
    body=SendTemplate,
    responses={HTTPStatus.ACCEPTED: MessageModel},
    problems=(*SEND_PROBLEMS, *MEDIA_PROBLEMS),
    headers=SEND_HEADERS,
)
async def send_template(call: Call[SendTemplate, None]) -> Reply:
    """Accepts a template to be sent, with a value for each of its variables.

    A value that is missing, or that belongs to no variable, is named, and nothing is sent. The
    message is of the template's kind.
    """

    async def compose_template() -> Draft:
        body = call.body
        template = await template_named(call, body.template, body.version)
        return await compose(call, template.kind, body_of(template, body.variables, body))

    return await accept(call, call.instance, compose_template)


async def template_named(call: Call[Any, Any], name: str, version: int | None) -> TemplateRecord:
    """Return the tenant's template of this id or name.

    Raises:
        ProblemError: there is none, or not in this version.
    """
    scope = Scope(call.principal.subscription_id)
    database = call.services.database
    identifier = normalise_id(name, Kind.TEMPLATE)
    if identifier is None:
        found = await database.fetch(templates.find, scope, name, version)
    else:
        found = await database.fetch(templates.get, scope, identifier, version)
    if found is None:
        raise wrong("template", "is no template" if version is None else "has no such version")
    return found

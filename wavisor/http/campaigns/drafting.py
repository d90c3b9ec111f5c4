"""From a template and a recipient's values to the message that they get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from wavisor.http.messages.composing import Draft
from wavisor.http.messages.kinds import MEDIA_KINDS, compose, plain_content
from wavisor.http.messages.recipients import recipient_jid
from wavisor.http.messages.requests import SendBody
from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.http.routing import Call
from wavisor.http.templates.rendering import body_of
from wavisor.storage import InstanceRecord, NewRecipient, TemplateRecord
from wavisor.templating import Variable, sample_values
from wavisor.whatsapp.content import CONTENT

__all__ = ["Drafter", "file_of"]

_SOMEBODY = "+4915112345678"
_NOT_FOR_CAMPAIGNS = ("@newsletter", "@broadcast")


async def file_of(call: Call[Any, Any], template: TemplateRecord) -> Draft | None:
    """Take in the file that all messages of a campaign share; None where there is none.

    Raises:
        ProblemError: it cannot be had, or every recipient would get another one.
    """
    if template.kind not in MEDIA_KINDS:
        return None
    if "{{" in str(template.content.get("url")):
        problem = FieldProblem(
            detail="has a file that differs by recipient: send such messages one by one",
            pointer="#/template",
        )
        raise ProblemError(VALIDATION_FAILED, errors=[problem])
    variables = [Variable.model_validate(one) for one in template.variables]
    body = body_of(template, dict(sample_values(variables)), SendBody(to=_SOMEBODY))
    return await compose(call, template.kind, body)


@dataclass(frozen=True)
class Drafter:
    """Makes the messages of one campaign. Works without waiting, so also in a thread.

    Args:
        template: what they say.
        instance: one that sends them; its region completes national numbers.
        region: that region.
        file: what all of them share of a file, as JSON; None where there is none.
    """

    template: TemplateRecord
    instance: InstanceRecord
    region: str | None
    file: dict[str, Any] | None

    def draft(self, to: str, variables: Mapping[str, JsonValue]) -> NewRecipient:
        """Return what one recipient gets.

        Raises:
            ProblemError: number or values do not fit.
            ValueError: the same, of the number.
        """
        chat = recipient_jid(to, self.region)
        if chat.endswith(_NOT_FOR_CAMPAIGNS):
            raise ValueError("is neither a person nor a group")
        body = body_of(self.template, variables, SendBody(to=chat))
        plain = plain_content(self.template.kind, body, self.instance)
        if plain is not None:
            content, text = plain
            return NewRecipient(chat, to, CONTENT.dump_python(content, mode="json"), text)
        caption = getattr(body, "caption", None) or None
        return NewRecipient(chat, to, {**(self.file or {}), "caption": caption}, caption)

"""Wire models of templates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator

from wavisor.http.messages.requests import SendBody
from wavisor.http.schemas import ApiModel, Name, Time
from wavisor.storage import TemplateRecord
from wavisor.templating import Variable

__all__ = [
    "CreateTemplate",
    "PreviewTemplate",
    "RenderedTemplate",
    "SendTemplate",
    "TemplateKind",
    "TemplateModel",
    "UpdateTemplate",
    "VersionQuery",
    "template_model",
]

TemplateKind = Literal[
    "text",
    "image",
    "video",
    "audio",
    "voice",
    "document",
    "sticker",
    "location",
    "contact",
    "poll",
]
_VARIABLES = 50

Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Content = Annotated[
    dict[str, JsonValue],
    Field(
        min_length=1,
        description="What the request of `POST /api/messages/{kind}` says, without its recipient "
        "and options. Any text in it may have placeholders such as `{{name}}`.",
        examples=[{"text": "Hello {{name}}, your order {{number}} is ready."}],
    ),
]
Variables = Annotated[
    tuple[Variable, ...],
    Field(max_length=_VARIABLES, description="Every variable that the content uses."),
]
Values = Annotated[
    dict[str, JsonValue],
    Field(
        max_length=_VARIABLES,
        description="A value for every variable that has no default.",
        examples=[{"name": "Ada", "number": "A-17"}],
    ),
]


class CreateTemplate(ApiModel):
    """A new template."""

    name: Name
    description: Description | None = None
    kind: TemplateKind = "text"
    content: Content
    variables: Variables = ()


class UpdateTemplate(ApiModel):
    """What changes about a template. What is absent stays as it is.

    Kind, content or variables make a new version.
    """

    name: Name | None = None
    description: Description | None = None
    kind: TemplateKind | None = None
    content: Content | None = None
    variables: Variables | None = None

    @model_validator(mode="after")
    def _something(self) -> UpdateTemplate:
        if not self.model_fields_set:
            raise ValueError("must change something")
        for field in ("name", "kind", "content", "variables"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be null")
        return self

    @property
    def changes_version(self) -> bool:
        """Whether this makes a new version."""
        return bool(self.model_fields_set & {"kind", "content", "variables"})


class TemplateModel(ApiModel):
    """A template in one of its versions."""

    id: str
    name: str
    description: str | None
    version: int = Field(description="The one that `kind`, `content` and `variables` are of.")
    latest_version: int
    kind: TemplateKind
    content: dict[str, Any]
    variables: list[Variable]
    version_created_at: Time
    created_at: Time
    updated_at: Time


class VersionQuery(ApiModel):
    """Which version is meant."""

    version: int | None = Field(default=None, ge=1, description="The newest one by default.")


class PreviewTemplate(ApiModel):
    """Values to try a template with."""

    variables: Values = Field(default_factory=dict)
    version: int | None = Field(default=None, ge=1)


class RenderedTemplate(ApiModel):
    """What a template says with the values given."""

    kind: TemplateKind
    version: int
    content: dict[str, Any]


class SendTemplate(SendBody):
    """A template to be sent."""

    template: str = Field(min_length=1, max_length=100, description="Its id (`tpl_…`) or its name.")
    version: int | None = Field(default=None, ge=1, description="The newest one by default.")
    variables: Values = Field(default_factory=dict)


def template_model(record: TemplateRecord) -> TemplateModel:
    """Return the wire form of a template."""
    return TemplateModel(
        id=record.id,
        name=record.name,
        description=record.description,
        version=record.version,
        latest_version=record.latest_version,
        kind=record.kind,  # type: ignore[arg-type]  # only such are stored
        content=record.content,
        variables=[Variable.model_validate(one) for one in record.variables],
        version_created_at=record.version_created_at,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )

"""Messages with places for values, in all their versions."""

# ruff: noqa: D106 - Meta is where peewee looks for options

from __future__ import annotations

import peewee

from wavisor.storage.fields import JsonField, TextField, TimeField
from wavisor.storage.models.base import BaseModel
from wavisor.storage.models.tenancy import TenantModel

__all__ = ["Template", "TemplateVersion"]


class Template(TenantModel):
    """A message with places for values. ``version`` is the newest one; versions only grow."""

    id = TextField(primary_key=True)
    name = TextField()
    description = TextField(null=True)
    version = peewee.IntegerField()
    created_at = TimeField()
    updated_at = TimeField()

    class Meta:
        table_name = "templates"
        indexes = ((("subscription", "name"), True),)


class TemplateVersion(BaseModel):
    """What a template said in one of its versions; never changed."""

    template = peewee.ForeignKeyField(
        Template, on_delete="CASCADE", backref="+", lazy_load=False, index=False
    )
    template_id: str
    version = peewee.IntegerField()
    kind = TextField()
    content = JsonField()
    variables = JsonField()
    created_at = TimeField()

    class Meta:
        table_name = "template_versions"
        primary_key = peewee.CompositeKey("template", "version")

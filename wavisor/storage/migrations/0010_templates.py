"""Templates and their versions.

A copy of the models as they were then; it must not change with them.
"""

from __future__ import annotations

from typing import Any

import peewee

from wavisor.storage.fields import JsonField, TimeField


def up(migrator: Any, db: peewee.Database) -> None:
    """Create the tables."""

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Subscription(Base):
        id = peewee.TextField(primary_key=True)

        class Meta:
            table_name = "subscriptions"

    class Template(Base):
        subscription = peewee.ForeignKeyField(Subscription, on_delete="CASCADE", index=False)
        id = peewee.TextField(primary_key=True)
        name = peewee.TextField()
        description = peewee.TextField(null=True)
        version = peewee.IntegerField()
        created_at = TimeField()
        updated_at = TimeField()

        class Meta:
            table_name = "templates"
            indexes = ((("subscription", "name"), True),)

    class TemplateVersion(Base):
        template = peewee.ForeignKeyField(Template, on_delete="CASCADE", index=False)
        version = peewee.IntegerField()
        kind = peewee.TextField()
        content = JsonField()
        variables = JsonField()
        created_at = TimeField()

        class Meta:
            table_name = "template_versions"
            primary_key = peewee.CompositeKey("template", "version")

    for table in (Template, TemplateVersion):
        table.create_table(safe=False)

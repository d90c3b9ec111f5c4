"""Lists in the order of time, messages from before the link, one name for cards."""

from __future__ import annotations

from typing import Any

import peewee

_EPOCH = "'1970-01-01 00:00:00.000000+00:00'"


def up(migrator: Any, db: peewee.Database) -> None:
    """Add the columns, fill them, and let indexes follow the new order."""
    sqlite = isinstance(db, peewee.SqliteDatabase)
    time, truth = ("TEXT", "INTEGER") if sqlite else ("TIMESTAMPTZ", "BOOLEAN")
    for statement in (
        f"ALTER TABLE messages ADD COLUMN from_history {truth} NOT NULL DEFAULT FALSE",
        "UPDATE messages SET kind = 'contact' WHERE kind = 'contacts'",
        f"ALTER TABLE chats ADD COLUMN last_at {time} NOT NULL DEFAULT {_EPOCH}",
        "UPDATE chats SET last_at = COALESCE("
        "(SELECT created_at FROM messages WHERE position = chats.last_position), "
        "(SELECT MAX(created_at) FROM messages WHERE messages.instance_id = chats.instance_id"
        " AND messages.chat = chats.jid), known_since, last_at)",
        "DROP INDEX messages_instance_id_position",
        "DROP INDEX messages_instance_id_chat_position",
        "DROP INDEX messages_instance_id_created_at",
        "DROP INDEX messages_subscription_id_position",
        "DROP INDEX chats_instance_id_last_position",
        "DROP INDEX chats_subscription_id_last_position",
        *(
            f"CREATE INDEX {table}_{'_'.join(columns)} ON {table} ({', '.join(columns)})"
            for table, *columns in (
                ("messages", "instance_id", "created_at", "position"),
                ("messages", "instance_id", "chat", "created_at", "position"),
                ("messages", "subscription_id", "created_at", "position"),
                ("chats", "instance_id", "last_at", "last_position"),
                ("chats", "subscription_id", "last_at", "last_position"),
            )
        ),
    ):
        db.execute_sql(statement)

"""Tenant isolation as a property of the source: who reaches a tenant's rows without a scope."""

from __future__ import annotations

import ast
from pathlib import Path

from wavisor import storage
from wavisor.storage.models import TenantModel

STORAGE = Path(storage.__file__).parent
TENANT_MODELS = {model.__name__ for model in TenantModel.__subclasses__()}

# Everything else starts with `Scope`. A new name here is a decision: it serves no tenant's
# request, or it goes by a key that only its owner can know.
UNSCOPED = {
    # logging in, before there is a tenant
    "accounts.py": {
        "registration_allowed",
        "create_subscription_with_owner",
        "select_accounts",
        "update_password",
        "touch_login",
    },
    "tokens.py": {"revoke_all"},
    # by a token that only the invited has, before there is a tenant; housekeeping
    "invitations.py": {"_by_digest", "purge"},
    # what authentication noted; housekeeping
    "keys.py": {"_NOTE_USE", "purge"},
    # the actors' and the event bus's, which serve all tenants
    "events.py": {"_TAKE_NUMBERS", "read_after", "latest_position", "purge"},
    "instances.py": {"_FIND", "_transition", "count_by_status", "list_all"},
    "queue.py": {
        "_LEAVE",
        "_waiting",
        "_to_known",
        "_soonest",
        "overview",
        "activity",
        "list_sending",
    },
    "outcomes.py": {"_change", "mark_sent", "note_whatsapp_id", "expire_due"},
    "receipts.py": {"_SENT", "_advancing", "_dating"},
    "history.py": {"_known"},
    "inbound.py": {"_KNOWN", "_find", "_changed", "apply_sent"},
    "chat_addresses.py": {"_BY_ALIAS", "_BY_LID", "BY_JID", "merge"},
    "chats.py": {"_NOTE_CONTACT", "name", "note_read"},
    "numbers.py": {"_CHECKED", "settle"},
    "media.py": {"find_owner", "paths_in_use", "purge"},
    "downloads.py": {
        "changed",
        "_locked",
        "mark_stored",
        "_unless_stored",
        "attach",
        "list_users",
    },
    "idempotency.py": {"purge"},
    # the actor that releases the messages of all tenants' campaigns
    "campaign_release.py": {"_has", "_lock", "list_running", "_update"},
    # the platform's operator, who sees all tenants
    "platform.py": {
        "get_instance",
        "list_instances",
        "list_users",
        "suspended_instances",
    },
    "removal.py": {"purge", "_mend_chats", "_find_last"},
    "enqueueing.py": {"watched", "_endpoints"},
    "deliveries.py": {
        "_SETTLE",
        "last_position",
        "pending_streams",
        "find_endpoints",
        "due_endpoints",
        "next_due",
        "pull_in",
        "count_pending",
        "purge",
        "cancel_abandoned",
        "_parcels",
        "_judge",
        "_locked",
        "_first_instance",
    },
    # the operator's; removing a tenant must leave somebody who runs the platform
    "deletions.py": {"begin"},
}


def unscoped(path: Path) -> set[str]:
    """Names of the top-level definitions that query a tenant's table by its model."""
    found: set[str] = set()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            name = statement.name
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
        else:
            continue
        found |= {
            name
            for node in ast.walk(statement)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in TENANT_MODELS
            and node.attr
            in {"select", "update", "delete", "get", "get_or_none", "get_by_id", "raw", "join"}
        }
    return found


def test_tenants_rows_are_reached_through_a_scope() -> None:
    assert {"User", "Instance", "Event", "Message", "Chat", "Media", "ApiKey"} <= TENANT_MODELS
    actual = {path.name: names for path in STORAGE.glob("*.py") if (names := unscoped(path))}
    assert actual == UNSCOPED


def test_database_drivers_are_used_in_storage_only() -> None:
    package = STORAGE.parent
    # The key stores are the native client's own databases, not the gateway's.
    allowed = ["whatsapp/keystore.py"]
    offenders = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if STORAGE not in path.parents
        and any(
            isinstance(node, (ast.Import, ast.ImportFrom))
            and any(
                name.partition(".")[0] in {"peewee", "playhouse", "psycopg"}
                for name in (
                    [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else [alias.name for alias in node.names]
                )
            )
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert offenders == allowed

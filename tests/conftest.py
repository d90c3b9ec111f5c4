"""Fixtures that any test may ask for."""

from __future__ import annotations

from support.databases import (  # noqa: F401 - pytest finds fixtures by name
    database,
    database_url,
    empty_database_url,
    migrated_postgres_url,
    new_postgres_database,
    postgres_server,
    storage_clock,
)
from support.gateway import (  # noqa: F401 - likewise
    gateway,
    gateway_on_both,
    new_gateway,
)
from support.http import (  # noqa: F401 - likewise
    http,
    http_loop,
    http_on_both,
    new_http,
)
from support.live import (  # noqa: F401 - likewise
    live,
    local_whatsapp,
    mounted,
    new_live,
    owner,
    unscanned,
    whatsapp,
)

"""Queries carried out by the native client. Runs in session processes: imports neonize.

The library cannot be interrupted: a call to WhatsApp that gets no answer blocks for 75 s. So only
a few are made at once, and one that had to wait for its turn beyond its deadline is not made.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from neonize.client import NeonizeError
from neonize.exc import GetProfilePictureError

from wavisor.whatsapp.commands import Query
from wavisor.whatsapp.connection import Connection
from wavisor.whatsapp.events import Answer, Failure
from wavisor.whatsapp.failures import cause_of
from wavisor.whatsapp.native_addresses import NativeAddresses
from wavisor.whatsapp.native_groups import GroupQueries
from wavisor.whatsapp.native_people import PeopleQueries
from wavisor.whatsapp.query_failures import QueryRefusedError, failure_of_query

__all__ = ["NativeQueries"]

log = logging.getLogger(__name__)


class NativeQueries:
    """Carries out queries through one native client.

    Args:
        client: the neonize client.
        connection: whether it is logged in.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        client: Any,
        connection: Connection,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._now = now
        addresses = NativeAddresses(client)
        self._handlers = (
            PeopleQueries(client, addresses).handlers
            | GroupQueries(client, addresses, now).handlers
        )

    def accept(self, command: Query) -> Callable[[Query], Answer]:
        """Note when a query came; return what carries it out, maybe later and in another thread.

        That returns the query's answer, and blocks for as long as WhatsApp takes (75 s).
        """
        deadline = self._now() + command.timeout
        return lambda accepted: self._run(accepted, deadline)

    def _run(self, command: Query, deadline: float) -> Answer:
        if self._now() > deadline:
            detail = "too many queries were waiting for WhatsApp; this one was not asked"
            return _failed(command, Failure(reason="timeout", detail=detail))
        if not self._connection.connected:
            detail = "the session is not connected to WhatsApp"
            return _failed(command, Failure(reason="not_connected", detail=detail))
        try:
            result = self._handlers[type(command.query)](command.query)
        except QueryRefusedError as error:
            return _failed(command, error.failure)
        except NeonizeError as error:
            return _failed(command, failure_of_query(_text(error)))
        return Answer(
            instance=command.instance, id=command.id, result=result.model_dump(mode="json")
        )


def _failed(command: Query, failure: Failure) -> Answer:
    log.info("query %s: %s", command.query.kind, failure.reason)
    return Answer(instance=command.instance, id=command.id, failure=failure)


def _text(error: NeonizeError) -> str:
    if isinstance(error, GetProfilePictureError):
        answer: Any = error.args[0]  # it carries the whole answer
        return str(answer.Error)
    return cause_of(error)

"""What users, and the instance itself, ask WhatsApp; and changes that are no messages.

Part of the instance actor. Nothing here is stored: a query is answered, or fails, within its
time, and what became of one that was under way when the session ended is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from wavisor.actors.instance.lifecycle import Lifecycle
from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.messages import QueryFailedError, QueryForbiddenError
from wavisor.actors.instance.timers import NamedTimers
from wavisor.actors.supervisor import DeferredReply
from wavisor.domain import InstanceStatus
from wavisor.ids import Kind, new_id
from wavisor.whatsapp.commands import Query
from wavisor.whatsapp.events import Answer
from wavisor.whatsapp.queries import AnyQuery, result_type

__all__ = ["MAX_PENDING", "Outcome", "Questions"]

MAX_PENDING = 32
"""Queries of one instance that wait for WhatsApp; as many as a session process takes."""

_OVERDUE = "query_overdue:"


Outcome = Any | QueryFailedError
"""What became of a query of the instance's own: its result, or why there is none."""


class _Reply(Protocol):
    def set(self, value: Any) -> None: ...

    def fail(self, error: BaseException) -> None: ...


@dataclass(frozen=True)
class _Own:
    """Hands the outcome of the instance's own query to whoever asked."""

    then: Callable[[Outcome], None]

    def set(self, value: Any) -> None:
        self.then(value)

    def fail(self, error: BaseException) -> None:
        self.then(error)


@dataclass(frozen=True)
class _Pending:
    query: AnyQuery
    reply: _Reply


class Questions:
    """Asks queries of the session and answers those who asked; used only in the actor's thread.

    Args:
        lifecycle: tells the instance's status.
        link: the session to ask.
        timers: the actor's timers.
        timeout: seconds that WhatsApp has to answer.
        defer_reply: takes the answer to the message being handled upon itself.
    """

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        link: SessionLink,
        timers: NamedTimers,
        timeout: float,
        defer_reply: Callable[[], DeferredReply],
    ) -> None:
        self._life = lifecycle
        self._link = link
        self._timers = timers
        self._timeout = timeout
        self._defer_reply = defer_reply
        self._pending: dict[str, _Pending] = {}

    def ask(self, query: AnyQuery) -> None:
        """Ask; whoever asked is answered when WhatsApp has answered.

        Raises:
            QueryForbiddenError: the instance is not connected.
            QueryFailedError: too many queries are waiting, or the session takes none.
        """
        self._ask(query, self._timeout, self._defer_reply)

    def ask_for(
        self,
        query: AnyQuery,
        then: Callable[[Outcome], None],
        *,
        timeout: float | None = None,
    ) -> None:
        """Ask on the instance's own behalf.

        Args:
            query: what to ask.
            then: called once with the outcome, perhaps before this returns; must not raise.
            timeout: seconds that WhatsApp has to answer; None for as long as users wait.
        """
        try:
            self._ask(query, timeout or self._timeout, lambda: _Own(then))
        except QueryForbiddenError:
            then(QueryFailedError("not_connected", "the instance is not connected"))
        except QueryFailedError as error:
            then(error)

    def _ask(self, query: AnyQuery, timeout: float, make_reply: Callable[[], _Reply]) -> None:
        state = self._life.state
        if state.status is not InstanceStatus.CONNECTED or self._life.ending:
            raise QueryForbiddenError(state.status)
        if len(self._pending) >= MAX_PENDING:
            raise QueryFailedError("busy", "too many queries of this instance are under way")
        identifier = new_id(Kind.REQUEST)
        command = Query(instance=state.instance_id, id=identifier, query=query, timeout=timeout)
        if not self._link.send(command):
            raise QueryFailedError("not_connected", "the session takes no commands now")
        self._pending[identifier] = _Pending(query, make_reply())
        self._timers.set(f"{_OVERDUE}{identifier}", timeout)

    def on_answer(self, answer: Answer) -> bool:
        """Settle the query that the answer is for; False when it is for something else."""
        pending = self._pending.pop(answer.id, None)
        if pending is None:
            return False
        self._timers.cancel(f"{_OVERDUE}{answer.id}")
        failure = answer.failure
        if failure is not None:
            pending.reply.fail(QueryFailedError(failure.reason, failure.detail, failure.code))
            return True
        try:
            result = result_type(pending.query).model_validate(answer.result)
        except ValidationError:
            # Not its text, which quotes the answer.
            detail = "the session's answer cannot be read"
            pending.reply.fail(QueryFailedError("internal", detail))
            return True
        pending.reply.set(result)
        return True

    def on_tick(self, name: str) -> bool:
        """Give up a query that was not answered in time; False when the tick is another's."""
        if not name.startswith(_OVERDUE):
            return False
        pending = self._pending.pop(name.removeprefix(_OVERDUE), None)
        if pending is not None:
            detail = "WhatsApp did not answer in time; a change may have been made all the same"
            pending.reply.fail(QueryFailedError("timeout", detail))
        return True

    def on_session_gone(self) -> None:
        """Tell who still waits that nobody will answer any more."""
        gone, self._pending = self._pending, {}
        for identifier, pending in gone.items():
            self._timers.cancel(f"{_OVERDUE}{identifier}")
            detail = "the session ended; a change may have been made all the same"
            pending.reply.fail(QueryFailedError("not_connected", detail))

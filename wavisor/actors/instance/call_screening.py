"""Rejects calls where the instance's settings say so, and answers callers in writing.

The event of a call that is being rejected is told when that is settled, as it says how it went.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from pydantic import ValidationError

from wavisor.actors.instance import chat_payloads
from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.messages import QueryFailedError
from wavisor.actors.instance.questions import Outcome, Questions
from wavisor.actors.instance.settings import CallSettings
from wavisor.clock import Clock
from wavisor.domain import EventType
from wavisor.event_data.people import CallOffered as CallOfferedData
from wavisor.storage import (
    ClaimOutcome,
    EventRecord,
    NewEvent,
    NewMessage,
    NotFound,
    Party,
    QueueFull,
    Scope,
    chat_addresses,
    events,
    idempotency,
    messages,
)
from wavisor.whatsapp.content import CONTENT, Text
from wavisor.whatsapp.events import CallOffered
from wavisor.whatsapp.queries import RejectCall

__all__ = ["CallScreening"]

log = structlog.get_logger(__name__)

SETTLED_WITHIN = 10.0
"""Seconds for a rejection; then nobody is there to reject any more."""
_OVER_AFTER = timedelta(minutes=5)
"""A call that was offered so long ago, while there was no connection, is over."""
_ACCEPTED = 202


class CallScreening:
    """What one instance does about calls; used only in its actor's thread.

    Args:
        instance_id: who is called.
        scope: the instance's tenant.
        journal: writes events and replies.
        questions: asks the session.
        clock: what time it is.
        on_queued: called when a reply waits to be sent.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        scope: Scope,
        journal: Journal,
        questions: Questions,
        clock: Clock,
        on_queued: Callable[[], None],
    ) -> None:
        self._instance_id = instance_id
        self._scope = scope
        self._journal = journal
        self._questions = questions
        self._clock = clock
        self._on_queued = on_queued
        self._settings = CallSettings()
        self._rejecting: set[str] = set()  # bounded by the questions that may be pending

    def apply(self, settings: CallSettings) -> None:
        """Go by changed settings from the next call on."""
        self._settings = settings

    def on_offered(self, event: CallOffered) -> None:
        """Reject a call if it is to be rejected, and tell of it."""
        if event.call_id in self._rejecting:
            return  # repeated by WhatsApp; one rejection and one event are under way
        query = self._rejection(event)
        if query is None:
            self._settle(event, rejected=False)
            return
        self._rejecting.add(event.call_id)
        self._questions.ask_for(
            query, lambda outcome: self._on_outcome(event, outcome), timeout=SETTLED_WITHIN
        )

    def _rejection(self, event: CallOffered) -> RejectCall | None:
        if not self._settings.auto_reject or event.timestamp < self._clock.now() - _OVER_AFTER:
            return None
        try:
            return RejectCall(call=event.call_id, caller=event.caller.jid)
        except ValidationError:
            log.warning("a call names no caller to reject", instance=self._instance_id)
            return None

    def _on_outcome(self, event: CallOffered, outcome: Outcome) -> None:
        self._rejecting.discard(event.call_id)
        rejected = not isinstance(outcome, QueryFailedError)
        if not rejected:
            log.warning(
                "a call could not be rejected", instance=self._instance_id, reason=outcome.reason
            )
        self._settle(event, rejected=rejected)

    def _settle(self, event: CallOffered, *, rejected: bool) -> None:
        data = chat_payloads.call_offered(event, rejected=rejected)
        text = self._settings.reply_text
        if not rejected or event.group or text is None:
            self._journal.append(self._instance_id, EventType.CALL_OFFERED, data)
            return
        reply = _reply(event, text)
        try:
            records = self._journal.write(
                None, _tell_and_reply, self._scope, self._instance_id, event.call_id, data, reply
            )
        except (NotFound, QueueFull) as error:
            log.warning("no reply to a call", instance=self._instance_id, error=str(error))
            self._journal.append(self._instance_id, EventType.CALL_OFFERED, data)
            return
        self._journal.tell(tuple(records))
        self._on_queued()


def _reply(event: CallOffered, text: str) -> NewMessage:
    caller = chat_addresses.address_of(
        Party(event.caller.jid, event.caller.lid, event.caller.phone)
    )
    content = CONTENT.dump_python(Text(text=text), mode="json")
    return NewMessage(chat=caller.jid, kind="text", text=text, content=content)


def _tell_and_reply(
    scope: Scope, instance_id: str, call_id: str, data: CallOfferedData, reply: NewMessage
) -> list[EventRecord]:
    """Run in a write transaction: the event, and the reply unless that call has got one."""
    # No user's key has a blank in it, so none is ever taken for this one.
    key = f"reply to call {instance_id} {call_id}"
    claim = idempotency.begin(scope, key, key)
    if claim.outcome is ClaimOutcome.NEW and claim.token is not None:
        messages.enqueue(scope, instance_id, reply)
        idempotency.finish(scope, key, claim.token, status=_ACCEPTED, response=None)
    told = NewEvent(type=EventType.CALL_OFFERED.value, data=data)
    return events.append(instance_id, [told])

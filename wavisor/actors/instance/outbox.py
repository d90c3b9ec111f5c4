"""Sends the queued messages of one instance: one at a time, in order, each exactly once.

A message is marked ``sending`` on disk before it is handed to the session. So after a crash at
any moment a row says either that the message was never handed over, or that it may have been.
Then the session's own store tells whether it ever left; one that did is ``uncertain`` until a
receipt proves it, and is not repeated.
"""

from __future__ import annotations

import base64
import random
import secrets
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.messages import QueueFullError
from wavisor.actors.instance.number_checks import NumberChecks
from wavisor.actors.instance.observer import InstanceObserver
from wavisor.actors.instance.pacing import Pacer
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import pacing_of
from wavisor.actors.instance.retries import is_transient
from wavisor.actors.instance.settlement import Settlement
from wavisor.actors.instance.stranger_pause import QUEUE_RESUME, StrangerPause
from wavisor.actors.instance.timers import NamedTimers
from wavisor.clock import Clock
from wavisor.storage import InstanceRecord, MessageRecord, QueueFull, QueueLimits, Scope, messages
from wavisor.whatsapp.commands import SendMessage
from wavisor.whatsapp.content import CONTENT, SendOptions, with_paths
from wavisor.whatsapp.events import Answer, Failure, ReceiptReceived
from wavisor.whatsapp.port import SessionError

__all__ = ["PUMP", "SEND_OVERDUE", "Outbox"]

PUMP = "pump"
SEND_OVERDUE = "send_overdue"
STILL_CONNECTED = "still_connected"
LEFT_OVER = "left_over"

log = structlog.get_logger(__name__)

_SECRET_BYTES = 32
_LOOK_ANYWAY = timedelta(minutes=5)
"""The queue is looked at so often whatever is known of it: word of a message may have been lost
with the database's answer, and timers do not see that the time was set or the machine slept."""
_LEFT_OVER_SECONDS = 0.05
_LATE_ANSWERS = 20
_DOUBT_SECONDS = 5.0
"""After which a message is tried that the session did not take, if no event told of a loss: the
refusal of one connection may be told after the beginning of the next."""

FindMessage = Callable[[str], str | None]
"""Returns WhatsApp's id of the message that was sent with a secret; see ``SessionDriver``."""


class Outbox:
    """The send loop of one instance; used only in its actor's thread.

    Args:
        instance_id: whose messages they are.
        journal: reads and writes the rows.
        link: the session that sends.
        timers: the queue's own, which no end of a session cancels.
        observer: counts messages.
        clock: what time it is.
        rng: makes pauses and retries uneven.
        policy: how long an answer is waited for, and the default pace.
        media_root: the directory of the files that messages name.
        find_message: what the session's store knows of a message whose answer was lost.

    ``on_talk`` is told to which chat something was handed over.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        journal: Journal,
        link: SessionLink,
        timers: NamedTimers,
        observer: InstanceObserver,
        clock: Clock,
        rng: random.Random,
        policy: InstancePolicy,
        media_root: Path,
        find_message: FindMessage,
    ) -> None:
        self._instance_id = instance_id
        self._journal = journal
        self._link = link
        self._timers = timers
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._media_root = media_root
        self._find_message = find_message
        self._settlement = Settlement(instance_id, journal, observer)
        self._pacer = Pacer(clock, rng, policy.pacing)
        self._connected = False
        self._in_flight: MessageRecord | None = None
        self._left_over: list[MessageRecord] = []
        self._given_up: deque[str] = deque(maxlen=_LATE_ANSWERS)
        self.pause = StrangerPause(
            instance_id,
            pacer=self._pacer,
            settlement=self._settlement,
            timers=timers,
            clock=clock,
            on_over=self.pump_soon,
        )
        self.on_talk: Callable[[str], None] = lambda chat: None
        self.numbers: NumberChecks | None = None

    def restore(self, record: InstanceRecord) -> None:
        """Take up what the rows tell: settings, today's sends, a pause, what was under way."""
        self.apply(record.settings)
        self._pacer.on_linked(record.paired_at)
        self._pacer.restore(
            *self._journal.read(messages.activity, self._instance_id, self._pacer.day_began())
        )
        if record.queue_paused_until is not None:
            self.pause.restore(record.queue_paused_until, record.queue_pause_reason or "")
        self._left_over = self._journal.read(messages.list_sending, self._instance_id)
        self._settle_left_over()

    def _settle_left_over(self) -> None:
        """Decide about what was under way before, once nobody can send it any more.

        After a crash of the actor its session's process is being killed, and until it is gone
        what its store says about a message proves nothing. Nothing else is sent meanwhile, and
        the next session begins after that.
        """
        if self._left_over and self._link.predecessor_lives:
            self._timers.set(LEFT_OVER, _LEFT_OVER_SECONDS)
            return
        lost, self._left_over = self._left_over, []
        for message in lost:
            self._settle_lost(message, "the gateway stopped before WhatsApp answered")
        self.pump_soon()

    def apply(self, settings: dict[str, Any]) -> None:
        """Go by the instance's changed settings; takes effect with the next message."""
        self._pacer.apply(pacing_of(settings, self._policy.pacing))
        self.pump_soon()

    def on_paired(self, at: datetime) -> None:
        """Start the warm-up of a newly linked number; nothing holds its queue yet."""
        self._pacer.on_linked(at)
        self.pause.end()

    def on_connected(self) -> None:
        """Start sending what waits."""
        self._connected = True
        self._timers.cancel(STILL_CONNECTED)
        self.pump()

    def on_heard(self) -> None:
        """Look at what waits for strangers: who has just written is none any more."""
        clearance = self._pacer.clearance()
        if clearance.strangers > clearance.anybody:
            self.pump_soon()

    def on_disconnected(self) -> None:
        """Start nothing new; what was handed over may still be answered."""
        self._connected = False
        self._timers.cancel(STILL_CONNECTED)

    def on_session_gone(self) -> None:
        """Give up the message that was handed over: nobody will answer for it any more."""
        self.on_disconnected()
        message = self._take_in_flight()
        if message is not None:
            self._settle_lost(message, "the session ended before WhatsApp answered")

    def on_tick(self, name: str) -> None:
        """Act on a timer of the queue's."""
        if name == PUMP:
            self.pump()
        elif name == SEND_OVERDUE:
            self._on_overdue()
        elif name == QUEUE_RESUME:
            self.pause.on_tick()
        elif name == STILL_CONNECTED:
            self.on_connected()
        elif name == LEFT_OVER:
            self._settle_left_over()

    def pump(self) -> None:
        """Hand over the next message, if it is time and nothing is under way; else look later."""
        if self._in_flight is not None or self._left_over:
            return
        clearance, now = self._pacer.clearance(), self._clock.now()
        to_anybody = clearance.strangers <= now
        due = self._journal.read(messages.due, self._instance_id, new_contacts=to_anybody)
        if due.expired:
            self._settlement.expire()
            self.pump_soon()
        elif not self._connected or clearance.anybody > now:
            self._look_at(due.next_at, clearance.anybody if self._connected else None)
        elif due.message is None:
            self._look_at(due.next_at, None if to_anybody else clearance.strangers)
        else:
            self._hand_over(due.message, new_contact=due.new_contact)

    def _look_at(self, *moments: datetime | None) -> None:
        """Pump again at the earliest of these moments, or when something happens before."""
        known = [moment for moment in moments if moment is not None]
        if known or self._connected:
            now = self._clock.now()
            wait = (min(known, default=now + _LOOK_ANYWAY) - now).total_seconds()
            self._timers.set(PUMP, min(_LOOK_ANYWAY.total_seconds(), max(0.0, wait)))

    def pump_soon(self) -> None:
        """Look for the next message after what already waits in the actor's inbox."""
        self._timers.set(PUMP, 0.0)

    def _hand_over(self, message: MessageRecord, *, new_contact: bool) -> None:
        secret = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        begun = self._settlement.begin(message.id, secret)
        if begun is None:
            self.pump_soon()  # it was cancelled between the two; look at the next one
            return
        self._in_flight = begun
        if self.numbers is not None and self.numbers.needed(begun.chat):
            self.numbers.look_up(begun.chat, partial(self._on_number, begun))
        else:
            self._pass_on(begun, secret, new_contact=new_contact)

    def _on_number(self, message: MessageRecord, failure: Failure | None) -> None:
        """Go on with the message once WhatsApp told under which form it has the number."""
        if self._in_flight is not message:
            return  # given up with its session
        if failure is not None:
            self.on_answer(Answer(instance=self._instance_id, id=message.id, failure=failure))
            return
        # Its chat may have become another one, with a message that goes first.
        self._in_flight = None
        self._settlement.put_back(message.id)
        self.pump_soon()

    def _pass_on(self, begun: MessageRecord, secret: str, *, new_contact: bool) -> None:
        try:
            command = self._command(begun, secret)
            taken = self._link.send(command)
        except (ValidationError, ValueError):
            # What was stored by another version, or is larger than a frame may be.
            self._in_flight = None
            detail = "the message cannot be handed to the session"
            self._refuse(begun, Failure(reason="invalid", detail=detail))
            return
        if taken:
            self._pacer.on_handed_over(new_contact=new_contact)
            self._timers.set(SEND_OVERDUE, command.hand_over_within + self._policy.answer_timeout)
            self.on_talk(begun.chat)
        else:
            # Refused by the session's pipe, so it surely never left; it goes first next time.
            self._in_flight = None
            self._doubt_connection()
            self._settlement.put_back(begun.id)

    def _command(self, message: MessageRecord, secret: str) -> SendMessage:
        options = SendOptions.model_validate(message.options or {})
        # Those that were queued by an earlier version have absolute paths already.
        content = with_paths(
            CONTENT.validate_python(message.content), lambda path: str(self._media_root / path)
        )
        return SendMessage(
            instance=message.instance_id,
            id=message.id,
            to=message.chat,
            content=content,
            options=options,
            secret=secret,
            hand_over_within=self._policy.hand_over_within + options.typing_seconds,
        )

    def _refuse(self, message: MessageRecord, failure: Failure) -> None:
        answer = Answer(instance=self._instance_id, id=message.id, failure=failure)
        self._settlement.finish(message.id, answer)
        self.pump_soon()

    def on_answer(self, answer: Answer) -> bool:
        """Settle the message that the answer is about; False when it is about something else."""
        if self._in_flight is None or answer.id != self._in_flight.id:
            return self._on_late_answer(answer)
        message = self._in_flight
        self._take_in_flight()
        failure = answer.failure
        if failure is not None and failure.reason == "not_connected":
            # It was not even tried. It goes first when the instance is connected again, which
            # the session will tell, or has told already.
            self._doubt_connection()
            self._settlement.put_back(message.id)
            return True
        if failure is None or not self._try_later(message, failure):
            self._settlement.finish(message.id, answer)
        self.pump_soon()
        return True

    def _doubt_connection(self) -> None:
        # Lost for sure, by an event, it stays lost until another event.
        if self._connected:
            self._connected = False
            self._timers.set(STILL_CONNECTED, _DOUBT_SECONDS)

    def _on_late_answer(self, answer: Answer) -> bool:
        """Make use of an answer that came after it was given up; False when it is none."""
        if answer.id not in self._given_up:
            return False
        self._given_up.remove(answer.id)
        if answer.failure is None:
            self._settlement.finish(answer.id, answer)
        return True

    def _try_later(self, message: MessageRecord, failure: Failure) -> bool:
        """Put a message off that may go through later; False when it has failed for good."""
        delay = None
        if is_transient(failure):
            delay = self._policy.retries.delay(message.attempts, self._rng)
        now = self._clock.now()
        if failure.reason == "reach_out_timelock":
            until = now + timedelta(seconds=self._policy.reach_out_pause)
            self.pause.begin(until, failure.reason)
        elif failure.reason == "rate_limited":
            self._pacer.cool_down(delay or self._policy.retries.maximum)
        if delay is None:
            return False
        self._settlement.try_later(message.id, failure, now + timedelta(seconds=delay))
        return True

    def _on_overdue(self) -> None:
        """Give up a message that was not answered in time, and go on with the next."""
        message = self._take_in_flight()
        if message is not None:
            self._given_up.append(message.id)
            # Not in the session's store yet does not mean that it will never leave: the session
            # lives. So unlike after its end, that proves nothing.
            self._leave_open(message, "WhatsApp did not answer in time")
        self.pump_soon()

    def on_receipt(self, event: ReceiptReceived) -> None:
        """Move the messages of a receipt forward."""
        self._settlement.on_receipt(event, waiting=self._in_flight is not None)

    def cancel(self, scope: Scope, message_id: str) -> MessageRecord | None:
        """Take a queued message back; None when it is no longer queued."""
        cancelled = self._settlement.cancel(scope, message_id)
        self.pump_soon()
        return cancelled

    def retry(
        self, scope: Scope, message_id: str, *, uncertain: bool, limits: QueueLimits
    ) -> MessageRecord | None:
        """Queue a failed message again; None when it did not fail.

        Raises:
            QueueFullError: too many wait already.
        """
        try:
            again = self._settlement.retry(scope, message_id, uncertain=uncertain, limits=limits)
        except QueueFull as full:
            # One that a handler may answer with; any other would end this actor.
            raise QueueFullError(full) from full
        self.pump_soon()
        return again

    def _take_in_flight(self) -> MessageRecord | None:
        message, self._in_flight = self._in_flight, None
        self._timers.cancel(SEND_OVERDUE)
        return message

    def _settle_lost(self, message: MessageRecord, detail: str) -> None:
        """Decide about a message whose session is gone without an answer, by its key store.

        The client writes a message's id down there before the message leaves. So one that is not
        there never left, and may be sent again; not for ever, as it may be what ends sessions.
        """
        if not self._leave_open(message, detail, unless_never_left=True):
            return
        failure = Failure(reason="internal", detail=f"{detail}; it never left")
        if not self._try_later(message, failure):
            self._refuse(message, failure)

    def _leave_open(
        self, message: MessageRecord, detail: str, *, unless_never_left: bool = False
    ) -> bool:
        """Note that nobody can tell whether a message was sent, but perhaps its receipts.

        Args:
            message: which message.
            detail: why nobody can.
            unless_never_left: do nothing when the session's store proves that it never left.

        Returns:
            Whether nothing was done for that reason.
        """
        whatsapp_id = None
        proven = False
        if message.secret is not None:
            try:
                whatsapp_id = self._find_message(message.secret)
                proven = whatsapp_id is None
            except SessionError as error:
                log.warning("a lost answer", instance=self._instance_id, error=str(error))
        if proven and unless_never_left:
            return True
        self._settlement.leave_open(message.id, detail, whatsapp_id)
        return False

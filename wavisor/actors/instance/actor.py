"""The instance actor: takes users' commands, its session's events and its timers' ticks.

One thread, one instance. It never waits for its session: commands go down the pipe, answers come
back as messages, and whoever asked is answered then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from wavisor.actors.ask import tell
from wavisor.actors.instance.admission import Admission
from wavisor.actors.instance.call_screening import CallScreening
from wavisor.actors.instance.chat_names import ChatNames
from wavisor.actors.instance.downloads import Downloads
from wavisor.actors.instance.habits import Habits
from wavisor.actors.instance.history import HistoryKeeper
from wavisor.actors.instance.inbox import Inbox
from wavisor.actors.instance.journal import EventPublisher, Journal
from wavisor.actors.instance.lifecycle import Lifecycle
from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.liveness import PING_DUE, PING_OVERDUE, PROBE_DUE, PROBE_OVERDUE
from wavisor.actors.instance.messages import (
    CancelMessage,
    Connect,
    Delete,
    Deliver,
    Disconnect,
    FetchFiles,
    FileTakenIn,
    GetSnapshot,
    Logout,
    RequestPairingCode,
    Restart,
    RetryMessage,
    RoomReady,
    RunQuery,
    SessionEvent,
    SetSuspended,
    SettingsChanged,
    Tick,
)
from wavisor.actors.instance.number_checks import NumberChecks
from wavisor.actors.instance.observer import InstanceObserver, SilentInstanceObserver
from wavisor.actors.instance.online_presence import OnlinePresence
from wavisor.actors.instance.orders import LOGOUT_OVERDUE, PAIRING_CODE_OVERDUE, Orders
from wavisor.actors.instance.outbox import Outbox
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.questions import Questions
from wavisor.actors.instance.reactions import Reactions
from wavisor.actors.instance.read_receipts import ReadReceipts
from wavisor.actors.instance.settings import HistorySettings, proxy_of
from wavisor.actors.instance.start_gate import StartGate
from wavisor.actors.instance.state import InstanceState, state_of
from wavisor.actors.instance.timers import NamedTimers, TimerName
from wavisor.actors.supervisor import ChildContext, ExitReason, SupervisedActor
from wavisor.domain import Reason
from wavisor.media import MediaStore
from wavisor.storage import Database, QueueLimits, Scope, instances, platform
from wavisor.whatsapp.events import Answer, Event, Exited, Ready
from wavisor.whatsapp.port import SessionDriver

__all__ = ["InstanceActor", "InstanceServices"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class InstanceServices:
    """What all instance actors share."""

    database: Database
    driver: SessionDriver
    publish: EventPublisher
    gate: StartGate
    store: MediaStore
    """Where the files of messages are."""
    policy: InstancePolicy = field(default_factory=InstancePolicy)
    observer: InstanceObserver = field(default_factory=SilentInstanceObserver)
    queue_limits: QueueLimits = field(default_factory=QueueLimits)
    """How many messages may wait to be sent."""
    restore_stagger: float = 0.0
    """Mean pause in seconds between two instances that are brought back at boot."""


class InstanceActor(SupervisedActor):
    """Keeps one instance as its user wants it.

    Args:
        context: from the supervisor.
        instance_id: which instance; its row must exist when the actor starts.
        services: what all instance actors share.
        restore_within: the first actor of an instance waits a random part of so many seconds
            before it brings its session back, so that not all do at once.
    """

    def __init__(
        self,
        context: ChildContext,
        instance_id: str,
        services: InstanceServices,
        restore_within: float = 0.0,
    ) -> None:
        super().__init__(context)
        self._instance_id = instance_id
        self._services = services
        self._restore_within = restore_within
        self._env = context.environment
        self._ref = self.actor_ref
        clock, policy = self._env.clock, services.policy
        self._timers = NamedTimers(self._env.timers, self._post)
        # The queue's own: what is scheduled, or expires, does so whether or not there is a session.
        self._queue_timers = NamedTimers(self._env.timers, self._post)
        self._download_timers = NamedTimers(self._env.timers, self._post)
        self._journal = Journal(services.database, services.publish, clock, policy)
        self._link = SessionLink(services.driver, instance_id, self._on_session_event)
        self._outbox = Outbox(
            instance_id,
            journal=self._journal,
            link=self._link,
            timers=self._queue_timers,
            observer=services.observer,
            clock=clock,
            rng=self._env.rng,
            policy=policy,
            media_root=services.store.root.absolute(),
            find_message=partial(services.driver.find_message, instance_id),
        )
        self._downloads: Downloads
        self._life: Lifecycle
        self._reception: Inbox
        self._reactions: Reactions
        self._orders: Orders
        self._questions: Questions
        self._habits: Habits
        self._pid: int | None = None

    # Life of the actor

    def on_start(self) -> None:
        """Take the instance up where its row says it was left."""
        record = self._journal.read(instances.find, self._instance_id)
        if record is None:
            raise LookupError("the instance has no row")
        state = state_of(record)
        state.suspended = self._journal.read(platform.is_suspended, record.subscription_id)
        self._assemble(state, Scope(record.subscription_id))
        self._services.observer.on_status(self._instance_id, state.status, state.expected)
        self._outbox.restore(record)
        self._apply(record.settings)
        self._life.startup.proxy = proxy_of(record.settings)
        if self.generation == 1:
            self._life.restore(self._env.rng.uniform(0.0, self._restore_within))
        else:
            self._life.restore(0.0, Reason.ACTOR_RESTARTED)

    def on_shutdown(self) -> None:
        """Let the session end politely; the status stays as it is, to be restored at boot."""
        self._journal.close()
        if not self._link.open:
            self.exit(ExitReason.shutdown())
            return
        self._life.close()
        self._link.stop(self._services.policy.stop_grace)

    def on_exit(self, reason: ExitReason) -> None:
        """Leave nothing behind: no timer, no slot, no process."""
        self._timers.cancel_all()
        self._queue_timers.cancel_all()
        self._download_timers.cancel_all()
        self._services.gate.release(self._instance_id)
        self._link.kill()
        if self._pid is not None:
            self._services.observer.on_session_exit(self._pid, None)
        if hasattr(self, "_orders") and self._orders.deleting:
            self._services.observer.on_deleted(self._instance_id)

    def handle(self, message: Any) -> Any:
        """Handle one message; see ``messages`` for what each one answers."""
        answer = self._answer_to(message)
        self._orders.settle()
        return answer

    def _answer_to(self, message: Any) -> Any:
        match message:
            case SessionEvent():
                self._on_event(message)
            case Tick():
                if self._timers.accept(message):
                    self._on_tick(message.name)
                elif self._queue_timers.accept(message):
                    self._outbox.on_tick(message.name)
                elif self._download_timers.accept(message):
                    self._downloads.on_tick(message.name)
            case GetSnapshot():
                return self._life.snapshot()
            case Deliver():
                self._outbox.pump()
            case RunQuery():
                self._questions.ask(message.query)
            case SettingsChanged():
                self._outbox.apply(message.settings)
                self._apply(message.settings)
                self._orders.use_proxy(proxy_of(message.settings))
            case FetchFiles() | RoomReady() | FileTakenIn():
                self._downloads.on_message(message)
            case SetSuspended():
                self._orders.set_suspended(message.suspended)
            case CancelMessage():
                return self._outbox.cancel(message.scope, message.message_id)
            case RetryMessage():
                return self._outbox.retry(
                    message.scope,
                    message.message_id,
                    uncertain=message.uncertain,
                    limits=message.limits,
                )
            case Connect():
                return self._orders.connect()
            case Disconnect():
                return self._orders.disconnect()
            case Restart():
                return self._orders.restart()
            case Logout():
                self._orders.logout()
            case RequestPairingCode():
                self._orders.request_pairing_code(message.phone)
            case Delete():
                self._orders.delete()
            case _:
                return super().handle(message)  # refuses it
        return None

    # What happens

    def _on_event(self, message: SessionEvent) -> None:
        if not self._link.is_current(message.incarnation):
            return
        event = message.event
        if isinstance(event, Exited):
            pid, self._pid = self._pid, None
            self._services.observer.on_session_exit(pid, event.exit_code)
            if self._told_to_stop:
                self._link.forget()
                self._outbox.on_session_gone()
                self._questions.on_session_gone()
                self.exit(ExitReason.shutdown())
                return
            self._life.on_exited(event.exit_code, event.detail)
        elif isinstance(event, Answer):
            self._on_answer(event)
        else:
            if isinstance(event, Ready):
                self._pid = event.pid
            self._reactions.react(event)

    def _on_answer(self, answer: Answer) -> None:
        taken = (
            self._life.liveness.on_answer(answer)
            or self._outbox.on_answer(answer)
            or self._questions.on_answer(answer)
            or self._downloads.on_answer(answer)
        )
        if not taken:
            self._orders.on_answer(answer)

    def _on_tick(self, name: str) -> None:
        life = self._life
        match name:
            case TimerName.RESTORE | TimerName.RETRY:
                life.startup.check_network()
            case TimerName.NETWORK_UP:
                life.startup.on_network(up=True)
            case TimerName.NETWORK_DOWN | TimerName.NETWORK_SILENT:
                life.startup.on_network(up=False)
            case TimerName.SLOT_OVERDUE:
                life.startup.request_slot()
            case TimerName.SLOT:
                life.startup.start_session()
            case TimerName.CONNECT:
                life.give_up_start(Reason.CONNECT_TIMEOUT, "no login and no QR code in time")
            case TimerName.PAIRING:
                life.give_up_start(Reason.CONNECT_TIMEOUT, "no login in time after the pairing")
            case TimerName.GRACE:
                life.give_up_start(Reason.CONNECTION_LOST, "the connection did not come back")
            case TimerName.QR:
                self._reactions.on_qr_expired()
            case TimerName.EXIT:
                life.on_exit_overdue()
            case _ if name in {PING_DUE, PROBE_DUE}:
                life.liveness.on_due(name)
            case _ if name == PING_OVERDUE:
                self._reactions.lose_process()
            case _ if name == PROBE_OVERDUE:
                detail = "WhatsApp answers no query"
                self._reactions.lose_connection(Reason.KEEPALIVE_TIMEOUT, detail)
            case _ if name == PAIRING_CODE_OVERDUE:
                self._orders.on_pairing_code(None)
            case _ if name == LOGOUT_OVERDUE:
                self._orders.finish_logout("WhatsApp did not confirm the unlinking in time")
            case _:
                _ = self._habits.on_tick(name) or self._questions.on_tick(name)

    def _on_session_gone(self) -> None:
        self._outbox.on_session_gone()
        self._orders.on_session_gone()
        self._questions.on_session_gone()
        self._downloads.on_session_gone()

    # Small parts

    def _apply(self, settings: dict[str, Any]) -> None:
        self._habits.apply(settings)
        self._downloads.apply(settings)
        self._reception.apply(settings)
        self._link.history = HistorySettings.of(settings, self._services.policy.history)

    def _assemble(self, state: InstanceState, scope: Scope) -> None:
        services, env = self._services, self._env
        self._downloads = Downloads(
            self._instance_id,
            scope=scope,
            journal=self._journal,
            link=self._link,
            timers=self._download_timers,
            clock=env.clock,
            rng=env.rng,
            policy=services.policy.downloads,
            store=services.store,
            post=self._post,
        )
        self._life = Lifecycle(
            state=state,
            journal=self._journal,
            link=self._link,
            driver=services.driver,
            timers=self._timers,
            gate=services.gate,
            clock=env.clock,
            rng=env.rng,
            policy=services.policy,
            observer=services.observer,
        )
        self._life.on_session_gone = self._on_session_gone
        self._outbox.pause.on_changed = partial(setattr, state, "queue_pause")
        self._orders = Orders(
            lifecycle=self._life,
            outbox=self._outbox,
            journal=self._journal,
            link=self._link,
            timers=self._timers,
            clock=env.clock,
            policy=services.policy,
            defer_reply=self.defer_reply,
        )
        self._questions = Questions(
            lifecycle=self._life,
            link=self._link,
            timers=self._timers,
            timeout=services.policy.query_timeout,
            defer_reply=self.defer_reply,
        )
        self._outbox.numbers = NumberChecks(
            self._instance_id, journal=self._journal, questions=self._questions
        )
        admission = Admission(services.observer)
        self._habits = self._make_habits(scope, admission)
        self._reception = Inbox(
            self._instance_id,
            scope=scope,
            journal=self._journal,
            downloads=self._downloads,
            observer=services.observer,
        )
        self._reception.on_stored = self._habits.on_stored
        names = ChatNames(self._instance_id, journal=self._journal, questions=self._questions)
        self._outbox.on_talk = names.on_talk
        self._reactions = Reactions(
            lifecycle=self._life,
            outbox=self._outbox,
            inbox=self._reception,
            history=HistoryKeeper(
                self._instance_id,
                scope=scope,
                journal=self._journal,
                expected=partial(self._downloads.expected, past=True),
            ),
            admission=admission,
            habits=self._habits,
            downloads=self._downloads,
            names=names,
            journal=self._journal,
            timers=self._timers,
            clock=env.clock,
            policy=services.policy,
            observer=services.observer,
        )

    def _make_habits(self, scope: Scope, admission: Admission) -> Habits:
        questions, clock = self._questions, self._env.clock
        return Habits(
            admission=admission,
            receipts=ReadReceipts(
                self._instance_id,
                journal=self._journal,
                questions=questions,
                timers=self._timers,
                clock=clock,
            ),
            presence=OnlinePresence(self._instance_id, questions=questions, timers=self._timers),
            calls=CallScreening(
                self._instance_id,
                scope=scope,
                journal=self._journal,
                questions=questions,
                clock=clock,
                on_queued=self._outbox.pump_soon,
            ),
        )

    def _on_session_event(self, incarnation: str, event: Event) -> None:
        tell(self._ref, SessionEvent(incarnation, event))

    def _post(self, message: Tick | RoomReady | FileTakenIn) -> None:
        tell(self._ref, message)

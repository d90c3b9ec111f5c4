"""An instance actor with a scripted session, a real database and a clock that a test moves."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.declared import check_declared
from support.manual_clock import ManualClock
from wavisor.actors.ask import ask_sync
from wavisor.actors.event_bus import EventBus, EventHub, Published
from wavisor.actors.instance.actor import InstanceServices
from wavisor.actors.instance.messages import (
    Connect,
    GetSnapshot,
    InstanceSnapshot,
    SettingsChanged,
)
from wavisor.actors.instance.observer import SilentInstanceObserver
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import PacingSettings
from wavisor.actors.instance.start_gate import StartGate
from wavisor.actors.instance.supervisor import InstanceSupervisor, instance_spec
from wavisor.actors.supervisor import (
    ChildSpec,
    Environment,
    ExitReason,
    RootHandle,
    StartChild,
    Strategy,
    run_root,
)
from wavisor.domain import IgnoredChat, InstanceStatus, Reason, WantedState
from wavisor.media import MediaStore
from wavisor.storage import (
    AuditFilter,
    Database,
    EventRecord,
    Scope,
    accounts,
    audit,
    events,
    instances,
)
from wavisor.whatsapp.scripted import ScriptedDriver, ScriptedSession

TIMEOUT = 60.0


class CountingObserver(SilentInstanceObserver):
    def __init__(self) -> None:
        self.statuses: dict[str, tuple[InstanceStatus, WantedState]] = {}
        self.drops: list[Reason] = []
        self.reconnects: list[float] = []
        self.qr_shown = 0
        self.qr_limits = 0
        self.exits: list[int | None] = []
        self.ignored: list[IgnoredChat] = []

    def on_status(self, instance_id: str, status: InstanceStatus, wanted: WantedState) -> None:
        self.statuses[instance_id] = (status, wanted)

    def on_drop(self, instance_id: str, reason: Reason) -> None:
        self.drops.append(reason)

    def on_reconnected(self, seconds: float) -> None:
        self.reconnects.append(seconds)

    def on_qr_shown(self) -> None:
        self.qr_shown += 1

    def on_qr_limit(self) -> None:
        self.qr_limits += 1

    def on_session_exit(self, pid: int | None, exit_code: int | None) -> None:
        self.exits.append(exit_code)

    def on_ignored(self, chat: IgnoredChat) -> None:
        self.ignored.append(chat)


class InstanceLab:
    """A small gateway without HTTP. ``advance`` moves time; asking is the barrier."""

    def __init__(
        self,
        path: Path,
        *,
        policy: InstancePolicy | None = None,
        driver: ScriptedDriver | None = None,
        clock: ManualClock | None = None,
        slots: int = 100,
        url: str | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.driver = driver or ScriptedDriver(timers=self.clock)
        # Unpaced unless a test asks for a pace: time moves only by hand here.
        self.policy = policy or InstancePolicy(pacing=PacingSettings(enabled=False))
        self.hub = EventHub()
        self.seen: list[EventRecord] = []
        self.hub.subscribe(self.seen.append)
        self.observer = CountingObserver()
        self.database = Database(url or f"sqlite:///{path / 'lab.db'}", clock=self.clock)
        self.database.open()
        self.gate = StartGate(slots, 60.0, self.clock)
        self.environment = Environment(self.clock, self.clock, random.Random(7))
        self.store = MediaStore(path / "media")
        self.store.open()
        self.services = InstanceServices(
            database=self.database,
            driver=self.driver,
            store=self.store,
            publish=self._publish,
            gate=self.gate,
            policy=self.policy,
            observer=self.observer,
        )
        self._account: Any = None
        self.pause = threading.Event()
        self.root: RootHandle | None = None

    # The tree

    def start(self) -> None:
        children = [
            ChildSpec(id="events", start=lambda context: EventBus(context, self.hub)),
            ChildSpec(
                id="instances",
                start=lambda context: InstanceSupervisor(context, self.services),
                shutdown=10.0,
                start_timeout=30.0,
            ),
        ]
        self.root = run_root(children, environment=self.environment, strategy=Strategy.REST_FOR_ONE)
        self.root.started.result(TIMEOUT)

    def stop(self) -> ExitReason:
        """Stop the tree; time goes on meanwhile, for sessions that must be killed."""
        assert self.root is not None
        finished = self.root.stop()
        for _ in range(200):
            with suppress(TimeoutError):
                return finished.result(0.05)
            self.clock.advance(0.5)
        raise TimeoutError("the tree did not stop")

    def close(self) -> None:
        if self.root is not None and not self.root.finished.done():
            self.stop()
        self.database.close()
        self.store.close()
        check_declared(self.seen)

    def _publish(self, records: tuple[EventRecord, ...]) -> None:
        bus = self.environment.directory.find("events")
        if bus is not None:
            bus.tell(Published(records))

    # Rows

    @property
    def scope(self) -> Scope:
        if self._account is None:
            self._account = self.database.write_wait(
                accounts.create_subscription_with_owner,
                name="Lab",
                email="lab@example.com",
                password_hash="x",
            )
        return Scope(self._account.subscription.id)

    def create_row(self, name: str = "one") -> str:
        return self.database.write_wait(instances.create, self.scope, name=name).id

    def row(self, instance_id: str) -> Any:
        return self.database.read_wait(instances.find, instance_id)

    def set_row(self, instance_id: str, **changes: Any) -> None:
        self.database.write_wait(instances.record_transition, instance_id, changes, [])

    def stored_events(self, instance_id: str) -> list[EventRecord]:
        page = self.database.read_wait(events.list_for_instance, self.scope, instance_id, limit=200)
        return list(reversed(page.items))

    def audit_of(self, instance_id: str) -> list[Any]:
        page = self.database.read_wait(audit.list_page, AuditFilter(target=instance_id), limit=200)
        return list(page.items)

    # Instances

    def create(self, name: str = "one") -> str:
        instance_id = self.create_row(name)
        supervisor = self.environment.directory.find("instances")
        ask_sync(supervisor, StartChild(instance_spec(instance_id, self.services)), TIMEOUT)
        return instance_id

    def ref(self, instance_id: str) -> Any:
        ref = self.environment.directory.find(f"instances/{instance_id}")
        assert ref is not None, "the instance has no running actor"
        return ref

    def wait_for_actor(self, instance_id: str, *, other_than: Any = None) -> None:
        """Let time pass until the instance has a running actor (other than a dead one)."""
        for _ in range(1000):
            ref = self.environment.directory.find(f"instances/{instance_id}")
            if ref is not None and ref is not other_than and ref.is_alive():
                return
            self.pause.wait(0.01)
            self.clock.advance(0.1)
        raise TimeoutError("the instance got no actor")

    def ask(self, instance_id: str, message: Any) -> Any:
        return ask_sync(self.ref(instance_id), message, TIMEOUT)

    def look(self, instance_id: str) -> InstanceSnapshot:
        """The state after everything told so far, and what it told itself, was handled."""
        for _ in range(4):
            snapshot = self.ask(instance_id, GetSnapshot())
        return snapshot

    def advance(self, instance_id: str, seconds: float) -> InstanceSnapshot:
        self.clock.advance(seconds)
        return self.look(instance_id)

    def let_send_be_overdue(self, instance_id: str) -> None:
        """Let pass what a send has; in steps, so that the session's pings are answered."""
        patience = self.policy.hand_over_within + self.policy.answer_timeout
        for _ in range(int(patience / 4.0) + 1):
            self.advance(instance_id, 4.0)

    def session(self, instance_id: str) -> ScriptedSession:
        return self.driver.latest(instance_id)

    def connect(self, instance_id: str) -> ScriptedSession:
        """Ask for a connection and return the session that was opened for it."""
        before = len(self.driver.sessions)
        self.ask(instance_id, Connect())
        self.driver.wait_for(before + 1)
        self.look(instance_id)
        return self.session(instance_id)

    def configure(self, instance_id: str, settings: dict[str, Any]) -> None:
        """Change settings of an instance as PATCH does, and let its actor know."""
        _, record = self.database.write_wait(
            instances.update, self.scope, instance_id, settings=settings
        )
        self.ref(instance_id).tell(SettingsChanged(record.settings))
        self.look(instance_id)

    def link(self, instance_id: str, jid: str = "15550100:1@s.whatsapp.net") -> ScriptedSession:
        """Take a new instance all the way to connected."""
        session = self.connect(instance_id)
        session.show_qr()
        session.pair(jid)
        session.connect(jid)
        assert self.look(instance_id).status is InstanceStatus.CONNECTED
        return session

    def statuses(self, instance_id: str) -> list[str]:
        """The new statuses that were published, in order."""
        return [
            record.data["new"]
            for record in self.stored_events(instance_id)
            if record.type == "instance:status:changed"
        ]


@contextmanager
def instance_lab(path: Path, **kwargs: Any) -> Iterator[InstanceLab]:
    lab = InstanceLab(path, **kwargs)
    try:
        lab.start()
        yield lab
    finally:
        lab.close()

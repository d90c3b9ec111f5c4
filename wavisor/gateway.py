"""Builds the parts of a gateway from its settings and puts them together.

Nothing here decides anything at run time; ``main`` tells in which order it all starts and stops.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from wavisor import metrics
from wavisor.actors.ask import tell
from wavisor.actors.campaigns import CAMPAIGNS, Campaigns
from wavisor.actors.event_bus import EventBus, EventHub, Published
from wavisor.actors.housekeeping import Housekeeping, Retention
from wavisor.actors.instance.actor import InstanceServices
from wavisor.actors.instance.download_policy import DownloadPolicy
from wavisor.actors.instance.journal import EventPublisher
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.queue_settings import PacingSettings, WarmUp
from wavisor.actors.instance.reconnect import ReconnectPolicy
from wavisor.actors.instance.settings import HistorySettings
from wavisor.actors.instance.start_gate import StartGate
from wavisor.actors.instance.supervisor import InstanceSupervisor
from wavisor.actors.instances import SupervisedInstances
from wavisor.actors.media_upkeep import MediaUpkeep
from wavisor.actors.removals import REMOVALS, LookForRemovals, Removal, Removals
from wavisor.actors.supervisor import (
    ChildInfo,
    ChildSpec,
    Environment,
    Intensity,
    RootHandle,
    Strategy,
    run_root,
)
from wavisor.actors.suspensions import SUSPENSIONS, Suspensions
from wavisor.actors.webhooks import WebhookDispatcher
from wavisor.clock import Clock, SystemClock, ThreadedTimers
from wavisor.config import Settings, jwt_secret
from wavisor.connector import Connector
from wavisor.domain import EventType
from wavisor.http import HttpServer, Services, make_application
from wavisor.http.actor import HttpActor
from wavisor.media import MediaStore
from wavisor.netguard import TargetRule
from wavisor.observers import (
    ActorObserver,
    InstanceObserver,
    LoopLagMonitor,
    WebhookObserver,
    observe_mailboxes,
)
from wavisor.queue_observer import QueueObserver
from wavisor.storage import Database, EventRecord, QueueLimits
from wavisor.webhooks import Courier, Dispatcher, DispatchPolicy, Doorbell
from wavisor.whatsapp.driver import NeonizeDriver, Redirect
from wavisor.whatsapp.port import SessionDriver

__all__ = ["Gateway", "instance_policy"]

_EVENTS = "events"
_INSTANCES = "instances"

_HTTP_GRACE = 3.0
"""Seconds that requests in flight get at a stop."""


def instance_policy(settings: Settings) -> InstancePolicy:
    """Return the figures of instances as the settings have them."""
    return InstancePolicy(
        connect_timeout=settings.connect_timeout_seconds,
        pairing_timeout=settings.pairing_timeout_seconds,
        ping_interval=settings.liveness_ping_interval_seconds,
        ping_timeout=settings.liveness_ping_timeout_seconds,
        probe_interval=settings.liveness_probe_interval_seconds,
        probe_timeout=settings.liveness_probe_timeout_seconds,
        stop_grace=settings.session_stop_grace_seconds,
        hand_over_within=settings.send_hand_over_seconds,
        history=HistorySettings(per_chat=settings.history_per_chat, total=settings.history_total),
        pacing=PacingSettings(
            enabled=settings.pacing_enabled,
            messages_per_minute=settings.pacing_messages_per_minute,
            warm_up=WarmUp(days=settings.pacing_warm_up_days),
        ),
        downloads=DownloadPolicy(max_bytes=settings.media_download_limit_bytes),
        reach_out_pause=settings.reach_out_pause_seconds,
        backoff_reset_after=settings.backoff_reset_after_seconds,
        reconnect=ReconnectPolicy(
            initial=settings.backoff_initial_seconds, maximum=settings.backoff_maximum_seconds
        ),
        crash_budget=Intensity(
            max_restarts=settings.instance_max_restarts,
            period=settings.instance_restart_period_seconds,
        ),
    )


@dataclass
class Gateway:
    """The parts of one gateway. Made by :meth:`build`; started and stopped part by part.

    ``root`` is None until :meth:`start_actors`.
    """

    settings: Settings
    clock: Clock
    database: Database
    driver: SessionDriver
    timers: ThreadedTimers
    hub: EventHub
    environment: Environment
    instances: InstanceServices
    observer: InstanceObserver
    lag: LoopLagMonitor
    media: MediaStore
    webhooks: DispatchPolicy
    doorbell: Doorbell = field(default_factory=Doorbell)
    server: HttpServer | None = None
    root: RootHandle | None = None

    @classmethod
    def build(
        cls,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        *,
        redirect: Redirect | None = None,
        driver: SessionDriver | None = None,
    ) -> Gateway:
        """Put the parts together; nothing is opened or started yet.

        Args:
            settings: as loaded.
            loop: the loop that serves and talks to the session processes.
            redirect: the local WhatsApp to use; None for the real one.
            driver: what opens sessions, instead of the neonize driver; for tests.
        """
        clock = SystemClock()
        timers = ThreadedTimers(clock)
        hub = EventHub()
        environment = Environment(
            clock=clock,
            timers=timers,
            rng=random.SystemRandom(),
            observer=ActorObserver(),
        )
        database = _database(settings, clock)
        observer = InstanceObserver(
            clock,
            label=settings.metrics_instance_label,
            label_limit=settings.metrics_instance_label_limit,
        )
        if driver is None:
            driver = NeonizeDriver(
                loop,
                settings.data_dir / "sessions",
                store_url=settings.session_store_url,
                redirect=redirect,
                proxy_rule=TargetRule(allow_private=settings.proxy_allow_private),
            )
        policy = instance_policy(settings)
        media = MediaStore(settings.data_dir / "media")
        services = InstanceServices(
            database=database,
            driver=driver,
            publish=_publisher(environment),
            store=media,
            gate=StartGate(settings.restore_concurrency, 3 * policy.connect_timeout, clock),
            policy=policy,
            observer=observer,
            queue_limits=QueueLimits(
                settings.queue_limit_per_instance, settings.queue_limit_per_tenant
            ),
            restore_stagger=settings.restore_stagger_seconds,
        )
        return cls(
            settings=settings,
            clock=clock,
            database=database,
            driver=driver,
            timers=timers,
            hub=hub,
            environment=environment,
            instances=services,
            observer=observer,
            lag=LoopLagMonitor(loop),
            media=media,
            webhooks=DispatchPolicy(concurrency=settings.webhooks_concurrency),
        )

    def make_dispatcher(self) -> Dispatcher:
        """Return a new run of deliveries to webhooks."""
        settings = self.settings
        rule = TargetRule(allow_private=settings.webhooks_allow_private)
        return Dispatcher(
            self.database,
            Courier(Connector(rule), seconds=settings.webhooks_timeout_seconds),
            self.webhooks,
            clock=self.clock,
            timers=self.timers,
            rng=self.environment.rng,
            publish=self.instances.publish,
            observer=WebhookObserver(),
        )

    def make_removal(self, files: MediaUpkeep) -> Removal:
        """Return a new run of removals of subscriptions."""
        return Removal(
            database=self.database,
            sessions=self._supervised_instances(),
            media=self.media,
            files=files,
            on_endpoint_gone=self.doorbell.ring,
        )

    def _supervised_instances(self) -> SupervisedInstances:
        directory = self.environment.directory
        return SupervisedInstances(directory, _INSTANCES, self.instances, self.clock)

    def _look_for_removals(self) -> None:
        removals = self.environment.directory.find(REMOVALS)
        if removals is not None:
            tell(removals, LookForRemovals())

    def make_server(self) -> HttpServer:
        """Return a new HTTP server on the configured address."""
        if self.server is not None:
            # The first one was made early and already listens: a taken port is known at once.
            server, self.server = self.server, None
            return server
        services = Services(
            settings=self.settings,
            database=self.database,
            instances=self._supervised_instances(),
            subscribe=self.hub.subscribe,
            clock=self.clock,
            media=self.media,
            jwt_secret=jwt_secret(self.settings),
            queue_limits=self.instances.queue_limits,
            tree=self.tree,
            webhooks_changed=self.doorbell.ring,
            removals_wanted=self._look_for_removals,
        )
        return HttpServer(make_application(services), self.settings.host, self.settings.port)

    def listen(self) -> int:
        """Take the port without serving yet; return it.

        Raises:
            ListenError: the port is taken or not allowed.
        """
        server = self.make_server()
        port = server.listen()
        self.server = server
        return port

    def start_actors(self, loop: asyncio.AbstractEventLoop) -> RootHandle:
        """Start the supervision tree: events, webhooks, housekeeping, instances, HTTP."""
        settings, services = self.settings, self.instances
        retention = Retention(
            events=timedelta(days=settings.event_retention_days),
            audit=timedelta(days=settings.audit_retention_days),
            messages=timedelta(days=settings.message_retention_days) or None,
            deliveries=timedelta(days=settings.webhooks_log_days),
        )
        kept = timedelta(days=settings.media_retention_days) or None
        files = MediaUpkeep(self.database, self.media, kept)
        children = [
            ChildSpec(
                id=_EVENTS,
                kind="event_bus",
                start=lambda context: EventBus(context, self.hub, _count_event),
            ),
            ChildSpec(
                id="webhooks",
                start=lambda context: WebhookDispatcher(
                    context, loop, self.make_dispatcher, self.doorbell, self.hub
                ),
            ),
            ChildSpec(
                id="housekeeping",
                start=lambda context: Housekeeping(context, self.database, retention, files),
            ),
            ChildSpec(
                id=_INSTANCES,
                start=lambda context: InstanceSupervisor(context, services),
                shutdown=services.policy.stop_grace + 4.0,
                start_timeout=40.0,
            ),
            ChildSpec(
                id=CAMPAIGNS,
                start=lambda context: Campaigns(
                    context,
                    self.database,
                    _publisher(self.environment),
                    services.queue_limits,
                    _INSTANCES,
                ),
            ),
            ChildSpec(
                id=SUSPENSIONS,
                start=lambda context: Suspensions(context, self.database, _INSTANCES),
            ),
            ChildSpec(
                id=REMOVALS,
                start=lambda context: Removals(context, loop, lambda: self.make_removal(files)),
            ),
            ChildSpec(
                id="http",
                start=lambda context: HttpActor(context, loop, self.make_server, _HTTP_GRACE),
                shutdown=_HTTP_GRACE + 2.0,
            ),
        ]
        self.root = run_root(children, environment=self.environment, strategy=Strategy.REST_FOR_ONE)
        stop_observing = metrics.before_scrape(lambda: observe_mailboxes(_mailboxes(self.tree())))
        queues = QueueObserver(self.database, self.clock, self.observer.label_of)

        def on_finished(_: object) -> None:
            stop_observing()
            queues.close()

        self.root.finished.add_done_callback(on_finished)
        return self.root

    def tree(self) -> ChildInfo | None:
        """Return the supervision tree as it is now; None before it was started."""
        return self.root.tree() if self.root is not None else None


def _database(settings: Settings, clock: Clock) -> Database:
    url = settings.effective_database_url
    embedded = url.startswith("sqlite")
    size = settings.database_readers if embedded else max(1, settings.database_pool_size // 2)
    return Database(
        url,
        clock=clock,
        read_threads=size,
        write_threads=size,
        queue_limit=settings.database_queue_limit,
        busy_timeout=settings.database_busy_timeout_seconds,
        on_query=lambda kind, seconds: metrics.observe_database(metrics.DatabaseJob(kind), seconds),
    )


def _publisher(environment: Environment) -> EventPublisher:
    def publish(records: tuple[EventRecord, ...]) -> None:
        # A bus that is being restarted takes the feed's server along, whose clients then read
        # on from the last event they saw: nothing is lost by not waiting for it here.
        bus = environment.directory.find(_EVENTS)
        if bus is not None:
            tell(bus, Published(records))

    return publish


def _count_event(event_type: str) -> None:
    metrics.observe_event(EventType(event_type))


def _mailboxes(info: ChildInfo | None) -> Iterator[tuple[str, int]]:
    if info is None:
        return
    yield info.kind, info.inbox_depth
    for child in info.children:
        yield from _mailboxes(child)

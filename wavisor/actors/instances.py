"""What HTTP handlers use to reach instances: awaitable, never blocking, every call bounded."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

import pykka
from pydantic import BaseModel

from wavisor.actors.ask import ActorUnavailableError, ask, tell
from wavisor.actors.campaigns import CAMPAIGNS, LookAtCampaigns
from wavisor.actors.instance.actor import InstanceServices
from wavisor.actors.instance.journal import StorageBusyError
from wavisor.actors.instance.messages import (
    CancelMessage,
    Connect,
    Delete,
    Deliver,
    Disconnect,
    FetchFiles,
    GetSnapshot,
    InstanceSnapshot,
    Logout,
    PairingCode,
    QueueFullError,
    RequestPairingCode,
    Restart,
    RetryMessage,
    RunQuery,
    SettingsChanged,
)
from wavisor.actors.instance.qr import QrCounter
from wavisor.actors.instance.state import state_without_actor
from wavisor.actors.instance.supervisor import instance_spec
from wavisor.actors.supervisor import (
    ChildAbandonedError,
    ChildStartError,
    DeleteChild,
    Directory,
    DuplicateChildError,
    RestartChild,
    StartChild,
    SupersededError,
    SupervisorStoppingError,
    TooManyChildrenError,
    UnknownChildError,
)
from wavisor.actors.suspensions import SUSPENSIONS, LookNow
from wavisor.clock import Clock
from wavisor.storage import MessageRecord, Scope, StorageError
from wavisor.storage import instances as instance_rows
from wavisor.whatsapp.queries import QUERIES, QueryModel, result_type

__all__ = ["InstanceUnavailableError", "Instances", "SupervisedInstances"]


ResultT = TypeVar("ResultT", bound=BaseModel)


class InstanceUnavailableError(Exception):
    """The instance's actor did not answer in time or is being restarted; HTTP answers 503."""


class Instances(Protocol):
    """The running instances, by id. The caller has already checked whose instance it is.

    Every method raises :class:`InstanceUnavailableError` when there is no answer in time, and
    commands raise :class:`~wavisor.actors.instance.messages.CommandForbiddenError` when the
    status forbids them.
    """

    async def start(self, instance_id: str) -> InstanceSnapshot:
        """Start the actor of an instance whose row was just created."""
        ...

    async def snapshot(self, instance_id: str) -> InstanceSnapshot:
        """Return the present state, from memory: no query."""
        ...

    async def connect(self, instance_id: str) -> InstanceSnapshot:
        """Want it connected; returns at once with the status that follows."""
        ...

    async def disconnect(self, instance_id: str) -> InstanceSnapshot:
        """Want it disconnected, keeping the keys."""
        ...

    async def restart(self, instance_id: str) -> InstanceSnapshot:
        """Replace its session process by a new one."""
        ...

    async def logout(self, instance_id: str) -> InstanceSnapshot:
        """Unlink the device; returns when its keys are gone."""
        ...

    async def pairing_code(self, instance_id: str, phone: str) -> PairingCode:
        """Get a code for linking by phone number.

        Raises:
            PairingFailedError: WhatsApp gave none.
        """
        ...

    async def query(self, instance_id: str, query: QueryModel[ResultT]) -> ResultT:
        """Ask WhatsApp something, or change what is no message; returns what it answered.

        Raises:
            QueryForbiddenError: the instance is not connected.
            QueryFailedError: there is no result; says why.
        """
        ...

    async def delete(self, instance_id: str) -> None:
        """End session and actor and remove the keys; the caller then deletes the row."""
        ...

    async def forget(self, instance_id: str) -> None:
        """End the actor that another request may have started before the row was deleted."""
        ...

    def deliver(self, instance_id: str) -> None:
        """Hint that a message was queued; returns at once, never raises."""
        ...

    def fetch_files(self, instance_id: str) -> None:
        """Hint that a file is to be fetched; returns at once, never raises."""
        ...

    async def cancel_message(
        self, scope: Scope, instance_id: str, message_id: str
    ) -> MessageRecord | None:
        """Take the tenant's queued message back; None when it is no longer queued."""
        ...

    async def retry_message(
        self, scope: Scope, instance_id: str, message_id: str, *, uncertain: bool = False
    ) -> MessageRecord | None:
        """Queue the tenant's failed message again; None when it has not failed.

        Args:
            scope: the tenant.
            instance_id: whose message.
            message_id: which message.
            uncertain: also one that may have been sent, which then may be sent twice.

        Raises:
            QueueFull: too many wait already.
        """
        ...

    def settings_changed(self, instance_id: str, settings: dict[str, Any]) -> None:
        """Tell an instance its settings as they are now; returns at once, never raises."""
        ...

    def suspensions_changed(self) -> None:
        """Hint that a subscription was suspended, or is no longer; returns at once."""
        ...

    def campaigns_changed(self) -> None:
        """Hint that a campaign was started, paused or cancelled; returns at once."""
        ...


class SupervisedInstances:
    """:class:`Instances` on top of the supervision tree.

    Args:
        directory: finds the actor that is running for an instance now.
        supervisor_path: where the supervisor of instances is found in it.
        services: what all instance actors share.
        clock: tells the time.
        timeout: seconds that an actor has to answer.
        slow_timeout: seconds that a command has which waits for WhatsApp or for a process.
    """

    def __init__(
        self,
        directory: Directory,
        supervisor_path: str,
        services: InstanceServices,
        clock: Clock,
        *,
        timeout: float = 10.0,
        slow_timeout: float = 45.0,
    ) -> None:
        self._directory = directory
        self._supervisor_path = supervisor_path
        self._services = services
        self._clock = clock
        self._timeout = timeout
        self._slow_timeout = slow_timeout

    async def start(self, instance_id: str) -> InstanceSnapshot:
        """Start the actor of an instance whose row was just created."""
        # Kept: a start that fails is tried again, because the row is there to stay.
        await self._start_child(instance_id, keep=True)
        return await self.snapshot(instance_id)

    async def snapshot(self, instance_id: str) -> InstanceSnapshot:
        """Return the present state from memory, or from its row while its actor is down."""
        ref = self._find(instance_id)
        if ref is not None:
            return _snapshot(await self._ask(ref, GetSnapshot(), self._timeout))
        record = await self._services.database.fetch(instance_rows.find, instance_id)
        if record is None:
            raise InstanceUnavailableError("the instance is gone")
        return state_without_actor(record).snapshot(QrCounter(), self._clock.now())

    async def connect(self, instance_id: str) -> InstanceSnapshot:
        """Want it connected."""
        return await self._command(instance_id, Connect())

    async def disconnect(self, instance_id: str) -> InstanceSnapshot:
        """Want it disconnected, keeping the keys."""
        return await self._command(instance_id, Disconnect())

    async def restart(self, instance_id: str) -> InstanceSnapshot:
        """Replace its session process by a new one."""
        return await self._command(instance_id, Restart())

    async def logout(self, instance_id: str) -> InstanceSnapshot:
        """Unlink the device; returns when its keys are gone."""
        return await self._command(instance_id, Logout(), self._slow_timeout)

    async def pairing_code(self, instance_id: str, phone: str) -> PairingCode:
        """Get a code for linking by phone number."""
        ref = await self._running(instance_id)
        answer = await self._ask(ref, RequestPairingCode(phone), self._slow_timeout)
        assert isinstance(answer, PairingCode)  # noqa: S101 - what the actor promises
        return answer

    async def query(self, instance_id: str, query: QueryModel[ResultT]) -> ResultT:
        """Ask WhatsApp something, or change what is no message; returns what it answered."""
        ref = await self._running(instance_id)
        # The actor answers sooner, with a failure that says more than that it did not answer.
        answer = await self._ask(ref, RunQuery(QUERIES.validate_python(query)), self._slow_timeout)
        assert isinstance(answer, result_type(query))  # noqa: S101 - what the actor promises
        return cast(ResultT, answer)

    async def delete(self, instance_id: str) -> None:
        """End session and actor and remove the keys; the caller then deletes the row."""
        try:
            ref = await self._running(instance_id)
            await self._ask(ref, Delete(), self._slow_timeout)
        except InstanceUnavailableError:
            # Somebody else's deletion may have been quicker: an actor cannot go on without a row.
            row = await self._services.database.fetch(instance_rows.find, instance_id)
            if row is not None:
                raise
        await self.forget(instance_id)

    async def forget(self, instance_id: str) -> None:
        """Let no actor be left of an instance whose row is gone."""
        with suppress(UnknownChildError):
            await self._ask_supervisor(DeleteChild(instance_id))

    def deliver(self, instance_id: str) -> None:
        """Hint that a message was queued; an actor that is down looks when it is back."""
        ref = self._find(instance_id)
        if ref is not None:
            tell(ref, Deliver())

    def fetch_files(self, instance_id: str) -> None:
        """Hint that a file is to be fetched; an actor that is down looks when it is back."""
        ref = self._find(instance_id)
        if ref is not None:
            tell(ref, FetchFiles())

    async def cancel_message(
        self, scope: Scope, instance_id: str, message_id: str
    ) -> MessageRecord | None:
        """Take the tenant's queued message back; None when it is no longer queued."""
        message = CancelMessage(scope, message_id)
        return await self._change_message(instance_id, message)

    async def retry_message(
        self, scope: Scope, instance_id: str, message_id: str, *, uncertain: bool = False
    ) -> MessageRecord | None:
        """Queue the tenant's failed message again; None when it has not failed."""
        message = RetryMessage(
            scope, message_id, uncertain=uncertain, limits=self._services.queue_limits
        )
        try:
            return await self._change_message(instance_id, message)
        except QueueFullError as error:
            raise error.full from error

    async def _change_message(
        self, instance_id: str, message: CancelMessage | RetryMessage
    ) -> MessageRecord | None:
        ref = await self._running(instance_id)
        answer = await self._ask(ref, message, self._timeout)
        assert answer is None or isinstance(answer, MessageRecord)  # noqa: S101 - as promised
        return answer

    def settings_changed(self, instance_id: str, settings: dict[str, Any]) -> None:
        """Tell an instance its settings; an actor that is down reads them when it is back."""
        ref = self._find(instance_id)
        if ref is not None:
            tell(ref, SettingsChanged(settings))

    def suspensions_changed(self) -> None:
        """Hint that a subscription was suspended, or not; who looks would notice by itself."""
        self._hint(SUSPENSIONS, LookNow())

    def campaigns_changed(self) -> None:
        """Hint that a campaign was started, or not; who looks would notice by itself."""
        self._hint(CAMPAIGNS, LookAtCampaigns())

    def _hint(self, path: str, message: object) -> None:
        ref = self._directory.find(path)
        if ref is not None:
            tell(ref, message)

    async def _command(
        self, instance_id: str, message: Any, seconds: float | None = None
    ) -> InstanceSnapshot:
        ref = await self._running(instance_id)
        return _snapshot(await self._ask(ref, message, seconds or self._timeout))

    async def _ask(self, ref: pykka.ActorRef[Any], message: Any, seconds: float) -> Any:
        try:
            return await ask(ref, message, timeout=seconds)
        except (ActorUnavailableError, StorageBusyError, StorageError) as error:
            raise InstanceUnavailableError(str(error)) from error

    async def _ask_supervisor(self, message: Any) -> Any:
        ref = self._directory.find(self._supervisor_path)
        if ref is None:
            raise InstanceUnavailableError("instances are being restarted")
        try:
            return await self._ask(ref, message, self._slow_timeout)
        except (
            ChildAbandonedError,
            ChildStartError,
            SupersededError,
            SupervisorStoppingError,
            TooManyChildrenError,
        ) as error:
            raise InstanceUnavailableError(str(error)) from error

    async def _start_child(self, instance_id: str, *, keep: bool) -> None:
        spec = instance_spec(instance_id, self._services)
        with suppress(DuplicateChildError):  # the supervisor found the row by itself
            await self._ask_supervisor(StartChild(spec, keep=keep))

    def _find(self, instance_id: str) -> pykka.ActorRef[Any] | None:
        return self._directory.find(f"{self._supervisor_path}/{instance_id}")

    async def _running(self, instance_id: str) -> pykka.ActorRef[Any]:
        """Return the instance's actor; one that was given up, or never came up, is started."""
        if self._find(instance_id) is None:
            try:
                await self._ask_supervisor(RestartChild(instance_id))
            except UnknownChildError:
                await self._start_child(instance_id, keep=False)
        ref = self._find(instance_id)
        if ref is None:
            raise InstanceUnavailableError("the instance's actor is being restarted")
        return ref


def _snapshot(answer: object) -> InstanceSnapshot:
    assert isinstance(answer, InstanceSnapshot)  # noqa: S101 - what the actor promises
    return answer

"""What users order of an instance: each command is checked against the status, then carried out.

Part of the instance actor. Orders that wait for WhatsApp or for the end of a process are answered
later, by a :class:`DeferredReply`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from wavisor.actors.instance import payloads
from wavisor.actors.instance.journal import Journal, StorageBusyError
from wavisor.actors.instance.lifecycle import Lifecycle
from wavisor.actors.instance.link import SessionLink
from wavisor.actors.instance.messages import (
    CommandForbiddenError,
    InstanceSnapshot,
    PairingCode,
    PairingFailedError,
)
from wavisor.actors.instance.outbox import Outbox
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.state import GOING_UP, STARTING, Ending, Then
from wavisor.actors.instance.timers import NamedTimers
from wavisor.actors.supervisor import DeferredReply
from wavisor.clock import Clock
from wavisor.domain import (
    ALLOWED_COMMANDS,
    EventType,
    InstanceCommand,
    InstanceStatus,
    Reason,
    WantedState,
)
from wavisor.ids import Kind, new_id
from wavisor.whatsapp import commands
from wavisor.whatsapp.events import Answer

__all__ = ["LOGOUT_OVERDUE", "PAIRING_CODE_OVERDUE", "Orders"]

LOGOUT_OVERDUE = "logout_overdue"
PAIRING_CODE_OVERDUE = "pairing_code_overdue"


class Orders:
    """Carries out the commands of users; used only in the actor's thread.

    Args:
        lifecycle: starts and ends sessions.
        outbox: pauses while there is no connection.
        journal: writes events.
        link: the session to talk to.
        timers: the actor's timers.
        clock: where the time comes from.
        policy: how patient to be.
        defer_reply: takes the answer to the message being handled upon itself.
    """

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        outbox: Outbox,
        journal: Journal,
        link: SessionLink,
        timers: NamedTimers,
        clock: Clock,
        policy: InstancePolicy,
        defer_reply: Callable[[], DeferredReply],
    ) -> None:
        self._life = lifecycle
        self._instance_id = lifecycle.state.instance_id
        self._outbox = outbox
        self._journal = journal
        self._link = link
        self._timers = timers
        self._clock = clock
        self._policy = policy
        self._defer_reply = defer_reply
        self._logouts: list[DeferredReply] = []
        self._logout_id: str | None = None
        self._deletions: list[DeferredReply] = []
        self._deleting = False
        self._pairing: tuple[str, str, DeferredReply] | None = None

    @property
    def deleting(self) -> bool:
        """Whether the instance is being deleted, or has been."""
        return self._deleting

    def connect(self) -> InstanceSnapshot:
        """Want the instance connected."""
        self._require(InstanceCommand.CONNECT)
        life, state = self._life, self._life.state
        wanted = state.desired is WantedState.CONNECTED
        if wanted and state.status in GOING_UP and not life.ending:
            return life.snapshot()
        self._refuse_while_banned()
        if life.unkillable:
            self._forbid(InstanceCommand.CONNECT, "the last session process still hangs")
        life.forgive_crashes()
        self._want(WantedState.CONNECTED)
        if life.ending:
            life.end(Ending(Then.START, Reason.USER_CONNECT))
        else:
            life.begin(Reason.USER_CONNECT, patience=self._policy.storage_timeout)
        return life.snapshot()

    def disconnect(self) -> InstanceSnapshot:
        """Want the instance disconnected; its keys stay."""
        self._require(InstanceCommand.DISCONNECT)
        life, state = self._life, self._life.state
        self._want(WantedState.DISCONNECTED)
        if state.status not in GOING_UP and not life.ending:
            return life.snapshot()  # it goes on telling why it is down, and until when
        self._outbox.on_disconnected()
        life.end(Ending(Then.REST, Reason.USER_DISCONNECT, status=InstanceStatus.DISCONNECTED))
        return life.snapshot()

    def set_suspended(self, suspended: bool) -> None:
        """Stop while the subscription is suspended; afterwards go on as the user wants it."""
        life, state = self._life, self._life.state
        if state.suspended is suspended:
            return
        state.suspended = suspended
        if suspended:
            self._stop_for_now()
        elif not life.ending:
            life.restore(0.0)
        elif (
            # Any other end, as by a ban or an unlinking, is not for a resumption to undo.
            life.ending_for(Reason.SUBSCRIPTION_SUSPENDED)
            and state.desired is WantedState.CONNECTED
        ):
            life.end(Ending(Then.START, Reason.RESTORED))

    def _stop_for_now(self) -> None:
        life, state = self._life, self._life.state
        if life.coming_to_rest:
            return  # perhaps with its keys to be discarded, which must not be forgotten
        if state.status in GOING_UP or life.ending:
            self._outbox.on_disconnected()
            life.end(
                Ending(
                    Then.REST,
                    Reason.SUBSCRIPTION_SUSPENDED,
                    "the subscription is suspended",
                    InstanceStatus.DISCONNECTED,
                )
            )

    def restart(self) -> InstanceSnapshot:
        """Replace the session process by a new one."""
        self._require(InstanceCommand.RESTART)
        self._want(WantedState.CONNECTED)  # it may be on its way down, by a disconnect just before
        self._life.forgive_crashes()
        self._outbox.on_disconnected()
        self._life.end(Ending(Then.START, Reason.USER_RESTART))
        return self._life.snapshot()

    def use_proxy(self, proxy: str | None) -> None:
        """Connect through another proxy, or none, from the next session on, and have one soon."""
        life = self._life
        changed, life.startup.proxy = proxy != life.startup.proxy, proxy
        settling = life.ending or self._logouts or self.deleting
        if not changed or settling or life.state.status not in GOING_UP:
            return
        self._outbox.on_disconnected()
        life.end(Ending(Then.START, Reason.PROXY_CHANGED))

    def logout(self) -> None:
        """Unlink the device at WhatsApp and discard its keys."""
        self._require(InstanceCommand.LOGOUT)
        if self._logouts:
            self._logouts.append(self._defer_reply())
            return
        self._want(WantedState.DISCONNECTED)
        self._logouts.append(self._defer_reply())
        self._outbox.on_disconnected()
        command = commands.Logout(instance=self._instance_id, id=new_id(Kind.REQUEST))
        connected = self._life.state.status is InstanceStatus.CONNECTED
        if connected and self._link.send(command):
            self._logout_id = command.id
            self._timers.set(LOGOUT_OVERDUE, self._policy.logout_timeout)
        else:
            self.finish_logout("the phone still lists the device: unlink it there too")

    def finish_logout(self, detail: str | None) -> None:
        """Discard the keys, confirmed by WhatsApp or not; ``detail`` says why not."""
        self._logout_id = None
        self._timers.cancel(LOGOUT_OVERDUE)
        self._life.end(
            Ending(
                Then.REST,
                Reason.USER_LOGOUT,
                detail,
                InstanceStatus.LOGGED_OUT,
                discard_keys=True,
            ),
            kill=True,
        )

    def request_pairing_code(self, phone: str) -> None:
        """Ask WhatsApp for a code to be typed on the phone."""
        self._require(InstanceCommand.PAIRING_CODE)
        if self._pairing is not None:
            self._forbid(InstanceCommand.PAIRING_CODE, "a pairing code is already being requested")
        command = commands.RequestPairingCode(
            instance=self._instance_id, id=new_id(Kind.REQUEST), phone=phone
        )
        if not self._link.send(command):
            raise PairingFailedError("not_connected", "the session has just ended")
        self._pairing = (command.id, phone, self._defer_reply())
        self._timers.set(PAIRING_CODE_OVERDUE, self._policy.pairing_code_timeout)

    def on_pairing_code(self, answer: Answer | None) -> None:
        """Answer those who want the code, with None when WhatsApp did not give it in time."""
        if self._pairing is None:
            return
        (_, phone, reply), self._pairing = self._pairing, None
        self._timers.cancel(PAIRING_CODE_OVERDUE)
        if answer is None:
            reply.fail(PairingFailedError("timeout", "WhatsApp gave no pairing code in time"))
            return
        if answer.code is None:
            failure = answer.failure
            reason = failure.reason if failure else "internal"
            reply.fail(PairingFailedError(reason, failure.detail if failure else "no code given"))
            return
        lifetime = timedelta(seconds=self._policy.pairing_code_lifetime)
        now = self._clock.now()
        # With the last QR code the session ends, and the pairing code with it.
        code = PairingCode(answer.code, phone, min(now + lifetime, self._life.qr.ends_at(now)))
        self._life.state.pairing_code = code
        self._journal.append(
            self._instance_id, EventType.INSTANCE_PAIRING_CODE, payloads.pairing_code(code)
        )
        reply.set(code)

    def delete(self) -> None:
        """End the session and discard the keys, for good."""
        if self._deletions:
            self._deletions.append(self._defer_reply())
            return
        self._want(WantedState.DISCONNECTED)
        self._deletions.append(self._defer_reply())
        self._deleting = True
        self._outbox.on_disconnected()
        self._life.end(
            Ending(
                Then.REST,
                Reason.USER_DISCONNECT,
                status=InstanceStatus.LOGGED_OUT,
                discard_keys=True,
            ),
            kill=True,
        )

    def on_answer(self, answer: Answer) -> None:
        """Take an answer of the session that is for none but an order."""
        if self._pairing is not None and answer.id == self._pairing[0]:
            self.on_pairing_code(answer)
        elif answer.id == self._logout_id:
            failed = answer.failure is not None
            self.finish_logout("WhatsApp did not confirm the unlinking" if failed else None)

    def on_session_gone(self) -> None:
        """Tell who waits for a pairing code that the session is gone."""
        if self._pairing is not None:
            (_, _, reply), self._pairing = self._pairing, None
            reply.fail(PairingFailedError("not_connected", "the session ended"))

    def settle(self) -> None:
        """Answer those who waited for the session to be gone."""
        self._settle_lost_logout()
        if self._life.ending or self._link.open:
            return
        logouts, self._logouts = self._logouts, []
        for reply in logouts:
            reply.set(self._life.snapshot())
        deletions, self._deletions = self._deletions, []
        if deletions and self._life.keys_left:
            self._deleting = False  # so that it can be tried again
        for reply in deletions:
            if self._life.keys_left:
                reply.fail(StorageBusyError("the key store could not be deleted"))
            else:
                reply.set(None)

    def _settle_lost_logout(self) -> None:
        """Finish an unlinking whose connection was lost before WhatsApp confirmed it."""
        status = self._life.state.status
        if self._logout_id is None or self._life.ending or status is InstanceStatus.CONNECTED:
            return
        if status is InstanceStatus.LOGGED_OUT:  # the phone was quicker
            self._logout_id = None
            return
        self.finish_logout("the connection was lost before WhatsApp confirmed the unlinking")

    # Small parts

    def _want(self, desired: WantedState) -> None:
        """Note what the user wants, on disk, before anything is done about it."""
        life = self._life
        if life.state.desired is desired:
            return
        previous, life.state.desired = life.state.desired, desired
        try:
            life.status.persist(patience=self._policy.storage_timeout)
        except Exception:
            life.state.desired = previous
            raise

    def _require(self, command: InstanceCommand) -> None:
        status = self._life.state.status
        if self._deleting:
            self._forbid(command, "the instance is being deleted")
        if self._life.state.suspended and command in STARTING:
            self._forbid(command, "the subscription is suspended")
        if command not in ALLOWED_COMMANDS[status]:
            allowed = ", ".join(sorted(ALLOWED_COMMANDS[status])) or "nothing"
            detail = f"{command.value} is not possible while {status.value}; allowed: {allowed}"
            self._forbid(command, detail)

    def _refuse_while_banned(self) -> None:
        until = self._life.state.banned_until
        if until is not None and self._clock.now() < until:
            detail = f"WhatsApp has banned this account until {until:%Y-%m-%dT%H:%M:%SZ}"
            self._forbid(InstanceCommand.CONNECT, detail)

    def _forbid(self, command: InstanceCommand, detail: str) -> None:
        status = self._life.state.status
        allowed = self._life.state.allowed(self._clock.now()) - {command}
        if self._deleting:
            allowed = frozenset()
        raise CommandForbiddenError(command, status, allowed, detail)

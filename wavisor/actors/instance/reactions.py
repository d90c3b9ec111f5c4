"""What an instance does about what its session reports: one method for each kind of event.

The drops that the client recovers from by itself and those it does not are told apart here, by
what was observed of neonize 0.5.2 (whatsmeow): see each method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog

from wavisor.actors.instance import chat_payloads, payloads
from wavisor.actors.instance.admission import Admission
from wavisor.actors.instance.chat_names import ChatNames
from wavisor.actors.instance.downloads import Downloads
from wavisor.actors.instance.habits import Habits
from wavisor.actors.instance.history import HistoryKeeper
from wavisor.actors.instance.inbox import Inbox
from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.lifecycle import Lifecycle
from wavisor.actors.instance.messages import ConnectionData
from wavisor.actors.instance.observer import InstanceObserver
from wavisor.actors.instance.outbox import Outbox
from wavisor.actors.instance.policy import InstancePolicy
from wavisor.actors.instance.state import Ending, Then
from wavisor.actors.instance.timers import NamedTimers, TimerName
from wavisor.clock import Clock
from wavisor.domain import EventType, InstanceStatus, Reason
from wavisor.whatsapp import events as session

__all__ = ["Reactions"]

log = structlog.get_logger(__name__)

_QR_SLACK = 2.0
"""Seconds after a code's expiry before its successor counts as missing."""

# What is only published: each as an event of its own.
_PUBLISHED: dict[type[Any], tuple[EventType, Callable[[Any], Mapping[str, Any]]]] = {
    session.PresenceUpdated: (EventType.PRESENCE_UPDATED, chat_payloads.presence_updated),
    session.GroupUpdated: (EventType.GROUP_UPDATED, chat_payloads.group_updated),
    session.GroupParticipantsChanged: (
        EventType.GROUP_PARTICIPANTS_CHANGED,
        chat_payloads.group_participants_changed,
    ),
    session.ContactUpdated: (EventType.CONTACT_UPDATED, chat_payloads.contact_updated),
}


class Reactions:
    """Turns session events into calls on :class:`Lifecycle`, :class:`Outbox`, :class:`Inbox`."""

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        outbox: Outbox,
        inbox: Inbox,
        history: HistoryKeeper,
        admission: Admission,
        habits: Habits,
        downloads: Downloads,
        names: ChatNames,
        journal: Journal,
        timers: NamedTimers,
        clock: Clock,
        policy: InstancePolicy,
        observer: InstanceObserver,
    ) -> None:
        self._life = lifecycle
        self._outbox = outbox
        self._inbox = inbox
        self._admission = admission
        self._habits = habits
        self._downloads = downloads
        self._names = names
        self._journal = journal
        self._timers = timers
        self._clock = clock
        self._policy = policy
        self._observer = observer
        in_chats: dict[type[Any], Callable[[Any], None]] = {
            session.MessageReceived: self._on_message,
            session.UndecryptableMessage: inbox.on_undecryptable,
            session.MessageEdited: inbox.on_edited,
            session.MessageRevoked: inbox.on_revoked,
            session.MessageReaction: inbox.on_reaction,
            session.PollVoted: inbox.on_vote,
            session.HistoryReceived: history.on_history,
        }
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            session.Ready: self._on_ready,
            session.QrCode: self._on_qr_code,
            session.QrPhaseEnded: self._on_qr_phase_ended,
            session.Paired: self._on_paired,
            session.Connected: self._on_connected,
            session.Disconnected: self._on_disconnected,
            session.ConnectFailed: self._on_connect_failed,
            session.LoggedOut: self._on_logged_out,
            session.StreamReplaced: self._on_stream_replaced,
            session.TemporaryBan: self._on_temporary_ban,
            session.ClientOutdated: self._on_client_outdated,
            session.StreamError: self._on_stream_error,
            session.KeepAliveTimeout: self._on_keepalive_timeout,
            session.KeepAliveRestored: self._on_nothing,
            session.ReceiptReceived: self._on_receipt,
            session.CallOffered: habits.on_call,
            **in_chats,
            **dict.fromkeys(_PUBLISHED, self._on_published),
            session.GroupUpdated: self._on_group_updated,
        }
        # What still counts once the session has been told to end: what it received until then
        # must not be lost.
        self._while_ending: tuple[type[Any], ...] = (
            session.ReceiptReceived,
            session.CallOffered,
            *in_chats,
            *_PUBLISHED,
        )

    def react(self, event: session.Event) -> None:
        """Do what an event of the present session makes necessary."""
        if self._life.ending and not isinstance(event, self._while_ending):
            if isinstance(event, session.Paired):
                # The phone has accepted the device: its keys are real and are to be resumed.
                self._life.state.jid = event.jid
            return
        if self._admission.admits(event):
            self._handlers[type(event)](event)

    # On the way up

    def _on_nothing(self, event: session.Event) -> None:
        """Nothing follows."""

    def _on_ready(self, event: session.Ready) -> None:
        self._life.startup.on_ready()
        self._observer.on_session_started(event.pid)
        log.debug(
            "session process ready",
            instance=event.instance,
            pid=event.pid,
            client_version=event.client_version,
        )

    def _on_qr_code(self, event: session.QrCode) -> None:
        life = self._life
        life.startup.on_started()
        qr = life.qr.show(event.text, self._clock.now())
        if qr is None:
            self.force_disconnect()
            return
        self._observer.on_qr_shown()
        log.info(
            "QR code shown",
            instance=event.instance,
            qr_attempt=f"#{qr.attempt} of {qr.limit}",
        )
        update = (EventType.INSTANCE_QR_UPDATED, payloads.qr_updated(qr))
        life.status.transition(InstanceStatus.QR, Reason.QR_SHOWN, more_events=[update])
        lifetime = (qr.expires_at - self._clock.now()).total_seconds()
        self._timers.set(TimerName.QR, lifetime + (0.0 if life.qr.exhausted else _QR_SLACK))

    def on_qr_expired(self) -> None:
        """Act on a code that nobody scanned: the last one ends the attempt."""
        if self._life.qr.exhausted:
            self.force_disconnect()
            return
        # The client shows the next code on its own clock; none in time means it hangs.
        self._life.qr.expire()
        self._timers.set(TimerName.CONNECT, self._policy.connect_timeout)

    def force_disconnect(self) -> None:
        """Tear the session down because the QR limit is reached; nothing reconnects by itself."""
        self._observer.on_qr_limit()
        life = self._life
        log.info("QR limit reached", instance=life.state.instance_id, qr_attempts=life.qr.shown)
        detail = f"none of {life.qr.shown} QR codes was scanned"
        life.end(
            Ending(
                Then.REST,
                Reason.QR_LIMIT_REACHED,
                detail,
                InstanceStatus.FORCE_DISCONNECTED,
                is_error=True,
            ),
            kill=True,
        )

    def _on_qr_phase_ended(self, event: session.QrPhaseEnded) -> None:
        if event.outcome == "timeout" and self._life.qr.exhausted:
            self.force_disconnect()
        elif event.outcome == "timeout":
            # The client says so of a lost connection too (whatsmeow, qrchan.go), and cannot run
            # out of codes before the third: the next try shows the ones that are left.
            detail = "the connection was lost while a QR code was shown"
            self._life.end(Ending(Then.RETRY, Reason.CONNECTION_LOST, detail), kill=True)
        elif event.outcome == "passkey_required":
            detail = "WhatsApp demands a passkey for this account, which this client cannot use"
            self._rest(InstanceStatus.PASSKEY_REQUIRED, Reason.PASSKEY_REQUIRED, detail)
        elif event.outcome == "client_outdated":
            self._on_client_outdated(event)
        else:
            detail = event.detail or "linking failed"
            self._life.end(Ending(Then.RETRY, Reason.PAIRING_FAILED, detail), kill=True)

    def _on_paired(self, event: session.Paired) -> None:
        life = self._life
        life.startup.on_started()
        self._timers.cancel(TimerName.QR)
        by_code = life.state.pairing_code is not None
        self._observer.on_paired(by_code=by_code)
        life.state.jid = event.jid
        life.state.paired_at = self._clock.now()
        life.qr.reset()
        more = [(EventType.INSTANCE_PAIRED, payloads.paired(event))]
        reason = Reason.CODE_ENTERED if by_code else Reason.QR_SCANNED
        life.status.transition(InstanceStatus.PAIRING, reason, more_events=more)
        self._outbox.on_paired(self._clock.now())
        self._timers.set(TimerName.PAIRING, self._policy.pairing_timeout)

    def _on_connected(self, event: session.Connected) -> None:
        life = self._life
        life.on_connected()
        life.state.jid = event.jid
        life.state.connection = ConnectionData(
            jid=event.jid,
            lid=event.lid,
            phone=event.phone,
            push_name=event.push_name,
            platform=event.platform,
            connected_at=self._clock.now(),
        )
        life.status.transition(InstanceStatus.CONNECTED, Reason.LOGGED_IN)
        self._outbox.on_connected()
        self._habits.on_connected()
        self._downloads.on_connected()

    # Drops

    def _on_disconnected(self, event: session.Disconnected) -> None:
        status = self._life.state.status
        detail = event.detail or "the connection to WhatsApp was lost"
        if status is InstanceStatus.CONNECTED:
            self._on_connection_lost()
            self._life.drop(Reason.CONNECTION_LOST, detail, kill=False)
        elif status is InstanceStatus.QR:
            # The client does not come back from a drop in the QR phase (connect() hangs).
            self._life.end(Ending(Then.RETRY, Reason.CONNECTION_LOST, detail), kill=True)
        # While connecting, pairing or reconnecting the client tries by itself; timers bound it.

    def _on_connect_failed(self, event: session.ConnectFailed) -> None:
        if event.permanent:
            store = event.cause == "key_store"
            refused = Reason.KEY_STORE_UNAVAILABLE if store else Reason.CONNECT_REFUSED
            self._rest(InstanceStatus.FAILED, refused, event.detail)
            return
        unavailable = event.code is not None and event.code >= 500
        reason = Reason.SERVER_UNAVAILABLE if unavailable else Reason.CONNECT_FAILED
        if event.cause == "key_store":
            reason = Reason.KEY_STORE_UNAVAILABLE
        elif event.cause == "proxy":
            reason = Reason.PROXY_UNREACHABLE
        self._life.end(Ending(Then.RETRY, reason, event.detail), kill=True)

    def _on_stream_error(self, event: session.StreamError) -> None:
        log.warning("stream error", instance=event.instance, error_code=event.code)

    def _on_keepalive_timeout(self, event: session.KeepAliveTimeout) -> None:
        if self._life.state.status is InstanceStatus.CONNECTED:
            self.lose_connection(Reason.KEEPALIVE_TIMEOUT, "WhatsApp answers no keep-alive")

    def _on_connection_lost(self) -> None:
        self._outbox.on_disconnected()
        self._downloads.on_disconnected()

    def lose_connection(self, reason: Reason, detail: str) -> None:
        """Replace a session that has a socket but no connection behind it."""
        self._on_connection_lost()
        self._life.drop(reason, detail, kill=True)

    def lose_process(self) -> None:
        """Replace a session process that no longer answers; charged to the restart budget."""
        life = self._life
        detail = "the session process did not answer"
        if life.state.status is InstanceStatus.CONNECTED:
            self._on_connection_lost()
            life.note_loss()
        self._count_if_connected(Reason.SESSION_UNRESPONSIVE)
        ending = Ending(Then.RETRY, Reason.SESSION_UNRESPONSIVE, detail, counts_as_crash=True)
        life.end(ending, kill=True)

    # Ends that nothing recovers from by itself; the client does not reconnect after them either

    def _count_if_connected(self, reason: Reason) -> None:
        state = self._life.state
        if state.status is InstanceStatus.CONNECTED:
            self._observer.on_drop(state.instance_id, reason)

    def _on_logged_out(self, event: session.LoggedOut) -> None:
        self._count_if_connected(Reason.LOGGED_OUT_BY_PHONE)
        detail = event.detail or "the device was unlinked on the phone"
        self._life.end(
            Ending(
                Then.REST,
                Reason.LOGGED_OUT_BY_PHONE,
                detail,
                InstanceStatus.LOGGED_OUT,
                discard_keys=True,
                is_error=True,
            ),
            kill=True,
        )

    def _on_stream_replaced(self, event: session.StreamReplaced) -> None:
        detail = "another client took this session over"
        self._rest(InstanceStatus.REPLACED, Reason.STREAM_REPLACED, detail)

    def _on_temporary_ban(self, event: session.TemporaryBan) -> None:
        self._count_if_connected(Reason.TEMPORARY_BAN)
        until = None
        if event.expires_in is not None:
            until = self._clock.now() + timedelta(seconds=event.expires_in)
        self._life.end(
            Ending(
                Then.REST,
                Reason.TEMPORARY_BAN,
                event.detail,
                InstanceStatus.BANNED,
                banned_until=until,
                is_error=True,
            ),
            kill=True,
        )

    def _on_client_outdated(self, event: session.Event) -> None:
        detail = "WhatsApp refuses this client version: upgrade Wavisor"
        self._rest(InstanceStatus.OUTDATED, Reason.CLIENT_OUTDATED, detail)

    def _rest(self, status: InstanceStatus, reason: Reason, detail: str) -> None:
        self._count_if_connected(reason)
        self._life.end(Ending(Then.REST, reason, detail, status, is_error=True), kill=True)

    # Messages

    def _on_message(self, event: session.MessageReceived) -> None:
        self._inbox.on_message(event)
        self._outbox.on_heard()
        self._names.on_talk(event.chat.jid)

    def _on_receipt(self, event: session.ReceiptReceived) -> None:
        # What the account itself read elsewhere are others' messages, not those sent from here.
        if event.from_me:
            self._inbox.on_own_receipt(event)
        else:
            self._outbox.on_receipt(event)

    def _on_group_updated(self, event: session.GroupUpdated) -> None:
        self._on_published(event)
        self._names.on_updated(event)

    def _on_published(self, event: Any) -> None:
        kind, payload = _PUBLISHED[type(event)]
        self._journal.append(event.instance, kind, payload(event))

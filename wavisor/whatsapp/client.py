"""The native WhatsApp client of one session. Runs in session processes only: imports neonize.

Everything here keeps to what the library survives. Its entry points look the client up without
checking that it exists, so none is called before WhatsApp has answered once; its ``stop`` and its
finalizer are never used, because the end of a session is the end of its process; its callbacks
only translate and hand over, because a callback that takes long stalls the client.
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import neonize
from neonize import client as native
from neonize import events as native_events
from neonize.exc import DecryptPollVoteError, DownloadError
from neonize.proto.Neonize_pb2 import PairPhoneParams, PairPhoneReturnFunction
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.enum import ClientType

from wavisor.whatsapp.addresses import jid_text
from wavisor.whatsapp.commands import (
    DownloadMedia,
    Logout,
    Open,
    Probe,
    RequestPairingCode,
    SendMessage,
)
from wavisor.whatsapp.connection import Connection
from wavisor.whatsapp.event_base import SessionEvent
from wavisor.whatsapp.events import (
    Answer,
    ClientOutdated,
    ConnectFailed,
    Disconnected,
    Event,
    Failure,
    KeepAliveRestored,
    KeepAliveTimeout,
    QrCode,
    QrPhaseEnded,
    StreamReplaced,
)
from wavisor.whatsapp.failure_log import FailureLog
from wavisor.whatsapp.failures import (
    cause_of,
    connect_failure,
    download_failure,
    query_failure,
)
from wavisor.whatsapp.history import History
from wavisor.whatsapp.keystore import KeyStoreError, require_device
from wavisor.whatsapp.native_build import build_client
from wavisor.whatsapp.native_queries import NativeQueries
from wavisor.whatsapp.notices import Notices
from wavisor.whatsapp.outgoing import Me
from wavisor.whatsapp.reception import Reception
from wavisor.whatsapp.sender import Sender
from wavisor.whatsapp.transfers import Downloads, TransferError
from wavisor.whatsapp.translation import Translator

__all__ = ["CLIENT_VERSION", "NativeClient"]

log = logging.getLogger(__name__)

CLIENT_VERSION: str = neonize.__version__

_Translation = Callable[[Any], Event | Iterable[Event] | None]

# "Browser (System)"; WhatsApp refuses a pairing code for names that it does not know
# (whatsmeow pair-code.go), which neonize's own spelling in capitals may not survive.
_PAIRING_DISPLAY_NAME = "Chrome (Linux)"
_PHONE = re.compile(r"\A[1-9]\d{6,14}\Z")
_NAME_SECONDS = 2.0
"""A new device's login is told this late at most: the phone sends the user's name after it."""
_NAME_PAUSE = 0.05


class NativeClient:
    """One neonize client: connects, reports events, carries out commands.

    Args:
        opening: what to open, and as which device.
        emit: takes every event; must be quick and callable from any thread.
        proxy_url: where to connect through instead of directly, media included.
    """

    def __init__(
        self, opening: Open, emit: Callable[[Event], None], proxy_url: str | None = None
    ) -> None:
        self._opening = opening
        self._emit = emit
        self._proxy = native.ProxySettings(proxy_url) if proxy_url else None
        self._translator = Translator(opening.instance)
        self._reception = Reception(opening.instance, self._own_addresses, self._decrypt_vote)
        self._notices = Notices(opening.instance)
        self._history = History(opening.instance, opening.history_per_chat, opening.history_total)
        self._failures = FailureLog()
        self._qr_open = threading.Event()
        self._connection = Connection()
        self._me = Me("", None)
        self._new_device = False
        # A login that is told late must not be told after the end of its connection.
        self._telling = threading.Lock()
        self._client = self._build()
        self._sender = Sender(self._client, self._connection, lambda: self._me)
        self._downloads = Downloads(Message, self._download)
        self.queries = NativeQueries(self._client, self._connection)
        """What answers queries."""

    @property
    def connected(self) -> bool:
        """Whether the session is logged in, as far as events told."""
        return self._connection.connected

    def connect(self) -> None:
        """Connect and stay: returns only when connecting failed or the client gave up.

        A failure has been reported as an event by then. What remains of the client is of no use.
        """
        instance = self._opening.instance
        try:
            require_device(self._opening.store, self._opening.jid)
        except KeyStoreError as error:
            self._emit(
                ConnectFailed(
                    instance=instance,
                    cause="key_store",
                    detail=str(error),
                    permanent=error.permanent,
                )
            )
            return
        try:
            self._client.connect(self._proxy)
        except native.NeonizeError as error:
            self._connection.lose()
            self._report_connect_error(str(error))

    def disconnect(self) -> None:
        """Close the connection to WhatsApp, if there is one; may block while one is made."""
        if self._connection.connected:
            self._client.disconnect()

    def interrupt(self) -> None:
        """Let sends that still pretend to type fail instead: the session is about to end."""
        self._connection.end()

    # Commands. Each returns its answer and may block for as long as WhatsApp takes (75 s).

    def accept(self, command: SendMessage) -> Callable[[SendMessage], Answer]:
        """Return what sends a message; see :class:`~wavisor.whatsapp.sender.Sender`."""
        return self._sender.accept(command)

    def download(self, command: DownloadMedia) -> Answer:
        """Fetch a file that came with a message."""
        if not self.connected:
            return self._answer(command, _not_connected())
        try:
            self._downloads.fetch(command.source, command.path, command.max_size, command.timeout)
        except TransferError as error:
            return self._answer(command, error.failure)
        return self._answer(command)

    def probe(self, command: Probe) -> Answer:
        """Ask WhatsApp to consider this device active, which it is; any answer will do."""
        if not self.connected:
            return self._answer(command, _not_connected())
        try:
            self._client.set_passive(False)
        except native.SetPassiveError as error:
            return self._answer(command, query_failure(cause_of(error)))
        return self._answer(command)

    def request_pairing_code(self, command: RequestPairingCode) -> Answer:
        """Get a code to be typed on the phone, while QR codes are being shown."""
        if not _PHONE.match(command.phone):
            return self._answer(
                command,
                Failure(reason="invalid", detail="not an international phone number in digits"),
            )
        if not self._qr_open.is_set():
            return self._answer(
                command,
                Failure(
                    reason="not_connected",
                    detail="a pairing code is given only while the session waits for a scan",
                ),
            )
        parameters = PairPhoneParams(
            phone=command.phone,
            showPushNotification=True,
            clientType=ClientType.CHROME.value,
            clientDisplayName=_PAIRING_DISPLAY_NAME,
        ).SerializeToString()
        library = self._client._NewClient__client
        outcome = PairPhoneReturnFunction.FromString(
            library.PairPhone(self._client.uuid, parameters, len(parameters))
        )
        if outcome.Error:
            return self._answer(command, query_failure(outcome.Error))
        return Answer(instance=command.instance, id=command.id, code=outcome.Code)

    def logout(self, command: Logout) -> Answer:
        """Unlink this device; the library deletes its keys then."""
        if not self.connected:
            return self._answer(command, _not_connected())
        try:
            self._client.logout()
        except native.LogoutError as error:
            return self._answer(command, query_failure(str(error)))
        self._connection.lose()
        return self._answer(command)

    # How the client is built

    def _build(self) -> Any:
        logging.getLogger("whatsmeow.Client").addHandler(self._failures)
        client = build_client(self._opening)
        client._NewClient__onLoginStatus = self._on_login_status
        client.qr(self._on_qr)
        self._subscribe(client)
        return client

    def _subscribe(self, client: Any) -> None:
        instance, translator = self._opening.instance, self._translator
        reception, notices = self._reception, self._notices
        ends: dict[Any, _Translation] = {
            native_events.DisconnectedEv: self._disconnected,
            native_events.LoggedOutEv: translator.logged_out,
            native_events.StreamReplacedEv: lambda _: StreamReplaced(instance=instance),
            native_events.TemporaryBanEv: translator.temporary_ban,
            native_events.ConnectFailureEv: translator.connect_failure,
            native_events.ClientOutdatedEv: lambda _: ClientOutdated(instance=instance),
        }
        others: dict[Any, _Translation] = {
            native_events.StreamErrorEv: translator.stream_error,
            native_events.KeepAliveTimeoutEv: lambda event: KeepAliveTimeout(
                instance=instance, failures=event.ErrorCount
            ),
            native_events.KeepAliveRestoredEv: lambda _: KeepAliveRestored(instance=instance),
            native_events.MessageEv: reception.message,
            native_events.ReceiptEv: reception.receipt,
            native_events.UndecryptableMessageEv: reception.undecryptable,
            native_events.ChatPresenceEv: notices.chat_presence,
            native_events.PresenceEv: notices.presence,
            native_events.JoinedGroupEv: self._joined_group,
            native_events.GroupInfoEv: self._group_info,
            native_events.PictureEv: notices.picture,
            native_events.CallOfferEv: notices.call_offer,
            native_events.CallOfferNoticeEv: notices.call_notice,
        }
        if self._history.wanted:
            # It is large: the library does not even copy what nobody asked for.
            others[native_events.HistorySyncEv] = self._history.received
        for kind, translate in ends.items():
            client.event(kind)(self._handler(translate, ends_connection=True))
        for kind, translate in others.items():
            client.event(kind)(self._handler(translate))
        client.event(native_events.PairStatusEv)(self._on_pair_status)
        client.event(native_events.ConnectedEv)(self._on_connected)

    def _joined_group(self, event: Any) -> Event:
        self._sender.on_group_changed(jid_text(event.GroupInfo.JID) or "")
        return self._notices.joined_group(event)

    def _group_info(self, event: Any) -> list[Event]:
        self._sender.on_group_changed(jid_text(event.JID) or "")
        return self._notices.group_info(event)

    def _handler(
        self, translate: _Translation, *, ends_connection: bool = False
    ) -> Callable[[Any, Any], None]:
        def on_event(_client: Any, event: Any) -> None:
            if ends_connection:
                with self._telling:
                    self._connection.lose()
            try:
                told = translate(event)
                for each in _events(told):
                    self._emit(each)
            except Exception:
                # One event that cannot be read must not take the session with it.
                log.exception("an event of the native client could not be translated")

        return on_event

    # What the library calls

    def _on_qr(self, _client: Any, text: bytes) -> None:
        self._qr_open.set()
        self._emit(QrCode(instance=self._opening.instance, text=text.decode()))

    def _on_login_status(self, _uuid: int, status: int) -> None:
        # The argument is the address of a C string, for the time of this call.
        name = ctypes.string_at(status).decode(errors="replace")
        ended = self._translator.qr_phase_ended(name)
        if name == "success" or ended is not None:
            self._qr_open.clear()
        if name == "err-unexpected-state":
            self._report_failure_stanza()
        if ended is not None:
            self._emit(ended)

    def _on_pair_status(self, client: Any, status: Any) -> None:
        if status.Error:
            log.error("pairing failed: %s", status.Error)
            self._emit(
                QrPhaseEnded(instance=self._opening.instance, outcome="error", detail="pairing")
            )
            return
        self._new_device = True
        self._emit(self._translator.paired(status, client.me))

    def _on_connected(self, client: Any, _event: Any) -> None:
        # The store knows names that came since the client told about itself. Safe here: the
        # library exists, or it could not have called.
        me = client.get_me()
        self._me = Me(jid_text(me.JID) or "", jid_text(me.LID))
        self._connection.gain()
        if me.PushName or not self._new_device:
            self._emit(self._translator.connected(me))
        else:
            threading.Thread(target=self._wait_for_name, args=(client,), daemon=True).start()

    def _wait_for_name(self, client: Any) -> None:
        # Synchronised settings bring it (whatsmeow appstate.go), of which no event reaches Python.
        deadline = time.monotonic() + _NAME_SECONDS
        me = client.get_me()
        while not me.PushName and self.connected and time.monotonic() < deadline:
            time.sleep(_NAME_PAUSE)
            me = client.get_me()
        self._new_device = False
        with self._telling:
            if self.connected:
                self._emit(self._translator.connected(me))

    def _own_addresses(self) -> frozenset[str]:
        return frozenset(filter(None, (self._me.jid, self._me.lid)))

    def _decrypt_vote(self, event: Any) -> Iterable[bytes] | None:
        try:
            return tuple(self._client.decrypt_poll_vote(event).selectedOptions)
        except DecryptPollVoteError:
            # Its poll came before this device was linked, or the vote is forged.
            log.info("a vote could not be read")
            return None

    def _download(self, message: Any) -> bytes:
        try:
            return bytes(self._client.download_any(message))
        except DownloadError as error:
            raise TransferError(download_failure(cause_of(error))) from error

    # Helpers

    def _disconnected(self, _event: Any) -> Event:
        failure = self._failures.take_unavailable()
        if failure is not None:
            return self._translator.failure(int(failure["reason"]), failure)
        return Disconnected(instance=self._opening.instance)

    def _report_connect_error(self, text: str) -> None:
        if "required field" in text:
            if self._report_failure_stanza():
                return
            # Its event loop ends with the first event that it cannot encode.
            text = f"the native client could not pass on what WhatsApp sent: {text}"
        failed = connect_failure(
            self._opening.instance, text, by_proxy=self._opening.proxy is not None
        )
        if failed.cause != "proxy":
            log.warning("connecting failed: %s", text)
        self._emit(failed)

    def _report_failure_stanza(self) -> bool:
        attributes = self._failures.take_refused()
        if attributes is None or not attributes.get("reason", "").isdigit():
            return False
        self._emit(self._translator.failure(int(attributes["reason"]), attributes))
        return True

    def _answer(self, command: Any, failure: Failure | None = None) -> Answer:
        return Answer(instance=command.instance, id=command.id, failure=failure)


def _not_connected() -> Failure:
    return Failure(reason="not_connected", detail="the session is not connected to WhatsApp")


def _events(told: Event | Iterable[Event] | None) -> Iterable[Event]:
    if told is None:
        return ()
    return (told,) if isinstance(told, SessionEvent) else told

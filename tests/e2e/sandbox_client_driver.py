"""One real, unmodified neonize client in a process of its own, driven by JSON lines.

Run by ``support/sandbox_rig.py`` with: file descriptor for events, path of the key store. Commands
come on standard input. Never imported by a test, because neonize starts a Go runtime.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from neonize import events
from neonize._binder import ProxySettings
from neonize.client import NewClient
from neonize.proto import Neonize_pb2
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils import build_jid, enum, log
from neonize.utils.enum import (
    BlocklistAction,
    ChatPresence,
    ChatPresenceMedia,
    Presence,
    ReceiptType,
)

from wavisor.sandbox.redirect import Endpoints, apply

REPORTED = (
    events.PairStatusEv,
    events.ConnectedEv,
    events.DisconnectedEv,
    events.LoggedOutEv,
    events.StreamReplacedEv,
    events.StreamErrorEv,
    events.TemporaryBanEv,
    events.ClientOutdatedEv,
    events.ConnectFailureEv,
    events.KeepAliveTimeoutEv,
    events.OfflineSyncCompletedEv,
    events.HistorySyncEv,
    events.MessageEv,
    events.UndecryptableMessageEv,
    events.ReceiptEv,
    events.PresenceEv,
    events.ChatPresenceEv,
    events.JoinedGroupEv,
    events.GroupInfoEv,
    events.PictureEv,
    events.BlocklistEv,
    events.PrivacySettingsEv,
    events.CallOfferEv,
    events.CallTerminateEv,
    events.NewsletterJoinEv,
    events.NewsletterLeaveEv,
    events.NewsletterLiveUpdateEV,
)


class Driver:
    def __init__(self, report_to: int, store: str, endpoints: Endpoints) -> None:
        self._out = os.fdopen(report_to, "w", buffering=1)
        self._lock = threading.Lock()
        self._endpoints = endpoints
        self.messages: dict[str, Any] = {}
        self.arrived: dict[str, Any] = {}
        # A name of its own per incarnation: a finalizer of an older client must not stop it.
        self.client = NewClient(store, uuid=uuid.uuid4().hex)
        self.client._stop_finalizer.detach()
        self.client.event.qr(lambda _, text: self.report("QR", text.decode()))
        # The only sign of the QR phase's end; see NewClient.__onLoginStatus.
        self.client._NewClient__onLoginStatus = lambda _, status: self.report("LoginStatus", status)
        for kind in REPORTED:
            self.client.event(kind)(self._reporter(kind))

    def _reporter(self, kind: type) -> Callable[[NewClient, Any], None]:
        def on_event(_: NewClient, event: Any) -> None:
            if kind is events.MessageEv:
                self.messages[event.Info.ID] = event.Message
                self.arrived[event.Info.ID] = event
            self.report(kind.DESCRIPTOR.name, MessageToDict(event))

        return on_event

    def report(self, event: str, data: Any) -> None:
        with self._lock:
            self._out.write(json.dumps({"event": event, "data": data}) + "\n")

    def connect(self) -> None:
        try:
            self.client.connect(ProxySettings(self._endpoints.proxy_url))
        except Exception as error:
            self.report("ConnectError", repr(error))

    def run(self) -> None:
        threading.Thread(target=self.connect, daemon=True).start()
        for line in sys.stdin:
            command = json.loads(line)
            threading.Thread(target=self._execute, args=(command,), daemon=True).start()
        # Nothing in the native client can be relied on to stop.
        os._exit(0)

    def _execute(self, command: dict[str, Any]) -> None:
        try:
            answer = getattr(self, "do_" + command["do"])(**command["args"])
        except Exception as error:
            self.report("Answer", {"id": command["id"], "error": str(error)})
        else:
            self.report("Answer", {"id": command["id"], "result": answer})

    def do_invoke(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call any method of the client, its stores included (``contact.get_contact``)."""
        target: Any = self.client
        for name in method.split("."):
            target = getattr(target, name)
        answer = target(*map(self._given, args), **{k: self._given(v) for k, v in kwargs.items()})
        return plain(answer)

    def _given(self, value: Any) -> Any:
        """Return an argument that travelled as JSON as what the client wants."""
        if isinstance(value, list):
            return [self._given(item) for item in value]
        if not isinstance(value, dict):
            return value
        [(kind, content)] = value.items()
        match kind:
            case "jid":
                user, _, server = content.partition("@")
                return build_jid(user, server or "s.whatsapp.net")
            case "bytes":
                return base64.b64decode(content)
            case "enum":
                return getattr(getattr(enum, content[0]), content[1])
            case "arrived":
                return self.arrived[content]
            case "info":
                return self.arrived[content].Info
            case "content":
                return self.messages[content]
            case "message":
                return ParseDict(content, Message())
            case "proto":
                return ParseDict(content[1], getattr(Neonize_pb2, content[0])())
        raise ValueError(kind)

    def do_send_built(self, to: str, method: str, args: list[Any]) -> dict[str, Any]:
        """Send what one of the client's ``build_`` methods returns."""
        message = getattr(self.client, method)(*map(self._given, args))
        response = self.client.send_message(self._given({"jid": to}), message)
        return {"id": response.ID}

    def do_send(self, to: str, text: str) -> dict[str, Any]:
        response = self.client.send_message(build_jid(to), text)
        return {"id": response.ID, "timestamp": response.Timestamp}

    def do_send_document(self, to: str, size: int) -> dict[str, Any]:
        response = self.client.send_document(build_jid(to), bytes(range(256)) * (size // 256))
        return {"id": response.ID}

    def do_download(self, message: str) -> int:
        return len(self.client.download_any(self.messages[message]))

    def do_pair_phone(self, phone: str) -> str:
        return self.client.PairPhone(phone, False)

    def do_is_on_whatsapp(self, phones: list[str]) -> list[Any]:
        return [MessageToDict(answer) for answer in self.client.is_on_whatsapp(*phones)]

    def do_mark_read(self, message: str, chat: str) -> None:
        jid = build_jid(chat, "lid")
        self.client.mark_read(message, chat=jid, sender=jid, receipt=ReceiptType.READ)

    def do_mark_in_group(self, message: str) -> None:
        source = self.arrived[message].Info.MessageSource
        self.client.mark_read(
            message, chat=source.Chat, sender=source.Sender, receipt=ReceiptType.READ
        )

    def do_decrypt_vote(self, message: str) -> int:
        """Return how many answers were chosen.

        The client's own ``decrypt_poll_vote`` takes the native answer for bytes, which it is not.
        """
        data = self.arrived[message].SerializeToString()
        answer = self.client._NewClient__client.DecryptPollVote(self.client.uuid, data, len(data))
        model = Neonize_pb2.ReturnFunctionWithError.FromString(answer.contents.get_bytes())
        if model.Error:
            raise ValueError(model.Error)
        return len(model.PollVoteMessage.selectedOptions)

    def do_set_name(self, name: str) -> None:
        self.client.set_profile_name(name)

    def do_me(self) -> Any:
        return MessageToDict(self.client.get_me())

    def do_available(self) -> None:
        self.client.send_presence(Presence.AVAILABLE)

    def do_subscribe(self, phone: str) -> None:
        self.client.subscribe_presence(build_jid(phone))

    def do_typing(self, phone: str) -> None:
        self.client.send_chat_presence(
            build_jid(phone),
            ChatPresence.CHAT_PRESENCE_COMPOSING,
            ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT,
        )

    def do_about(self, phone: str) -> str:
        [answer] = self.client.get_user_info(build_jid(phone))
        return answer.UserInfo.Status

    def do_set_about(self, text: str) -> None:
        self.client.set_status_message(text)

    def do_block(self, phone: str) -> None:
        self.client.update_blocklist(build_jid(phone), BlocklistAction.BLOCK)

    def do_read_receipts(self) -> str:
        settings = MessageToDict(self.client.get_privacy_settings())
        return settings["ReadReceipts"]

    def do_groups(self) -> int:
        return len(self.client.get_joined_groups())

    def do_picture(self, phone: str) -> None:
        answer = self.client.get_profile_picture(build_jid(phone))
        if answer.Error:
            raise LookupError(answer.Error)

    def do_logout(self) -> None:
        self.client.logout()


def plain(value: Any) -> Any:
    """Return an answer of the client as JSON can carry it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(value, "DESCRIPTOR"):
        return MessageToDict(value)
    return [plain(item) for item in value]


def main() -> None:
    log.setLevel(os.environ.get("DRIVER_LOG", "WARNING"))
    logging.getLogger().setLevel(logging.WARNING)
    endpoints = Endpoints.from_json(os.environ["SANDBOX_ENDPOINTS"])
    apply(endpoints.root_public_key)
    Driver(int(sys.argv[1]), sys.argv[2], endpoints).run()


if __name__ == "__main__":
    main()

"""What the native client tells of its connection, in our own words. Runs in session processes.

The functions only read attributes, so that this module needs no neonize (importing that loads
the Go runtime). Sources: ``Neonize.proto`` for the fields, ``goneonize/utils/encoder.go`` for
their units, whatsmeow ``types/events/events.go`` for the codes.
"""

from __future__ import annotations

from typing import Any, Literal

from wavisor.whatsapp.addresses import jid_text
from wavisor.whatsapp.events import (
    Connected,
    ConnectFailed,
    Event,
    LoggedOut,
    Paired,
    QrPhaseEnded,
    StreamError,
    TemporaryBan,
)

__all__ = ["CLIENT_OUTDATED", "TEMPORARILY_BANNED", "Translator"]

LOGGED_OUT, TEMPORARILY_BANNED, CLIENT_OUTDATED = 401, 402, 405

# neonize's enum has ordinals where WhatsApp has codes; by name, from whatsmeow's constants.
_FAILURE_CODES = {
    "GENERIC": 400,
    "LOGGED_OUT": LOGGED_OUT,
    "TEMP_BANNED": TEMPORARILY_BANNED,
    "MAIN_DEVICE_GONE": 403,
    "CLIENT_OUTDATED": CLIENT_OUTDATED,
    "UNKNOWN_LOGOUT": 406,
    "BAD_USER_AGENT": 409,
    "INTERNAL_SERVER_ERROR": 500,
    "EXPERIMENTAL": 501,
    "SERVICE_UNAVAILABLE": 503,
}
_FAILURE_TEXTS = {
    400: "WhatsApp refused the login",
    401: "logged out from another device",
    402: "the account is temporarily banned",
    403: "the account is locked or the main device was logged out",
    405: "the client is out of date",
    406: "the account is banned or was logged out",
    409: "the client was refused",
    500: "WhatsApp has an internal error",
    503: "WhatsApp is unavailable",
}
_TRANSIENT_FROM = 500
_BAN_CODES = {
    "SEND_TO_TOO_MANY_PEOPLE": 101,
    "BLOCKED_BY_USERS": 102,
    "CREATED_TOO_MANY_GROUPS": 103,
    "SENT_TOO_MANY_SAME_MESSAGE": 104,
    "BROADCAST_LIST": 106,
}
_BAN_TEXTS = {
    101: "too many messages to people who do not have this number in their address books",
    102: "too many people blocked this number",
    103: "too many groups with people who do not have this number in their address books",
    104: "the same message to too many people",
    106: "too many messages to a broadcast list",
}


def _enum_name(message: Any, field: str) -> str:
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    value = enum.values_by_number.get(getattr(message, field))
    return value.name if value else ""


class Translator:
    """Makes events of one instance out of what the native client reports."""

    def __init__(self, instance: str) -> None:
        self._instance = instance

    def paired(self, status: Any, me: Any | None) -> Paired:
        """Translate ``PairStatus``; ``me`` is the ``Device`` that the client knows by then."""
        lid = jid_text(me.LID) if me is not None else None
        return Paired(
            instance=self._instance,
            jid=jid_text(status.ID, device=True) or "",
            lid=lid,
            business_name=status.BusinessName or None,
            platform=status.Platform or None,
        )

    def connected(self, me: Any) -> Connected:
        """Translate the client's ``Device``, read when it says that it is connected."""
        return Connected(
            instance=self._instance,
            jid=jid_text(me.JID, device=True) or "",
            lid=jid_text(me.LID),
            phone=f"+{me.JID.User}",
            push_name=me.PushName or None,
            platform=me.Platform or None,
        )

    def qr_phase_ended(self, status: str) -> QrPhaseEnded | None:
        """Translate a login status (whatsmeow ``qrchan.go``); None when the phase goes on."""
        outcome: Literal["timeout", "passkey_required", "client_outdated", "error"]
        if status in ("success", "err-scanned-without-multidevice"):
            # The first is followed by Paired; after the second the same code can be scanned again.
            return None
        if status == "timeout":
            outcome = "timeout"
        elif status.startswith("passkey-"):
            outcome = "passkey_required"
        elif status == "err-client-outdated":
            outcome = "client_outdated"
        else:
            outcome = "error"
        return QrPhaseEnded(instance=self._instance, outcome=outcome, detail=status)

    def logged_out(self, event: Any) -> LoggedOut:
        """Translate ``LoggedOut``."""
        code = _FAILURE_CODES.get(_enum_name(event, "Reason"))
        return LoggedOut(
            instance=self._instance,
            on_connect=event.OnConnect,
            code=code,
            detail=_FAILURE_TEXTS.get(code or 0),
        )

    def temporary_ban(self, event: Any) -> TemporaryBan:
        """Translate ``TemporaryBan``; its ``Expire`` is in seconds, 0 for unknown."""
        code = _BAN_CODES.get(_enum_name(event, "Code"), 0)
        return self._ban(code, float(event.Expire))

    def connect_failure(self, event: Any) -> ConnectFailed:
        """Translate ``ConnectFailure``: the codes that have no event of their own."""
        code = _FAILURE_CODES.get(_enum_name(event, "Reason"))
        return self._refused(code, event.Message)

    def failure(self, code: int, attributes: dict[str, str]) -> Event:
        """Translate a ``<failure>`` stanza of which only the attributes are known.

        Used for reasons for which neonize's own events have no value.
        """
        if code == TEMPORARILY_BANNED:
            ban, expire = attributes.get("code", ""), attributes.get("expire", "")
            return self._ban(
                int(ban) if ban.isdigit() else 0, float(expire) if expire.isdigit() else 0.0
            )
        return self._refused(code, attributes.get("message", ""))

    def stream_error(self, event: Any) -> StreamError:
        """Translate ``StreamError``."""
        return StreamError(instance=self._instance, code=event.Code)

    def _ban(self, code: int, expire: float) -> TemporaryBan:
        return TemporaryBan(
            instance=self._instance,
            code=code,
            detail=_BAN_TEXTS.get(code, "the terms of service may have been violated"),
            expires_in=expire or None,
        )

    def _refused(self, code: int | None, message: str) -> ConnectFailed:
        detail = _FAILURE_TEXTS.get(code or 0, "WhatsApp refused the login")
        return ConnectFailed(
            instance=self._instance,
            cause="refused",
            code=code,
            detail=f"{detail}: {message}" if message else detail,
            permanent=code is not None and code < _TRANSIENT_FROM,
        )

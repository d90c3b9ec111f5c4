"""The words every layer shares: statuses, reasons, tiers and roles. No behaviour beyond them."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ALLOWED_COMMANDS",
    "CampaignStatus",
    "ChatKind",
    "DeliveryStatus",
    "DisabledReason",
    "EventType",
    "IgnoredChat",
    "InstanceCommand",
    "InstanceStatus",
    "MediaState",
    "MessageDirection",
    "MessageStatus",
    "Reason",
    "RecipientStatus",
    "RegistrationMode",
    "Role",
    "Tier",
    "WantedState",
]


class Tier(StrEnum):
    """What a subscription has paid for; :mod:`wavisor.limits` tells what each comes with."""

    BASIC = "BASIC"
    PRO = "PRO"
    MAX = "MAX"


class Role(StrEnum):
    """What a user may do inside a subscription; each role includes the ones after it."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    MEMBER = "MEMBER"
    VIEWER = "VIEWER"

    def includes(self, other: Role) -> bool:
        """Tell whether this is the other role, or one above it."""
        order = list(Role)
        return order.index(self) <= order.index(other)


class RegistrationMode(StrEnum):
    """Who may open an account."""

    OPEN = "open"
    CLOSED = "closed"
    FIRST = "first"


class WantedState(StrEnum):
    """What the user wants of an instance (``desired``), as against its observed status."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class InstanceStatus(StrEnum):
    """The observed status of an instance. Only its actor writes it."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    QR = "qr"
    PAIRING = "pairing"
    PASSKEY_REQUIRED = "passkey_required"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    FORCE_DISCONNECTED = "force_disconnected"
    LOGGED_OUT = "logged_out"
    REPLACED = "replaced"
    BANNED = "banned"
    OUTDATED = "outdated"
    FAILED = "failed"


class InstanceCommand(StrEnum):
    """What a user may ask of an instance."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    RESTART = "restart"
    LOGOUT = "logout"
    PAIRING_CODE = "pairing-code"
    QR = "qr"


_LIVE = frozenset({InstanceCommand.DISCONNECT, InstanceCommand.RESTART, InstanceCommand.LOGOUT})
_ENDED = frozenset({InstanceCommand.CONNECT, InstanceCommand.DISCONNECT, InstanceCommand.LOGOUT})

# Which commands a status allows. `disconnect` on something already down and `connect` on
# something already up or on its way are answered as done (202), because repeating a slow
# command must be harmless; they are therefore legal everywhere their effect already holds.
ALLOWED_COMMANDS: dict[InstanceStatus, frozenset[InstanceCommand]] = {
    InstanceStatus.DISCONNECTED: _ENDED,
    InstanceStatus.CONNECTING: _LIVE | {InstanceCommand.CONNECT},
    InstanceStatus.QR: _LIVE
    | {InstanceCommand.CONNECT, InstanceCommand.QR, InstanceCommand.PAIRING_CODE},
    InstanceStatus.PAIRING: frozenset({InstanceCommand.CONNECT, InstanceCommand.DISCONNECT}),
    InstanceStatus.PASSKEY_REQUIRED: _ENDED,
    InstanceStatus.CONNECTED: _LIVE | {InstanceCommand.CONNECT},
    InstanceStatus.RECONNECTING: _LIVE | {InstanceCommand.CONNECT},
    InstanceStatus.FORCE_DISCONNECTED: _ENDED,
    InstanceStatus.LOGGED_OUT: frozenset({InstanceCommand.CONNECT, InstanceCommand.DISCONNECT}),
    InstanceStatus.REPLACED: _ENDED,
    InstanceStatus.BANNED: _ENDED,
    InstanceStatus.OUTDATED: _ENDED,
    InstanceStatus.FAILED: _ENDED,
}


class Reason(StrEnum):
    """Why an instance changed its status; the `reason` of `instance:status:changed`.

    Only transient ones are followed by another try of our own accord.
    """

    # asked for
    USER_CONNECT = "user_connect"
    USER_DISCONNECT = "user_disconnect"
    USER_RESTART = "user_restart"
    USER_LOGOUT = "user_logout"
    SUBSCRIPTION_SUSPENDED = "subscription_suspended"  # by the platform's operator
    PROXY_CHANGED = "proxy_changed"
    RESTORED = "restored"  # the gateway started and the instance was wanted
    # on the way up
    QR_SHOWN = "qr_shown"
    QR_SCANNED = "qr_scanned"
    CODE_ENTERED = "code_entered"  # the pairing code was typed on the phone
    LOGGED_IN = "logged_in"
    # transient
    CONNECTION_LOST = "connection_lost"
    CONNECT_FAILED = "connect_failed"  # the network or the server refused; worth another try
    PROXY_UNREACHABLE = "proxy_unreachable"  # or it refuses to connect to WhatsApp
    KEEPALIVE_TIMEOUT = "keepalive_timeout"
    SESSION_CRASHED = "session_crashed"  # the session process ended by itself
    SESSION_UNRESPONSIVE = "session_unresponsive"  # it no longer answered and was killed
    SERVER_UNAVAILABLE = "server_unavailable"
    CONNECT_TIMEOUT = "connect_timeout"
    ACTOR_RESTARTED = "actor_restarted"  # the actor of the instance crashed: a bug
    PAIRING_FAILED = "pairing_failed"
    # permanent
    QR_LIMIT_REACHED = "qr_limit_reached"
    PASSKEY_REQUIRED = "passkey_required"
    LOGGED_OUT_BY_PHONE = "logged_out_by_phone"
    STREAM_REPLACED = "stream_replaced"
    TEMPORARY_BAN = "temporary_ban"
    CLIENT_OUTDATED = "client_outdated"
    CONNECT_REFUSED = "connect_refused"  # WhatsApp refuses this account for another reason
    RESTART_BUDGET_SPENT = "restart_budget_spent"
    KEY_STORE_UNAVAILABLE = "key_store_unavailable"


class EventType(StrEnum):
    """The types of events on the feed, in webhooks and in `…/events`."""

    INSTANCE_STATUS_CHANGED = "instance:status:changed"
    INSTANCE_QR_UPDATED = "instance:qr:updated"
    INSTANCE_PAIRING_CODE = "instance:pairing:code"
    INSTANCE_PAIRED = "instance:paired"
    INSTANCE_QUEUE_CHANGED = "instance:queue:changed"
    MESSAGE_RECEIVED = "message:received"
    MESSAGE_SENT = "message:sent"
    MESSAGE_STATUS_CHANGED = "message:status:changed"
    MESSAGE_FAILED = "message:failed"
    MESSAGE_REACTION = "message:reaction"
    MESSAGE_EDITED = "message:edited"
    MESSAGE_REVOKED = "message:revoked"
    MESSAGE_MEDIA_CHANGED = "message:media:changed"
    POLL_VOTE = "poll:vote"
    PRESENCE_UPDATED = "presence:updated"
    GROUP_UPDATED = "group:updated"
    GROUP_PARTICIPANTS_CHANGED = "group:participants:changed"
    CALL_OFFERED = "call:offered"
    CONTACT_UPDATED = "contact:updated"
    CAMPAIGN_PROGRESS = "campaign:progress"
    HISTORY_RECEIVED = "history:received"
    WEBHOOK_DISABLED = "webhook:disabled"


class DeliveryStatus(StrEnum):
    """What became of an event that a webhook is to be told of."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Given up; it can be asked for again."""
    CANCELLED = "cancelled"
    """Dropped, because its webhook was switched off for as long as events are kept."""


class DisabledReason(StrEnum):
    """Why a webhook is switched off."""

    BY_USER = "by_user"
    GONE = "gone"
    """Its server answered 410."""
    FAILING = "failing"
    """It took nothing for days."""


class MessageDirection(StrEnum):
    """Which way a message went."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class MediaState(StrEnum):
    """Whether the file of a message is there."""

    PENDING = "pending"
    """It is being fetched, or will be once the instance is connected."""
    STORED = "stored"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It is fetched only when somebody asks for it."""


class ChatKind(StrEnum):
    """With whom a chat is."""

    PERSON = "person"
    GROUP = "group"
    CHANNEL = "channel"
    BROADCAST = "broadcast"


class IgnoredChat(StrEnum):
    """Where things happen that an instance may ignore."""

    GROUP = "group"
    STATUS = "status"
    CHANNEL = "channel"
    BROADCAST = "broadcast"


class CampaignStatus(StrEnum):
    """How far a campaign is."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class RecipientStatus(StrEnum):
    """How far a campaign is with one of its recipients; the rest is told by the message."""

    PENDING = "pending"
    RELEASED = "released"
    OPTED_OUT = "opted_out"


class MessageStatus(StrEnum):
    """The life of a message. Receipts only move it forward; inbound ones are ``received``."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"
    RECEIVED = "received"

"""Which of what a session reports an instance takes in at all, by its settings.

What is ignored ends here: it is neither stored nor told, and no file of it is fetched. It is only
counted.
"""

from __future__ import annotations

from typing import Any

from wavisor.actors.instance.observer import InstanceObserver
from wavisor.actors.instance.settings import ReceivingSettings
from wavisor.domain import ChatKind, IgnoredChat
from wavisor.storage import chat_addresses
from wavisor.whatsapp import events as session

__all__ = ["Admission"]

_STATUS = "status@broadcast"

_IN_CHATS = (
    session.MessageReceived,
    session.UndecryptableMessage,
    session.MessageEdited,
    session.MessageRevoked,
    session.MessageReaction,
    session.PollVoted,
    session.PresenceUpdated,
    session.HistoryReceived,
)
_OF_GROUPS = (session.GroupUpdated, session.GroupParticipantsChanged)


class Admission:
    """Decides about each event of a session; used only in its instance's actor's thread.

    Args:
        observer: counts what is ignored.
    """

    def __init__(self, observer: InstanceObserver) -> None:
        self._observer = observer
        self._ignored: frozenset[IgnoredChat] = frozenset()

    def apply(self, settings: ReceivingSettings) -> None:
        """Go by changed settings from the next event on."""
        wanted = {
            IgnoredChat.GROUP: settings.ignore_groups,
            IgnoredChat.STATUS: settings.ignore_status,
            IgnoredChat.CHANNEL: settings.ignore_channels,
            IgnoredChat.BROADCAST: settings.ignore_broadcast,
        }
        self._ignored = frozenset(chat for chat, ignored in wanted.items() if ignored)

    def admits(self, event: session.Event) -> bool:
        """Tell whether an event is to be acted on; one that is not has been counted."""
        if not self._ignored:
            return True
        chat = _chat_of(event)
        ignored = None if chat is None else _kind_of(chat.jid)
        if ignored not in self._ignored:
            return True
        if ignored is IgnoredChat.STATUS and getattr(event, "from_me", False):
            return True  # one's own, posted on the phone
        self._observer.on_ignored(ignored)
        return False


def _chat_of(event: Any) -> session.Person | None:
    """Return in which chat something happened; None for what is never ignored.

    Others' receipts are not: they are about what was sent from here, wherever that went.
    """
    if isinstance(event, _IN_CHATS):
        return event.chat
    if isinstance(event, _OF_GROUPS):
        return event.group
    if isinstance(event, session.ReceiptReceived) and event.from_me:
        return event.chat
    return None


def _kind_of(jid: str) -> IgnoredChat | None:
    if jid == _STATUS:
        return IgnoredChat.STATUS
    kind = chat_addresses.kind_of(jid)
    return None if kind is ChatKind.PERSON else IgnoredChat(kind.value)

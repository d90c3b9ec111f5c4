"""Learns what the groups and channels are called in which something is said.

Their messages do not tell, and the event that does may have come before there was a chat, or before
the device was linked. So WhatsApp is asked about each that has no name by then, once.
"""

from __future__ import annotations

from collections import OrderedDict

from pydantic import ValidationError

from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.messages import QueryFailedError
from wavisor.actors.instance.questions import Outcome, Questions
from wavisor.domain import ChatKind
from wavisor.storage import chat_addresses, chats
from wavisor.whatsapp.events import GroupUpdated
from wavisor.whatsapp.group_queries import GroupInfo
from wavisor.whatsapp.queries import AnyQuery, ChannelInfo

__all__ = ["ChatNames"]

_REMEMBERED = 4096
_NAMED = frozenset({ChatKind.GROUP, ChatKind.CHANNEL})
_WORTH_ANOTHER_TRY = frozenset({"not_connected", "busy"})


class ChatNames:
    """The names of one instance's groups and channels; used only in its actor's thread.

    Args:
        instance_id: whose groups they are.
        journal: reads and writes the chats.
        questions: asks the session.
    """

    def __init__(self, instance_id: str, *, journal: Journal, questions: Questions) -> None:
        self._instance_id = instance_id
        self._journal = journal
        self._questions = questions
        self._told: OrderedDict[str, str] = OrderedDict()
        self._settled: OrderedDict[str, None] = OrderedDict()

    def on_updated(self, event: GroupUpdated) -> None:
        """Take over a name that WhatsApp tells; there may be no chat with the group yet."""
        if event.name:
            self._told[event.group.jid] = event.name
            _shorten(self._told)
            self._write(event.group.jid, event.name)

    def on_talk(self, chat: str) -> None:
        """See to it that a chat has a name in which something was said by anybody.

        Args:
            chat: its JID.
        """
        if chat in self._settled or chat_addresses.kind_of(chat) not in _NAMED:
            return
        self._settled[chat] = None
        _shorten(self._settled)
        told = self._told.get(chat)
        if told is not None:
            self._write(chat, told)
        elif self._journal.read(chats.name_of, self._instance_id, chat) is None:
            self._ask(chat)

    def _ask(self, chat: str) -> None:
        group = chat_addresses.kind_of(chat) is ChatKind.GROUP
        try:
            query: AnyQuery = GroupInfo(group=chat) if group else ChannelInfo(channel=chat)
        except ValidationError:
            return  # no address that WhatsApp gives
        self._questions.ask_for(query, lambda found: self._note(chat, found))

    def _note(self, chat: str, found: Outcome) -> None:
        if not isinstance(found, QueryFailedError):
            self._write(chat, found.name)
        elif found.reason in _WORTH_ANOTHER_TRY:
            self._settled.pop(chat, None)

    def _write(self, chat: str, name: str) -> None:
        self._journal.write(None, chats.name, self._instance_id, chat, name)


def _shorten(remembered: OrderedDict[str, str] | OrderedDict[str, None]) -> None:
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)

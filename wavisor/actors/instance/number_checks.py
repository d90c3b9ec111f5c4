"""Asks WhatsApp under which of two forms it has a number, before the first send to it.

A message to the form that has no account would be lost without anybody noticing: WhatsApp takes
it, for nobody's devices.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from wavisor.actors.instance.journal import Journal
from wavisor.actors.instance.messages import QueryFailedError
from wavisor.actors.instance.questions import Outcome, Questions
from wavisor.number_variants import number_variants
from wavisor.storage import Party, numbers
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.queries import CheckNumbers

__all__ = ["NumberChecks"]

_PHONE_SERVER = "s.whatsapp.net"


class NumberChecks:
    """The look-ups of one instance; used only in its actor's thread.

    Args:
        instance_id: whose chats they are.
        journal: reads and writes what is known.
        questions: asks the session.
    """

    def __init__(self, instance_id: str, *, journal: Journal, questions: Questions) -> None:
        self._instance_id = instance_id
        self._journal = journal
        self._questions = questions

    def needed(self, chat: str) -> bool:
        """Tell whether WhatsApp has to be asked before something is sent to this chat."""
        digits, _, server = chat.partition("@")
        if server != _PHONE_SERVER or len(number_variants(digits)) == 1:
            return False
        return not self._journal.read(numbers.is_checked, self._instance_id, chat)

    def look_up(self, chat: str, then: Callable[[Failure | None], None]) -> None:
        """Ask, and keep the chat under the right form.

        Args:
            chat: whose number it is about.
            then: called with why that failed; None when it is known, and noted.
        """
        digits = chat.partition("@")[0]
        query = CheckNumbers(numbers=(digits,))
        self._questions.ask_for(query, lambda outcome: then(self._note(chat, outcome)))

    def _note(self, chat: str, outcome: Outcome) -> Failure | None:
        if isinstance(outcome, QueryFailedError):
            return _failure(outcome)
        person = outcome.numbers[0].person
        if person is None:
            detail = "the number has no WhatsApp account, in neither of its forms"
            return Failure(reason="not_on_whatsapp", detail=detail)
        party = Party(person.jid, person.lid, person.phone)
        self._journal.write(None, numbers.settle, self._instance_id, chat, party)
        return None


def _failure(error: QueryFailedError) -> Failure:
    values = {"reason": error.reason, "detail": error.detail, "code": error.code}
    try:
        return Failure.model_validate(values)
    except ValidationError:
        return Failure(reason="internal", detail=error.detail)

"""What can go wrong between actors, as types that a caller can tell apart."""

from __future__ import annotations

import pykka

__all__ = [
    "ActorBusyError",
    "ActorCrashedError",
    "ActorDeadError",
    "ActorTimeoutError",
    "ActorUnavailableError",
    "DomainError",
    "UnexpectedMessageError",
]


class DomainError(Exception):
    """A refusal that belongs to the conversation: it goes to the asker and the actor lives on.

    Everything else that a handler raises is a bug: it reaches the asker too, but it ends the
    actor, so that its supervisor replaces it by one with fresh state.
    """


class UnexpectedMessageError(DomainError):
    """The actor has no handler for this type of message."""


class ActorUnavailableError(Exception):
    """The actor did not answer; whether it did the work is not known unless the subclass says."""


class ActorDeadError(ActorUnavailableError, pykka.ActorDeadError):
    """The actor was stopped before it answered.

    Also a ``pykka.ActorDeadError``, so that one ``except`` covers what ``ref.tell`` raises.
    """


class ActorTimeoutError(ActorUnavailableError, TimeoutError):
    """No answer in time. The message is dropped unless its handler had already begun."""


class ActorBusyError(ActorUnavailableError):
    """The actor's inbox is longer than its limit; the message was not put in."""


class ActorCrashedError(ActorUnavailableError):
    """The handler raised something that must not travel: ``SystemExit``, ``CancelledError``, …

    Such an exception would end the asker as well; it is the ``__cause__`` of this one.
    """

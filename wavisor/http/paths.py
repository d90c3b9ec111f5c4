"""Path parameters that are no ids of ours, such as the address of somebody on WhatsApp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError

__all__ = ["PathText"]


@dataclass(frozen=True)
class PathText:
    """A form of path parameter.

    Args:
        read: returns the canonical form of a text, or raises ``ValueError`` with a complaint such
            as "is no phone number".
        description: what it is, for the documentation.
        example: one, for the documentation.
    """

    read: Callable[[str], str]
    description: str
    example: str

    def canonical(self, name: str, text: str) -> str:
        """Return the canonical form.

        Raises:
            ProblemError: it has another form (422).
        """
        try:
            return self.read(text)
        except ValueError as error:
            wrong = FieldProblem(detail=str(error), parameter=name)
            raise ProblemError(VALIDATION_FAILED, errors=[wrong]) from None

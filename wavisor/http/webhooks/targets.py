"""Whether a webhook may be registered for a URL; every delivery checks again where it connects."""

from __future__ import annotations

import asyncio

from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.netguard import ForbiddenTargetError, GuardedResolver, TargetRule

__all__ = ["TargetCheck"]

_LOOKUP_SECONDS = 3.0


class TargetCheck:
    """Checks URLs, and what their names lead to at this moment.

    Args:
        rule: which addresses may be asked.
        resolver: what resolves names, for tests; by default the guarded one.
    """

    def __init__(self, rule: TargetRule, resolver: GuardedResolver | None = None) -> None:
        self._rule = rule
        self._resolver = resolver or GuardedResolver(rule)

    async def require(self, url: str) -> None:
        """Check a URL. A name that is not known (yet) is nobody's secret, and passes.

        Raises:
            ProblemError: it is forbidden (422).
        """
        try:
            target = self._rule.check_url(url)
            async with asyncio.timeout(_LOOKUP_SECONDS):
                await self._resolver.resolve(target.host, target.port)
        except ForbiddenTargetError as error:
            wrong = FieldProblem(detail=str(error), pointer="#/url")
            raise ProblemError(VALIDATION_FAILED, errors=[wrong]) from None
        except (OSError, TimeoutError, UnicodeError):
            return

    def close(self) -> None:
        """Give back the threads."""
        self._resolver.close()

"""Links by which anybody downloads one file for a while, without a token.

A link carries its expiry and a signature over that, the file and the subscription. Nothing is
stored: a link ends with its time, with the file, or with the secret that signs tokens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from datetime import UTC, datetime

from pydantic import Field, SecretStr

from wavisor.clock import Clock
from wavisor.http.accounts.throttle import AttemptCounter
from wavisor.http.limits.fields import place_of
from wavisor.http.problems import TOO_MANY_ATTEMPTS, ProblemError, ProblemKind
from wavisor.http.schemas import ApiModel
from wavisor.storage import Database, media

__all__ = ["LINK_INVALID", "MediaLinks", "SignedLink"]

LINK_INVALID = ProblemKind(
    "link-invalid",
    403,
    "The link is not valid (any more)",
    "Ask for a new one with POST /api/media/{id}/link.",
)

_LABEL = b"wavisor: links to files, version 1"
"""Makes the key one of its own: no signature of a link passes for one of a token."""
_EXPIRY = re.compile(r"\A[0-9]{1,12}\Z")
_SIGNATURE = re.compile(r"\A[A-Za-z0-9_-]{43}\Z")
_FAILURES = 100
_WINDOW_SECONDS = 300.0
_PLACES = 20_000


class SignedLink(ApiModel):
    """What a link to a file has."""

    expires: str | None = Field(default=None, description="Of a link: its end, in Unix seconds.")
    signature: str | None = Field(default=None, description="Of a link: proves that it is ours.")


class MediaLinks:
    """Signs links and lets those in who have one. Used on the event loop only.

    Args:
        secret: what tokens are signed with.
        database: knows the files.
        clock: what time it is.
        public_url: where clients reach the gateway, without a slash at its end; None to make
            links relative.
    """

    def __init__(
        self, secret: SecretStr, database: Database, clock: Clock, public_url: str | None
    ) -> None:
        self._key = hmac.digest(secret.get_secret_value().encode(), _LABEL, hashlib.sha256)
        self._database = database
        self._clock = clock
        self._public_url = public_url or ""
        self._failures = AttemptCounter("media-link", clock, _FAILURES, _WINDOW_SECONDS, _PLACES)

    def make(self, subscription_id: str, media_id: str, seconds: int) -> tuple[str, datetime]:
        """Return a link to a file and when it expires.

        Args:
            subscription_id: whose file; the caller has looked.
            media_id: which file.
            seconds: how long it is good.
        """
        expires = math.ceil(self._clock.now().timestamp()) + seconds
        signature = self._sign(subscription_id, media_id, str(expires))
        url = f"{self._public_url}/api/media/{media_id}?expires={expires}&signature={signature}"
        return url, datetime.fromtimestamp(expires, UTC)

    async def admit(self, media_id: str, expires: str, signature: str, address: str) -> str:
        """Return whose file a link is to.

        Args:
            media_id: which file, in its canonical form.
            expires: as the link has it.
            signature: as the link has it.
            address: the client's.

        Raises:
            ProblemError: the link is not good: 403 in the same words whatever is wrong with it;
                429 when too many from there were not.
        """
        place = place_of(address)
        wait = self._failures.wait(place)
        if wait > 0:
            raise ProblemError(
                TOO_MANY_ATTEMPTS,
                "Too many links that are not valid; wait and try again.",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        subscription_id = await self._owner(media_id, expires, signature)
        if subscription_id is None:
            self._failures.add(place)
            raise ProblemError(LINK_INVALID)
        return subscription_id

    async def _owner(self, media_id: str, expires: str, signature: str) -> str | None:
        if not _EXPIRY.match(expires) or not _SIGNATURE.match(signature):
            return None
        if int(expires) <= self._clock.now().timestamp():
            return None
        owner = await self._database.fetch(media.find_owner, media_id)
        expected = self._sign(owner or "", media_id, expires)
        genuine = hmac.compare_digest(expected.encode(), signature.encode())
        return owner if genuine else None

    def _sign(self, subscription_id: str, media_id: str, expires: str) -> str:
        text = "\n".join((subscription_id, media_id, expires)).encode()
        digest = hmac.digest(self._key, text, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

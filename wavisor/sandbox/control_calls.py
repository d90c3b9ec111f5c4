"""The calls of the control API as values: what to request, and how to read the answer.

The synchronous and the asynchronous client (``client.py``) send the same calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from wavisor.sandbox import control_models as models

__all__ = [
    "TIMEOUT",
    "Call",
    "ItemList",
    "SandboxControlError",
    "call",
    "listing",
    "messages",
    "person_path",
    "sent",
]

TIMEOUT = 30.0
"""Seconds for an answer, beyond what the caller asked the server to wait. A pairing takes up to
20 s when the client does not answer."""

Answer = TypeVar("Answer")
Item = TypeVar("Item", bound=models.Model)


class SandboxControlError(RuntimeError):
    """The control API refused a call, or could not be reached (``status`` 0)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {detail}" if status else detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A request and how to read its answer.

    ``wait`` is how many seconds the server may take by order of the caller, on top of the time
    that an answer takes.
    """

    method: str
    path: str
    adapter: TypeAdapter[Answer]
    body: bytes | None = None
    wait: float = 0.0

    def read(self, status: int, body: bytes) -> Answer:
        """Return the answer in a response; raises SandboxControlError if it is none."""
        if status >= 300:
            raise _error_of(status, body)
        try:
            return self.adapter.validate_json(body or b"null")
        except ValidationError as error:
            raise SandboxControlError(status, "the answer is not what was expected") from error


class ItemList(models.Model, Generic[Item]):
    """A list as the API answers it."""

    items: list[Item]


def call(
    answer: type[Answer],
    method: str,
    path: str,
    body: models.Model | None = None,
    query: Mapping[str, Any] | None = None,
) -> Call[Answer]:
    """Return a call whose answer is a document (``type(None)``: none)."""
    encoded = (
        body.model_dump_json(by_alias=True, exclude_unset=True).encode()
        if body is not None
        else None
    )
    given = {name: value for name, value in (query or {}).items() if value is not None}
    full_path = f"{path}?{urlencode(given)}" if given else path
    return Call(method, full_path, TypeAdapter(answer), encoded, float(given.get("wait", 0)))


def listing(
    item: type[Item], path: str, query: Mapping[str, Any] | None = None
) -> Call[ItemList[Item]]:
    """Return a call whose answer is a list, in its ``items``."""
    return call(ItemList[item], "GET", path, query=query)  # type: ignore[valid-type] # a class, at run time too


def person_path(kind: str, phone: str, *rest: str) -> str:
    """Return the path of something of a phone or contact, ``kind`` ``phones`` or ``contacts``."""
    return "/" + "/".join(quote(part, safe="") for part in (kind, phone, *rest))


def messages(kind: str, phone: str, query: Mapping[str, Any]) -> Call[ItemList[models.Message]]:
    """Return the call for what a device received; ``query`` as in ``WaitForMessages``."""
    wanted = models.WaitForMessages(**query).model_dump(exclude_unset=True)
    return listing(models.Message, person_path(kind, phone, "messages"), wanted)


def sent(kind: str, phone: str, message_id: str, query: Mapping[str, Any]) -> Call[models.Sent]:
    """Return the call for a sent message; ``query`` as in ``WaitForSent``."""
    wanted = models.WaitForSent(**query).model_dump(exclude_unset=True)
    return call(models.Sent, "GET", person_path(kind, phone, "sent", message_id), query=wanted)


def _error_of(status: int, body: bytes) -> SandboxControlError:
    try:
        problem = models.Problem.model_validate_json(body)
    except ValidationError:
        return SandboxControlError(status, "the answer is no problem document")
    items = [f"{item.pointer}: {item.detail}" for item in problem.errors or []]
    return SandboxControlError(status, "; ".join([problem.detail or problem.title, *items]))

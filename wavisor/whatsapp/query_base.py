"""What all queries to WhatsApp are made of; see :mod:`wavisor.whatsapp.queries`."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints

__all__ = [
    "MAX_NUMBERS",
    "MAX_PARTICIPANTS",
    "MAX_PICTURE",
    "Base64",
    "ChannelJid",
    "Digits",
    "GroupJid",
    "InviteCode",
    "MessageId",
    "Person",
    "QueryModel",
    "result_type",
]

MAX_NUMBERS = 100
MAX_PARTICIPANTS = 256
MAX_PICTURE = 512 * 1024
"""Bytes of a picture that is set, before base64. WhatsApp shows 640 by 640 pixels at most."""

ResultT_co = TypeVar("ResultT_co", bound=BaseModel, covariant=True)

# Strict, because the native client reads an address without checking that its parts are there.
Person = Annotated[
    str, StringConstraints(pattern=r"^[1-9][0-9]{4,19}@(s\.whatsapp\.net|lid)$", max_length=64)
]
GroupJid = Annotated[
    str, StringConstraints(pattern=r"^[1-9][0-9]{4,19}(-[0-9]{6,14})?@g\.us$", max_length=64)
]
ChannelJid = Annotated[
    str, StringConstraints(pattern=r"^[1-9][0-9]{4,24}@newsletter$", max_length=64)
]
Digits = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{4,19}$")]
MessageId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
InviteCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{6,64}$")]
"""What stands after ``https://chat.whatsapp.com/``."""
Base64 = Annotated[str, StringConstraints(max_length=MAX_PICTURE * 4 // 3 + 4)]


class QueryModel(BaseModel, Generic[ResultT_co]):
    """A question or change with an answer of type ``ResultT_co``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def result_type(query: QueryModel[Any]) -> type[BaseModel]:
    """Return the type of the result that a query has."""
    for base in type(query).__mro__:
        arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args")
        if arguments:
            found: type[BaseModel] = arguments[0]
            return found
    raise TypeError(f"{type(query).__name__} does not say what its result is")

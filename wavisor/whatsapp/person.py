"""Somebody on WhatsApp, as far as they are known."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Person"]


class Person(BaseModel):
    """Somebody on WhatsApp, with None for what is unknown.

    ``jid`` is the address as WhatsApp gave it, ``lid`` the hidden one (``…@lid``), ``phone`` the
    number in E.164.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jid: str
    lid: str | None = None
    phone: str | None = None

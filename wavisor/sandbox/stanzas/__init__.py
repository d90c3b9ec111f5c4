"""What the server does with each stanza of a client, one module per concern."""

from __future__ import annotations

from wavisor.sandbox.stanzas.dispatch import Stanzas

__all__ = ["Stanzas"]

"""The instance actor: one per WhatsApp number, the only writer of that instance's status."""

from __future__ import annotations

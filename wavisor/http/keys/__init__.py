"""API keys: their form, the routes that manage them, and when they were used last."""

from __future__ import annotations

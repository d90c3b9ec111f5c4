"""Actors: supervision, the instance actors, the event bus. No SQL and no tornado in here."""

from __future__ import annotations

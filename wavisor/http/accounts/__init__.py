"""Accounts: passwords, tokens, who may do what, and the routes under ``/api/auth``."""

from __future__ import annotations

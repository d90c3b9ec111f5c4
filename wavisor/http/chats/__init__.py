"""Conversations: with whom, what was said last, what is unread; marking messages read."""

from __future__ import annotations

from wavisor.http.chats.routes import router

__all__ = ["router"]

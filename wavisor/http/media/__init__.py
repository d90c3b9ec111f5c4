"""The files of messages, as they are downloaded."""

from __future__ import annotations

from wavisor.http.media.links import MediaLinks
from wavisor.http.media.routes import router

__all__ = ["MediaLinks", "router"]

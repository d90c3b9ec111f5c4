"""What can go wrong with a file: one exception, with a reason that callers may tell apart."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["MediaError", "MediaReason"]


class MediaReason(StrEnum):
    """Why a file cannot be had, kept or sent."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    """Its content is of a type that this kind of message does not take."""
    UNREADABLE = "unreadable"
    """Its content is damaged, or not what it seems."""
    FORBIDDEN_URL = "forbidden_url"
    """The URL, or what it leads to, is nothing that users may have us ask."""
    UNREACHABLE = "unreachable"
    """The server of the URL does not answer, or not with the file."""
    TIMEOUT = "timeout"
    """Fetching the URL took too long."""
    TOOL_MISSING = "tool_missing"
    """A program that this kind of message needs is not installed."""
    TOOL_TIMEOUT = "tool_timeout"
    """Converting took too long and was ended."""
    DISK_FULL = "disk_full"
    BUSY = "busy"
    """Too many conversions wait already."""


class MediaError(Exception):
    """A file that cannot be had, kept or sent.

    Args:
        reason: what kind of failure it is.
        detail: a sentence without a subject, such as ``is empty``; for users, so without paths.
    """

    def __init__(self, reason: MediaReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

"""The figures by which an instance fetches the files of its messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from wavisor.actors.instance.retries import RetryPolicy

__all__ = ["DownloadPolicy"]


@dataclass(frozen=True)
class DownloadPolicy:
    """How files are fetched."""

    at_once: int = 3
    """Files of one instance that are under way; its session fetches two of them at a time."""
    max_bytes: int = 100 * 1024 * 1024
    """The largest file that is fetched at all."""
    timeout: float = 120.0
    """Seconds that fetching one may take."""
    slack: float = 150.0
    """Seconds beyond it that the session may let one wait for its turn."""
    retries: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(attempts=7, initial=10.0, maximum=3600.0)
    )
    """How often, and when, one is tried that WhatsApp's servers did not give."""

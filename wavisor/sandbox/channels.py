"""Channels (newsletters): public, not encrypted, written by their owners.

Source: whatsmeow ``newsletter.go``, ``types/newsletter.go``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wavisor.sandbox.codec import Jid

if TYPE_CHECKING:
    from wavisor.sandbox.accounts import Account

__all__ = ["NEWSLETTER_SERVER", "Channel", "ChannelPost", "Channels"]

NEWSLETTER_SERVER: Final = "newsletter"
POSTS_KEPT = 1000


@dataclass(slots=True)
class ChannelPost:
    """A message in a channel. ``reactions`` are emojis by the phone number of who reacted."""

    server_id: int
    id: str
    type: str
    content: bytes = field(repr=False)
    media_type: str | None = None
    at: int = field(default_factory=lambda: int(time.time()))
    reactions: dict[str, str] = field(default_factory=dict)
    viewers: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Channel:
    """A channel. ``followers`` are phone numbers, with whether they muted it."""

    id: str
    name: str
    description: str
    owner: Account
    created: int = field(default_factory=lambda: int(time.time()))
    invite: str = field(default_factory=lambda: "0029Va" + secrets.token_hex(8))
    followers: dict[str, bool] = field(default_factory=dict)
    posts: list[ChannelPost] = field(default_factory=list)
    next_server_id: int = 100

    @property
    def jid(self) -> Jid:
        """The channel's address."""
        return Jid(self.id, NEWSLETTER_SERVER)

    def publish(
        self, post_id: str, kind: str, content: bytes, media_type: str | None
    ) -> ChannelPost:
        """Add a message; the oldest are forgotten beyond :data:`POSTS_KEPT`."""
        post = ChannelPost(self.next_server_id, post_id, kind, content, media_type)
        self.next_server_id += 1
        self.posts.append(post)
        del self.posts[:-POSTS_KEPT]
        return post

    def post(self, server_id: int) -> ChannelPost | None:
        """Return the message with the number that the server gave it."""
        return next((post for post in self.posts if post.server_id == server_id), None)

    def role_of(self, account: Account) -> str:
        """Return what somebody is here, in WhatsApp's words."""
        if account is self.owner:
            return "OWNER"
        return "SUBSCRIBER" if account.phone in self.followers else "GUEST"

    def metadata(self, viewer: Account | None) -> dict[str, Any]:
        """Return what GraphQL answers tell of it, to ``viewer`` if given."""
        moment = str(self.created * 1_000_000)
        answer: dict[str, Any] = {
            "id": str(self.jid),
            "state": {"type": "ACTIVE"},
            "thread_metadata": {
                "creation_time": str(self.created),
                "invite": self.invite,
                "name": {"text": self.name, "id": "1", "update_time": moment},
                "description": {"text": self.description, "id": "1", "update_time": moment},
                "subscribers_count": str(len(self.followers)),
                "verification": "UNVERIFIED",
                "preview": {"id": "", "type": "PREVIEW", "direct_path": ""},
                "settings": {"reaction_codes": {"value": "ALL"}},
            },
            "viewer_metadata": None,
        }
        if viewer is not None:
            muted = self.followers.get(viewer.phone, False)
            answer["viewer_metadata"] = {
                "mute": "ON" if muted else "OFF",
                "role": self.role_of(viewer),
            }
        return answer


class Channels:
    """All channels."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def create(self, owner: Account, name: str, description: str) -> Channel:
        """Create a channel; its owner follows it."""
        channel = Channel(
            id=f"1203634{secrets.randbelow(10**11):011d}",
            name=name,
            description=description,
            owner=owner,
            followers={owner.phone: False},
        )
        self._channels[channel.id] = channel
        return channel

    def find(self, key: str) -> Channel | None:
        """Return the channel with this JID or invite code."""
        by_id = self._channels.get(key.removesuffix(f"@{NEWSLETTER_SERVER}"))
        return by_id or next((c for c in self._channels.values() if c.invite == key), None)

    def followed_by(self, account: Account) -> Iterator[Channel]:
        """Yield the channels that somebody follows."""
        return (c for c in self._channels.values() if account.phone in c.followers)

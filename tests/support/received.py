"""Somebody with a connected instance over HTTP, who gets messages with files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from support.gateway import GatewayLab
from support.http import Answer, Member
from support.media_samples import picture
from wavisor.whatsapp.events import MessageReceived, Person
from wavisor.whatsapp.inbound import InboundContent, MediaDescriptor

PICTURE = picture("PNG", 64, 64)
ANNA = Person(jid="15550199@s.whatsapp.net", phone="+15550199")


@dataclass
class Recipient:
    """Somebody with a connected instance, who gets files."""

    gateway: GatewayLab
    owner: Member
    instance: str

    def receive(self, content: bytes | None = PICTURE, **more: Any) -> dict[str, Any]:
        """Let a picture arrive; return the data of its event. None is one that is gone."""
        session = self.gateway.session(self.instance)
        source = f"3EB0{len(session.events):04}"
        if content is not None:
            self.gateway.driver.files[source] = content
        once = bool(more.pop("view_once", False))
        told = MediaDescriptor(
            **{
                "kind": "image",
                "mime_type": "image/jpeg",
                "size": len(content or b"gone"),
                "sha256": hashlib.sha256(content or b"gone").hexdigest(),
                "file_name": "cat.png",
                "source": source,
                **more,
            }
        )
        content_of = {"type": told.kind, "raw_type": "x", "media": told, "caption": "A cat"}
        content_of["view_once"] = once
        return self.say(source, **content_of)

    def say(self, message_id: str, **content: Any) -> dict[str, Any]:
        """Let a message with this content arrive; return the data of its event."""
        self.gateway.session(self.instance).emit(
            MessageReceived(
                instance=self.instance,
                message_id=message_id,
                chat=ANNA,
                sender=ANNA,
                from_me=False,
                is_group=False,
                timestamp=datetime.now(UTC),
                content=InboundContent(**content),
            )
        )
        return self.gateway.seen.wait_for(
            lambda one: one.type == "message:received" and one.data["whatsappId"] == message_id
        ).data

    def changed(self, message_id: str, state: str) -> dict[str, Any]:
        event = self.gateway.seen.wait_for(
            lambda one: (
                one.type == "message:media:changed"
                and one.data["messageId"] == message_id
                and one.data["media"]["state"] == state
            )
        )
        return dict(event.data["media"])

    def get(self, path: str, **more: Any) -> Answer:
        return self.gateway.get(path, token=self.owner.token, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        return self.gateway.post(path, json or {}, token=self.owner.token, **more)

    def message(self, message_id: str) -> Any:
        answer = self.get(f"/api/messages/{message_id}")
        assert answer.status == 200, answer.body
        return answer.json


def recipient_of(gateway: GatewayLab) -> Recipient:
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    return Recipient(gateway, owner, instance)

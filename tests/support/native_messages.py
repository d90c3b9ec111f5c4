"""What the native client tells about messages, made of its own protobufs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wavisor.whatsapp.inbound import InboundContent

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def said(text: str) -> InboundContent:
    """The content of a received text."""
    return InboundContent(type="text", raw_type="conversation", text=text)


def jid(pb: Any, text: str = "") -> Any:
    """An empty JID for empty text, as the library encodes what it does not know."""
    if not text:
        return pb.JID(User="", RawAgent=0, Device=0, Integrator=0, Server="", IsEmpty=True)
    user, _, server = text.partition("@")
    name, _, device = user.partition(":")
    return pb.JID(
        User=name, RawAgent=0, Device=int(device or 0), Integrator=0, Server=server, IsEmpty=False
    )


def source(
    pb: Any,
    chat: str = "100@lid",
    sender: str = "100:5@lid",
    sender_alt: str = "",
    recipient_alt: str = "",
    **flags: bool,
) -> Any:
    return pb.MessageSource(
        Chat=jid(pb, chat),
        Sender=jid(pb, sender),
        SenderAlt=jid(pb, sender_alt),
        RecipientAlt=jid(pb, recipient_alt),
        BroadcastListOwner=jid(pb),
        IsFromMe=flags.get("from_me", False),
        IsGroup=flags.get("group", False),
    )


def info(pb: Any, where: Any, **fields: Any) -> Any:
    return pb.MessageInfo(
        MessageSource=where,
        ID="3EB0",
        ServerID=fields.get("server_id", 0),
        Type="text",
        Pushname=fields.get("push_name", "Anna"),
        Timestamp=int(MOMENT.timestamp() * 1000),
        Category=fields.get("category", ""),
        Multicast=False,
        MediaType="",
        Edit=fields.get("edit", ""),
    )


def new_message(pb: Any) -> Any:
    """An empty ``waE2E.Message``."""
    return type(pb.Message().Message)()


def received(pb: Any, content: Any, where: Any = None, **fields: Any) -> Any:
    """A ``Message`` event with this ``waE2E.Message``."""
    view_once = fields.pop("view_once", False)
    event = pb.Message(
        Info=info(pb, where or source(pb), **fields),
        IsEphemeral=False,
        IsViewOnce=view_once,
        IsViewOnceV2=False,
        IsViewOnceV2Extension=False,
        IsDocumentWithCaption=False,
        IsLottieSticker=False,
        IsEdit=False,
        UnavailableRequestID="",
        RetryCount=0,
    )
    event.Message.CopyFrom(content)
    return event


def message(pb: Any, where: Any = None, category: str = "", **content: Any) -> Any:
    """The same, with fields of the ``waE2E.Message``, dictionaries for parts."""
    made = new_message(pb)
    for name, value in content.items():
        if isinstance(value, dict):
            getattr(made, name).SetInParent()
            for key, item in value.items():
                setattr(getattr(made, name), key, item)
        else:
            setattr(made, name, value)
    return received(pb, made, where, category=category)

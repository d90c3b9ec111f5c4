"""Calls of the control API about what people write, show and do, as values.

Both clients (``client.py``) run them: ``control.run(send("contacts", phone, to=user, kind="text",
text="hi"))``. ``person`` is ``phones`` or ``contacts``; fields are those of the models in
``control_talk_models.py``.
"""

from __future__ import annotations

from typing import Any

from wavisor.sandbox import control_talk_models as models
from wavisor.sandbox.control_calls import Call, ItemList, call, listing, person_path
from wavisor.sandbox.control_models import Sent

__all__ = [
    "act",
    "calls",
    "change_profile",
    "channel",
    "confirm",
    "create_channel",
    "found_group",
    "group",
    "hang_up",
    "lose_keys",
    "profile",
    "publish",
    "ring",
    "send",
    "set_shared",
    "shared_settings",
    "show",
    "signals",
    "type_to",
]

_Nothing = type(None)


def send(person: str, phone: str, **fields: Any) -> Call[Sent]:
    """Write a message of any kind; ``fields`` are those of ``NewMessage``."""
    body = models.NewMessage(**fields)
    return call(Sent, "POST", person_path(person, phone, "send"), body)


def confirm(person: str, phone: str, **fields: Any) -> Call[None]:
    """Send a receipt; ``fields`` are those of ``Confirm``."""
    body = models.Confirm(**fields)
    return call(_Nothing, "POST", person_path(person, phone, "receipts"), body)


def show(person: str, phone: str, *, available: bool) -> Call[None]:
    """Come online, or go."""
    body = models.ShowPresence(available=available)
    return call(_Nothing, "POST", person_path(person, phone, "presence"), body)


def type_to(person: str, phone: str, **fields: Any) -> Call[None]:
    """Be seen typing; ``fields`` are those of ``Typing``."""
    body = models.Typing(**fields)
    return call(_Nothing, "POST", person_path(person, phone, "typing"), body)


def ring(person: str, phone: str, **fields: Any) -> Call[models.CallInfo]:
    """Call somebody; ``fields`` are those of ``NewCall``."""
    body = models.NewCall(**fields)
    return call(models.CallInfo, "POST", person_path(person, phone, "calls"), body)


def calls(person: str, phone: str) -> Call[ItemList[models.CallInfo]]:
    """List the calls that somebody made."""
    return listing(models.CallInfo, person_path(person, phone, "calls"))


def hang_up(
    person: str, phone: str, call_id: str, reason: str = "timeout"
) -> Call[models.CallInfo]:
    """End a call."""
    path = person_path(person, phone, "calls", call_id, "hang-up")
    return call(models.CallInfo, "POST", path, models.HangUp(reason=reason))


def profile(person: str, phone: str) -> Call[models.ProfileInfo]:
    """Return what somebody shows of himself."""
    return call(models.ProfileInfo, "GET", person_path(person, phone, "profile"))


def change_profile(person: str, phone: str, **fields: Any) -> Call[models.ProfileInfo]:
    """Change it; ``fields`` are those of ``ProfileChange``, bytes in base64."""
    body = models.ProfileChange(**fields)
    return call(models.ProfileInfo, "PATCH", person_path(person, phone, "profile"), body)


def shared_settings(phone: str) -> Call[ItemList[models.SharedSetting]]:
    """List what a phone and its companions agree on."""
    return listing(models.SharedSetting, person_path("phones", phone, "settings"))


def set_shared(phone: str, index: list[str], value: bool | str) -> Call[None]:
    """Change one of these on the phone."""
    body = models.SharedSetting(index=index, value=value)
    return call(_Nothing, "POST", person_path("phones", phone, "settings"), body)


def signals(person: str, phone: str) -> Call[ItemList[models.SignalInfo]]:
    """List presence, typing and notifications that arrived."""
    return listing(models.SignalInfo, person_path(person, phone, "signals"))


def lose_keys(person: str, phone: str, of: str) -> Call[None]:
    """Forget the keys to what the number ``of`` sends."""
    body = models.LoseKeys(phone=of)
    return call(_Nothing, "POST", person_path(person, phone, "lose-keys"), body)


def found_group(**fields: Any) -> Call[models.GroupInfo]:
    """Found a group; ``fields`` are those of ``NewGroup``."""
    return call(models.GroupInfo, "POST", "/groups", models.NewGroup(**fields))


def group(jid: str) -> Call[models.GroupInfo]:
    """Return a group."""
    return call(models.GroupInfo, "GET", person_path("groups", jid))


def act(jid: str, **fields: Any) -> Call[models.GroupInfo]:
    """Do something in a group; ``fields`` are those of ``GroupAction``."""
    body = models.GroupAction(**fields)
    return call(models.GroupInfo, "POST", person_path("groups", jid), body)


def create_channel(**fields: Any) -> Call[models.ChannelInfo]:
    """Create a channel; ``fields`` are those of ``NewChannel``."""
    return call(models.ChannelInfo, "POST", "/channels", models.NewChannel(**fields))


def channel(jid: str) -> Call[models.ChannelInfo]:
    """Return a channel."""
    return call(models.ChannelInfo, "GET", person_path("channels", jid))


def publish(jid: str, post_id: str, text: str) -> Call[models.ChannelInfo]:
    """Publish a text in a channel, as its owner."""
    body = models.NewPost(id=post_id, text=text)
    return call(models.ChannelInfo, "POST", person_path("channels", jid), body)

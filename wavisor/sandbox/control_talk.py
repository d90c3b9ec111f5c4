"""Routes of the control API about what people write, show and do, besides plain texts."""

from __future__ import annotations

import asyncio

from wavisor.sandbox.app_state import InvalidPatchError
from wavisor.sandbox.calls import Call
from wavisor.sandbox.control_handlers import ControlHandler, ProblemError
from wavisor.sandbox.control_people import sent_info
from wavisor.sandbox.control_talk_models import (
    BusinessInfo,
    CallInfo,
    Confirm,
    HangUp,
    LoseKeys,
    NewCall,
    NewMessage,
    ProfileChange,
    ProfileInfo,
    SharedSetting,
    ShowPresence,
    SignalInfo,
    Typing,
)
from wavisor.sandbox.directory import Account
from wavisor.sandbox.drafts import Draft, send_draft
from wavisor.sandbox.media_crypto import MediaDecryptionError
from wavisor.sandbox.notices import announce_about, announce_picture
from wavisor.sandbox.profiles import BusinessProfile, Picture

__all__ = ["ROUTES"]


class SendHandler(ControlHandler):
    """``…/send``: write a message of any kind."""

    async def post(self, kind: str, number: str) -> None:
        """Send it; answers when the server has taken it."""
        person, wanted = self.person(kind, number), self.body(NewMessage)
        told = wanted.model_dump(exclude={"to", "data", "size"})
        for name in ("mentions", "names", "cards"):
            told[name] = tuple(told[name])
        draft = Draft(**told, file=wanted.data if wanted.data is not None else bytes(wanted.size))
        with self.domain_errors():
            self.reply(sent_info(await send_draft(person, wanted.to, draft)), 201)


class FileHandler(ControlHandler):
    """``…/messages/{id}/file``: the file in a message that arrived."""

    async def get(self, kind: str, number: str, message_id: str) -> None:
        """Return it decrypted, 409 if it is not what the message says."""
        person = self.person(kind, number)
        try:
            content = await asyncio.to_thread(person.file_of, message_id)
        except LookupError as error:
            raise ProblemError(404, str(error)) from error
        except MediaDecryptionError as error:
            raise ProblemError(409, str(error)) from error
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(content)


class ReceiptsHandler(ControlHandler):
    """``…/receipts``: confirm messages, in whatever order."""

    async def post(self, kind: str, number: str) -> None:
        """Send one receipt for some messages."""
        person, wanted = self.person(kind, number), self.body(Confirm)
        with self.domain_errors():
            await person.confirm(wanted.chat, wanted.messages, wanted.kind, author=wanted.author)
        self.set_status(204)


class PresenceHandler(ControlHandler):
    """``…/presence``: come online, or go."""

    async def post(self, kind: str, number: str) -> None:
        """Do it."""
        person = self.person(kind, number)
        await person.show(available=self.body(ShowPresence).available)
        self.set_status(204)


class TypingHandler(ControlHandler):
    """``…/typing``: be seen typing."""

    async def post(self, kind: str, number: str) -> None:
        """Do it."""
        person, wanted = self.person(kind, number), self.body(Typing)
        with self.domain_errors():
            await person.type_to(wanted.to, wanted.state)
        self.set_status(204)


class CallsHandler(ControlHandler):
    """``…/calls``: calls that somebody made."""

    def get(self, kind: str, number: str) -> None:
        """List them, oldest first."""
        self.reply([_call_info(call) for call in self.person(kind, number).calls])

    async def post(self, kind: str, number: str) -> None:
        """Call somebody."""
        person, wanted = self.person(kind, number), self.body(NewCall)
        with self.domain_errors():
            self.reply(_call_info(await person.call(wanted.to, video=wanted.video)), 201)


class HangUpHandler(ControlHandler):
    """``…/calls/{id}/hang-up``: end a call."""

    async def post(self, kind: str, number: str, call_id: str) -> None:
        """End it."""
        person, wanted = self.person(kind, number), self.body(HangUp)
        call = next((call for call in person.calls if call.id == call_id), None)
        if call is None:
            raise ProblemError(404, "no call with this id was made from here")
        await person.hang_up(call, wanted.reason)
        self.reply(_call_info(call))


class ProfileHandler(ControlHandler):
    """``…/profile``: what somebody shows of himself."""

    def get(self, kind: str, number: str) -> None:
        """Return it."""
        self.reply(_profile_info(self.person(kind, number).account))

    async def patch(self, kind: str, number: str) -> None:
        """Change it; those who know him are told."""
        account, wanted = self.person(kind, number).account, self.body(ProfileChange)
        changed = wanted.model_fields_set
        if "about" in changed:
            account.status = wanted.about or ""
            await announce_about(self.world, account)
        if "picture" in changed:
            content = wanted.picture
            path = self.world.media.put(content) if content else ""
            account.picture = Picture(content, path) if content else None
            await announce_picture(self.world, account, account)
        if "business" in changed:
            account.business = _business(wanted.business)
        self.reply(_profile_info(account))


class SharedSettingsHandler(ControlHandler):
    """``/phones/{phone}/settings``: what a phone and its companions agree on."""

    def get(self, number: str) -> None:
        """List the settings in force."""
        self.reply(
            [
                SharedSetting(index=list(index), value=value)
                for index, value in self.phone(number).shared_settings
            ]
        )

    async def post(self, number: str) -> None:
        """Change one on the phone; companions are told."""
        phone, wanted = self.phone(number), self.body(SharedSetting)
        try:
            await phone.set(tuple(wanted.index), wanted.value)
        except (KeyError, TypeError) as error:
            raise ProblemError(422, "no such setting, or not with such a value") from error
        except InvalidPatchError as error:
            raise ProblemError(409, str(error)) from error
        self.set_status(204)


class SignalsHandler(ControlHandler):
    """``…/signals``: presence, typing and notifications that arrived."""

    def get(self, kind: str, number: str) -> None:
        """List them, oldest first."""
        self.reply(
            [
                SignalInfo(
                    tag=stanza.tag,
                    type=stanza.text("type"),
                    source=stanza.text("from"),
                    participant=stanza.text("participant"),
                    content=[child.tag for child in stanza.children],
                )
                for stanza in self.person(kind, number).signals
            ]
        )


class LoseKeysHandler(ControlHandler):
    """``…/lose-keys``: forget the keys to what somebody's devices send."""

    def post(self, kind: str, number: str) -> None:
        """Forget them; the next message must be asked for again."""
        person, wanted = self.person(kind, number), self.body(LoseKeys)
        account = self.world.account_by_phone(wanted.phone)
        if account is None:
            raise ProblemError(404, "this number has no account")
        for device in self.world.devices_of(account):
            person.forget(device)
        self.set_status(204)


def _call_info(call: Call) -> CallInfo:
    return CallInfo(id=call.id, to=call.to, video=call.video, status=call.status)


def _business(wanted: BusinessInfo | None) -> BusinessProfile | None:
    if wanted is None:
        return None
    return BusinessProfile(**wanted.model_dump(exclude={"hours"}), hours=tuple(wanted.hours))


def _profile_info(account: Account) -> ProfileInfo:
    business = account.business
    return ProfileInfo(
        name=account.name,
        about=account.status,
        picture_id=account.picture.id if account.picture else None,
        business=BusinessInfo(
            address=business.address,
            email=business.email,
            category=business.category,
            timezone=business.timezone,
            hours=list(business.hours),
        )
        if business
        else None,
        privacy=account.privacy,
        blocked=[str(jid) for jid in account.blocked],
    )


_PERSON = r"/(phones|contacts)/([^/]+)"

ROUTES: list[tuple[str, type[ControlHandler]]] = [
    (r"/phones/([^/]+)/settings", SharedSettingsHandler),
    (_PERSON + r"/send", SendHandler),
    (_PERSON + r"/messages/([^/]+)/file", FileHandler),
    (_PERSON + r"/receipts", ReceiptsHandler),
    (_PERSON + r"/presence", PresenceHandler),
    (_PERSON + r"/typing", TypingHandler),
    (_PERSON + r"/calls", CallsHandler),
    (_PERSON + r"/calls/([^/]+)/hang-up", HangUpHandler),
    (_PERSON + r"/profile", ProfileHandler),
    (_PERSON + r"/signals", SignalsHandler),
    (_PERSON + r"/lose-keys", LoseKeysHandler),
]
"""Paths and their handlers."""

"""Queries about people and this account, carried out by neonize. Runs in session processes.

Sources: whatsmeow ``user.go``, ``presence.go``, ``privacysettings.go``, ``receipt.go``,
``call.go``; neonize ``goneonize/main.go``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from neonize.client import ContactStore
from neonize.proto.Neonize_pb2 import GetProfilePictureParams, SetPrivacySettingReturnFunction
from neonize.utils.enum import (
    BlocklistAction,
    ChatPresence,
    ChatPresenceMedia,
    Presence,
    ReceiptType,
)

from wavisor.number_variants import number_variants
from wavisor.whatsapp import queries as ask
from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.addresses import LID_SERVER, PHONE_SERVER, jid_text
from wavisor.whatsapp.events import Failure
from wavisor.whatsapp.native_addresses import NativeAddresses, native_jid
from wavisor.whatsapp.person import Person
from wavisor.whatsapp.pictures import PictureError, decoded, square_jpeg
from wavisor.whatsapp.query_failures import QueryRefusedError, failure_of_query

__all__ = ["PeopleQueries", "picture_bytes"]

_PRIVACY_NAMES = {
    "last_seen": "last",
    "online": "online",
    "profile_picture": "profile",
    "about": "status",
    "group_add": "groupadd",
    "call_add": "calladd",
    "read_receipts": "readreceipts",
}
"""Our names of privacy settings, and WhatsApp's (whatsmeow ``types/user.go``)."""
_PRIVACY_FIELDS = {
    "last_seen": "LastSeen",
    "online": "Online",
    "profile_picture": "Profile",
    "about": "Status",
    "group_add": "GroupAdd",
    "call_add": "CallAdd",
    "read_receipts": "ReadReceipts",
}


class PeopleQueries:
    """Carries out queries about people, presence and this account.

    Args:
        client: the neonize client; only used while connected.
        addresses: knows people's other addresses.
    """

    def __init__(self, client: Any, addresses: NativeAddresses) -> None:
        self._client = client
        self._addresses = addresses
        # Not the client's own, which keeps the name that the client had before ours was set.
        self._contacts = ContactStore(client.uuid)

    @property
    def handlers(self) -> dict[type[Any], Callable[[Any], Any]]:
        """What carries out which query."""
        return {
            ask.CheckNumbers: self._check_numbers,
            ask.LookUpAddress: self._look_up,
            ask.ListContacts: self._list_contacts,
            ask.GetContact: self._get_contact,
            ask.GetUser: self._get_user,
            ask.GetPicture: self._get_picture,
            ask.BlockList: self._block_list,
            ask.SetBlocked: self._set_blocked,
            ask.SetPresence: self._set_presence,
            ask.SubscribePresence: self._subscribe_presence,
            ask.ShowTyping: self._show_typing,
            ask.MarkRead: self._mark_read,
            ask.SetDisappearing: self._set_disappearing,
            ask.RejectCall: self._reject_call,
            ask.GetProfile: self._get_profile,
            ask.SetProfileName: self._set_name,
            ask.SetProfileAbout: self._set_about,
            ask.SetProfilePicture: self._set_picture,
            ask.GetPrivacy: self._get_privacy,
            ask.SetPrivacy: self._set_privacy,
        }

    # Numbers and addresses

    def _check_numbers(self, query: ask.CheckNumbers) -> results.CheckedNumbers:
        forms = {number: number_variants(number) for number in query.numbers}
        wanted = dict.fromkeys(form for each in forms.values() for form in each)
        found = self._ask_registered(list(wanted))
        checked = []
        for number in query.numbers:
            form = next((form for form in forms[number] if form in found), None)
            if form is None:
                checked.append(results.CheckedNumber(number=number, on_whatsapp=False))
                continue
            answer = found[form]
            verified = answer.VerifiedName.Details.verifiedName
            checked.append(
                results.CheckedNumber(
                    number=number,
                    on_whatsapp=True,
                    person=self._registered(form, answer.JID),
                    verified_name=verified or None,
                )
            )
        return results.CheckedNumbers(numbers=tuple(checked))

    def _ask_registered(self, numbers: list[str]) -> dict[str, Any]:
        """Return WhatsApp's answer for each number that has an account.

        Answers name accounts by their LID, so they are told apart by what was asked.
        """
        answers = self._client.is_on_whatsapp(*(f"+{number}" for number in numbers))
        return {answer.Query.lstrip("+"): answer for answer in answers if answer.IsIn}

    def _registered(self, number: str, answer: Any) -> Person:
        """Return who has a number, as WhatsApp answered.

        WhatsApp also finds accounts whose number is written otherwise. It tells that form, which
        neonize drops; but the store has it, because it came with the account's LID.
        """
        if answer.Server == LID_SERVER:
            person = self._addresses.person(jid_text(answer) or "")
            return person.model_copy(update={"phone": person.phone or f"+{number}"})
        return Person(jid=jid_text(answer) or f"{number}@{PHONE_SERVER}", phone=f"+{number}")

    def _look_up(self, query: ask.LookUpAddress) -> results.People:
        known = {jid: self._addresses.person(jid) for jid in query.people}
        unknown = [
            jid.partition("@")[0]
            for jid, person in known.items()
            if person.lid is None and person.phone is not None
        ]
        if unknown:
            for number, answer in self._ask_registered(unknown).items():
                jid = f"{number}@{PHONE_SERVER}"
                known[jid] = self._registered(number, answer.JID).model_copy(update={"jid": jid})
        return results.People(people=tuple(known[jid] for jid in query.people))

    # Contacts

    def _list_contacts(self, query: ask.ListContacts) -> results.ContactList:
        stored = {
            text: entry.Info
            for entry in self._contacts.get_all_contacts()
            if (text := jid_text(entry.JID)) and entry.JID.Server in (PHONE_SERVER, LID_SERVER)
        }
        me = self._client.get_me()
        for own in (me.JID, me.LID):  # which the library lists as well
            stored.pop(jid_text(own) or "", None)
        items: list[results.Contact] = []
        for jid in sorted(stored):
            if query.after is not None and jid <= query.after:
                continue
            person = self._addresses.person(jid)
            number = f"{person.phone[1:]}@{PHONE_SERVER}" if person.phone else None
            if jid != number and number in stored:
                continue  # the same person, listed by their number
            if len(items) == query.limit:
                return results.ContactList(items=tuple(items), next=items[-1].person.jid)
            infos = [stored[each] for each in (jid, person.lid) if each in stored]
            items.append(_contact(person, infos))
        return results.ContactList(items=tuple(items))

    def _get_contact(self, query: ask.GetContact) -> results.Contact:
        person = self._addresses.person(query.person)
        number = f"{person.phone[1:]}@{PHONE_SERVER}" if person.phone else None
        infos = [
            info
            for jid in (number, person.lid)
            if jid and (info := self._contacts.get_contact(native_jid(jid))).Found
        ]
        if not infos:
            raise QueryRefusedError(Failure(reason="not_found", detail="there is no such contact"))
        return _contact(person, infos)

    def _get_user(self, query: ask.GetUser) -> results.UserDetails:
        info = self._user_info(query.person)
        return results.UserDetails(
            # Asking told the client the other address, where there is one.
            person=self._addresses.person(query.person),
            about=info.Status or None,
            verified_name=info.VerifiedName.Details.verifiedName or None,
            picture_id=info.PictureID or None,
            devices=len(info.Devices),
        )

    def _user_info(self, jid: str) -> Any:
        for answer in self._client.get_user_info(native_jid(jid)):
            # WhatsApp also answers for people that do not exist, but then with nothing at all.
            if answer.UserInfo.Devices or answer.UserInfo.Status or answer.UserInfo.PictureID:
                return answer.UserInfo
        raise QueryRefusedError(
            Failure(reason="not_found", detail="WhatsApp knows nothing of this person")
        )

    def _get_picture(self, query: ask.GetPicture) -> results.Picture:
        # The library ignores parameters that are not all there.
        wanted = GetProfilePictureParams(Preview=query.preview, ExistingID="", IsCommunity=False)
        picture = self._client.get_profile_picture(native_jid(query.of), wanted)
        if not picture.URL:
            raise QueryRefusedError(Failure(reason="not_found", detail="there is no picture"))
        return results.Picture(id=picture.ID, url=picture.URL)

    def _block_list(self, _query: ask.BlockList) -> results.People:
        blocked = self._client.get_blocklist().JIDs
        people = (self._addresses.person(text) for jid in blocked if (text := jid_text(jid)))
        return results.People(people=tuple(people))

    def _set_blocked(self, query: ask.SetBlocked) -> results.Done:
        action = BlocklistAction.BLOCK if query.blocked else BlocklistAction.UNBLOCK
        self._client.update_blocklist(native_jid(query.person), action)
        return results.Done()

    # Presence and chats

    def _set_presence(self, query: ask.SetPresence) -> results.Done:
        self._client.send_presence(Presence.AVAILABLE if query.available else Presence.UNAVAILABLE)
        return results.Done()

    def _subscribe_presence(self, query: ask.SubscribePresence) -> results.Done:
        self._client.subscribe_presence(native_jid(query.person))
        return results.Done()

    def _show_typing(self, query: ask.ShowTyping) -> results.Done:
        state, media = ChatPresence.CHAT_PRESENCE_COMPOSING, ChatPresenceMedia
        if query.state == "paused":
            state = ChatPresence.CHAT_PRESENCE_PAUSED
        shown = media.CHAT_PRESENCE_MEDIA_TEXT
        if query.state == "recording":
            shown = media.CHAT_PRESENCE_MEDIA_AUDIO
        self._client.send_chat_presence(native_jid(query.chat), state, shown)
        return results.Done()

    def _mark_read(self, query: ask.MarkRead) -> results.Done:
        if query.chat.endswith("@g.us") and query.sender is None:
            detail = "in a group it must be said whose messages were read"
            raise QueryRefusedError(Failure(reason="invalid", detail=detail))
        self._client.mark_read(
            *query.messages,
            chat=native_jid(query.chat),
            sender=native_jid(query.sender or query.chat),
            receipt=ReceiptType.PLAYED if query.played else ReceiptType.READ,
        )
        return results.Done()

    def _set_disappearing(self, query: ask.SetDisappearing) -> results.Done:
        # Nanoseconds. neonize turns a timedelta into milliseconds for the one and passes on
        # what Go takes for the year 1970 as the time of the change, so not by its methods.
        duration = query.seconds * 1_000_000_000
        if query.chat is None:
            self._client.set_default_disappearing_timer(duration)
            return results.Done()
        chat = native_jid(query.chat).SerializeToString()
        error = self._client._NewClient__client.SetDisappearingTimer(
            self._client.uuid, chat, len(chat), duration, int(time.time() * 1000)
        )
        _raise_if(error)
        return results.Done()

    def _reject_call(self, query: ask.RejectCall) -> results.Done:
        self._client.reject_call(native_jid(query.caller), query.call)
        return results.Done()

    # This account

    def _get_profile(self, _query: ask.GetProfile) -> results.Profile:
        me = self._client.get_me()
        jid = f"{me.JID.User}@{PHONE_SERVER}"
        info = self._user_info(jid)
        lid = jid_text(me.LID)
        return results.Profile(
            person=Person(jid=jid, lid=lid, phone=f"+{me.JID.User}"),
            name=me.PushName or None,
            about=info.Status or None,
            picture_id=info.PictureID or None,
            verified_name=info.VerifiedName.Details.verifiedName or None,
            platform=me.Platform or None,
        )

    def _set_name(self, query: ask.SetProfileName) -> results.Done:
        self._client.set_profile_name(query.name)
        return results.Done()

    def _set_about(self, query: ask.SetProfileAbout) -> results.Done:
        self._client.set_status_message(query.about)
        return results.Done()

    def _set_picture(self, query: ask.SetProfilePicture) -> results.PictureChanged:
        return results.PictureChanged(id=self._client.set_profile_photo(picture_bytes(query.image)))

    def _get_privacy(self, _query: ask.GetPrivacy) -> results.PrivacySettings:
        settings = _privacy(self._client.get_privacy_settings())
        if settings == results.PrivacySettings():
            # The library logs why it could not ask, and answers with nothing.
            detail = "WhatsApp did not tell the privacy settings"
            raise QueryRefusedError(Failure(reason="internal", detail=detail))
        return settings

    def _set_privacy(self, query: ask.SetPrivacy) -> results.PrivacySettings:
        changes = query.model_dump(exclude={"kind"}, exclude_none=True)
        for name, value in changes.items():
            # neonize's method reads the answer as text and fails on every success.
            answer = SetPrivacySettingReturnFunction.FromString(
                self._client._NewClient__client.SetPrivacySetting(
                    self._client.uuid, _PRIVACY_NAMES[name].encode(), value.encode()
                )
            )
            _raise_if(answer.Error.encode())
        return self._get_privacy(ask.GetPrivacy())


def picture_bytes(image: str) -> bytes:
    """Return the picture of a query as WhatsApp takes it.

    Raises:
        QueryRefusedError: it is none.
    """
    try:
        return square_jpeg(decoded(image))
    except PictureError as error:
        raise QueryRefusedError(Failure(reason="invalid", detail=str(error))) from error


def _contact(person: Person, infos: list[Any]) -> results.Contact:
    def first(field: str) -> str | None:
        return next((str(getattr(info, field)) for info in infos if getattr(info, field)), None)

    return results.Contact(
        person=person,
        name=first("FullName"),
        first_name=first("FirstName"),
        push_name=first("PushName"),
        business_name=first("BusinessName"),
    )


def _privacy(settings: Any) -> results.PrivacySettings:
    values: dict[str, results.Audience] = {}
    for name, field in _PRIVACY_FIELDS.items():
        value = settings.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(
            getattr(settings, field)
        )
        # Values that neonize has no number for come as an unset field.
        if value is not None and settings.HasField(field) and value.name != "UNDEFINED":
            values[name] = cast(results.Audience, value.name.lower())
    return results.PrivacySettings(**values)


def _raise_if(error: bytes) -> None:
    if error:
        raise QueryRefusedError(failure_of_query(error.decode(errors="replace")))

"""Wire models of contacts, presence, the account's profile and calls."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from wavisor.http.queries.addresses import PersonText, PhoneText, group_jid, person_jid
from wavisor.http.schemas import ApiModel
from wavisor.whatsapp.queries import MAX_NUMBERS, MAX_PICTURE
from wavisor.whatsapp.query_results import Audience

__all__ = [
    "CheckNumbers",
    "CheckedNumberModel",
    "CheckedNumbersModel",
    "ContactModel",
    "DisappearingModel",
    "PeopleModel",
    "PersonModel",
    "PictureChangedModel",
    "PictureModel",
    "PictureQuery",
    "PictureSize",
    "PresenceModel",
    "PrivacyModel",
    "ProfileModel",
    "RejectCall",
    "SetPicture",
    "ShowTyping",
    "SubscribePresence",
    "UpdatePrivacy",
    "UpdateProfile",
    "UserModel",
]


class PersonModel(ApiModel):
    """Somebody on WhatsApp; null for what is not known of them."""

    jid: str = Field(description="Their address as WhatsApp gave it.")
    lid: str | None = Field(description="Their hidden address, `…@lid`.")
    phone: str | None = Field(description="Their number in E.164.")


class PeopleModel(ApiModel):
    """Some people."""

    items: list[PersonModel]


class CheckNumbers(ApiModel):
    """Numbers to be checked."""

    numbers: list[PhoneText] = Field(min_length=1, max_length=MAX_NUMBERS)


class CheckedNumberModel(ApiModel):
    """What WhatsApp says about a number."""

    query: str = Field(description="The number as you wrote it.")
    on_whatsapp: bool
    person: PersonModel | None = Field(
        description="Who has it. In Argentina, Brazil and Mexico their number may be written "
        "differently from the one you asked for; this is the one to write to."
    )
    verified_name: str | None


class CheckedNumbersModel(ApiModel):
    """One item for each number, in the order of the request."""

    items: list[CheckedNumberModel]


class ContactModel(ApiModel):
    """Somebody in the address book of the phone, or who told their name."""

    person: PersonModel
    name: str | None = Field(description="As saved on the phone.")
    first_name: str | None
    push_name: str | None = Field(description="The name that they gave themselves.")
    business_name: str | None


class UserModel(ApiModel):
    """What somebody shows of themselves to this account."""

    person: PersonModel
    about: str | None
    verified_name: str | None = Field(description="Of businesses that WhatsApp has verified.")
    picture_id: str | None
    devices: int = Field(description="How many devices they have linked, their phone included.")


class PictureSize(StrEnum):
    """How large a picture is wanted."""

    FULL = "full"
    PREVIEW = "preview"


class PictureQuery(ApiModel):
    """Which picture."""

    size: PictureSize = Field(default=PictureSize.FULL)


class PictureModel(ApiModel):
    """A picture."""

    id: str = Field(description="Changes with the picture.")
    url: str = Field(description="On WhatsApp's servers; expires after some days.")


class SetPicture(ApiModel):
    """A new picture."""

    image: str = Field(
        min_length=1,
        max_length=MAX_PICTURE * 4 // 3 + 4,
        description=f"A JPEG, PNG or WebP in base64, at most {MAX_PICTURE} bytes before that. "
        "Its middle is made a square of at most 640 by 640 pixels.",
    )


class PictureChangedModel(ApiModel):
    """The new picture."""

    id: str


class DisappearingModel(ApiModel):
    """After how long messages disappear."""

    seconds: Literal[0, 86_400, 604_800, 7_776_000] = Field(
        description="0 for never, a day, a week or 90 days."
    )


class PresenceModel(ApiModel):
    """How the account is seen."""

    available: bool = Field(description="Whether it is shown as online.")


class SubscribePresence(ApiModel):
    """Whom to watch."""

    person: PersonText


class ShowTyping(ApiModel):
    """What to show, and where."""

    chat: str = Field(
        max_length=64,
        description="An international phone number, or the JID of a person or group.",
        examples=["+4915112345678"],
    )
    state: Literal["composing", "recording", "paused"]

    @field_validator("chat")
    @classmethod
    def _address(cls, value: str) -> str:
        return group_jid(value) if value.endswith("@g.us") else person_jid(value)


class ProfileModel(ApiModel):
    """What the account shows of itself."""

    person: PersonModel
    name: str | None
    about: str | None
    picture_id: str | None
    verified_name: str | None
    platform: str | None = Field(description="What the phone runs, such as `android`.")


class UpdateProfile(ApiModel):
    """What to change; what is left out stays."""

    name: str | None = Field(default=None, min_length=1, max_length=25)
    about: str | None = Field(default=None, max_length=139, description="Empty to remove it.")

    @model_validator(mode="after")
    def _something(self) -> UpdateProfile:
        if self.name is None and self.about is None:
            raise ValueError("names nothing to change")
        return self


class PrivacyModel(ApiModel):
    """Who may see or do what; null for what WhatsApp did not tell."""

    last_seen: Audience | None
    online: Audience | None
    profile_picture: Audience | None
    about: Audience | None
    group_add: Audience | None
    call_add: Audience | None
    read_receipts: Audience | None


class UpdatePrivacy(ApiModel):
    """What to change; what is left out stays."""

    last_seen: Literal["all", "contacts", "none"] | None = None
    online: Literal["all", "match_last_seen"] | None = None
    profile_picture: Literal["all", "contacts", "none"] | None = None
    about: Literal["all", "contacts", "none"] | None = None
    group_add: Literal["all", "contacts"] | None = None
    call_add: Literal["all", "known"] | None = None
    read_receipts: Literal["all", "none"] | None = None

    @model_validator(mode="after")
    def _something(self) -> UpdatePrivacy:
        if not self.model_dump(exclude_none=True):
            raise ValueError("names nothing to change")
        return self


class RejectCall(ApiModel):
    """Whose call it is."""

    caller: PersonText

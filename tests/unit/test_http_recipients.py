"""Whom a message may go to, how long a sender may wait, and which media type a client gets."""

from __future__ import annotations

import pytest

from wavisor.http.messages.preferences import WAIT_LIMIT_SECONDS, preferred_wait
from wavisor.http.messages.recipients import InvalidRecipientError, person_jid, recipient_jid
from wavisor.http.negotiation import preferred_type

CHAT = "15550199@s.whatsapp.net"
OFFERED = ("application/json", "image/png", "image/svg+xml", "text/plain")


@pytest.mark.parametrize(
    ("to", "chat"),
    [
        ("+15550199", CHAT),
        ("15550199", CHAT),
        ("+1 (555) 01-99", CHAT),
        ("+49 1511 2345678", "4915112345678@s.whatsapp.net"),
        ("+44 (0)20 7946 0000", "442079460000@s.whatsapp.net"),
        # Of Mexico, in the form of today and in that which WhatsApp shows.
        ("+52 55 1234 5678", "525512345678@s.whatsapp.net"),
        ("+52 1 55 1234 5678", "5215512345678@s.whatsapp.net"),
        ("5215512345678", "5215512345678@s.whatsapp.net"),
        ("15550199@s.whatsapp.net", CHAT),
        ("123456789012345@lid", "123456789012345@lid"),
        ("120363025246125486@g.us", "120363025246125486@g.us"),
        ("4915112345678-1412345678@g.us", "4915112345678-1412345678@g.us"),
    ],
)
def test_recipients_are_numbers_and_jids(to: str, chat: str) -> None:
    assert recipient_jid(to) == chat


@pytest.mark.parametrize(
    "to",
    [
        "",
        " ",
        "Bob",
        "0151 12345678",
        "0049 1511 2345678",
        "+999 1234567",
        "+1",
        "+49 151",
        "+52 1 55 1234 56789",
        "1" * 30,
        "+1555٠199",
        "15550199;ext=5",
        "1-555-FLOWERS",
        "15550199:3@s.whatsapp.net",
        "abc@s.whatsapp.net",
        "@s.whatsapp.net",
        "15550199@",
        "15550199@c.us",
        "15550199@example.com",
        "x@broadcast",
        "12@newsletter",
        "a@b@g.us",
        "15550199@s.whatsapp.net ",
        "15550199@s.whatsapp.net\n",
        "15550199@S.WHATSAPP.NET",
    ],
)
def test_nobody_else_is_a_recipient(to: str) -> None:
    with pytest.raises(InvalidRecipientError):
        recipient_jid(to)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], 0),
        (["wait=10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (['WAIT = "10"; x=1'], 10),
        (["wait=3, wait=9"], 3),
        (["wait=999999999"], WAIT_LIMIT_SECONDS),
        (["wait=-1"], 0),
        (["wait=soon"], 0),
        (["wait"], 0),
        (["wait=1.5"], 0),
        ([";;,="], 0),
    ],
)
def test_the_wait_that_a_client_prefers(headers: list[str], seconds: int) -> None:
    assert preferred_wait(headers) == seconds


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/*", "image/png"),
        ("text/html, image/svg+xml;q=0.9, */*;q=0.1", "image/svg+xml"),
        ("IMAGE/PNG", "image/png"),
        ("image/*;q=0.5, image/png;q=0.1", "image/svg+xml"),
        ("application/json;q=0, */*", "image/png"),
        ("text/html", None),
        ("*/*;q=0", None),
        ("image/png;q=nonsense", None),
        ("image/png;q=nan", None),
    ],
)
def test_the_media_type_that_a_client_prefers(accept: str | None, media_type: str | None) -> None:
    assert preferred_type(accept, OFFERED) == media_type


@pytest.mark.parametrize(
    ("region", "written", "digits"),
    [
        ("DE", "0151 12345678", "4915112345678"),
        ("DE", "15112345678", "4915112345678"),
        ("DE", "4915112345678", "4915112345678"),
        ("DE", "+1 555 0199", "15550199"),
        ("DE", "+1 202 555 0123", "12025550123"),
        ("US", "(202) 555-0123", "12025550123"),
        ("US", "12025550123", "12025550123"),
        ("BR", "11 91234-5678", "5511912345678"),
        ("BR", "5511912345678", "5511912345678"),
        (None, "4915112345678", "4915112345678"),
    ],
)
def test_number_may_lack_the_country_code_of_its_region(
    region: str | None, written: str, digits: str
) -> None:
    assert recipient_jid(written, region) == f"{digits}@s.whatsapp.net"


@pytest.mark.parametrize("written", ["0", "0000", "01", "abc", "0151;ext=4"])
def test_number_that_is_none_in_its_region_is_refused(written: str) -> None:
    with pytest.raises(InvalidRecipientError):
        recipient_jid(written, "DE")


@pytest.mark.parametrize("text", ["120363025246125486@g.us", "status@broadcast", "", "Bob"])
def test_only_people_are_people(text: str) -> None:
    with pytest.raises(InvalidRecipientError):
        person_jid(text)

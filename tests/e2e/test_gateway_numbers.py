"""Numbers of Brazil that are written in two ways, of which WhatsApp has one account."""

from __future__ import annotations

import itertools

import pytest

from support.live import new_number
from support.live_client import Owner
from wavisor.sandbox.client import SandboxControl

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"backoff_maximum_seconds": "2"}

_subscribers = itertools.count(87_650_000)


@pytest.mark.parametrize("registered", ["short", "long"])
def test_both_forms_of_a_number_reach_the_one_account_in_order(
    owner: Owner, whatsapp: SandboxControl, registered: str
) -> None:
    subscriber = next(_subscribers)
    forms = {"short": f"5511{subscriber}", "long": f"55119{subscriber}"}
    number = forms[registered]
    whatsapp.add_contact(number, "Ana", "reader")
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    accepted = [
        ann.send(to, text)
        for to, text in ((forms["long"], "1"), (forms["short"], "2"), (forms["long"], "3"))
    ]
    for message in accepted:
        ann.wait_message(message["id"], "read")
    heard = whatsapp.contact_messages(number, count=3, wait=20)
    assert [one.text for one in heard] == ["1", "2", "3"]
    assert {owner.message(one["id"])["to"] for one in accepted} == {f"{number}@s.whatsapp.net"}

    for form in forms.values():
        found = owner.api("GET", f"/api/messages?chat={form}").expect(200)["items"]
        assert [one["text"] for one in found] == ["3", "2", "1"]

    mark = ann.mark
    whatsapp.write_as_contact(number, ann.phone, "Oi")
    ann.wait_text("Oi", mark)
    headers = {"X-Instance-Id": ann.id}
    (chat,) = owner.api("GET", "/api/chats", None, headers).expect(200)["items"]
    assert chat["jid"] == f"{number}@s.whatsapp.net"


def test_a_number_without_an_account_in_either_form_fails_and_says_so(
    owner: Owner, whatsapp: SandboxControl
) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    message = ann.send(f"55119{next(_subscribers)}", "Is anybody there?", wait=20)
    assert message["status"] == "failed"
    assert message["failure"]["reason"] == "not_on_whatsapp"

"""The control API: what it does, and what it answers to bad input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse
from tornado.testing import AsyncHTTPTestCase, gen_test
from tornado.web import Application

from wavisor.sandbox.async_client import AsyncSandboxControl
from wavisor.sandbox.control import make_application
from wavisor.sandbox.control_calls import SandboxControlError
from wavisor.sandbox.directory import World
from wavisor.sandbox.people import (
    ABSENT_NUMBER,
    ECHO_NUMBER,
    READER_NUMBER,
    SILENT_NUMBER,
    InvalidNumberError,
    People,
    normalize_number,
)
from wavisor.sandbox.redirect import Endpoints

USER = "12025550110"
ENDPOINTS = Endpoints("http://127.0.0.1:1", "/ca.pem", bytes(range(32)), "http://127.0.0.1:2")
JSON = {"Content-Type": "application/json"}


class ControlTestCase(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        self.people = People(World())
        self.people.add_default_contacts()
        return make_application(self.people, ENDPOINTS)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.fetch(
            path,
            method=method,
            body=raw,
            headers=JSON if headers is None else headers,
            allow_nonstandard_methods=True,
        )

    def problem(self, response: HTTPResponse, status: int) -> dict[str, Any]:
        """Check that an answer is a problem document of this status, and return it."""
        assert response.code == status, response.body
        assert response.headers["Content-Type"] == "application/problem+json"
        document = json.loads(response.body)
        assert document["status"] == status
        assert document["title"]
        return document

    def answer(self, response: HTTPResponse, status: int = 200) -> Any:
        assert response.code == status, response.body
        assert response.headers["Content-Type"] == "application/json"
        return json.loads(response.body)


class PeopleTest(ControlTestCase):
    def test_phone_is_added_and_listed(self):
        added = self.answer(
            self.ask("POST", "/phones", {"phone": "+1 (202) 555-0110", "name": "Alice"}), 201
        )
        assert added["phone"] == USER
        assert added["companions"] == []
        assert self.answer(self.ask("GET", "/phones"))["items"] == [added]
        assert self.answer(self.ask("GET", "/phones/+12025550110")) == added

    def test_number_is_given_once(self):
        for kind, body in (
            ("phones", {"phone": ECHO_NUMBER, "name": "Alice"}),
            ("contacts", {"phone": ABSENT_NUMBER, "name": "Alice", "kind": "echo"}),
        ):
            self.problem(self.ask("POST", f"/{kind}", body), 409)

    def test_default_contacts_are_listed_and_the_absent_number_is_not(self):
        items = self.answer(self.ask("GET", "/contacts"))["items"]
        assert {item["phone"]: item["kind"] for item in items} == {
            ECHO_NUMBER: "echo",
            SILENT_NUMBER: "silent",
            READER_NUMBER: "reader",
        }

    def test_every_kind_of_contact_can_be_added(self):
        for number, kind in enumerate(
            ("echo", "silent", "receiver", "reader", "scripted", "absent"), start=150
        ):
            body = {"phone": f"12025550{number}", "name": "X", "kind": kind}
            added = self.answer(self.ask("POST", "/contacts", body), 201)
            assert added["kind"] == kind
        assert not self.people.world.accounts["12025550155"].on_whatsapp

    def test_texts_travel_encrypted_between_simulated_people(self):
        self.people.add_phone(USER, "Alice")
        sent = self.answer(
            self.ask("POST", f"/phones/{USER}/write", {"to": ECHO_NUMBER, "text": "hi"}), 201
        )
        echoed = self.answer(self.ask("GET", f"/phones/{USER}/messages?count=1&wait=5"))["items"]
        assert [(m["sender"], m["text"]) for m in echoed] == [(ECHO_NUMBER, "echo: hi")]
        arrived = self.answer(self.ask("GET", f"/contacts/{ECHO_NUMBER}/messages"))["items"]
        assert [(m["id"], m["text"], m["encryption"]) for m in arrived] == [
            (sent["id"], "hi", "pkmsg")
        ]
        path = f"/phones/{USER}/sent/{sent['id']}?status=read&wait=5"
        assert self.answer(self.ask("GET", path))["status"] == "read"
        assert len(self.answer(self.ask("GET", f"/phones/{USER}/sent"))["items"]) == 1
        assert self.answer(self.ask("GET", "/stats"))["messagesRouted"] == 2

    def test_message_to_a_receiver_is_delivered_and_not_read(self):
        self.people.add_phone(USER, "Alice")
        body = {"phone": "12025550150", "name": "Bob", "kind": "receiver"}
        self.answer(self.ask("POST", "/contacts", body), 201)
        write = {"to": "12025550150", "text": "hi"}
        sent = self.answer(self.ask("POST", f"/phones/{USER}/write", write), 201)
        path = f"/phones/{USER}/sent/{sent['id']}?status=delivered&wait=5"
        assert self.answer(self.ask("GET", path))["status"] == "delivered"

    def test_silent_contact_leaves_a_message_sent(self):
        self.people.add_phone(USER, "Alice")
        write = {"to": SILENT_NUMBER, "text": "hi"}
        sent = self.answer(self.ask("POST", f"/phones/{USER}/write", write), 201)
        arrived = self.answer(self.ask("GET", f"/contacts/{SILENT_NUMBER}/messages?count=1&wait=5"))
        assert len(arrived["items"]) == 1
        answer = self.answer(self.ask("GET", f"/phones/{USER}/sent/{sent['id']}"))
        assert answer["status"] == "sent"

    def test_messages_are_filtered(self):
        self.people.add_phone(USER, "Alice")
        for text in ("one", "two"):
            body = {"to": USER, "text": text}
            self.answer(self.ask("POST", f"/contacts/{READER_NUMBER}/write", body), 201)
        base = f"/phones/{USER}/messages?count=1&wait=5"
        for query, count in (("&text=two", 1), (f"&sender={READER_NUMBER}", 2)):
            assert len(self.answer(self.ask("GET", base + query))["items"]) == count
        nobody = self.answer(self.ask("GET", f"/phones/{USER}/messages?sender={ECHO_NUMBER}"))
        assert nobody["items"] == []

    def test_waiting_for_what_does_not_come_ends(self):
        self.people.add_phone(USER, "Alice")
        answer = self.ask("GET", f"/phones/{USER}/messages?count=1&wait=0.01")
        assert self.answer(answer)["items"] == []

    def test_number_that_is_not_on_whatsapp_cannot_be_written_to(self):
        self.people.add_phone(USER, "Alice")
        for number in (ABSENT_NUMBER, "12025550188"):
            body = {"to": number, "text": "hi"}
            self.problem(self.ask("POST", f"/phones/{USER}/write", body), 422)

    def test_unknown_people_are_not_found(self):
        for method, path, body in (
            ("GET", "/phones/12025550188", None),
            ("GET", "/phones/nonsense", None),
            ("GET", f"/phones/{ECHO_NUMBER}", None),
            ("POST", "/phones/12025550188/scan", {"qr": "x"}),
            ("POST", "/contacts/12025550188/write", {"to": USER, "text": "x"}),
            ("GET", "/contacts/12025550188/messages", None),
            ("GET", f"/contacts/{ECHO_NUMBER}/sent/UNKNOWN", None),
            ("POST", f"/contacts/{ECHO_NUMBER}/unlink", {}),
        ):
            self.problem(self.ask(method, path, body), 404)

    def test_pairing_without_a_client_is_refused(self):
        self.people.add_phone(USER, "Alice")
        key = "A" * 43 + "="
        for path, body, status in (
            ("scan", {"qr": "nonsense"}, 422),
            ("scan", {"qr": f"ref,{key},{key},{key}"}, 422),
            ("scan", {"qr": f"ref,AAAA,{key},{key},1"}, 422),
            ("scan", {"qr": f"ref,***,{key},{key},1"}, 422),
            ("scan", {"qr": f"https://wa.me/settings/linked_devices#ref,{key},{key},{key},1"}, 404),
            ("enter-code", {"code": "ABCD-EFGH"}, 404),
            ("unlink", {"device": 7}, 404),
        ):
            self.problem(self.ask("POST", f"/phones/{USER}/{path}", body), status)
        assert self.answer(self.ask("GET", "/pairings"))["items"] == []
        assert self.answer(self.ask("POST", f"/phones/{USER}/unlink")) == {"devices": []}


class BadInputTest(ControlTestCase):
    def test_malformed_json_is_a_bad_request(self):
        for body in (b"{", b"nonsense", b"\xff\xfe", b'{"phone": }'):
            self.problem(self.ask("POST", "/phones", body), 400)

    def test_what_does_not_fit_is_named(self):
        for path, body, pointer in (
            ("/phones", {"name": "Alice"}, "/phone"),
            ("/phones", {"phone": USER, "name": ""}, "/name"),
            ("/phones", {"phone": USER, "name": "x" * 101}, "/name"),
            ("/phones", {"phone": "12", "name": "Alice"}, "/phone"),
            ("/phones", {"phone": "0" * 12, "name": "Alice"}, "/phone"),
            ("/phones", {"phone": USER, "name": "Alice", "extra": 1}, "/extra"),
            ("/phones", {"phone": 12025550110, "name": "Alice"}, "/phone"),
            ("/phones", [], "/"),
            ("/contacts", {"phone": USER, "name": "B", "kind": "ghost"}, "/kind"),
            (f"/contacts/{ECHO_NUMBER}/write", {"to": USER, "text": ""}, "/text"),
            (f"/contacts/{ECHO_NUMBER}/write", {"to": USER, "text": "x" * 65_537}, "/text"),
            ("/faults", {"kind": "plague"}, "/kind"),
            ("/faults", {}, "/kind"),
            ("/faults", {"kind": "mute", "seconds": -1}, "/seconds"),
            ("/faults", {"kind": "mute", "uses": 0}, "/uses"),
            ("/faults", {"kind": "drop", "seconds": 1}, "/seconds"),
        ):
            problem = self.problem(self.ask("POST", path, body), 422)
            assert [item["pointer"] for item in problem["errors"]] == [pointer], path

    def test_bad_query_is_named(self):
        for query, pointer in (
            ("wait=61", "/wait"),
            ("wait=x", "/wait"),
            ("count=-1", "/count"),
            ("unknown=1", "/unknown"),
            ("sender=abc", "/sender"),
        ):
            response = self.ask("GET", f"/contacts/{ECHO_NUMBER}/messages?{query}")
            problem = self.problem(response, 422)
            assert [item["pointer"] for item in problem["errors"]] == [pointer], query

    def test_only_json_is_taken(self):
        body = json.dumps({"phone": USER, "name": "Alice"}).encode()
        for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            response = self.ask("POST", "/phones", body, {"Content-Type": content_type})
            self.problem(response, 415)
        assert self.people.phones == {}

    def test_page_with_a_rebound_name_is_turned_away(self):
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example:80"):
            response = self.ask("GET", "/endpoints", headers={"Host": host})
            self.problem(response, 403)

    def test_unknown_path_and_method_are_problems(self):
        self.problem(self.ask("GET", "/nothing"), 404)
        self.problem(self.ask("PUT", "/phones", {}), 405)
        self.problem(self.ask("DELETE", "/faults/999"), 404)

    def test_failure_inside_says_nothing_of_itself(self):
        self.people.phones = None  # type: ignore[assignment] # breaks every handler of phones
        with self.assertLogs("tornado.application", "ERROR"):
            problem = self.problem(self.ask("GET", "/phones"), 500)
        assert set(problem) == {"type", "title", "status"}


class ServerTest(ControlTestCase):
    def test_endpoints_are_told(self):
        assert self.answer(self.ask("GET", "/endpoints")) == {
            "proxyUrl": "http://127.0.0.1:1",
            "caFile": "/ca.pem",
            "rootPublicKey": bytes(range(32)).hex(),
            "controlUrl": "http://127.0.0.1:2",
        }

    def test_lasting_fault_is_in_force_until_deleted(self):
        body = {"kind": "mute", "phone": USER, "seconds": 60, "uses": 2}
        report = self.answer(self.ask("POST", "/faults", body), 201)
        (fault,) = self.answer(self.ask("GET", "/faults"))["items"]
        assert fault["id"] == report["id"]
        assert (fault["kind"], fault["phone"], fault["usesLeft"]) == ("mute", USER, 2)
        assert 0 < fault["secondsLeft"] <= 60
        assert self.ask("DELETE", f"/faults/{report['id']}").code == 204
        assert self.answer(self.ask("GET", "/faults"))["items"] == []
        self.problem(self.ask("DELETE", f"/faults/{report['id']}"), 404)

    def test_all_faults_are_deleted_at_once(self):
        for kind in ("refuse", "delay_receipts"):
            self.answer(self.ask("POST", "/faults", {"kind": kind, "delay": 1}), 201)
        assert self.ask("DELETE", "/faults").code == 204
        assert self.people.world.faults.active() == []

    def test_details_of_a_fault_reach_the_board(self):
        body = {"kind": "login_failure", "code": 402, "banCode": 104, "banSeconds": 7}
        self.answer(self.ask("POST", "/faults", body), 201)
        (fault,) = self.people.world.faults.active()
        assert (fault.code, fault.ban_code, fault.ban_seconds) == (402, 104, 7)

    def test_incidents_hit_nobody_when_nobody_is_there(self):
        for kind in ("drop", "close", "stream_error", "replace_stream", "log_out"):
            report = self.answer(self.ask("POST", "/faults", {"kind": kind}), 201)
            assert report == {"kind": kind, "id": None, "hit": 0}
        assert self.answer(self.ask("GET", "/faults"))["items"] == []

    def test_settings_are_changed_one_by_one(self):
        before = self.answer(self.ask("GET", "/settings"))
        after = self.answer(self.ask("PATCH", "/settings", {"qrRefs": 3, "qrLifetime": 1.5}))
        assert after == before | {"qrRefs": 3, "qrLifetime": 1.5}
        assert self.people.world.settings.qr_refs == 3
        again = self.answer(self.ask("PATCH", "/settings", {"qrLifetime": None}))
        assert again["qrLifetime"] is None
        self.problem(self.ask("PATCH", "/settings", {"qrRefs": 0}), 422)

    def test_attempts_are_told_and_forgotten(self):
        self.people.world.attempts.begin("label")
        stats = self.answer(self.ask("GET", "/stats"))
        assert stats["attemptsTotal"] == 1
        assert stats["attempts"][0]["label"] == "label"
        assert stats["clients"] == []
        assert self.ask("DELETE", "/stats").code == 204
        assert self.answer(self.ask("GET", "/stats"))["attemptsTotal"] == 0


class AsyncClientTest(ControlTestCase):
    @gen_test
    async def test_client_speaks_the_api(self):
        control = AsyncSandboxControl(self.get_url(""))
        assert (await control.endpoints()).root_public_key == bytes(range(32)).hex()
        phone = await control.add_phone("+1 202 555 0110", "Alice")
        assert phone.phone == USER
        assert await control.phones() == [phone]
        sent = await control.write_on_phone(USER, ECHO_NUMBER, "hi")
        (echoed,) = await control.phone_messages(USER, count=1, wait=5)
        assert echoed.text == "echo: hi"
        assert (await control.phone_sent(USER, sent.id, status="read", wait=5)).status == "read"
        report = await control.inject("mute", phone=USER, seconds=5)
        assert [fault.id for fault in await control.faults()] == [report.id]
        await control.clear_faults(report.id)
        assert (await control.cause("drop")).hit == 0
        assert (await control.change_settings(qr_refs=2)).qr_refs == 2
        assert (await control.stats()).messages_routed == 2
        assert (await control.unlink(USER)).devices == []
        await control.clear_stats()

    @gen_test
    async def test_client_raises_what_the_api_refuses(self):
        control = AsyncSandboxControl(self.get_url(""))
        with pytest.raises(SandboxControlError) as caught:
            await control.phone(USER)
        assert caught.value.status == 404
        with pytest.raises(ValueError, match="phone"):
            await control.add_phone("12", "Alice")

    @gen_test
    async def test_client_says_when_nobody_answers(self):
        control = AsyncSandboxControl("http://127.0.0.1:9", timeout=5)
        with pytest.raises(SandboxControlError) as caught:
            await control.stats()
        assert caught.value.status == 0


@pytest.mark.parametrize(
    ("text", "digits"),
    [("+1 202 555 0101", ECHO_NUMBER), ("1 (202) 555-0101", ECHO_NUMBER), ("4915112345678",) * 2],
)
def test_numbers_are_read_as_people_write_them(text, digits):
    assert normalize_number(text) == digits


@pytest.mark.parametrize(
    "text", ["", "+", "123456", "1234567890123456", "0123456789", "1202555x101"]
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(InvalidNumberError):
        normalize_number(text)

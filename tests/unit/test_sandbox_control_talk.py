"""The control API's routes about messages of all kinds, profiles, groups, channels and calls."""

from __future__ import annotations

import base64
import json
from typing import Any

from tornado.httpclient import HTTPResponse
from tornado.testing import AsyncHTTPTestCase, gen_test
from tornado.web import Application

from wavisor.sandbox import control_talk_calls as talk
from wavisor.sandbox.async_client import AsyncSandboxControl
from wavisor.sandbox.control import make_application
from wavisor.sandbox.control_calls import SandboxControlError
from wavisor.sandbox.directory import World
from wavisor.sandbox.people import ECHO_NUMBER, READER_NUMBER, SILENT_NUMBER, People
from wavisor.sandbox.redirect import Endpoints

USER = "12025550110"
ENDPOINTS = Endpoints("http://127.0.0.1:1", "/ca.pem", bytes(range(32)), "http://127.0.0.1:2")
READER = f"/contacts/{READER_NUMBER}"


class TalkTest(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        self.people = People(World())
        self.people.add_default_contacts()
        self.people.add_phone(USER, "Alice")
        return make_application(self.people, ENDPOINTS)

    def ask(self, method: str, path: str, body: Any = None) -> HTTPResponse:
        return self.fetch(
            path,
            method=method,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            allow_nonstandard_methods=True,
        )

    def done(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        response = self.ask(method, path, body)
        assert response.code == status, response.body
        return json.loads(response.body) if response.body else None

    def send(self, status: int = 201, **fields: Any) -> Any:
        return self.done("POST", f"{READER}/send", {"to": USER, **fields}, status)

    def arrived(self, count: int) -> list[Any]:
        path = f"/phones/{USER}/messages?count={count}&wait=5"
        return self.done("GET", path)["items"]

    def test_every_kind_of_message_is_written_and_told(self):
        data = base64.b64encode(b"content").decode()
        sent = self.send(kind="text", text="first")
        self.send(kind="text", text="reply", quoted=sent["id"], mentions=[USER], forwarded=True)
        self.send(kind="reaction", target=sent["id"], text="👍")
        self.send(kind="edit", target=sent["id"], text="changed")
        self.send(kind="image", data=data, text="look", viewOnce=True)
        self.send(kind="document", data=data, fileName="a.txt", mimeType="text/plain")
        self.send(kind="voice", size=100, seconds=7)
        self.send(kind="location", position=[1.5, 2.5], names=["Pier"])
        self.send(kind="contact", names=["Al"], cards=["BEGIN:VCARD"])
        poll = self.send(kind="poll", text="Tea?", names=["yes", "no"])
        self.send(kind="poll_vote", target=poll["id"], names=["no"])
        self.send(kind="timer", expiration=60)
        self.send(kind="revoke", target=sent["id"])
        messages = self.arrived(13)
        assert [m["kind"] for m in messages] == [
            "text",
            "text",
            "reaction",
            "edit",
            "image",
            "document",
            "voice",
            "location",
            "contact",
            "poll",
            "poll_vote",
            "timer",
            "revoke",
        ]
        reply, image, document, voice = (messages[place] for place in (1, 4, 5, 6))
        assert (reply["quoted"], reply["forwarded"], len(reply["mentions"])) == (
            sent["id"],
            True,
            1,
        )
        assert image["viewOnce"]
        assert (document["media"]["fileName"], document["media"]["size"]) == ("a.txt", 7)
        assert voice["media"]["seconds"] == 7
        assert messages[7]["position"] == [1.5, 2.5]
        response = self.ask("GET", f"/phones/{USER}/messages/{document['id']}/file")
        assert response.body == b"content"

    def test_files_that_are_missing_or_not_what_is_said_are_noticed(self):
        missing = self.send(kind="image", size=10, missing=True)
        lie = self.send(kind="image", size=11, wrongHash=True)
        self.arrived(2)
        for sent, status in ((missing, 404), (lie, 409)):
            response = self.ask("GET", f"/phones/{USER}/messages/{sent['id']}/file")
            assert response.code == status

    def test_messages_that_make_no_sense_are_refused(self):
        for fields in (
            {"kind": "text"},
            {"kind": "nonsense", "text": "x"},
            {"kind": "reaction", "text": "👍"},
            {"kind": "text", "text": "x", "quoted": "NOBODYKNOWS"},
            {"kind": "poll_vote", "target": "NOBODYKNOWS", "names": ["x"]},
            {"kind": "location"},
            {"kind": "contact", "names": ["Al"]},
            {"kind": "image", "data": "not base64 ☃"},
            {"kind": "text", "text": "x", "mentions": ["+1 202 555 0177"]},
            {"kind": "text", "text": "x", "to": "nobody@example.org"},
            {"kind": "text", "text": "x", "to": "120363400000000000@g.us"},
        ):
            self.send(422, **fields)

    def test_receipts_come_in_the_order_in_which_they_are_wanted(self):
        body = {"to": SILENT_NUMBER, "text": "hello"}
        sent = self.done("POST", f"/phones/{USER}/write", body, 201)
        silent = f"/contacts/{SILENT_NUMBER}"
        self.done("GET", f"{silent}/messages?count=1&wait=5")
        for kind in ("read", "delivered"):
            receipt = {"chat": USER, "messages": [sent["id"]], "kind": kind}
            self.done("POST", f"{silent}/receipts", receipt, 204)
        told = self.done("GET", f"/phones/{USER}/sent/{sent['id']}?status=read&wait=5")
        assert (told["status"], told["receipts"]) == ("read", {SILENT_NUMBER: "read"})

    def test_group_is_founded_written_to_and_changed(self):
        wanted = {"actor": USER, "subject": "Friends", "members": [ECHO_NUMBER, READER_NUMBER]}
        group = self.done("POST", "/groups", wanted, 201)
        path = f"/groups/{group['jid']}"
        sent = self.done(
            "POST",
            f"/phones/{USER}/send",
            {"to": group["jid"], "kind": "text", "text": "hi", "mentions": [ECHO_NUMBER]},
            201,
        )
        assert [m["text"] for m in self.arrived(1)] == ["echo: hi"]
        told = self.done("GET", f"/phones/{USER}/sent/{sent['id']}?status=read&wait=5")
        assert told["receipts"] == {ECHO_NUMBER: "read", READER_NUMBER: "read"}

        def act(action: str, status: int = 200, **fields: Any) -> Any:
            return self.done("POST", path, {"actor": USER, "action": action, **fields}, status)

        assert act("rename", text="Best friends")["subject"] == "Best friends"
        assert act("describe", text="what")["description"] == "what"
        assert act("describe", text="else")["description"] == "else"
        assert act("promote", phones=[ECHO_NUMBER])["members"][ECHO_NUMBER] == "admin"
        assert READER_NUMBER not in act("remove", phones=[READER_NUMBER])["members"]
        assert act("ephemeral", seconds=60)["expiration"] == 60
        assert act("announcement")["announce"]
        assert act("require_approval")["approval"]
        assert act("join", actor=READER_NUMBER)["requests"] == [READER_NUMBER]
        assert READER_NUMBER in act("approve", phones=[READER_NUMBER])["members"]
        assert act("renew_invite")["inviteCode"] != group["inviteCode"]
        act("rename", 409, actor=SILENT_NUMBER, text="mine")
        act("add", 409, actor=SILENT_NUMBER, phones=[SILENT_NUMBER])
        act("add", 404, phones=["+1 202 555 0177"])
        assert USER not in act("leave")["members"]
        self.done("GET", "/groups/120363400000000000@g.us", status=404)

    def test_calls_ring_and_end(self):
        call = self.done("POST", f"{READER}/calls", {"to": USER, "video": True}, 201)
        assert call["status"] == "ringing"
        path = f"{READER}/calls/{call['id']}/hang-up"
        assert self.done("POST", path, {})["status"] == "terminated"
        assert self.done("GET", f"{READER}/calls")["items"][0]["status"] == "terminated"
        self.done("POST", f"{READER}/calls/NOSUCH/hang-up", {}, 404)
        signals = self.done("GET", f"/phones/{USER}/signals")["items"]
        assert [s["content"] for s in signals] == [["offer"], ["terminate"]]

    def test_profile_and_shared_settings_are_changed(self):
        picture = base64.b64encode(b"\xff\xd8\xff").decode()
        shown = self.done("PATCH", f"{READER}/profile", {"about": "hi", "picture": picture})
        assert shown["about"] == "hi"
        assert shown["pictureId"]
        shop = {"address": "1 Pier", "hours": [["mon", 540, 1020]]}
        assert self.done("PATCH", f"{READER}/profile", {"business": shop})["business"]["hours"]
        assert self.done("PATCH", f"{READER}/profile", {"picture": None})["pictureId"] is None
        settings = f"/phones/{USER}/settings"
        self.done("POST", settings, {"index": ["archive", "1@lid"], "value": True}, 204)
        self.done("POST", settings, {"index": ["nonsense"], "value": True}, 422)
        self.done("POST", settings, {"index": ["archive", "1@lid"], "value": "x"}, 422)
        known = {tuple(s["index"]): s["value"] for s in self.done("GET", settings)["items"]}
        assert known["archive", "1@lid"] is True

    @gen_test
    async def test_python_client_runs_the_same_calls(self):
        control = AsyncSandboxControl(self.get_url(""))
        channel = await control.run(talk.create_channel(owner=READER_NUMBER, name="News"))
        posted = await control.run(talk.publish(channel.jid, "P1", "breaking"))
        assert posted.posts == ["P1"]
        group = await control.run(talk.found_group(actor=USER, subject="Friends"))
        changed = await control.run(talk.act(group.jid, actor=USER, action="locked"))
        assert changed.locked
        sent = await control.run(
            talk.send("contacts", READER_NUMBER, to=USER, kind="text", text="hi")
        )
        assert sent.status == "sent"
        await control.run(talk.show("contacts", READER_NUMBER, available=True))
        await control.run(talk.type_to("contacts", READER_NUMBER, to=USER))
        await control.run(talk.lose_keys("contacts", READER_NUMBER, USER))
        assert (await control.run(talk.profile("phones", USER))).name == "Alice"
        with_error = talk.set_shared(USER, ["nonsense"], value=True)
        try:
            await control.run(with_error)
        except SandboxControlError as error:
            assert error.status == 422
        else:
            raise AssertionError("a setting that does not exist was taken")

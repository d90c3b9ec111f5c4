"""The settings of an instance over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from support.gateway import GatewayLab, NewGateway
from support.http import Member


@pytest.fixture
def owner(gateway: GatewayLab) -> Member:
    return gateway.register()


def patch(gateway: GatewayLab, owner: Member, instance: str, body: Any) -> Any:
    return gateway.request("PATCH", f"/api/instances/{instance}", json=body, token=owner.token)


def test_settings_are_merged_key_by_key_and_null_takes_one_back(
    gateway_on_both: GatewayLab,
) -> None:
    gateway = gateway_on_both
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    first = {"pacing": {"messagesPerMinute": 5}, "defaultRegion": "DE"}
    assert patch(gateway, owner, instance, {"settings": first}).json["settings"] == {
        "pacing": {"messagesPerMinute": 5.0},
        "defaultRegion": "DE",
    }
    second = {"defaultRegion": None, "messageRetentionDays": 30}
    answer = patch(gateway, owner, instance, {"name": "Renamed", "settings": second})
    assert answer.status == 200
    assert answer.json["name"] == "Renamed"
    kept = {"pacing": {"messagesPerMinute": 5.0}, "messageRetentionDays": 30}
    assert answer.json["settings"] == kept
    stored = gateway.get(f"/api/instances/{instance}", token=owner.token).json
    assert stored["settings"] == kept


def test_the_default_region_completes_national_numbers(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    headers = {"X-Instance-Id": instance}
    body = {"to": "030 901820", "text": "Guten Tag"}

    def send() -> Any:
        return gateway.post("/api/messages/text", body, token=owner.token, headers=headers)

    assert send().pointers == ["#/to"]
    patch(gateway, owner, instance, {"settings": {"defaultRegion": "DE"}})
    assert send().json["to"] == "4930901820@s.whatsapp.net"


def test_pacing_holds_at_once_without_a_reconnect(gateway: GatewayLab, owner: Member) -> None:
    instance = gateway.create_instance(owner)
    gateway.link(owner, instance)
    sessions = len(gateway.driver.sessions)
    settings = {"pacing": {"enabled": True, "messagesPerMinute": 0.01, "jitter": 0}}
    patch(gateway, owner, instance, {"settings": settings})
    headers = {"X-Instance-Id": instance, "Prefer": "wait=10"}

    def send(text: str, wait: str) -> str:
        answer = gateway.post(
            "/api/messages/text",
            {"to": "+15550199", "text": text},
            token=owner.token,
            headers={**headers, "Prefer": f"wait={wait}"},
        )
        return str(answer.json["status"])

    assert send("the first goes at once", "10") == "sent"
    assert send("the next one waits for its pause", "1") == "queued"
    assert len(gateway.driver.sessions) == sessions


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"settings": {"pace": 1}}, "#/settings/pace"),
        ({"settings": {"defaultRegion": "ZZ"}}, "#/settings/defaultRegion"),
        ({"settings": {"messageRetentionDays": -1}}, "#/settings/messageRetentionDays"),
        ({"settings": {"pacing": {"timeZone": "Mars"}}}, "#/settings/pacing/timeZone"),
        ({"settings": {"pacing": {"quietHours": {"start": "9"}}}}, "#/settings/pacing/quietHours/"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    gateway: GatewayLab, owner: Member, body: Any, pointer: str
) -> None:
    instance = gateway.create_instance(owner)
    answer = patch(gateway, owner, instance, body)
    assert answer.status == 422
    assert any(one.startswith(pointer) for one in answer.pointers)
    assert gateway.get(f"/api/instances/{instance}", token=owner.token).json["settings"] == {}


GROUPS = {
    "receiving": [
        ({"autoRead": None}, "/autoRead"),
        ({"autoRead": "often"}, "/autoRead"),
        ({"ignoreGroups": 2}, "/ignoreGroups"),
        ({"ignoreStatus": []}, "/ignoreStatus"),
        ({"ignoreChannels": "some"}, "/ignoreChannels"),
        ({"ignoreBroadcast": {}}, "/ignoreBroadcast"),
        ({"ignoreEverything": True}, "/ignoreEverything"),
        ("autoRead", ""),
    ],
    "presence": [
        ({"alwaysOnline": None}, "/alwaysOnline"),
        ({"alwaysOnline": "yes please"}, "/alwaysOnline"),
        ({"online": True}, "/online"),
        (True, ""),
    ],
    "calls": [
        ({"autoReject": None}, "/autoReject"),
        ({"autoReject": "all"}, "/autoReject"),
        ({"replyText": ""}, "/replyText"),
        ({"replyText": "x" * 4097}, "/replyText"),
        ({"replyText": 7}, "/replyText"),
        ({"reply": "Hello"}, "/reply"),
        ([], ""),
    ],
}


@pytest.mark.parametrize(
    ("group", "value", "pointer"),
    [(group, value, pointer) for group, cases in GROUPS.items() for value, pointer in cases],
)
def test_each_group_of_settings_names_what_is_wrong_in_it(
    gateway: GatewayLab, owner: Member, group: str, value: Any, pointer: str
) -> None:
    instance = gateway.create_instance(owner)
    answer = patch(gateway, owner, instance, {"settings": {group: value}})
    assert (answer.status, answer.pointers) == (422, [f"#/settings/{group}{pointer}"])
    assert gateway.get(f"/api/instances/{instance}", token=owner.token).json["settings"] == {}


@pytest.mark.parametrize(
    ("group", "value"),
    [
        ("receiving", {"autoRead": True, "ignoreGroups": True}),
        ("presence", {"alwaysOnline": True}),
        ("calls", {"autoReject": True, "replyText": "Please write."}),
        ("calls", {"autoReject": True, "replyText": None}),
        ("receiving", {}),
    ],
)
def test_each_group_is_stored_as_it_was_set_and_goes_with_null(
    gateway: GatewayLab, owner: Member, group: str, value: Any
) -> None:
    instance = gateway.create_instance(owner)
    stored = patch(gateway, owner, instance, {"settings": {group: value}})
    assert stored.json["settings"] == {group: value}
    assert patch(gateway, owner, instance, {"settings": {group: None}}).json["settings"] == {}


PROXY = "socks5://somebody:secret@127.0.0.1:1080"
SHOWN = "socks5://***@127.0.0.1:1080"


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        7,
        "proxy.example:1080",
        "ftp://proxy.example",
        "socks5://",
        "socks5://proxy.example/path",
        "socks5://proxy.example:22",
        "http://me:***@proxy.example",
        "http://" + "x" * 512,
        "http://127.0.0.1:3128",
        "socks5://[::1]:1080",
        "socks5://10.0.0.1:1080",
        "https://169.254.169.254",
        "http://2130706433:3128",
        ["socks5://proxy.example"],
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_by_name(
    gateway: GatewayLab, owner: Member, proxy: Any
) -> None:
    instance = gateway.create_instance(owner)
    answer = patch(gateway, owner, instance, {"settings": {"proxy": proxy}})
    assert (answer.status, answer.pointers) == (422, ["#/settings/proxy"])
    assert gateway.get(f"/api/instances/{instance}", token=owner.token).json["settings"] == {}


def test_the_credentials_of_a_proxy_stay_secret(new_gateway: NewGateway) -> None:
    gateway = new_gateway(proxy_allow_private=True)
    owner = gateway.register()
    instance = gateway.create_instance(owner)
    answer = patch(gateway, owner, instance, {"settings": {"proxy": PROXY}})
    assert (answer.status, answer.json["settings"]) == (200, {"proxy": SHOWN})
    read = gateway.get(f"/api/instances/{instance}", token=owner.token)
    assert read.json["settings"] == {"proxy": SHOWN}
    entry = gateway.user_audit_of(instance)[-1]
    assert entry.after["settings"] == {"proxy": SHOWN}
    assert "secret" not in str(gateway.audit_of(instance))
    gateway.link(owner, instance)
    assert gateway.driver.latest(instance).spec.proxy == PROXY

    again = patch(gateway, owner, instance, {"settings": {"proxy": SHOWN}})
    assert (again.status, again.pointers) == (422, ["#/settings/proxy"])
    kept = patch(gateway, owner, instance, {"settings": {"defaultRegion": "DE"}})
    assert kept.json["settings"] == {"proxy": SHOWN, "defaultRegion": "DE"}
    assert gateway.driver.latest(instance).spec.proxy == PROXY
    gone = patch(gateway, owner, instance, {"settings": {"proxy": None}})
    assert gone.json["settings"] == {"defaultRegion": "DE"}

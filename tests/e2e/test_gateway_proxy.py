"""Instances that go to WhatsApp through a proxy of their own, with the real client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.live import LiveGateway, new_number
from support.live_client import Instance, Owner
from support.proxies import LoopbackProxy
from wavisor.sandbox.client import SandboxControl
from wavisor.sandbox.process import SandboxProcess

pytestmark = pytest.mark.e2e

LIVE_SETTINGS = {"backoff_maximum_seconds": "2", "proxy_allow_private": "true"}

SECRET = ("somebody", "s3cr3t-of-the-proxy")
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
    "gg=="
)


@pytest.fixture
def proxies(local_whatsapp: SandboxProcess) -> Iterator[Any]:
    with ExitStack() as stack:

        def make(scheme: str, credentials: tuple[str, str] | None = None) -> LoopbackProxy:
            upstream = local_whatsapp.endpoints.proxy_url
            return stack.enter_context(LoopbackProxy(upstream, scheme, credentials))

        yield make


def use(instance: Instance, proxy: str | None) -> Any:
    return instance.api("PATCH", "", {"settings": {"proxy": proxy}}).expect(200)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_the_client_links_and_sends_through_the_proxy_and_nobody_learns_its_password(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, proxies: Any, scheme: str
) -> None:
    rita = new_number()
    whatsapp.add_contact(rita, "Rita", "reader")
    proxy = proxies(scheme, SECRET)
    ann = owner.create("Ann")
    shown = use(ann, proxy.url)["settings"]["proxy"]
    assert shown == f"{scheme}://***@127.0.0.1:{proxy.port}"
    ann.link(whatsapp, new_number(), "Ann")
    carried = proxy.carried
    assert carried > 1000
    ann.send(rita, "Through the proxy", wait=20)
    assert proxy.carried > carried
    body = {"to": f"+{rita}", "base64": base64.b64encode(PICTURE).decode()}
    headers = {"X-Instance-Id": ann.id, "Prefer": "wait=20"}
    sent = owner.api("POST", "/api/messages/image", body, headers).expect(202)
    assert sent["status"] in {"sent", "delivered", "read"}
    hosts = {target.partition(":")[0] for target in proxy.targets}
    assert "web.whatsapp.com" in hosts
    assert any(host != "web.whatsapp.com" for host in hosts), "the upload went another way"
    assert SECRET[1] not in str(live.log.lines)
    assert SECRET[1] not in str(owner.feed.events)


def test_the_death_of_a_proxy_is_felt_by_its_own_instance_alone(
    live: LiveGateway, owner: Owner, whatsapp: SandboxControl, proxies: Any
) -> None:
    proxy = proxies("socks5")
    ann, ben = owner.create("Ann"), owner.create("Ben")
    use(ann, proxy.url)
    ann.link(whatsapp, new_number(), "Ann")
    ben.link(whatsapp, new_number(), "Ben")
    mark = ann.mark
    proxy.kill()
    ann.wait("instance:status:changed", mark, where=lambda data: data["new"] == "reconnecting")
    live.log.wait("instance tries again", instance=ann.id, reason="proxy_unreachable")
    state = ann.status()
    assert (state["status"], state["lastError"]["reason"]) == ("reconnecting", "proxy_unreachable")
    assert ben.status()["status"] == "connected"
    assert ben.statuses(mark) == []
    mark = ann.mark
    proxy.start()
    ann.wait_status("connected", mark)
    assert ben.statuses(mark) == []


def test_another_proxy_takes_effect_by_a_reconnection_and_the_password_must_be_right(
    owner: Owner, whatsapp: SandboxControl, proxies: Any
) -> None:
    ann = owner.create("Ann").link(whatsapp, new_number(), "Ann")
    proxy = proxies("socks5", SECRET)
    mark = ann.mark
    use(ann, proxy.url)
    ann.wait_status("connected", mark)
    assert ann.statuses(mark) == ["connecting", "connected"]
    assert proxy.carried > 0
    mark = ann.mark
    use(ann, proxy.url.replace(SECRET[1], "wrong"))
    ann.wait(
        "instance:status:changed",
        mark,
        where=lambda data: data["reason"] == "proxy_unreachable",
    )
    assert proxy.refused > 0
    mark = ann.mark
    use(ann, None)
    ann.wait_status("connected", mark)

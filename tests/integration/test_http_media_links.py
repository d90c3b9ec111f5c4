"""Links to files: good for one file of one tenant until they expire, and for nothing else."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from pydantic import SecretStr

from support.http import Answer, HttpLab, Member, NewHttp
from support.manual_clock import ManualClock
from wavisor.http.media import MediaLinks
from wavisor.ids import Kind, new_id
from wavisor.storage import Scope, media
from wavisor.storage.models import Subscription

CONTENT = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def store(http: HttpLab, member: Member, content: bytes = CONTENT) -> str:
    digest = hashlib.sha256(content).hexdigest()
    relative = f"{digest[:2]}/{digest[2:]}"
    path = http.services.media.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return http.database.write_wait(
        media.put,
        Scope(member.subscription_id),
        sha256=digest,
        size=len(content),
        mime_type="image/png",
        path=relative,
    ).id


def link(http: HttpLab, member: Member, identifier: str, **body: Any) -> Any:
    answer = http.post(f"/api/media/{identifier}/link", body, token=member.token)
    assert answer.status == 200, answer.body
    return answer.json


def refused(answer: Answer) -> None:
    assert (answer.status, answer.problem) == (403, "link-invalid")
    document = {name: answer.json.get(name) for name in ("type", "title", "detail", "status")}
    assert document == {
        "type": "urn:wavisor:problem:link-invalid",
        "title": "The link is not valid (any more)",
        "detail": "Ask for a new one with POST /api/media/{id}/link.",
        "status": 403,
    }


def test_a_link_opens_its_file_without_a_token(http_on_both: HttpLab) -> None:
    owner = http_on_both.register()
    identifier = store(http_on_both, owner)
    made = link(http_on_both, owner, identifier, expiresIn=60)
    assert made["url"].startswith(f"/api/media/{identifier}?expires=")
    ends = datetime.fromisoformat(made["expiresAt"])
    assert ends - http_on_both.clock.now() == timedelta(seconds=60)
    whole = http_on_both.get(made["url"])
    assert (whole.status, whole.body) == (200, CONTENT)
    part = http_on_both.get(made["url"], headers={"Range": "bytes=8-11"})
    assert (part.status, part.body) == (206, CONTENT[8:12])
    assert http_on_both.request("HEAD", made["url"]).headers["Content-Length"] == str(len(CONTENT))
    again = http_on_both.get(made["url"], headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status == 304


def test_a_link_ends(http: HttpLab) -> None:
    owner = http.register()
    made = link(http, owner, store(http, owner), expiresIn=60)
    assert isinstance(http.clock, ManualClock)
    http.clock.advance(59)
    assert http.get(made["url"]).status == 200
    http.clock.advance(1)
    refused(http.get(made["url"]))


def test_whatever_is_altered_is_refused_in_the_same_words(http: HttpLab) -> None:
    owner, other = http.register(), http.register()
    mine, second = store(http, owner), store(http, owner, b"second")
    foreign = store(http, other)
    url = link(http, owner, mine)["url"]
    query = parse_qs(urlsplit(url).query)
    expires, signature = query["expires"][0], query["signature"][0]
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    theirs = parse_qs(urlsplit(link(http, other, foreign)["url"]).query)["signature"][0]
    for identifier, until, proof in (
        (mine, str(int(expires) + 1), signature),
        (mine, f"0{expires}", signature),
        (mine, "9" * 13, signature),
        (mine, "", signature),
        (mine, "1e9", signature),
        (mine, expires, flipped),
        (mine, expires, signature + "="),
        (mine, expires, ""),
        (mine, expires, "ü" * 43),
        (mine, expires, theirs),
        (second, expires, signature),
        (foreign, expires, signature),
        (new_id(Kind.MEDIA), expires, signature),
    ):
        refused(
            http.get(f"/api/media/{identifier}?{urlencode({'expires': until, 'signature': proof})}")
        )
    refused(http.get(f"/api/media/{mine}?signature={signature}"))
    assert http.get(f"/api/media/{mine}?expires={expires}").status == 401
    assert http.get(url).status == 200


@pytest.mark.parametrize(
    ("query", "status", "problem"),
    [
        ("expires=1&signature=%FF", 400, "malformed-request"),
        ("expires=%FF&signature=x", 400, "malformed-request"),
        ("expires=1&expires=2&signature=x", 422, "validation-failed"),
    ],
)
def test_what_is_no_query_is_no_mistake_of_ours(
    http: HttpLab, query: str, status: int, problem: str
) -> None:
    answer = http.get(f"/api/media/{new_id(Kind.MEDIA)}?{query}")
    assert (answer.status, answer.problem) == (status, problem)


def test_another_secret_signs_nothing_here(http: HttpLab) -> None:
    owner = http.register()
    identifier = store(http, owner)
    forger = MediaLinks(SecretStr("x" * 40), http.database, http.clock, None)
    refused(http.get(forger.make(owner.subscription_id, identifier, 60)[0]))


def test_only_its_tenant_makes_a_link(http: HttpLab) -> None:
    owner, other = http.register(), http.register()
    identifier = store(http, owner)
    path = f"/api/media/{identifier}/link"
    assert http.post(path, {}, token=other.token).problem == "not-found"
    assert http.post(path, {}).status == 401


@pytest.mark.parametrize("seconds", [59, 0, -1, 604_801, "60", 60.5, None, True])
def test_a_link_is_good_for_a_minute_to_a_week(http: HttpLab, seconds: Any) -> None:
    owner = http.register()
    answer = http.post(
        f"/api/media/{store(http, owner)}/link", {"expiresIn": seconds}, token=owner.token
    )
    assert (answer.status, answer.pointers) == (422, ["#/expiresIn"])


def test_a_link_of_a_suspended_tenant_opens_nothing(http: HttpLab) -> None:
    owner = http.register()
    url = link(http, owner, store(http, owner))["url"]
    now = http.clock.now()

    def suspend() -> None:
        Subscription.update(suspended_at=now).execute()

    http.database.write_wait(suspend)
    refused(http.get(url))


def test_a_link_opens_nothing_but_its_file(http: HttpLab) -> None:
    owner = http.register()
    query = urlsplit(link(http, owner, store(http, owner))["url"]).query
    for path in ("/api/messages", "/api/instances", "/api/auth/me"):
        assert http.get(f"{path}?{query}").status == 401


def test_guessing_is_slowed_down_and_good_links_are_not_counted(http: HttpLab) -> None:
    owner = http.register()
    identifier = store(http, owner)
    url = link(http, owner, identifier)["url"]
    for _ in range(99):
        http.get(f"/api/media/{identifier}?expires=1&signature=x")
    assert http.get(url).status == 200
    refused(http.get(f"/api/media/{identifier}?expires=1&signature=x"))
    answer = http.get(url)
    assert (answer.status, answer.problem) == (429, "too-many-attempts")
    assert int(answer.headers["Retry-After"]) <= 300
    # With a token nobody has to wait.
    assert http.get(f"/api/media/{identifier}", token=owner.token).status == 200


def test_a_link_is_whole_where_the_gateway_knows_its_address(new_http: NewHttp) -> None:
    http = new_http(public_url="https://wa.example.com/gw/")
    owner = http.register()
    url = link(http, owner, store(http, owner))["url"]
    assert url.startswith("https://wa.example.com/gw/api/media/med_")
    assert http.get(url.removeprefix("https://wa.example.com/gw")).status == 200


def test_no_log_line_holds_a_signature(
    http: HttpLab, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    owner = http.register()
    url = link(http, owner, store(http, owner))["url"]
    signature = parse_qs(urlsplit(url).query)["signature"][0]
    assert http.get(url).status == 200
    refused(http.get(url.replace("expires=", "expires=9")))
    output = capfd.readouterr()
    logged = output.out + output.err + caplog.text
    assert "getMedia" in logged
    assert signature not in logged

"""What every answer of the API has, shown on the real routes and on a few of the tests' own."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.http import PASSWORD, HttpLab, Member, NewHttp
from wavisor import metrics
from wavisor.actors.instances import InstanceUnavailableError
from wavisor.domain import Role
from wavisor.http import Services
from wavisor.http.application import ROUTERS, HttpApplication
from wavisor.http.permissions import PUBLIC, Permission
from wavisor.http.routing import Call, Content, InstanceFrom, Reply, Router
from wavisor.http.schemas import ApiModel, Empty
from wavisor.ids import Kind
from wavisor.storage import DatabaseBusy, DatabaseUnavailable, Scope, instances
from wavisor.storage.models import User

ME = "/api/auth/me"
LIMIT = 4096


class Note(ApiModel):
    text: str


class Seen(ApiModel):
    text: str
    request_id: str
    instance: str | None = None


probes = Router("probes", "Routes of the tests.")


@probes.route(
    "POST",
    "/api/probe/echo",
    operation="echo",
    summary="Echo",
    access=PUBLIC,
    body=Note,
    responses={200: Seen},
)
async def echo(call: Call[Note, None]) -> Reply:
    """Says what it heard."""
    return Reply(Seen(text=call.body.text, request_id=call.request_id))


@probes.route(
    "GET",
    "/api/probe/instances/{id}",
    operation="probeInstance",
    summary="Probe",
    access=Permission.INSTANCES_READ,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    responses={200: Seen},
)
async def probe_instance(call: Call[None, None]) -> Reply:
    """Says which instance was meant."""
    return Reply(Seen(text="", request_id=call.request_id, instance=call.instance.id))


@probes.route(
    "DELETE",
    "/api/probe/instances/{id}",
    operation="dropProbe",
    summary="Drop",
    access=Permission.INSTANCES_MANAGE,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    responses={204: None},
)
async def drop_probe(_: Call[None, None]) -> Reply:
    """Does nothing to it."""
    return Reply(status=204)


@probes.route(
    "GET",
    "/api/probe/current",
    operation="probeCurrent",
    summary="Probe",
    access=Permission.INSTANCES_READ,
    instance=InstanceFrom.HEADER,
    responses={200: Seen},
)
async def probe_current(call: Call[None, None]) -> Reply:
    """Says which instance was meant."""
    return Reply(Seen(text="", request_id=call.request_id, instance=call.instance.id))


@probes.route(
    "GET",
    "/api/probe/operator",
    operation="probeOperator",
    summary="Probe",
    access=Permission.OPERATOR,
    responses={200: Empty},
)
async def probe_operator(_: Call[None, None]) -> Reply:
    """Is for operators."""
    return Reply(Empty())


FAILURES: dict[str, Callable[[], BaseException]] = {
    "busy": lambda: DatabaseBusy("select secret"),
    "unavailable": lambda: DatabaseUnavailable("gone"),
    "silent": lambda: InstanceUnavailableError("ins"),
    "bug": lambda: KeyError("a secret detail"),
}


class Failure(ApiModel):
    kind: str


@probes.route(
    "GET",
    "/api/probe/failure",
    operation="probeFailure",
    summary="Fail",
    access=PUBLIC,
    query=Failure,
    responses={200: Empty},
)
async def probe_failure(call: Call[None, Failure]) -> Reply:
    """Fails, or answers what it does not declare."""
    kind = call.query.kind
    if kind in FAILURES:
        raise FAILURES[kind]()
    return {
        "status": Reply(Empty(), status=201),
        "model": Reply(Seen(text="", request_id="")),
        "nothing": Reply(),
        "bytes": Reply(b"x", media_type="text/plain"),
    }[kind]


@probes.route(
    "GET",
    "/api/probe/image",
    operation="probeImage",
    summary="An image",
    access=PUBLIC,
    responses={200: Content(("image/png",), model=Empty)},
)
async def probe_image(_: Call[None, None]) -> Reply:
    """Gives a few bytes."""
    return Reply(b"\x89PNG", media_type="image/png")


def with_probes(services: Services) -> HttpApplication:
    return HttpApplication(services, [*ROUTERS, probes])


@pytest.fixture
def probed(new_http: NewHttp) -> HttpLab:
    return new_http(factory=with_probes, body_limit_bytes=LIMIT)


def new_instance(http: HttpLab, member: Member) -> str:
    scope = Scope(member.subscription_id)
    return http.run(http.database.commit(instances.create, scope, name="Phone")).id


# --- every answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/docs/assets/swagger-ui.css", 200),
        ("GET", "/docs/assets/none.css", 404),
        ("GET", "/docs/assets/..%2f__init__.py", 403),
        ("GET", ME, 401),
        ("GET", "/nothing/here", 404),
        ("PUT", ME, 405),
        ("TRACE", ME, 405),
        ("GET", "/api/probe/failure?kind=bug", 500),
        ("GET", "/api/probe/failure?kind=busy", 503),
        ("GET", "/%ff%fe", 404),
        ("GET", "/api/probe/instances/%ff", 404),
        ("OPTIONS", ME, 204),
    ],
)
def test_every_answer_is_safe_and_traceable(
    probed: HttpLab, method: str, path: str, status: int
) -> None:
    answer = probed.request(method, path)
    assert answer.status == status
    headers = answer.headers
    assert headers["X-Request-Id"].startswith("req_")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers
    if "assets" not in path:
        assert headers["Cache-Control"] == "no-store"
    if status >= 400:
        assert answer.problem
        assert answer.json["instance"] == path.partition("?")[0]


def test_page_of_the_documentation_loads_nothing_from_elsewhere(probed: HttpLab) -> None:
    page = probed.get("/docs")
    assert b"http" not in page.body.replace(b"<!doctype html>", b"").replace(b"http-equiv", b"")
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png"):
        assert asset.encode() in page.body
        answer = probed.get(f"/docs/assets/{asset}")
        assert answer.status == 200
        unchanged = probed.get(
            f"/docs/assets/{asset}", headers={"If-None-Match": answer.headers["ETag"]}
        )
        assert unchanged.status == 304


def test_sane_request_id_is_kept_and_is_in_the_log(probed: HttpLab) -> None:
    with capture_logs() as logs:
        answer = probed.get(ME, headers={"X-Request-Id": "client-chose.this_1"})
    assert answer.headers["X-Request-Id"] == "client-chose.this_1"
    assert [line["request_id"] for line in logs if line["event"] == "request"] == [
        "client-chose.this_1"
    ]


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space in it", "<script>alert"])
def test_other_request_ids_are_replaced(probed: HttpLab, given: str) -> None:
    answer = probed.get(ME, headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"].startswith("req_")


def test_one_line_in_the_log_for_each_request(probed: HttpLab) -> None:
    member = probed.register()
    instance = new_instance(probed, member)
    with capture_logs() as logs:
        probed.get(f"/api/probe/instances/{instance}", token=member.token)
        probed.get("/a/+4915112345678?ticket=secret")
        probed.request("TRACE", ME)
    lines = [line for line in logs if line["event"] == "request"]
    assert [(one["handler"], one["method"], one["status"]) for one in lines] == [
        ("probeInstance", "GET", 200),
        ("unmatched", "GET", 404),
        ("unmatched", "other", 405),
    ]
    assert (lines[0]["tenant"], lines[0]["instance"]) == (member.subscription_id, instance)
    assert lines[0]["address"] == "127.0.0.1"
    assert lines[0]["milliseconds"] >= 0
    assert "secret" not in repr(lines) and "4915112345678" not in repr(lines)


def test_requests_are_observed_by_handler(probed: HttpLab) -> None:
    def count(handler: str, status: str) -> float:
        labels = {"handler": handler, "method": "GET", "status": status}
        name = "wavisor_http_request_duration_seconds_count"
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    before = count("getMe", "4xx"), count("unmatched", "4xx")
    probed.get(ME)
    probed.get("/nothing/here")
    assert (count("getMe", "4xx"), count("unmatched", "4xx")) == (before[0] + 1, before[1] + 1)


def test_what_is_not_known_is_a_500_without_a_word_about_it(probed: HttpLab) -> None:
    with capture_logs() as logs:
        answer = probed.get("/api/probe/failure?kind=bug")
    assert (answer.status, answer.problem) == (500, "internal-error")
    assert b"secret" not in answer.body and b"Traceback" not in answer.body
    failed = [line for line in logs if line["event"] == "request failed"]
    assert [line["handler"] for line in failed] == ["probeFailure"]


@pytest.mark.parametrize("kind", ["busy", "unavailable", "silent"])
def test_overload_says_when_to_come_back(probed: HttpLab, kind: str) -> None:
    answer = probed.get(f"/api/probe/failure?kind={kind}")
    assert (answer.status, answer.problem) == (503, "busy")
    assert int(answer.headers["Retry-After"]) >= 1
    assert b"secret" not in answer.body


@pytest.mark.parametrize("kind", ["status", "model", "nothing", "bytes"])
def test_answer_that_is_not_declared_is_a_mistake_of_ours(probed: HttpLab, kind: str) -> None:
    assert probed.get(f"/api/probe/failure?kind={kind}").status == 500


def test_bytes_are_sent_as_declared(probed: HttpLab) -> None:
    answer = probed.get("/api/probe/image")
    assert (answer.headers["Content-Type"], answer.body) == ("image/png", b"\x89PNG")


# --- methods


def test_wrong_method_names_the_right_ones(probed: HttpLab) -> None:
    answer = probed.request("PUT", "/api/probe/instances/whatever", json={})
    assert (answer.status, answer.problem) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_head_is_get_without_the_body(probed: HttpLab) -> None:
    whole, head = probed.get("/openapi.json"), probed.request("HEAD", "/openapi.json")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))
    assert probed.request("HEAD", "/api/auth/login").status == 405


def test_options_tells_the_methods(probed: HttpLab) -> None:
    answer = probed.request("OPTIONS", "/api/auth/login")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert probed.request("OPTIONS", "/nothing/here").status == 404


# --- other origins

PREFLIGHT = {
    "Origin": "https://app.example.com",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


def test_no_other_origin_is_welcome_unless_told(http: HttpLab) -> None:
    for answer in (
        http.request("OPTIONS", "/api/auth/login", headers=PREFLIGHT),
        http.get(ME, headers={"Origin": "https://app.example.com"}),
    ):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_allowed_origin_may_call_and_read(new_http: NewHttp) -> None:
    http = new_http(cors_origins="https://app.example.com")
    preflight = http.request("OPTIONS", "/api/auth/login", headers=PREFLIGHT)
    assert preflight.status == 204
    headers = preflight.headers
    assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    allowed = {one.strip() for one in headers["Access-Control-Allow-Headers"].split(",")}
    assert {"Authorization", "Content-Type", "Idempotency-Key", "X-Instance-Id"} <= allowed
    assert headers["Access-Control-Max-Age"] == "600"
    assert headers["Vary"] == "Origin"
    refused = http.get(ME, headers={"Origin": "https://app.example.com"})
    assert refused.status == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    exposed = refused.headers["Access-Control-Expose-Headers"]
    assert {"X-Request-Id", "Idempotency-Replayed"} <= set(exposed.split(", "))
    assert "Access-Control-Allow-Credentials" not in refused.headers


def test_other_origins_are_not_allowed_by_one_that_is(new_http: NewHttp) -> None:
    http = new_http(cors_origins="https://app.example.com")
    for origin in ("https://evil.example.com", "null", "https://app.example.com.evil.com"):
        answer = http.request("OPTIONS", ME, headers={**PREFLIGHT, "Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Access-Control-Allow-Methods" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


def test_any_origin_may_be_allowed(new_http: NewHttp) -> None:
    http = new_http(cors_origins="*")
    answer = http.get(ME, headers={"Origin": "https://anybody.example.com"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


# --- bodies


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"", 400, "malformed-request"),
        (b"{", 400, "malformed-request"),
        (b'{"text": NaN}', 400, "malformed-request"),
        (b'{"text": "a", "text": "b"}', 400, "malformed-request"),
        (b'{"text": "\xff"}', 400, "malformed-request"),
        (b"[" * 4000, 400, "malformed-request"),
        (b'{"text": 1}', 422, "validation-failed"),
        (b'{"text": "a", "more": 1}', 422, "validation-failed"),
        (rb'{"text": "\u0000"}', 422, "validation-failed"),
        (rb'{"text": "\ud800"}', 422, "validation-failed"),
        (b"null", 422, "validation-failed"),
    ],
)
def test_bad_body_is_told_apart(probed: HttpLab, body: bytes, status: int, problem: str) -> None:
    answer = probed.request("POST", "/api/probe/echo", body=body)
    assert (answer.status, answer.problem) == (status, problem)


def test_good_body_arrives_also_in_small_pieces(probed: HttpLab) -> None:
    text = "ü" * 500
    sent = json.dumps({"text": text}).encode()
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in sent)
    received = probed.raw(
        b"POST /api/probe/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 200")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["text"] == text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_unsupported(probed: HttpLab, content_type: str) -> None:
    answer = probed.request(
        "POST", "/api/probe/echo", body=b"{}", headers={"Content-Type": content_type}
    )
    assert (answer.status, answer.problem) == (415, "content-type-unsupported")


def test_compressed_body_is_unsupported(probed: HttpLab) -> None:
    answer = probed.request(
        "POST",
        "/api/probe/echo",
        body=gzip.compress(b'{"text": "a"}'),
        headers={"Content-Encoding": "gzip"},
    )
    assert (answer.status, answer.problem) == (415, "content-type-unsupported")


def post_head(*headers: bytes) -> bytes:
    lines = (b"POST /api/probe/echo HTTP/1.1", b"Host: x", b"Content-Type: application/json")
    return b"\r\n".join((*lines, *headers)) + b"\r\n\r\n"


def is_too_large(received: bytes) -> bool:
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413"), received
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:wavisor:problem:body-too-large"
    return True


def test_body_at_the_limit_is_accepted(probed: HttpLab) -> None:
    body = json.dumps({"text": "x" * (LIMIT - 12)}).encode()
    assert len(body) == LIMIT
    assert probed.request("POST", "/api/probe/echo", body=body).status == 200
    assert probed.request("POST", "/api/probe/echo", body=body + b" ").status == 413


def test_announced_length_is_refused_before_the_body_comes(probed: HttpLab) -> None:
    received = probed.raw(post_head(b"Content-Length: 99999999999"))
    assert is_too_large(received)


def test_body_is_not_asked_for_when_it_is_too_long(probed: HttpLab) -> None:
    received = probed.raw(post_head(b"Content-Length: 5000", b"Expect: 100-continue"))
    assert is_too_large(received)
    assert b"100" not in received.partition(b"\r\n")[0]


def test_whole_body_that_is_too_long_is_answered_and_not_reset(probed: HttpLab) -> None:
    for size in (LIMIT + 1, 2 * LIMIT, 64 * LIMIT):
        head = post_head(b"Content-Length: %d" % size, b"Connection: close")
        assert is_too_large(probed.raw(head + b"x" * min(size, 2 * LIMIT)))


def test_chunks_beyond_the_limit_are_refused(probed: HttpLab) -> None:
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    received = probed.raw(post_head(b"Transfer-Encoding: chunked") + chunk * 5)
    assert is_too_large(received)


def test_strangers_body_is_not_kept(probed: HttpLab) -> None:
    answer = probed.request("POST", "/api/auth/logout", body=b"{" * 2000)
    assert answer.status == 401  # and not 400: nobody looked at it


def test_connection_is_good_for_more_after_a_refusal(probed: HttpLab) -> None:
    one = post_head(b"Content-Length: 1") + b"{"
    last = post_head(b"Content-Length: 13", b"Connection: close") + b'{"text": "b"}'
    received = probed.raw(one + one + last)
    assert received.count(b"HTTP/1.1 400") == 2
    assert received.count(b"HTTP/1.1 200") == 1


def test_client_that_leaves_in_the_middle_of_its_body_is_accounted_for(probed: HttpLab) -> None:
    activity = probed.application.activity

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while activity.count != count:  # noqa: ASYNC110 - only its being idle is an event
                await asyncio.sleep(0)

    with capture_logs() as logs:
        with socket.create_connection(("127.0.0.1", probed.port), timeout=60) as connection:
            connection.sendall(post_head(b"Content-Length: 100") + b"{")
            probed.run(until(1))
        probed.run(until(0))
    assert [line["status"] for line in logs if line["event"] == "request"] == [499]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_ends_the_connection_and_nothing_else(probed: HttpLab, sent: bytes) -> None:
    assert b" 200 " not in probed.raw(sent)
    assert probed.get("/openapi.json").status == 200


# --- who may, and what is meant


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer a.b.c", "Token x"],
)
def test_without_a_good_token_the_scheme_is_named(probed: HttpLab, value: str | None) -> None:
    answer = probed.get(ME, headers={} if value is None else {"Authorization": value})
    assert (answer.status, answer.problem) == (401, "invalid-token")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="wavisor"')


def test_scheme_is_read_in_any_letter_case(probed: HttpLab) -> None:
    member = probed.register()
    answer = probed.get(ME, headers={"Authorization": f"bEARER {member.token}"})
    assert answer.status == 200


def test_role_that_lacks_the_permission_is_refused(probed: HttpLab) -> None:
    probed.register()
    member = probed.register()
    instance = new_instance(probed, member)
    path = f"/api/probe/instances/{instance}"
    assert probed.get("/api/probe/operator", token=member.token).problem == "forbidden"

    def demote() -> None:
        User.update(role=Role.VIEWER.value).where(User.id == member.user_id).execute()

    assert probed.delete(path, token=member.token).status == 204
    probed.run(probed.database.commit(demote))
    assert probed.get(path, token=member.token).status == 200
    assert probed.delete(path, token=member.token).status == 403


def test_instance_is_found_in_any_letter_case(probed: HttpLab) -> None:
    member = probed.register()
    instance = new_instance(probed, member)
    for spelling in (instance, instance.lower(), instance.upper()):
        for answer in (
            probed.get(f"/api/probe/instances/{spelling}", token=member.token),
            probed.get(
                "/api/probe/current", token=member.token, headers={"X-Instance-Id": spelling}
            ),
        ):
            assert (answer.status, answer.json["instance"]) == (200, instance)


@pytest.mark.parametrize(
    "identifier", ["x", "ins_", "ins_1", "usr_01K9Z3V7Q8R6T5Y4X3W2V1N0M9", "%00", "ins_%F0%9F"]
)
def test_what_is_no_id_of_an_instance_is_not_found(probed: HttpLab, identifier: str) -> None:
    member = probed.register()
    answer = probed.get(f"/api/probe/instances/{identifier}", token=member.token)
    assert (answer.status, answer.problem) == (404, "not-found")


def test_foreign_instance_is_not_found(new_http: NewHttp, database: Any) -> None:
    http = new_http(factory=with_probes, database=database)
    mine, theirs = http.register(), http.register()
    instance = new_instance(http, theirs)
    paths = [f"/api/probe/instances/{instance}", "/api/probe/current"]
    for path in paths:
        headers = {"X-Instance-Id": instance}
        assert http.get(path, token=mine.token, headers=headers).problem == "not-found"
        assert http.get(path, token=theirs.token, headers=headers).status == 200


def test_missing_instance_header_is_named(probed: HttpLab) -> None:
    member = probed.register()
    answer = probed.get("/api/probe/current", token=member.token)
    assert (answer.status, answer.pointers) == (422, ["X-Instance-Id"])


def test_operation_on_an_instance_costs_one_look_up_beside_the_callers(
    new_http: NewHttp, database: Any
) -> None:
    http = new_http(factory=with_probes, database=database)
    member = http.register()
    instance = new_instance(http, member)
    with http.database.count_queries() as queries:
        assert http.get(f"/api/probe/instances/{instance}", token=member.token).status == 200
    assert queries.count == 2, queries.statements


def test_unknown_query_parameter_is_an_error(probed: HttpLab) -> None:
    answer = probed.get("/openapi.json?surprise=1")
    assert (answer.status, answer.pointers) == (422, ["surprise"])


def test_unauthenticated_requests_learn_nothing_about_ids(probed: HttpLab) -> None:
    member = probed.register()
    known, unknown = new_instance(probed, member), "ins_01K9Z3V7Q8R6T5Y4X3W2V1N0M9"
    for instance in (known, unknown, "nonsense"):
        assert probed.get(f"/api/probe/instances/{instance}").status == 401


def test_full_database_queue_is_a_503(probed: HttpLab, monkeypatch: pytest.MonkeyPatch) -> None:
    member = probed.register()

    async def busy(*_: Any, **__: Any) -> Any:
        raise DatabaseBusy("full")

    with monkeypatch.context() as patched:
        patched.setattr(probed.database, "fetch", busy)
        answer = probed.get(ME, token=member.token)
    assert (answer.status, answer.problem) == (503, "busy")
    body = {"email": member.email, "password": PASSWORD}
    assert probed.post("/api/auth/login", body).status == 200

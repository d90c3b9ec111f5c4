"""The handler of the routes of one path: from request to call, and from reply to answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

import structlog
from pydantic import BaseModel
from tornado.http1connection import HTTP1Connection
from tornado.ioloop import IOLoop
from tornado.web import stream_request_body

from wavisor.http import problems
from wavisor.http.base import BaseHandler
from wavisor.http.bodies import read_body, read_form, read_query
from wavisor.http.forms import UploadForm, boundary_of
from wavisor.http.media.links import SignedLink
from wavisor.http.paths import PathText
from wavisor.http.permissions import PUBLIC
from wavisor.http.problems import ProblemError
from wavisor.http.replies import render, send_file
from wavisor.http.routing import Call, FilePart, InstanceFrom, Reply, Route
from wavisor.http.schemas import Empty
from wavisor.ids import Kind, normalise_id

if TYPE_CHECKING:
    from wavisor.http.accounts.principal import Principal
    from wavisor.storage import InstanceRecord

__all__ = ["RoutedHandler"]

log = structlog.get_logger(__name__)

_CLIENT_GONE = 499
# A body that takes longer than this does not profit from a permission that was taken back.
_STALE_SECONDS = 0.5
_REFUSAL_SECONDS = 2.0
_UPLOAD_SECONDS = 600.0
# Tornado answers a longer body with a bare 400; the limit is enforced here, with a document.
_TORNADO_BODY_LIMIT = 2**62


@stream_request_body
class RoutedHandler(BaseHandler):
    """Serves the routes of one path; without any, it is the 404 for what has no route.

    The body is taken in as a stream, so that one that is too long is refused as soon as this is
    known, and nobody's body is read into memory before they are known to be welcome.
    """

    def initialize(self, routes: dict[str, Route]) -> None:
        """Take the routes of this path, by method."""
        self._routes = routes
        self._gone = asyncio.Event()
        self._body = bytearray()
        self._form: UploadForm | None = None
        self._limit = self.application.services.settings.body_limit_bytes
        self._digest: str | None = None
        self._received = 0
        self._drained = 0
        self._refused = False
        self._failure: Exception | None = None
        self._instance: InstanceRecord | None = None
        self._path: dict[str, str] = {}
        self._link_to: str | None = None
        self._body_complete = False
        self._entered = False
        self._admitted_at = 0.0

    @property
    def label(self) -> str:
        """The operation's id; `unmatched` where there is no such route."""
        route = self._find_route()
        return route.operation if route is not None else "unmatched"

    def allowed_methods(self) -> list[str]:
        """Return the declared methods and what follows from them."""
        implied = {"OPTIONS"} | ({"HEAD"} if "GET" in self._routes else set())
        return sorted(implied | set(self._routes))

    async def prepare(self) -> None:
        """Check all that the header tells, before the body is read.

        A failure is kept until the body was read, because an answer that comes before is lost
        when the connection is closed on data that still arrives.
        """
        self.begin()
        self.application.activity.enter()
        self._entered = True
        connection = cast(HTTP1Connection, self.request.connection)
        connection.set_max_body_size(_TORNADO_BODY_LIMIT)
        usual_limit = self._limit
        try:
            boundary = self._expect_body(connection)
            length = self.request.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and int(length) > self._limit:
                self._refuse_body(self._too_large())
            elif self.request.method != "OPTIONS" or not self._routes:
                await self._admit()
                self._open_form(boundary)
        except Exception as error:  # noqa: BLE001 - answered once the body is read
            self._failure = error
            # Nobody unwelcome gets to send more than the usual.
            self._limit = usual_limit

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take in a part of the body, or drop it when the answer is already decided."""
        self._received += len(chunk)
        if self._refused:
            self._drained += len(chunk)
            if self._drained > self._limit:
                self._end_refusal()
        elif self._received > self._limit:
            self._body.clear()
            return self._refuse_upload(self._failure or self._too_large())
        elif self._form is not None:
            return self._take_in(self._form, chunk)
        elif self._failure is None:
            self._body += chunk
        return None

    async def serve(self, **_: str) -> None:
        """Answer the request, now that its body is here."""
        self._body_complete = True
        try:
            if self._refused:
                self._end_refusal()
            else:
                await self._answer()
        except Exception as error:  # noqa: BLE001 - every failure becomes a problem document
            document = self.put_problem(error)
            await self._drop_form()
            self.finish(document)
        finally:
            await self._drop_form()

    get = head = post = put = patch = delete = serve

    def options(self, *_: str, **__: str) -> Awaitable[None] | None:
        """Answer what is allowed here; 404 where there is nothing at all."""
        return super().options() if self._routes and not self._refused else self.serve()

    def on_connection_close(self) -> None:
        """Account for a client that left in the middle of its body; no answer will follow."""
        self._gone.set()
        if not self._body_complete:
            self.conclude(_CLIENT_GONE)
            if self._form is not None:
                IOLoop.current().add_callback(self._drop_form)

    def conclude(self, status: int) -> None:
        """Account for the end of the request."""
        if self._entered:
            self._entered = False
            self.application.activity.leave()
        super().conclude(status)

    def _expect_body(self, connection: HTTP1Connection) -> str | None:
        """Find out how large the body may become; return the boundary if it is a form."""
        route = self._find_route()
        if route is None or route.uploads is None:
            return None
        settings = self.application.services.settings
        connection.set_body_timeout(_UPLOAD_SECONDS)
        boundary = boundary_of(self.request.headers.get("Content-Type"))
        if boundary is None:
            self._limit = max(self._limit, route.uploads.json_limit(settings))
        else:
            self._limit += route.uploads.file_limit(settings)
        return boundary

    def _open_form(self, boundary: str | None) -> None:
        route = self._find_route()
        if boundary is None or route is None or route.uploads is None:
            return
        services = self.application.services
        limit = route.uploads.file_limit(services.settings)
        self._form = UploadForm(boundary, services.media, limit)

    async def _take_in(self, form: UploadForm, chunk: bytes) -> None:
        try:
            await form.feed(chunk)
        except Exception as error:  # noqa: BLE001 - answered without the rest of the body
            await self._refuse_upload(error)

    async def _refuse_upload(self, error: Exception) -> None:
        await self._drop_form()
        self._refuse_body(error)

    async def _drop_form(self) -> None:
        """Remove what was uploaded, unless it was kept: before any answer, so that it is true."""
        form, self._form = self._form, None
        if form is not None:
            try:
                await form.close()
            except OSError:
                # What was decided is not changed by it, and the next start removes the file.
                log.exception("an uploaded file could not be removed", handler=self.label)

    def _too_large(self) -> ProblemError:
        return ProblemError(problems.BODY_TOO_LARGE, f"At most {self._limit} bytes are accepted.")

    def _find_route(self) -> Route | None:
        method = "GET" if self.request.method == "HEAD" else self.request.method
        return self._routes.get(method or "")

    def _route(self) -> Route:
        route = self._find_route()
        if route is not None:
            return route
        if not self._routes:
            raise ProblemError(problems.NOT_FOUND)
        raise ProblemError(
            problems.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(self.allowed_methods())}
        )

    async def _admit(self) -> None:
        """Authenticate the caller, check the permission, and load the instance that is meant."""
        limits = self.application.rate_limits
        self._tell_limits(limits.admit_address(self.address, self._find_route()))
        route = self._route()
        if route.access is PUBLIC:
            self._read_path(route)
            return
        if route.linked and self._has_link():
            self._read_path(route)
            link = read_query(self.request.query, SignedLink)
            self._link_to = await self.application.media_links.admit(
                self._path["id"], link.expires or "", link.signature or "", self.address
            )
            structlog.contextvars.bind_contextvars(tenant=self._link_to)
            return
        caller = await self.application.authenticator.authenticate_header(
            self.request.headers.get_list("Authorization"), self.address
        )
        self.identify(caller, None)
        self._admitted_at = IOLoop.current().time()
        if caller.key is not None:
            self.application.key_uses.note(caller.key.id, self.address)
        self._tell_limits(limits.admit_caller(caller, route))
        _check_permission(route, caller)
        self._read_path(route)  # not sooner: strangers are told of no form that an address has
        if route.instance is not None:
            self._instance = await self._load_instance(route.instance, caller)
            self.identify(caller, self._instance.id)

    def _read_path(self, route: Route) -> None:
        self._path = {
            name: _parameter(name, self.path_kwargs[name], form)
            for name, form in route.parameters.items()
        }

    async def _confirm(self, route: Route) -> None:
        """Ask again who it is when the body took its time: it may have been revoked meanwhile."""
        if self.caller is None or IOLoop.current().time() - self._admitted_at < _STALE_SECONDS:
            return
        self.caller = await self.application.authenticator.confirm(self.caller, self.address)
        _check_permission(route, self.caller)

    def _has_link(self) -> bool:
        arguments = self.request.query_arguments
        return "signature" in arguments and "Authorization" not in self.request.headers

    def _tell_limits(self, fields: dict[str, str]) -> None:
        for name, value in fields.items():
            self.set_header(name, value)

    async def _load_instance(self, source: InstanceFrom, caller: Principal) -> InstanceRecord:
        if source is InstanceFrom.PATH:
            identifier = self._path["id"]
        else:
            given = self.request.headers.get("X-Instance-Id", caller.instance_id)
            if given is None:
                missing = problems.FieldProblem(detail="is needed", parameter="X-Instance-Id")
                raise ProblemError(problems.VALIDATION_FAILED, errors=[missing])
            identifier = _canonical(given, Kind.INSTANCE)
        return await self.application.load_instance(caller, identifier)

    def _query(self, route: Route) -> BaseModel | None:
        query = read_query(self.request.query, route.query or Empty)
        return query if route.query is not None else None

    def _call(self, route: Route) -> Call[Any, Any]:
        headers = self.request.headers
        if self.request.method == "HEAD":
            # Only GET has parts (RFC 9110, section 14.2).
            headers.pop("Range", None)
        return Call(
            application=self.application,
            request_id=self.request_id,
            address=self.address,
            headers=headers,
            path=self._path,
            query=self._query(route),
            body=self._read_body(route),
            upload=None if self._form is None else self._form.upload,
            fingerprint=self._fingerprint,
            caller=self.caller,
            loaded_instance=self._instance,
            link_to=self._link_to,
            gone=self._gone,
        )

    def _read_body(self, route: Route) -> BaseModel | None:
        if route.body is None:
            return None
        if self._form is not None:
            self._form.finish()
            return read_form(self._form.fields, route.body)
        headers = self.request.headers
        if "Idempotency-Key" in headers:
            self._fingerprint()
        # Held no longer than needed: it may hold a file.
        raw, self._body = self._body, bytearray()
        return read_body(
            raw,
            headers.get("Content-Type"),
            headers.get("Content-Encoding"),
            route.body,
        )

    def _fingerprint(self) -> str:
        if self._digest is None:
            digest = hashlib.sha256(f"{self.label}\0{self.request.path}\0".encode())
            form = self._form
            digest.update(form.fingerprint().encode() if form is not None else self._body)
            self._digest = digest.hexdigest()
        return self._digest

    async def _answer(self) -> None:
        if self._failure is not None:
            raise self._failure
        route = self._route()
        await self._confirm(route)
        reply = await route.handler(self._call(route))
        await self._drop_form()
        await self._send(route, reply)

    async def _send(self, route: Route, reply: Reply) -> None:
        body, media_type = render(route, reply)
        self.set_status(reply.status)
        for name, value in reply.headers.items():
            self.set_header(name, value)
        if body is None:
            self.clear_header("Content-Type")
            self.finish()
            return
        self.set_header("Content-Type", media_type)
        if isinstance(body, FilePart):
            await send_file(self, body)
        else:
            self.finish(body)

    def _refuse_body(self, error: Exception) -> None:
        """Answer now and take in a little more, so that the client gets to read it.

        Closing at once on unread data would make the kernel reset the connection, and the answer
        would be lost with it.
        """
        self._refused = True
        document = self.put_problem(error)
        self.set_header("Connection", "close")
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            self.finish(document)
            return
        self.set_header("Content-Length", str(len(document)))
        self.write(document)
        self.flush()
        IOLoop.current().call_later(_REFUSAL_SECONDS, self._end_refusal)

    def _end_refusal(self) -> None:
        if not self._finished:
            self.finish()


def _check_permission(route: Route, caller: Principal) -> None:
    if route.access not in caller.permissions:
        who = "The API key, or the user who made it," if caller.key is not None else "Your role"
        detail = f"{who} lacks `{route.access.value}`."
        raise ProblemError(problems.FORBIDDEN, detail)
    if caller.instance_id is not None and not route.for_bound_keys:
        detail = "This is not for API keys that are bound to an instance."
        raise ProblemError(problems.FORBIDDEN, detail)


def _parameter(name: str, text: str, form: Kind | PathText) -> str:
    return form.canonical(name, text) if isinstance(form, PathText) else _canonical(text, form)


def _canonical(text: str, kind: Kind) -> str:
    identifier = normalise_id(text, kind)
    if identifier is None:
        raise ProblemError(problems.NOT_FOUND)
    return identifier

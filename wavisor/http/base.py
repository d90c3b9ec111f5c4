"""The base of every tornado handler of the gateway, and the one that serves files.

The base gives each answer its request id, its security and CORS headers, a problem document
where it failed, one line in the log and one observation in the metrics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable
from functools import cached_property
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from wavisor import metrics
from wavisor.http import problems
from wavisor.http.addresses import client_address
from wavisor.http.failures import as_problem
from wavisor.http.problems import BEARER_CHALLENGE, MEDIA_TYPE, ProblemError
from wavisor.ids import Kind, new_id

if TYPE_CHECKING:
    from wavisor.http.accounts.principal import Principal
    from wavisor.http.application import HttpApplication

__all__ = ["AssetHandler", "BaseHandler"]

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"\A[A-Za-z0-9._-]{8,64}\Z")
_CORS_HEADERS = "Authorization, Content-Type, Idempotency-Key, Prefer, X-Instance-Id, X-Request-Id"
_CORS_EXPOSED = (
    "Content-Disposition, Idempotency-Replayed, Location, Preference-Applied, RateLimit, "
    "RateLimit-Policy, Retry-After, X-Next-Cursor, X-Request-Id"
)
_CORS_MAX_AGE_SECONDS = 600
_BY_STATUS = {
    kind.status: kind
    for kind in (
        problems.MALFORMED_REQUEST,
        problems.FORBIDDEN,
        problems.NOT_FOUND,
        problems.METHOD_NOT_ALLOWED,
    )
}

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class BaseHandler(RequestHandler):
    """What every answer of the gateway has in common; also a mixin for files and websockets."""

    application: HttpApplication
    _concluded = False
    caller: Principal | None = None
    instance_id: str | None = None

    @property
    def label(self) -> str:
        """The name of this handler in log and metrics; never a path, which may hold anything."""
        return type(self).__name__

    @cached_property
    def request_id(self) -> str:
        """The client's ``X-Request-Id`` where it is a sane one, or a new one."""
        given = self.request.headers.get("X-Request-Id", "")
        return given if _REQUEST_ID.match(given) else new_id(Kind.REQUEST)

    @cached_property
    def address(self) -> str:
        """The client's address."""
        return client_address(
            self.request.remote_ip,
            self.request.headers.get_list("X-Forwarded-For"),
            self.application.services.settings.trusted_proxies,
        )

    def begin(self) -> None:
        """Bind the request to the log; to be called first in ``prepare``."""
        structlog.contextvars.bind_contextvars(request_id=self.request_id)

    def identify(self, caller: Principal | None, instance_id: str | None) -> None:
        """Note who asks and about which instance, for the log."""
        self.caller = caller
        self.instance_id = instance_id
        if caller is not None:
            structlog.contextvars.bind_contextvars(tenant=caller.subscription_id)
        if instance_id is not None:
            structlog.contextvars.bind_contextvars(instance=instance_id)

    def set_default_headers(self) -> None:
        """Give every answer its request id, security and CORS headers."""
        self.clear_header("Server")
        self.set_header("X-Request-Id", self.request_id)
        for name, value in _SECURITY_HEADERS.items():
            self.set_header(name, value)
        if self.application.stopping:
            self.set_header("Connection", "close")
        allowed = self.application.services.settings.cors_origins
        if not allowed:
            return
        origin = self.request.headers.get("Origin", "")
        if "*" in allowed:
            self.set_header("Access-Control-Allow-Origin", "*")
        else:
            self.add_header("Vary", "Origin")
            if origin not in allowed:
                return
            self.set_header("Access-Control-Allow-Origin", origin)
        self.set_header("Access-Control-Expose-Headers", _CORS_EXPOSED)

    def allowed_methods(self) -> list[str]:
        """Return the methods that this resource has, for ``Allow``."""
        return ["GET", "HEAD", "OPTIONS"]

    def options(self, *_: str, **__: str) -> Awaitable[None] | None:
        """Answer what is allowed here, to browsers before a request of another origin too."""
        methods = ", ".join(self.allowed_methods())
        self.set_header("Allow", methods)
        if (
            "Access-Control-Request-Method" in self.request.headers
            and "Access-Control-Allow-Origin" in self._headers
        ):
            self.set_header("Access-Control-Allow-Methods", methods)
            self.set_header("Access-Control-Allow-Headers", _CORS_HEADERS)
            self.set_header("Access-Control-Max-Age", str(_CORS_MAX_AGE_SECONDS))
        self.clear_header("Content-Type")
        self.set_status(HTTPStatus.NO_CONTENT)
        return None

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Decode a part of the path; what is no UTF-8 names nothing."""
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise HTTPError(HTTPStatus.NOT_FOUND) from None

    def compute_etag(self) -> str | None:
        """Compute none: answers of the API are never stored."""
        return None

    def put_problem(self, error: Exception) -> bytes:
        """Set status and headers for a failure and return the document; log what is our fault."""
        problem = as_problem(error)
        if problem is None:
            log.error("request failed", handler=self.label, exc_info=error)
            problem = ProblemError(problems.INTERNAL_ERROR)
        self.set_status(problem.kind.status)
        if problem.kind.status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", BEARER_CHALLENGE)  # RFC 9110, section 11.6.1
        self.set_header("Content-Type", MEDIA_TYPE)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        document = problem.document(path=self.request.path, request_id=self.request_id)
        return json.dumps(document, ensure_ascii=False).encode()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write a problem document for what tornado itself refuses or could not handle."""
        kind = _BY_STATUS.get(status_code, problems.INTERNAL_ERROR)
        headers = {"Allow": ", ".join(self.allowed_methods())} if status_code == 405 else {}
        self.finish(self.put_problem(ProblemError(kind, headers=headers)))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what no handler caught; refusals of tornado's are in the request's own line."""
        if not isinstance(value, HTTPError):
            log.error("request failed", handler=self.label, exc_info=value)

    def on_finish(self) -> None:
        """Write the request's line in the log and its metrics."""
        self.conclude(self.get_status())

    def conclude(self, status: int) -> None:
        """Account for the end of the request; only the first call counts."""
        if self._concluded:
            return
        self._concluded = True
        status = int(status)  # HTTPStatus would be logged by its name
        seconds = self.request.request_time()
        method = self.request.method or ""
        metrics.observe_http(self.label, method, status, seconds)
        log.info(
            "request",
            handler=self.label,
            method=method if method in self.SUPPORTED_METHODS else "other",
            status=status,
            milliseconds=round(seconds * 1000, 1),
            address=self.address,
            request_id=self.request_id,
            tenant=self.caller.subscription_id if self.caller else None,
            api_key=self.caller.key.id if self.caller and self.caller.key else None,
            instance=self.instance_id,
        )


class AssetHandler(BaseHandler, StaticFileHandler):
    """Files of the package: scripts and styles of pages that the gateway serves itself."""

    def prepare(self) -> None:
        """Bind the request to the log."""
        self.begin()

    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep the file while its ETag stays the same."""
        self.set_header("Cache-Control", "no-cache")

    def compute_etag(self) -> str | None:
        """Compute the file's own."""
        return StaticFileHandler.compute_etag(self)

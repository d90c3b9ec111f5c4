"""Routes: everything there is to say about an operation, declared at its handler.

A declaration that lacks something, or contradicts itself, raises :class:`RouteError` at import.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from wavisor.http import problems
from wavisor.http.paths import PathText
from wavisor.http.permissions import KEY_PERMISSIONS, PUBLIC, Access, Permission
from wavisor.http.problems import ProblemKind
from wavisor.ids import Kind

if TYPE_CHECKING:
    from tornado.httputil import HTTPHeaders

    from wavisor.config import Settings
    from wavisor.http.accounts.principal import Principal
    from wavisor.http.application import HttpApplication
    from wavisor.http.forms import Upload
    from wavisor.http.services import Services
    from wavisor.storage import InstanceRecord

__all__ = [
    "Call",
    "Content",
    "FilePart",
    "InstanceFrom",
    "Reply",
    "Route",
    "RouteError",
    "Router",
    "UploadRule",
    "check_routes",
]

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_PARAMETER = re.compile(r"\{([a-z][A-Za-z]*)\}")
_OPERATION = re.compile(r"\A[a-z][A-Za-z]+\Z")
_TEMPLATE = re.compile(r"\A(/[a-z0-9.-]+|/\{[a-z][A-Za-z]*\})+\Z|\A/\Z")


class RouteError(Exception):
    """A route is declared incompletely or twice; a mistake in the code, found at its start."""


class InstanceFrom(Enum):
    """Where a request says which instance it means. The framework loads it, or answers 404."""

    PATH = "path"
    """The path parameter ``{id}``."""
    HEADER = "header"
    """The header ``X-Instance-Id``, as on the integration routes."""


@dataclass(frozen=True)
class Content:
    """An answer that is no JSON model, such as an image: its media types; ``*/*`` for any."""

    media_types: tuple[str, ...]
    model: type[BaseModel] | None = None
    """The model of the JSON form, when the same answer is also given as JSON."""


@dataclass(frozen=True)
class UploadRule:
    """A route whose body may be large, and may be a form with a file in it.

    Args:
        json_limit: how long a body of JSON may be, in bytes.
        file_limit: how large the file of a form may be, in bytes.
    """

    json_limit: Callable[[Settings], int]
    file_limit: Callable[[Settings], int]


Response = type[BaseModel] | Content | None
"""What an answer holds: a model (as JSON), something else, or nothing."""


@dataclass(frozen=True)
class FilePart:
    """A part of a file, which is read while it is sent."""

    path: Path
    start: int
    """The first byte."""
    length: int
    """In bytes."""


@dataclass(frozen=True)
class Reply:
    """What a handler answers: a model, or bytes or a file with their media type, or nothing."""

    content: BaseModel | bytes | FilePart | None = None
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None
    """Needed with bytes and files and only then."""


@dataclass(frozen=True)
class Call(Generic[BodyT, QueryT]):
    """One request, authenticated and validated, as its handler sees it."""

    application: HttpApplication
    request_id: str
    address: str
    """The client's address, from trusted proxies where such are set."""
    headers: HTTPHeaders
    path: Mapping[str, str]
    """The path parameters; ids in their canonical form."""
    body: BodyT
    query: QueryT
    caller: Principal | None
    """Who asks; None on public routes."""
    loaded_instance: InstanceRecord | None
    upload: Upload | None = None
    """The file of a form, on a route declared with ``uploads=``."""
    fingerprint: Callable[[], str] = field(default=lambda: "")
    """Gives what tells the request from others, by operation, path and body: a SHA-256 in hex."""
    link_to: str | None = None
    """The subscription that a signed link belongs to, where such a one was used."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has left: nobody is waiting for the answer any more."""

    @property
    def services(self) -> Services:
        """The rest of the gateway."""
        return self.application.services

    @property
    def principal(self) -> Principal:
        """Who asks, on a route that is not public."""
        if self.caller is None:
            raise RouteError("a public route asked who its caller is")
        return self.caller

    def confine(self, instance_id: str) -> None:
        """Let nothing of another instance be seen by a key that is bound to one.

        For the handlers of routes declared with ``confined=``.

        Raises:
            ProblemError: the caller is such a key, and of another instance (404).
        """
        if not self.principal.sees(instance_id):
            raise problems.ProblemError(problems.NOT_FOUND)

    @property
    def subscription_id(self) -> str:
        """Whose data the request is about: its caller's, or those that a link is to."""
        return self.link_to or self.principal.subscription_id

    @property
    def instance(self) -> InstanceRecord:
        """The instance that is meant, on a route declared with ``instance=``."""
        if self.loaded_instance is None:
            raise RouteError("the route does not declare where its instance comes from")
        return self.loaded_instance


Handler = Callable[[Call[Any, Any]], Awaitable[Reply]]
HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Reply]])


@dataclass(frozen=True)
class Route:
    """An operation of the API, with everything that its framework and its document need."""

    method: str
    path: str
    operation: str
    """Its id in the OpenAPI document and its label in the metrics; camelCase."""
    summary: str
    description: str
    tag: str
    access: Access
    parameters: Mapping[str, Kind | PathText]
    """What kind of id each path parameter is, or what else."""
    instance: InstanceFrom | None
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    responses: Mapping[int, Response]
    problems: tuple[ProblemKind, ...]
    """What may go wrong here, beyond what follows from the rest of the declaration."""
    header_parameters: Mapping[str, str]
    """Request headers that mean something here, with what they mean."""
    handler: Handler
    uploads: UploadRule | None = None
    """Set where the body may be large, or a form with a file."""
    confined: bool = False
    """Whether the handler itself confines keys that are bound to an instance to that one. Where
    neither it nor the framework does, such keys are refused, unless the route is ``shared``."""
    shared: bool = False
    """Whether it is about what all instances of a subscription share, and tells nothing of any:
    then keys that are bound to one may come as well."""
    linked: bool = False
    """Whether a signed link to the file ``{id}`` does instead of a token."""
    limited: bool = True
    """Whether requests are counted against rate limits."""

    def __post_init__(self) -> None:
        where = f"{self.method} {self.path}"
        for complaint in self._complaints():
            raise RouteError(f"{where}: {complaint}")

    def _complaints(self) -> Iterable[str]:
        if self.method not in _METHODS:
            yield "unknown method"
        if not _TEMPLATE.match(self.path):
            yield "the path is no template such as /api/things/{id}"
        if set(_PARAMETER.findall(self.path)) != set(self.parameters):
            yield "path and `parameters` do not name the same parameters"
        if not _OPERATION.match(self.operation):
            yield "the operation id is not camelCase"
        if not self.summary or self.summary.endswith("."):
            yield "the summary is empty or ends with a full stop"
        if not self.description:
            yield "the handler has no docstring"
        if type(self.access) not in (Permission, type(PUBLIC)):
            yield "access is neither PUBLIC nor a permission"
        if self.instance is not None and self.access is PUBLIC:
            yield "an instance cannot be loaded without knowing who asks"
        if self.instance is InstanceFrom.PATH and self.parameters.get("id") is not Kind.INSTANCE:
            yield "its instance comes from the path, but {id} is no instance"
        if self.body is not None and self.method == "GET":
            yield "a GET has no body"
        if self.confined and (self.instance is not None or self.access is PUBLIC):
            yield "`confined` is for routes that ask who asks, but load no instance"
        if self.shared and (self.instance is not None or self.confined or self.access is PUBLIC):
            yield "`shared` is for routes that are about no instance, and ask who asks"
        if self.linked and (self.method != "GET" or self.parameters.get("id") is not Kind.MEDIA):
            yield "only a file can be linked to"
        if self.uploads is not None and self.body is None:
            yield "uploads without a model of their fields"
        if not self.responses or any(not 100 <= status < 400 for status in self.responses):
            yield "responses must hold at least one status, and only those below 400"

    @property
    def for_keys(self) -> bool:
        """Whether API keys may be given what this needs."""
        return self.access in KEY_PERMISSIONS

    @property
    def for_bound_keys(self) -> bool:
        """Whether that holds for keys that are bound to an instance as well."""
        return self.for_keys and (self.confined or self.shared or self.instance is not None)

    @property
    def all_problems(self) -> tuple[ProblemKind, ...]:
        """Every kind of problem that this route may answer with, by status."""
        kinds = [
            *self.problems,
            problems.MALFORMED_REQUEST,
            problems.VALIDATION_FAILED,
            problems.INTERNAL_ERROR,
            problems.BUSY,
        ]
        if self.limited:
            kinds.append(problems.RATE_LIMITED)
        if self.access is not PUBLIC:
            kinds += [
                problems.INVALID_TOKEN,
                problems.FORBIDDEN,
                problems.SUBSCRIPTION_SUSPENDED,
            ]
        if self.for_keys:
            kinds.append(problems.ADDRESS_NOT_ALLOWED)
        if self.parameters or self.instance is not None:
            kinds.append(problems.NOT_FOUND)
        if self.body is not None:
            kinds += [problems.BODY_TOO_LARGE, problems.CONTENT_TYPE_UNSUPPORTED]
        return tuple(sorted(set(kinds), key=lambda kind: (kind.status, kind.slug)))

    @property
    def pattern(self) -> str:
        """The path as a regular expression with a named group for each parameter."""
        parts = (
            f"(?P<{segment[1:-1]}>[^/]+)" if segment.startswith("{") else re.escape(segment)
            for segment in self.path.split("/")
        )
        return "/".join(parts)


class Router:
    """Collects the routes of one part of the API.

    Args:
        tag: the part's name in the documentation.
        description: what the part is about, for the documentation.
        limited: whether requests to it are counted against rate limits.
    """

    def __init__(self, tag: str, description: str, *, limited: bool = True) -> None:
        self.tag = tag
        self.description = description
        self.limited = limited
        self.routes: list[Route] = []

    def route(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        summary: str,
        access: Access,
        responses: Mapping[int, Response],
        problems: Sequence[ProblemKind] = (),
        parameters: Mapping[str, Kind | PathText] | None = None,
        instance: InstanceFrom | None = None,
        body: type[BaseModel] | None = None,
        query: type[BaseModel] | None = None,
        headers: Mapping[str, str] | None = None,
        uploads: UploadRule | None = None,
        confined: bool = False,
        shared: bool = False,
        linked: bool = False,
    ) -> Callable[[HandlerT], HandlerT]:
        """Declare the decorated coroutine function as the handler of an operation.

        Its docstring is the description in the documentation. See :class:`Route` for the
        arguments; ``headers`` are its ``header_parameters``.

        Raises:
            RouteError: the declaration is incomplete or contradicts itself.
        """

        def declare(handler: HandlerT) -> HandlerT:
            self.routes.append(
                Route(
                    method=method,
                    path=path,
                    operation=operation,
                    summary=summary,
                    description=" ".join((handler.__doc__ or "").split()),
                    tag=self.tag,
                    access=access,
                    parameters=dict(parameters or {}),
                    instance=instance,
                    body=body,
                    query=query,
                    responses=dict(responses),
                    problems=tuple(problems),
                    header_parameters=dict(headers or {}),
                    handler=handler,
                    uploads=uploads,
                    confined=confined,
                    shared=shared,
                    linked=linked,
                    limited=self.limited,
                )
            )
            return handler

        return declare


def check_routes(routers: Sequence[Router]) -> list[Route]:
    """Return the routes of all routers.

    Raises:
        RouteError: two routes share a method and path, or an operation id.
    """
    routes = [route for router in routers for route in router.routes]
    seen: set[object] = set()
    for route in routes:
        for key in ((route.method, route.path), route.operation):
            if key in seen:
                raise RouteError(f"{key} is declared twice")
            seen.add(key)
    return routes

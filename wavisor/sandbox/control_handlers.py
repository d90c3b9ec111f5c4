"""The base of the control API's handlers: bodies in, documents out, errors as problem documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from tornado.web import HTTPError, RequestHandler

from wavisor.sandbox.control_models import EndpointsInfo, Model, Problem, ProblemItem
from wavisor.sandbox.drafts import DraftError
from wavisor.sandbox.identity import CodePairingError, QrCodeError
from wavisor.sandbox.pairing import PairingRefusedError
from wavisor.sandbox.people import (
    InvalidNumberError,
    NumberTakenError,
    People,
    UnknownPersonError,
    normalize_number,
)
from wavisor.sandbox.person import NotOnWhatsAppError, Person, RefusedMessageError
from wavisor.sandbox.phone import NoSuchPairingError, Phone, UnknownDeviceError

__all__ = ["ControlHandler", "NotFoundHandler", "ProblemError"]

log = structlog.get_logger(__name__)

_LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "[::1]"}

_STATUS_OF_ERROR: dict[type[Exception], HTTPStatus] = {
    UnknownPersonError: HTTPStatus.NOT_FOUND,
    UnknownDeviceError: HTTPStatus.NOT_FOUND,
    NoSuchPairingError: HTTPStatus.NOT_FOUND,
    NumberTakenError: HTTPStatus.CONFLICT,
    PairingRefusedError: HTTPStatus.CONFLICT,
    RefusedMessageError: HTTPStatus.CONFLICT,
    InvalidNumberError: HTTPStatus.UNPROCESSABLE_ENTITY,
    DraftError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotOnWhatsAppError: HTTPStatus.UNPROCESSABLE_ENTITY,
    QrCodeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    CodePairingError: HTTPStatus.UNPROCESSABLE_ENTITY,
}

_Body = TypeVar("_Body", bound=BaseModel)


class ProblemError(HTTPError):
    """An answer that is a problem document."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[ProblemItem] | None = None
    ) -> None:
        super().__init__(status)
        self.detail = detail
        self.errors = list(errors) if errors else None


class ControlHandler(RequestHandler):
    """What all routes share. Takes ``people`` and ``endpoints`` from the route table."""

    def initialize(self, people: People, endpoints: EndpointsInfo) -> None:
        """Remember whom this is about."""
        self.people = people
        self.world = people.world
        self.endpoints = endpoints

    def prepare(self) -> None:
        """Turn away pages of the web: those that rebind a name, and those that post forms.

        Anybody on this machine may use the API; a browser must not be talked into it.
        """
        host = self.request.host.rpartition(":")[0] or self.request.host
        if host not in _LOOPBACK_HOSTS:
            raise ProblemError(403, "the control API is for this machine only")
        content_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip()
        if self.request.body and content_type != "application/json":
            raise ProblemError(415, "send application/json")

    def body(self, model: type[_Body]) -> _Body:
        """Return the request's body; an absent one counts as ``{}``.

        Raises ProblemError 400 for what is not JSON and 422 for what does not fit the model.
        """
        try:
            return model.model_validate_json(self.request.body or b"{}")
        except ValidationError as error:
            raise _problem_of(error) from error

    def query(self, model: type[_Body]) -> _Body:
        """Return the query's arguments; raises ProblemError 422."""
        names = self.request.query_arguments
        try:
            return model.model_validate({name: self.get_query_argument(name) for name in names})
        except ValidationError as error:
            raise _problem_of(error) from error

    def phone(self, number: str) -> Phone:
        """Return the simulated phone that the path names; raises ProblemError 404."""
        with self.domain_errors():
            return self.people.phone(_path_number(number))

    def person(self, kind: str, number: str) -> Person:
        """Return the phone or contact that the path names; raises ProblemError 404."""
        if kind == "phones":
            return self.phone(number)
        with self.domain_errors():
            return self.people.contact(_path_number(number))

    @contextmanager
    def domain_errors(self) -> Iterator[None]:
        """Turn what the simulated people object to into problem documents."""
        try:
            yield
        except tuple(_STATUS_OF_ERROR) as error:
            raise ProblemError(_STATUS_OF_ERROR[type(error)], str(error)) from error

    def reply(self, answer: Model | Sequence[Model], status: int = 200) -> None:
        """Answer with a document or a list ``{"items": […]}``."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        if isinstance(answer, Model):
            self.finish(answer.model_dump_json(by_alias=True))
        else:
            items = [item.model_dump(mode="json", by_alias=True) for item in answer]
            self.finish(json.dumps({"items": items}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a problem document."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        known = error if isinstance(error, ProblemError) else None
        problem = Problem(
            title=HTTPStatus(status_code).phrase,
            status=status_code,
            detail=known.detail if known else None,
            errors=known.errors if known else None,
        )
        self.set_header("Content-Type", "application/problem+json")
        self.finish(problem.model_dump_json(by_alias=True, exclude_none=True))


class NotFoundHandler(ControlHandler):
    """Answers paths that do not exist."""

    def prepare(self) -> None:
        """Say so."""
        super().prepare()
        raise ProblemError(404, "there is no such resource")


def _path_number(text: str) -> str:
    try:
        return normalize_number(text)
    except InvalidNumberError as error:
        raise UnknownPersonError(str(error)) from error


def _problem_of(error: ValidationError) -> ProblemError:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in details):
        return ProblemError(400, "the body is not valid JSON")
    items = [
        ProblemItem(detail=item["msg"], pointer="".join(f"/{part}" for part in item["loc"]) or "/")
        for item in details
    ]
    return ProblemError(422, "the request does not fit", items)

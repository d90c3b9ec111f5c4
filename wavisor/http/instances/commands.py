"""What is done to an instance's connection: commands, status, QR code and pairing code.

Commands are slow, so they answer 202 with the status that follows while the work goes on; sending
one again is harmless. Each is on the audit trail before it is carried out, with who asked for it;
what came of it is there too, as ``instance.status``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from wavisor.actors.instance.messages import InstanceSnapshot
from wavisor.http.auditing import audit_entry
from wavisor.http.instances.failures import COMMAND_FORBIDDEN, NO_QR_CODE, PAIRING_FAILED
from wavisor.http.instances.images import draw_qr
from wavisor.http.instances.schemas import (
    InstanceState,
    PairingCodeInfo,
    QrFormat,
    QrModel,
    QrQuery,
    RequestPairing,
)
from wavisor.http.instances.views import pairing_model, qr_model, state_model
from wavisor.http.negotiation import preferred_type
from wavisor.http.permissions import Permission
from wavisor.http.phones import InvalidPhoneError, international_digits
from wavisor.http.problems import (
    NOT_ACCEPTABLE,
    VALIDATION_FAILED,
    FieldProblem,
    ProblemError,
)
from wavisor.http.routing import Call, Content, InstanceFrom, Reply, Router
from wavisor.http.schemas import Empty
from wavisor.ids import Kind
from wavisor.storage import audit

__all__ = ["router"]

router = Router("connection", "Connecting an instance: commands, status, QR and pairing code.")

_MEDIA_TYPES = {
    QrFormat.JSON: "application/json",
    QrFormat.PNG: "image/png",
    QrFormat.SVG: "image/svg+xml",
    QrFormat.TEXT: "text/plain",
}
_TEXT_AS_SENT = "text/plain; charset=utf-8"
_QR_CONTENT = Content(
    (_MEDIA_TYPES[QrFormat.PNG], _MEDIA_TYPES[QrFormat.SVG], _TEXT_AS_SENT), QrModel
)


@router.route(
    "POST",
    "/api/instances/{id}/connect",
    operation="connectInstance",
    summary="Connect an instance",
    access=Permission.INSTANCES_CONTROL,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    body=Empty,
    responses={202: InstanceState},
    problems=[COMMAND_FORBIDDEN],
)
async def connect_instance(call: Call[Empty, None]) -> Reply:
    """Connects the instance and keeps it connected from then on.

    Without a linked account it shows up to three QR codes; when none is scanned, it ends in
    `force_disconnected`.
    """
    return await _carry_out(call, "instance.connect", call.services.instances.connect)


@router.route(
    "POST",
    "/api/instances/{id}/disconnect",
    operation="disconnectInstance",
    summary="Disconnect an instance",
    access=Permission.INSTANCES_CONTROL,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    body=Empty,
    responses={202: InstanceState},
    problems=[COMMAND_FORBIDDEN],
)
async def disconnect_instance(call: Call[Empty, None]) -> Reply:
    """Closes the connection and keeps it closed; the account stays linked."""
    return await _carry_out(call, "instance.disconnect", call.services.instances.disconnect)


@router.route(
    "POST",
    "/api/instances/{id}/restart",
    operation="restartInstance",
    summary="Restart an instance",
    access=Permission.INSTANCES_CONTROL,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    body=Empty,
    responses={202: InstanceState},
    problems=[COMMAND_FORBIDDEN],
)
async def restart_instance(call: Call[Empty, None]) -> Reply:
    """Replaces the instance's session by a new one; the account stays linked."""
    return await _carry_out(call, "instance.restart", call.services.instances.restart)


@router.route(
    "POST",
    "/api/instances/{id}/logout",
    operation="logoutInstance",
    summary="Unlink the account of an instance",
    access=Permission.INSTANCES_MANAGE,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    body=Empty,
    responses={202: InstanceState},
    problems=[COMMAND_FORBIDDEN],
)
async def logout_instance(call: Call[Empty, None]) -> Reply:
    """Unlinks the account at WhatsApp and discards its keys; the instance itself stays.

    An instance that is not connected cannot tell WhatsApp; then the device has to be removed on
    the phone as well.
    """
    return await _carry_out(call, "instance.logout", call.services.instances.logout)


@router.route(
    "POST",
    "/api/instances/{id}/pairing-code",
    operation="requestPairingCode",
    summary="Get a pairing code",
    access=Permission.INSTANCES_CONTROL,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    body=RequestPairing,
    responses={200: PairingCodeInfo},
    problems=[COMMAND_FORBIDDEN, PAIRING_FAILED],
)
async def request_pairing_code(call: Call[RequestPairing, None]) -> Reply:
    """Gets a code to be typed on the phone instead of scanning a QR code.

    Possible while a QR code is shown.
    """
    try:
        phone = international_digits(call.body.phone)
    except InvalidPhoneError as error:
        wrong = FieldProblem(detail=str(error), pointer="#/phone")
        raise ProblemError(VALIDATION_FAILED, errors=[wrong]) from None
    await _audit(call, "instance.pairing-code")
    code = await call.services.instances.pairing_code(call.instance.id, phone)
    return Reply(pairing_model(code))


@router.route(
    "GET",
    "/api/instances/{id}/status",
    operation="getInstanceStatus",
    summary="Read an instance's status",
    access=Permission.INSTANCES_READ,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    responses={200: InstanceState},
)
async def get_instance_status(call: Call[None, None]) -> Reply:
    """Returns the state of an instance at this moment."""
    snapshot = await call.services.instances.snapshot(call.instance.id)
    return Reply(state_model(call.instance, snapshot))


@router.route(
    "GET",
    "/api/instances/{id}/qr",
    operation="getInstanceQr",
    summary="Get the QR code",
    access=Permission.INSTANCES_READ,
    parameters={"id": Kind.INSTANCE},
    instance=InstanceFrom.PATH,
    query=QrQuery,
    responses={200: _QR_CONTENT},
    problems=[NO_QR_CODE, NOT_ACCEPTABLE],
    headers={"Accept": "The form of the code, where `format` does not say it."},
)
async def get_instance_qr(call: Call[None, QrQuery]) -> Reply:
    """Returns the QR code to be scanned now: as JSON, as an image, or drawn in text.

    While there is none the answer is 409 and names the status and the commands that it allows.
    """
    wanted = call.query.format or _negotiate(call)
    snapshot = await call.services.instances.snapshot(call.instance.id)
    if snapshot.qr is None:
        raise _no_qr(snapshot)
    headers = {"Vary": "Accept"}
    if wanted is QrFormat.JSON:
        return Reply(qr_model(snapshot.qr), headers=headers)
    image = await asyncio.to_thread(draw_qr, snapshot.qr.text, wanted)
    media_type = _TEXT_AS_SENT if wanted is QrFormat.TEXT else _MEDIA_TYPES[wanted]
    return Reply(image, headers=headers, media_type=media_type)


def _negotiate(call: Call[None, QrQuery]) -> QrFormat:
    best = preferred_type(call.headers.get("Accept"), tuple(_MEDIA_TYPES.values()))
    for image, media_type in _MEDIA_TYPES.items():
        if media_type == best:
            return image
    offered = ", ".join(_MEDIA_TYPES.values())
    raise ProblemError(NOT_ACCEPTABLE, f"The QR code is offered as {offered}.")


def _no_qr(snapshot: InstanceSnapshot) -> ProblemError:
    return ProblemError(
        NO_QR_CODE,
        f"The instance is {snapshot.status.value}.",
        extensions={
            "instanceStatus": snapshot.status.value,
            "allowed": sorted(snapshot.allowed),
        },
    )


async def _carry_out(
    call: Call[Empty, None], action: str, command: Callable[[str], Awaitable[InstanceSnapshot]]
) -> Reply:
    await _audit(call, action)
    snapshot = await command(call.instance.id)
    headers = {"Location": f"/api/instances/{call.instance.id}/status"}
    return Reply(state_model(call.instance, snapshot), HTTPStatus.ACCEPTED, headers)


async def _audit(call: Call[Empty, None] | Call[RequestPairing, None], action: str) -> None:
    entry = audit_entry(call, action, call.instance.id)
    await call.services.database.commit(audit.append, call.instance.subscription_id, entry)

"""Why a command failed, read from the only thing the native client gives: a line of text.

The texts are whatsmeow's (``errors.go``, ``send.go``, ``request.go``); Go's wrapping keeps the
cause at the end of the line. Whatever is not recognised counts as ``internal``, and for sends as
uncertain unless it certainly happened before the message left.
"""

from __future__ import annotations

import re
from typing import Literal

from wavisor.whatsapp.events import ConnectFailed, Failure

__all__ = [
    "cause_of",
    "connect_failure",
    "download_failure",
    "query_failure",
    "send_failure",
    "upload_failure",
]

REACH_OUT_TIMELOCK = 463
"""WhatsApp's code for refusing to let a number begin further conversations. It does not say until
when."""
RATE_LIMITED = frozenset({419, 429})
"""WhatsApp's codes for "not now": resource limit, rate over limit. Nor does it say here."""
MEDIA_GONE = frozenset({403, 404, 410})
"""The media server's codes for a file that it no longer has (whatsmeow ``download.go``)."""

# Worded by the client itself, without WhatsApp's code (whatsmeow errors.go).
_OF_GROUPS: dict[str, tuple[Literal["not_found", "forbidden"], str]] = {
    "you're not participating in that group": ("forbidden", "this account is not in the group"),
    "that group does not exist": ("not_found", "there is no such group"),
}

_STATUS = re.compile(r"info query returned status (\d+)")
_SERVER_ERROR = re.compile(r"server returned error (\d+)\Z")
_HTTP_STATUS = re.compile(r"status code (\d+)")
_NUMBERS = re.compile(r"\d{5,}")

# Said before a message leaves: looking up devices, keys and addresses, or encrypting.
_BEFORE_SENDING = re.compile(
    r"\A(failed to (get|fetch|prefetch|save|marshal|encrypt|create|clear|process)"
    r"|no LID found|can't send message to unknown server|can't encrypt message"
    r"|message recipient must be|the store doesn't contain|cipher encryption failed"
    r"|sending to non-status broadcast)"
)
_WRITE_FAILED = "failed to send message node"
_STORE_ERRORS = ("database", "sqlite", "pq:", "disk")
# Go's net/http, golang.org/x/net/proxy, and what proxies answer.
_PROXY_ERRORS = ("proxy", "socks")
_NO_SOCKET = ("websocket not connected", "frame socket is closed")


def cause_of(error: Exception) -> str:
    """Return the native client's text in one of neonize's exceptions, some of which hold bytes."""
    cause = error.args[0] if error.args else ""
    return cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)


def connect_failure(instance: str, text: str, *, by_proxy: bool) -> ConnectFailed:
    """Return why a connection could not be made.

    Args:
        instance: whose connection.
        text: the native client's error.
        by_proxy: whether it was to go through a proxy.
    """
    said = text.lower()
    if by_proxy and any(word in said for word in _PROXY_ERRORS):
        # Not its text, in which the proxy's URL might stand.
        detail = "the proxy cannot be reached, or refuses to connect to WhatsApp"
        return ConnectFailed(instance=instance, cause="proxy", detail=detail)
    of_store = any(word in said for word in _STORE_ERRORS)
    cause: Literal["key_store", "network"] = "key_store" if of_store else "network"
    return ConnectFailed(instance=instance, cause=cause, detail=text)


def query_failure(text: str) -> Failure:
    """Return why a question to WhatsApp failed.

    Args:
        text: the native client's error.
    """
    detail = _masked(text)
    status = _STATUS.search(text)
    if status:
        return _refused(int(status.group(1)), detail)
    if text.endswith(("timed out", "timed out waiting for message send response")):
        return Failure(reason="timeout", detail=detail)
    if text.endswith(_NO_SOCKET) or "websocket disconnected before" in text:
        return Failure(reason="not_connected", detail=detail)
    for words, (reason, told) in _OF_GROUPS.items():
        if text.endswith(words):
            return Failure(reason=reason, detail=told)
    if text.startswith(("phone number too short", "international phone number required")):
        return Failure(reason="invalid", detail=detail)
    if text.startswith("the store doesn't contain a device JID"):
        return Failure(reason="not_connected", detail=detail)
    return Failure(reason="internal", detail=detail)


def send_failure(text: str) -> Failure:
    """Return why a send failed, and whether WhatsApp may have got the message all the same.

    Args:
        text: the native client's error.
    """
    detail = _masked(text)
    refused = _SERVER_ERROR.search(text)
    if refused:
        return _refused(int(refused.group(1)), detail)
    if text.startswith("no LID found"):
        return Failure(reason="not_on_whatsapp", detail="the number has no WhatsApp account")
    if _BEFORE_SENDING.match(text):
        return query_failure(text)
    if text.startswith(_WRITE_FAILED) and text.endswith(_NO_SOCKET):
        return Failure(reason="not_connected", detail=detail)
    return query_failure(text).model_copy(update={"uncertain": True})


def upload_failure(text: str) -> Failure:
    """Return why a file could not be handed to WhatsApp; the message was not sent then.

    Args:
        text: the native client's error (whatsmeow ``upload.go``).
    """
    failure = query_failure(text)
    if failure.reason != "internal":
        return failure
    status = _HTTP_STATUS.search(text)
    code = int(status.group(1)) if status else None
    return Failure(reason="upload_failed", detail=_masked(text), code=code)


def download_failure(text: str) -> Failure:
    """Return why a file could not be fetched.

    Args:
        text: the native client's error (whatsmeow ``errors.go``, ``download.go``).
    """
    detail = _masked(text)
    status = _HTTP_STATUS.search(text)
    code = int(status.group(1)) if status else None
    if code in MEDIA_GONE:
        gone = "WhatsApp no longer has the file; the phone that sent it would have to upload it"
        return Failure(reason="media_gone", detail=gone, code=code)
    if any(word in text for word in ("hash of", "invalid media hmac", "file too short", "decrypt")):
        return Failure(reason="media_corrupt", detail=detail)
    if "no url present" in text or "attachments in message" in text or "checksum" in text:
        return Failure(reason="invalid", detail=detail)
    failure = query_failure(text)
    if failure.reason != "internal":
        return failure
    return Failure(reason="media_unreachable", detail=detail, code=code)


def _refused(code: int, detail: str) -> Failure:
    if code == REACH_OUT_TIMELOCK:
        detail = "WhatsApp does not let this number begin further conversations for now"
        return Failure(reason="reach_out_timelock", detail=detail, code=code)
    if code in RATE_LIMITED:
        return Failure(reason="rate_limited", detail=detail, code=code)
    return Failure(reason="rejected", detail=detail, code=code)


def _masked(text: str) -> str:
    return _NUMBERS.sub("…", text)

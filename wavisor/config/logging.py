"""The set-up of logs: structlog's, and the standard library's in the same form to the same place.

Modules log by ``structlog.get_logger(__name__)``, an event in a few words and the rest as keys.
What belongs to a request or an instance is bound with :func:`bound` and then appears in every
line of that context. Context variables do not reach other threads: an actor binds its own.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import re
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from wavisor.config.groups import LogFormat, ObservabilitySettings
from wavisor.config.values import MASK

__all__ = ["bound", "configure_logging", "dump_stacks", "dump_stacks_on_signal", "mask_secrets"]

bound = structlog.contextvars.bound_contextvars
"""``with bound(request_id=…, tenant=…, instance=…):`` puts these into every line within."""

# Matched against a key's words, so that `token` also covers `refresh_token` and `accessToken`,
# and `keyboard` is not taken for a key.
_SECRET_WORDS = frozenset(
    {
        *("authorization", "cookie", "credential", "credentials", "jwt", "passphrase", "passwd"),
        *("password", "secret", "secrets", "token", "tokens"),
        # people and what they say
        *("body", "caption", "jid", "jids", "lid", "phone", "phones", "msisdn"),
    }
)
_SECRET_KEYS = frozenset(
    {"api_key", "apikey", "code", "message_text", "pairing_code", "private_key", "push_name", "qr"}
)
# `code` alone is a pairing code; these are numbers of another kind.
_HARMLESS_KEYS = frozenset({"body_bytes", "body_limit_bytes", "token_type", "tokens_expired"})
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

# Where a secret stands in free text: a bearer token, a JWT, an API key, a webhook's secret, a
# WhatsApp address with its phone number, a password inside a URL.
_SECRET_TEXT = re.compile(
    r"(?P<bearer>\bbearer[ .])[\w.~+/=-]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b(?:wav|whsec)_[\w+/=-]{8,}"
    r"|\b\d{6,20}(?:[.:]\d+){0,2}(?=@(?:s\.whatsapp\.net|lid|c\.us|hosted))"
    r"|(?P<account>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(?=@)",
    re.IGNORECASE,
)
# Text without any of these holds none of the above; looking for them first is far cheaper.
_SECRET_MARKS = ("@", "bearer", "eyj", "wav_", "whsec_")

_NOISY = {"asyncio": logging.WARNING, "pykka": logging.WARNING, "peewee": logging.WARNING}


def configure_logging(settings: ObservabilitySettings, stream: TextIO | None = None) -> None:
    """Send every log line of the process to ``stream`` (default: standard error).

    May be called again, to change the level, say. Loggers of the standard library, warnings,
    uncaught exceptions in threads included, go the same way.
    """
    target = stream or sys.stderr
    level = getattr(logging, settings.log_level.value.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
    ]
    final = _final_processors(settings.log_format, target)
    handler = _LineHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    # Not by way of the standard library's records, which makes a line three times as expensive;
    # one is written for every request.
    structlog.configure(
        processors=[*shared, *final],
        logger_factory=lambda *names: _LineLogger(handler, *names),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(max(level, least))
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_exception


def _final_processors(log_format: LogFormat, target: TextIO) -> list[Processor]:
    terminal = target.isatty()
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and terminal)
    if console:
        # The exception becomes text before the masks look at it.
        return [
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.dev.ConsoleRenderer(
                colors=terminal, timestamp_key="time", exception_formatter=_plain_exception
            ),
        ]
    return [structlog.processors.format_exc_info, mask_secrets, _order_keys, _to_json]


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to the stream, whole ones and one at a time, whoever they come from."""

    def write_line(self, line: str) -> None:
        """Write a line that needs no formatting any more."""
        # A log that cannot be written must not end what it tells about.
        with contextlib.suppress(OSError, ValueError):
            self.acquire()
            try:
                self.stream.write(line + self.terminator)
                self.stream.flush()
            finally:
                self.release()


class _LineLogger:
    """What structlog hands finished lines to."""

    def __init__(self, handler: _LineHandler, name: str = "wavisor") -> None:
        self.name = name
        self._handler = handler

    def info(self, line: str) -> None:
        """Write a line; of any level, because those that are not wanted do not come this far."""
        self._handler.write_line(line)

    debug = warning = error = critical = info


_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Render a line as JSON, by an encoder that is made only once."""
    return _encode(event)


def _order_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put first what people look for first."""
    leading = {key: event[key] for key in ("time", "level", "logger", "event") if key in event}
    return leading | dict(event)


def _plain_exception(stream: TextIO, exc_info: Any) -> None:
    stream.write("".join(traceback.format_exception(*exc_info)))


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be in a log: by the name of its key, or by its form within text.

    A last line of defence; secrets should not be handed to a logger in the first place.
    """
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: str, value: Any) -> Any:
    # The usual types first: this runs for every value of every line.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return MASK if _is_secret_key(key) else _masked_text(value)
    if isinstance(value, Mapping):
        return {str(name): _masked(str(name), part) for name, part in value.items()}
    if _is_secret_key(key):
        return MASK
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked("", part) for part in value]
    return _masked_text(str(value))


def _masked_text(text: str) -> str:
    lowered = text.lower()
    if any(mark in lowered for mark in _SECRET_MARKS):
        return _SECRET_TEXT.sub(_mask_match, text)
    return text


def _mask_match(match: re.Match[str]) -> str:
    return f"{match.group('bearer') or match.group('account') or ''}{MASK}"


@lru_cache(maxsize=1024)
def _is_secret_key(key: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(key)]
    name = "_".join(words)
    if name in _HARMLESS_KEYS:
        return False
    return name in _SECRET_KEYS or not _SECRET_WORDS.isdisjoint(words)


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    name = args.thread.name if args.thread else "?"
    structlog.get_logger(__name__).critical(
        "a thread died",
        thread=name,
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
    )


def dump_stacks() -> None:
    """Write the stack of every thread to the log, one line (event) for each thread."""
    log = structlog.get_logger(__name__)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    log.warning("stacks of all threads follow", threads=len(frames))
    for ident, frame in frames.items():
        log.warning(
            "stack",
            thread=names.get(ident, f"unknown-{ident}"),
            stack="".join(traceback.format_stack(frame)).rstrip(),
        )


def dump_stacks_on_signal(number: signal.Signals = signal.SIGUSR1) -> None:
    """Dump all stacks when the signal arrives. To be called in the main thread.

    The log is written by a thread of its own: a handler runs in between any two instructions of
    the main thread, which may hold the very locks that logging needs. Should even that not come
    through, ``SIGQUIT`` writes plain stacks straight to standard error and lets the process live.
    """

    def on_signal(_number: int, _frame: object) -> None:
        threading.Thread(target=dump_stacks, name="stack-dump", daemon=True).start()

    signal.signal(number, on_signal)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no real standard error
        faulthandler.register(signal.SIGQUIT, all_threads=True, chain=False)

"""The whole of the settings, and how they are read: environment, ``.env``, ``wavisor.toml``."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import PrivateAttr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from wavisor.config.groups import (
    GROUPS,
    AccountSettings,
    MediaSettings,
    ObservabilitySettings,
    RateLimitSettings,
    SendingSettings,
    ServerSettings,
    SessionSettings,
    StorageSettings,
    WebhookSettings,
)
from wavisor.config.schema import allowed_values, env_name, shown
from wavisor.config.values import is_public_address
from wavisor.domain import RegistrationMode

__all__ = [
    "ENV_FILE",
    "TOML_FILE",
    "EffectiveValue",
    "Problem",
    "Settings",
    "SettingsError",
    "Source",
    "load_settings",
]

ENV_FILE = ".env"
TOML_FILE = "wavisor.toml"

_PREFIX = "WAVISOR_"
# The suite's own variables; and what Kubernetes puts into the environment of every container
# beside a Service called `wavisor`.
_FOREIGN = re.compile(
    r"WAVISOR_(TEST_.*|SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)", re.IGNORECASE
)
_KUBERNETES_LINK = re.compile(r"(tcp|udp|sctp)://")

_RECONNECT_TARGET_SECONDS = 30.0


class Source(StrEnum):
    """Where a value came from; the first of these that has one wins."""

    GIVEN = "command line"
    ENVIRONMENT = "env"
    ENV_FILE = ".env"
    TOML = "toml"
    DEFAULT = "default"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the settings."""

    setting: str
    """The environment variable of the setting, whichever source the value came from."""
    message: str
    """What is wrong and what is allowed; never a secret."""

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}"


class SettingsError(Exception):
    """The settings cannot be used; :attr:`problems` names everything that is wrong at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class EffectiveValue:
    """One setting as it is in force, for people to read."""

    name: str
    env: str
    value: str
    source: Source


@dataclass(frozen=True)
class _Combination:
    """Two settings of which the lesser one must not be above the other."""

    lesser: str
    greater: str
    why: str = ""
    may_be_equal: bool = True

    def holds_for(self, settings: Settings) -> bool:
        lesser, greater = getattr(settings, self.lesser), getattr(settings, self.greater)
        return bool(lesser <= greater if self.may_be_equal else lesser < greater)

    def problem(self, settings: Settings) -> Problem:
        fields = Settings.model_fields
        lesser = shown(fields[self.lesser], getattr(settings, self.lesser))
        greater = shown(fields[self.greater], getattr(settings, self.greater))
        relation = "must not exceed" if self.may_be_equal else "must be less than"
        return Problem(
            env_name(self.lesser),
            f"{lesser} {relation} {env_name(self.greater)}, which is {greater}{self.why}",
        )


_COMBINATIONS = (
    _Combination(
        "session_stop_grace_seconds",
        "shutdown_timeout_seconds",
        ": a stop would be cut off before the session processes had their time",
        may_be_equal=False,
    ),
    _Combination("backoff_initial_seconds", "backoff_maximum_seconds"),
    _Combination("feed_ping_timeout_seconds", "feed_ping_interval_seconds"),
    _Combination("access_token_ttl_seconds", "refresh_token_ttl_seconds"),
)


class _CombinationError(ValueError):
    """Settings that are good one by one do not go together."""

    def __init__(self, settings: Settings, wrong: tuple[_Combination, ...]) -> None:
        self.problems = {rule: rule.problem(settings) for rule in wrong}
        super().__init__("; ".join(str(problem) for problem in self.problems.values()))


class Settings(
    ServerSettings,
    AccountSettings,
    RateLimitSettings,
    StorageSettings,
    SessionSettings,
    SendingSettings,
    MediaSettings,
    WebhookSettings,
    ObservabilitySettings,
    BaseSettings,
):
    """Every setting of the gateway.

    Made by :func:`load_settings`. Built directly, ``Settings(port=0)``, it takes what it is given
    and defaults for the rest; the environment is not read.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        env_prefix=_PREFIX,
        hide_input_in_errors=True,
    )

    _sources: dict[str, Source] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments: :func:`load_settings` reads the other sources."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_combinations(self) -> Settings:
        wrong = tuple(rule for rule in _COMBINATIONS if not rule.holds_for(self))
        if wrong:
            raise _CombinationError(self, wrong)
        return self

    def effective(self) -> list[EffectiveValue]:
        """Return every setting with its value (secrets masked) and where it came from."""
        return [
            EffectiveValue(
                name, env_name(name), shown(field, getattr(self, name)), self.source_of(name)
            )
            for group in GROUPS
            for name, field in group.model_fields.items()
        ]

    def source_of(self, name: str) -> Source:
        """Return where the value of the setting ``name`` (in lower case) came from."""
        given = Source.GIVEN if name in self.model_fields_set else Source.DEFAULT
        return self._sources.get(name, given)

    def warnings(self) -> list[str]:
        """Return what is allowed and yet deserves a word in the log at the start."""
        found = []
        if is_public_address(self.host) and self.registration is RegistrationMode.OPEN:
            found.append(
                f"registration is open and the server listens on {self.host}: whoever reaches it "
                "can open an account (WAVISOR_REGISTRATION=first or closed forbids it)"
            )
        if self.sandbox_url is not None:
            found.append(
                f"SANDBOX MODE: instances talk to {self.sandbox_url}, not to the real WhatsApp"
            )
        worst = self.connect_timeout_seconds + self.backoff_maximum_seconds
        if worst >= _RECONNECT_TARGET_SECONDS:
            found.append(
                f"WAVISOR_CONNECT_TIMEOUT_SECONDS + WAVISOR_BACKOFF_MAXIMUM_SECONDS is {worst:g} "
                "s: after the network returns an instance can take longer than 30 s to come back"
            )
        if any(network.prefixlen == 0 for network in self.metrics_allow):
            found.append("WAVISOR_METRICS_ALLOW opens /metrics to every address")
        if self.media_allow_private:
            found.append(
                "WAVISOR_MEDIA_ALLOW_PRIVATE lets whoever may send messages have this machine ask "
                "private addresses"
            )
        if self.proxy_allow_private:
            found.append(
                "WAVISOR_PROXY_ALLOW_PRIVATE lets whoever may change instances have this machine "
                "connect to private addresses"
            )
        if "*" in self.cors_origins:
            found.append("WAVISOR_CORS_ORIGINS lets pages of any origin call the API")
        return found


_Layer = tuple[Source, dict[str, Any]]


def load_settings(
    *,
    directory: Path | None = None,
    toml_file: Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings: ``WAVISOR_*`` environment, then ``.env``, then ``wavisor.toml``.

    Args:
        directory: where ``.env`` and ``wavisor.toml`` are looked for; default: the current one.
        toml_file: a file to read instead of ``wavisor.toml``; then it must exist.
        given: values that win over everything, by the names of the fields.

    Raises:
        SettingsError: something is wrong; all of it is in there.
    """
    folder = directory or Path.cwd()
    problems: list[Problem] = []
    layers: list[_Layer] = [
        (Source.GIVEN, dict(given or {})),
        (Source.ENVIRONMENT, _read_environment(problems)),
        (Source.ENV_FILE, _read_env_file(folder / ENV_FILE, problems)),
        (Source.TOML, _read_toml(toml_file or folder / TOML_FILE, toml_file, problems)),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for source, layer in reversed(layers):
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems.extend(_explain(error, values, sources))
        problems.extend(_combined(values, _wrong_fields(error)))
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    settings._sources.update(sources)
    return settings


def _read_environment(problems: list[Problem]) -> dict[str, Any]:
    problems.extend(_unknown_variables(os.environ, "in the environment"))
    values = EnvSettingsSource(Settings, env_ignore_empty=True)()
    if _KUBERNETES_LINK.match(str(values.get("port", ""))):
        del values["port"]  # $WAVISOR_PORT of a Service called `wavisor`, not ours
    return values


def _read_env_file(path: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(str(path), f"cannot be read: {_reason(error)}"))
        return {}
    problems.extend(
        Problem(str(path), f"line {binding.original.line} is no assignment NAME=value")
        for binding in bindings
        if binding.error
    )
    names = [binding.key for binding in bindings if binding.key and not binding.error]
    problems.extend(_unknown_variables(names, f"in {path}"))
    with _muted("dotenv.main"):  # it would warn of the lines that are among the problems already
        read = DotEnvSettingsSource(Settings, env_file=path, env_ignore_empty=True)()
    return {name: value for name, value in read.items() if name in Settings.model_fields}


@contextlib.contextmanager
def _muted(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _read_toml(path: Path, wanted: Path | None, problems: list[Problem]) -> dict[str, Any]:
    if wanted is None and not path.exists():
        return {}
    try:
        # The source of pydantic-settings takes a missing file for an empty one; ask first.
        path.open("rb").close()
        read = TomlConfigSettingsSource(Settings, toml_file=path)()
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(str(path), f"is no valid TOML: {error}"))
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(str(path), f"cannot be read: {_reason(error)}"))
        return {}
    problems.extend(
        Problem(key, f"unknown setting in {path}{_did_you_mean(key, Settings.model_fields)}")
        for key in read
        if key not in Settings.model_fields
    )
    return {name: value for name, value in read.items() if name in Settings.model_fields}


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


def _unknown_variables(names: Iterable[str], where: str) -> Iterator[Problem]:
    known = [env_name(field) for field in Settings.model_fields]
    for name in names:
        upper = name.upper()
        if upper.startswith(_PREFIX) and upper not in known and not _FOREIGN.fullmatch(upper):
            yield Problem(name, f"unknown setting {where}{_did_you_mean(upper, known)}")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    import difflib  # only for who mistyped

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _explain(
    error: ValidationError, values: Mapping[str, Any], sources: Mapping[str, Source]
) -> Iterator[Problem]:
    """Turn pydantic's errors into one sentence for each setting that is wrong."""
    seen: set[str] = set()
    for detail in error.errors(include_url=False, include_context=True):
        if not detail["loc"]:
            continue  # a combination: see _combined
        name = str(detail["loc"][0])
        field = Settings.model_fields.get(name)
        if name in seen:
            continue
        seen.add(name)
        if field is None:
            yield Problem(name, f"unknown setting{_did_you_mean(name, Settings.model_fields)}")
            continue
        why = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else ""
        bad = shown(field, values.get(name))
        where = sources.get(name, Source.DEFAULT)
        allowed = why or f"expected {allowed_values(field)}"
        yield Problem(env_name(name), f"{bad} (from {where}) is not allowed: {allowed}")


def _wrong_fields(error: ValidationError) -> set[str]:
    return {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}


def _combined(values: Mapping[str, Any], wrong: set[str]) -> Iterator[Problem]:
    """Check how the settings go together that are good one by one."""
    try:
        Settings(**{name: value for name, value in values.items() if name not in wrong})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=True):
            found = detail["ctx"]["error"]
            assert isinstance(found, _CombinationError)  # noqa: S101 - nothing else is left
            for rule, problem in found.problems.items():
                if not {rule.lesser, rule.greater} & wrong:
                    yield problem

"""What a setting's declaration says, in words: its variable, what it allows, how it is shown."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from annotated_types import Ge, Le, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from wavisor.config.values import MASK, mask_url

__all__ = ["allowed_values", "default_text", "env_name", "shown"]


def env_name(name: str) -> str:
    """Return the environment variable of the setting ``name``."""
    return f"WAVISOR_{name.upper()}"


def _kind(field: FieldInfo) -> Any:
    """Return the type of a setting without the ``None`` that stands for "unset"."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _is_secret_url(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("secret") == "url"


def _bound(field: FieldInfo, kind: type[Ge | Le | MinLen]) -> Any:
    attribute = {Ge: "ge", Le: "le", MinLen: "min_length"}[kind]
    found = [item for item in field.metadata if isinstance(item, kind)]
    return getattr(found[0], attribute) if found else None


def _number(value: float) -> str:
    return f"{value:.15g}"


def allowed_values(field: FieldInfo) -> str:
    """Return in words what a setting accepts, such as ``a whole number from 0 to 65535``."""
    kind = _kind(field)
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        low, high = _bound(field, Ge), _bound(field, Le)
        return f"{noun} from {_number(low)} to {_number(high)}"
    if kind is bool:
        return "true or false"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if _is_secret_url(field):
        return "a database URL"
    if get_origin(kind) is tuple:
        return "a list, separated by commas"
    if kind is Path:
        return "a path"
    least = _bound(field, MinLen)
    return "text" if least in (None, 1) else f"text of at least {least} characters"


def shown(field: FieldInfo, value: Any) -> str:
    """Return a value as ``config check`` and error messages show it: secrets masked."""
    if value is None:
        return "unset"
    if _kind(field) is SecretStr:
        return MASK
    if _is_secret_url(field):
        return mask_url(str(value))
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (tuple, list)):
        return ",".join(_plain(part) for part in value) or "none"
    return str(value)


def default_text(field: FieldInfo) -> str:
    """Return a setting's default as the documentation writes it."""
    if isinstance(field.default, Path):
        return f"./{field.default}"
    return shown(field, field.default)

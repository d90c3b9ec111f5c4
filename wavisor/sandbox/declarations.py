"""Declares protobuf messages at run time, from a table of their fields.

neonize ships WhatsApp's schemas, but importing any of its modules starts its Go runtime, which code
that only speaks the protocol should not need. Fields that are not declared survive as unknown ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["Fields", "declare"]

Fields = Mapping[str, Mapping[str, tuple[int, str]]]
"""Messages: name -> field -> (number, type). A type is a scalar's name or a message's of the same
table, with ``repeated`` before it where that is meant; enumerations are ``int32``."""

_Field = descriptor_pb2.FieldDescriptorProto

_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}


def declare(package: str, messages: Fields) -> dict[str, Any]:
    """Return the classes of the messages in a table, by name.

    They live in a pool of their own, away from any schema that neonize registers. ``package`` is
    the protobuf package that they are in.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto2"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            _add_field(message, package, field_name, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _add_field(message: Any, package: str, name: str, number: int, kind: str) -> None:
    base = kind.removeprefix("repeated ")
    label = _Field.LABEL_OPTIONAL if base == kind else _Field.LABEL_REPEATED
    field = message.field.add(name=name, number=number, label=label)
    if base in _SCALARS:
        field.type = _SCALARS[base]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{package}.{base}"

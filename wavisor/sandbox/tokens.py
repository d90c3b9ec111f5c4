"""WhatsApp's token dictionary, read from the native library that is loaded in this process.

Binary stanzas replace common strings by one or two bytes. The dictionary (version 3) is a table of
Go strings in the library's data, so the local WhatsApp always agrees with the installed client
and no copy has to be kept. Source of the layout: whatsmeow ``binary/token/token.go``, where the
236 single-byte tokens are declared right before the 4 × 256 double-byte ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Mapping", "TokenError", "Tokens", "library_mappings", "load_tokens"]

SINGLE_BYTE_TOKENS = 236
DICTIONARIES = 4
DICTIONARY_SIZE = 256
DICTIONARY_VERSION = 3
"""The version that clients announce in the fourth byte of the connection."""

_STRING_HEADER = struct.Struct("<QQ")
_LANDMARK = (b"xmlstreamstart", b"xmlstreamend", b"s.whatsapp.net")
_LONGEST_TOKEN = 256


class TokenError(RuntimeError):
    """The token dictionary was not found where it should be."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A part of this process's memory that belongs to a shared object."""

    start: int
    end: int
    permissions: str

    def read(self) -> bytes:
        """Return the mapping's content."""
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            memory.seek(self.start)
            return memory.read(self.end - self.start)


def library_mappings(name: str = "neonize") -> Iterator[Mapping]:
    """Yield the readable mappings of the loaded shared object whose file name contains ``name``.

    A library's zeroed data directly follows its last mapping without a name of its own; it is
    not included.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or ".so" not in fields[5] or name not in Path(fields[5]).name:
            continue
        if "r" not in fields[1]:
            continue
        start, _, end = fields[0].partition("-")
        yield Mapping(int(start, 16), int(end, 16), fields[1])


@dataclass(frozen=True)
class Tokens:
    """The dictionary: ``single`` by its byte, ``double`` by dictionary and byte."""

    single: Sequence[str]
    double: Sequence[Sequence[str]]
    single_index: dict[str, int] = field(init=False, repr=False, compare=False)
    double_index: dict[str, tuple[int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the indices used for encoding."""
        single = {token: index for index, token in enumerate(self.single) if token}
        double = {
            token: (number, index)
            for number, dictionary in enumerate(self.double)
            for index, token in enumerate(dictionary)
        }
        object.__setattr__(self, "single_index", single)
        object.__setattr__(self, "double_index", double)


class _Memory:
    """Random access to several mappings that were read once."""

    def __init__(self, mappings: Sequence[Mapping]) -> None:
        self._parts = [(mapping.start, mapping.read()) for mapping in mappings]

    def parts(self) -> Iterator[tuple[int, bytes]]:
        yield from self._parts

    def read(self, address: int, size: int) -> bytes | None:
        for start, content in self._parts:
            offset = address - start
            if offset >= 0 and offset + size <= len(content):
                return content[offset : offset + size]
        return None

    def string(self, header: int) -> bytes | None:
        """Return the Go string whose header stands at ``header``."""
        raw = self.read(header, _STRING_HEADER.size)
        if raw is None:
            return None
        pointer, length = _STRING_HEADER.unpack(raw)
        if length == 0:
            return b""
        return self.read(pointer, length) if length <= _LONGEST_TOKEN else None


def _landmarks(memory: _Memory) -> Iterator[int]:
    """Yield addresses of string headers that begin the run of landmark strings."""
    lengths = [len(text) for text in _LANDMARK]
    needle = struct.pack("<Q", lengths[0])
    for start, content in memory.parts():
        offset = content.find(needle)
        while offset >= 0:
            header = start + offset - 8
            following = content[offset + 16 : offset + 24], content[offset + 32 : offset + 40]
            if following == (struct.pack("<Q", lengths[1]), struct.pack("<Q", lengths[2])) and all(
                memory.string(header + index * _STRING_HEADER.size) == text
                for index, text in enumerate(_LANDMARK)
            ):
                yield header
            offset = content.find(needle, offset + 8)


def load_tokens() -> Tokens:
    """Return the dictionary of the neonize library loaded in this process.

    Takes some tens of milliseconds.

    Raises:
        TokenError: neonize is not loaded, or its dictionary has another shape than expected.
    """
    mappings = list(library_mappings())
    if not mappings:
        raise TokenError("the neonize library is not loaded in this process")
    memory = _Memory(mappings)
    for landmark in _landmarks(memory):
        # The table's first entry is the empty string: byte 0 means "empty list", not a token.
        table = landmark - _STRING_HEADER.size
        count = SINGLE_BYTE_TOKENS + DICTIONARIES * DICTIONARY_SIZE
        raw = [memory.string(table + index * _STRING_HEADER.size) for index in range(count)]
        strings = [text.decode() for text in raw if text is not None]
        if len(strings) != count or strings[0] != "" or not all(strings[1:]):
            continue
        double = strings[SINGLE_BYTE_TOKENS:]
        return Tokens(
            tuple(strings[:SINGLE_BYTE_TOKENS]),
            tuple(
                tuple(double[number * DICTIONARY_SIZE : (number + 1) * DICTIONARY_SIZE])
                for number in range(DICTIONARIES)
            ),
        )
    raise TokenError("no token dictionary in the loaded neonize library")

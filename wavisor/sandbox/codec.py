"""WhatsApp's binary stanzas: the :class:`Node` tree, :class:`Jid`, and their encoding.

Source: whatsmeow ``binary/encoder.go``, ``binary/decoder.go``, ``binary/unpack.go`` and
``types/jid.go``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wavisor.sandbox.tokens import Tokens

__all__ = [
    "GROUP_SERVER",
    "LEGACY_SERVER",
    "LID_SERVER",
    "PHONE_SERVER",
    "SERVER_JID",
    "AttrValue",
    "Codec",
    "CodecError",
    "Content",
    "Jid",
    "Node",
]

PHONE_SERVER: Final = "s.whatsapp.net"
LID_SERVER: Final = "lid"
LEGACY_SERVER: Final = "c.us"
GROUP_SERVER: Final = "g.us"

_LIST_EMPTY = 0
_DICTIONARY_0 = 236
_DICTIONARY_3 = 239
_AD_JID = 247
_LIST_8 = 248
_LIST_16 = 249
_JID_PAIR = 250
_HEX_8 = 251
_BINARY_8 = 252
_BINARY_20 = 253
_BINARY_32 = 254
_NIBBLE_8 = 255

_NIBBLES = "0123456789-.\0\0\0\0"
_HEX = "0123456789ABCDEF"
_AGENT_OF_SERVER = {PHONE_SERVER: 0, LID_SERVER: 1, "hosted": 128, "hosted.lid": 129}
_SERVER_OF_AGENT = {agent: server for server, agent in _AGENT_OF_SERVER.items()}

MAX_DEPTH = 64
"""Nesting beyond this is refused, so that a hostile frame cannot exhaust the stack."""
MAX_INFLATED = 16 * 1024 * 1024
"""Most bytes that a compressed stanza may inflate to (a frame is at most 2^24 bytes)."""


class CodecError(ValueError):
    """The bytes are not a stanza, or the stanza cannot be encoded."""


@dataclass(frozen=True, slots=True)
class Jid:
    """An address: a user of a server, or one device of that user.

    ``device`` 0 is the primary device (the phone). The server itself has an empty ``user``.
    """

    user: str
    server: str
    device: int = 0

    @classmethod
    def parse(cls, text: str) -> Jid:
        """Return the JID written as ``user@server``, ``user:device@server`` or ``server``.

        The middle part of the older ``user.agent:device@server`` is dropped.

        Raises:
            CodecError: the device is not a number.
        """
        user, at, server = text.rpartition("@")
        if not at:
            return cls("", text)
        user, _, device = user.partition(":")
        if device and not device.isdecimal():
            raise CodecError("the device part of a JID is a number")
        if server in _AGENT_OF_SERVER:
            user = user.partition(".")[0]
        return cls(user, server, int(device or 0))

    @property
    def bare(self) -> Jid:
        """The user's JID without a device."""
        return replace(self, device=0) if self.device else self

    @property
    def is_lid(self) -> bool:
        """Whether this is a hidden ("linked") identity rather than a phone number."""
        return self.server == LID_SERVER

    def with_device(self, device: int) -> Jid:
        """Return the JID of another device of the same user."""
        return replace(self, device=device)

    def __str__(self) -> str:
        if not self.user:
            return self.server
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}"


SERVER_JID: Final = Jid("", PHONE_SERVER)
"""How the server signs its own stanzas; clients ignore pairing queries from anybody else."""

AttrValue = str | Jid
Content = bytes | str | tuple["Node", ...] | None


@dataclass(frozen=True, slots=True)
class Node:
    """One element of a stanza.

    ``content`` is raw bytes, text, or child nodes. Text may travel as a token; what a client
    reads as bytes must be given as bytes. Attributes given as ``int`` are turned into text, those
    given as ``None`` are left out.
    """

    tag: str
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)
    content: Content = None

    def __post_init__(self) -> None:
        """Normalise attributes and empty content, so that decoding gives back an equal node."""
        attrs = {
            key: value if isinstance(value, Jid) else str(value)
            for key, value in self.attrs.items()
            if value is not None
        }
        object.__setattr__(self, "attrs", attrs)
        if self.content == ():
            object.__setattr__(self, "content", None)

    @property
    def children(self) -> tuple[Node, ...]:
        """The child nodes; none if the content is something else."""
        return self.content if isinstance(self.content, tuple) else ()

    @property
    def data(self) -> bytes:
        """The content as bytes, whether it travelled as bytes or as text."""
        if isinstance(self.content, str):
            return self.content.encode()
        return self.content if isinstance(self.content, bytes) else b""

    def child(self, *path: str) -> Node | None:
        """Return the first descendant along ``path``, or None."""
        node: Node | None = self
        for tag in path:
            node = next((c for c in node.children if c.tag == tag), None) if node else None
        return node

    def all(self, tag: str) -> Iterator[Node]:
        """Yield the children with this tag."""
        return (child for child in self.children if child.tag == tag)

    def text(self, name: str) -> str:
        """Return an attribute as text, empty if absent."""
        return str(self.attrs.get(name, ""))

    def jid(self, name: str) -> Jid | None:
        """Return an attribute as a JID, parsing it if it travelled as text; None if absent."""
        value = self.attrs.get(name)
        return Jid.parse(value) if isinstance(value, str) else value

    def with_attrs(self, **attrs: AttrValue | int | None) -> Node:
        """Return a copy with attributes set (or, given None, removed).

        A trailing underscore in a name is dropped, for names that are words of Python (``from_``).
        """
        merged: dict[str, AttrValue | int | None] = dict(self.attrs)
        merged.update({name.rstrip("_"): value for name, value in attrs.items()})
        return Node(self.tag, merged, self.content)  # type: ignore[arg-type] # normalised there


class Codec:
    """Turns nodes into frames' bytes and back, with one client's token dictionary."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def encode(self, node: Node) -> bytes:
        """Return the bytes of a stanza, uncompressed.

        Raises:
            CodecError: the node has no tag, or a list or JID that does not fit the format.
        """
        out = bytearray(b"\0")
        _Writer(self._tokens, out).node(node)
        return bytes(out)

    def decode(self, data: bytes) -> Node:
        """Return the stanza in ``data``, inflating it if it is compressed.

        Raises:
            CodecError: the bytes are not exactly one well-formed stanza.
        """
        if not data:
            raise CodecError("empty stanza")
        body = _inflate(data[1:]) if data[0] & 2 else data[1:]
        reader = _Reader(self._tokens, body)
        node = reader.node()
        if not reader.at_end:
            raise CodecError("bytes left over after the stanza")
        return node


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, MAX_INFLATED)
    except zlib.error as error:
        raise CodecError("the stanza does not inflate") from error
    if not inflater.eof:
        raise CodecError("the compressed stanza is cut short or too large")
    return body


class _Writer:
    def __init__(self, tokens: Tokens, out: bytearray) -> None:
        self._tokens = tokens
        self._out = out

    def node(self, node: Node) -> None:
        if not node.tag:
            raise CodecError("a node needs a tag")
        self._list_size(1 + 2 * len(node.attrs) + (node.content is not None))
        self._string(node.tag)
        for name, value in node.attrs.items():
            self._string(name)
            if isinstance(value, Jid):
                self._jid(value)
            else:
                self._string(value)
        if isinstance(node.content, tuple):
            self._list_size(len(node.content))
            for child in node.content:
                self.node(child)
        elif isinstance(node.content, str):
            self._string(node.content)
        elif node.content is not None:
            self._raw(node.content)

    def _list_size(self, size: int) -> None:
        if size < 1 << 8:
            self._out += bytes((_LIST_8, size))
        elif size < 1 << 16:
            self._out += bytes((_LIST_16,)) + size.to_bytes(2, "big")
        else:
            raise CodecError("a list has at most 65535 items")

    def _string(self, text: str) -> None:
        single = self._tokens.single_index.get(text)
        if single is not None:
            self._out.append(single)
            return
        double = self._tokens.double_index.get(text)
        if double is not None:
            self._out += bytes((_DICTIONARY_0 + double[0], double[1]))
            return
        self._raw(text.encode())

    def _raw(self, data: bytes) -> None:
        size = len(data)
        if size < 1 << 8:
            self._out += bytes((_BINARY_8, size))
        elif size < 1 << 20:
            self._out += bytes((_BINARY_20,)) + size.to_bytes(3, "big")
        else:
            self._out += bytes((_BINARY_32,)) + size.to_bytes(4, "big")
        self._out += data

    def _jid(self, jid: Jid) -> None:
        agent = _AGENT_OF_SERVER.get(jid.server)
        if agent is not None and (jid.device or agent >= 128):
            if not 0 <= jid.device < 256:
                raise CodecError("a device number fits one byte")
            self._out += bytes((_AD_JID, agent, jid.device))
            self._string(jid.user)
            return
        if jid.device:
            raise CodecError("only people's JIDs have devices")
        self._out.append(_JID_PAIR)
        if jid.user:
            self._string(jid.user)
        else:
            self._out.append(_LIST_EMPTY)
        self._string(jid.server)


class _Reader:
    def __init__(self, tokens: Tokens, data: bytes) -> None:
        self._tokens = tokens
        self._data = data
        self._index = 0
        self._depth = 0

    @property
    def at_end(self) -> bool:
        return self._index == len(self._data)

    def node(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CodecError("the stanza is nested too deeply")
        size = self._list_size(self._byte())
        tag = self._text("a tag") if size else ""
        if not tag:
            raise CodecError("a node without a tag")
        attrs: dict[str, AttrValue] = {}
        for _ in range((size - 1) // 2):
            name = self._text("an attribute's name")
            attrs[name] = self._attribute()
        content = None if size % 2 else self._content()
        self._depth -= 1
        return Node(tag, attrs, content)

    def _bytes(self, size: int) -> bytes:
        end = self._index + size
        if end > len(self._data):
            raise CodecError("the stanza is cut short")
        part = self._data[self._index : end]
        self._index = end
        return part

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "big")

    def _list_size(self, tag: int) -> int:
        if tag == _LIST_EMPTY:
            return 0
        if tag == _LIST_8:
            return self._byte()
        if tag == _LIST_16:
            return self._number(2)
        raise CodecError(f"{tag} does not begin a list")

    def _text(self, what: str) -> str:
        value = self._scalar(self._byte())
        if isinstance(value, bytes):
            try:
                return value.decode()
            except UnicodeDecodeError as error:
                raise CodecError(f"{what} is not text") from error
        if not isinstance(value, str):
            raise CodecError(f"{what} is not text")
        return value

    def _attribute(self) -> AttrValue:
        start = self._index
        value = self._scalar(self._byte())
        if isinstance(value, Jid):
            return value
        if value is None:
            return ""
        self._index = start
        return self._text("an attribute")

    def _content(self) -> Content:
        tag = self._byte()
        if tag in (_LIST_8, _LIST_16):
            return tuple(self.node() for _ in range(self._list_size(tag)))
        value = self._scalar(tag)
        return str(value) if isinstance(value, Jid) else value

    def _scalar(self, tag: int) -> bytes | str | Jid | None:
        if tag == _LIST_EMPTY:
            return None
        if tag < len(self._tokens.single):
            return self._tokens.single[tag]
        if _DICTIONARY_0 <= tag <= _DICTIONARY_3:
            return self._double(tag - _DICTIONARY_0, self._byte())
        size = {_BINARY_8: 1, _BINARY_20: 3, _BINARY_32: 4}.get(tag)
        if size is not None:
            length = self._number(size)
            # The 20-bit length leaves the upper half of its first byte unused.
            return self._bytes(length & 0xFFFFF if tag == _BINARY_20 else length)
        if tag in (_NIBBLE_8, _HEX_8):
            return self._packed(_NIBBLES if tag == _NIBBLE_8 else _HEX)
        if tag == _JID_PAIR:
            user = self._scalar_text()
            return Jid(user, self._text("the server of a JID"))
        if tag == _AD_JID:
            agent, device = self._byte(), self._byte()
            server = _SERVER_OF_AGENT.get(agent, PHONE_SERVER)
            return Jid(self._text("the user of a JID"), server, device)
        raise CodecError(f"unknown token {tag}")

    def _scalar_text(self) -> str:
        if self._index < len(self._data) and self._data[self._index] == _LIST_EMPTY:
            self._index += 1
            return ""
        return self._text("the user of a JID")

    def _double(self, dictionary: int, index: int) -> str:
        try:
            return self._tokens.double[dictionary][index]
        except IndexError as error:
            raise CodecError("unknown double-byte token") from error

    def _packed(self, alphabet: str) -> str:
        start = self._byte()
        halves = "".join(
            alphabet[byte >> 4] + alphabet[byte & 15] for byte in self._bytes(start & 127)
        )
        text = halves[:-1] if start & 128 else halves
        if "\0" in text:
            raise CodecError("a packed number holds an unused code")
        return text

"""Stanzas survive encoding and decoding, and foreign encodings are understood."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavisor.sandbox.codec import (
    GROUP_SERVER,
    LID_SERVER,
    MAX_DEPTH,
    PHONE_SERVER,
    SERVER_JID,
    Codec,
    CodecError,
    Jid,
    Node,
)
from wavisor.sandbox.tokens import TokenError, Tokens, library_mappings, load_tokens

# Not the real dictionary (that one is in the native library), but one of its shape.
TOKENS = Tokens(
    ("", "xmlstreamstart", "xmlstreamend", "s.whatsapp.net", "type", "iq", "id", "get", "lid"),
    tuple(tuple(f"double-{part}-{index}" for index in range(256)) for part in range(4)),
)
CODEC = Codec(TOKENS)

words = st.one_of(
    st.sampled_from([*TOKENS.single[1:], *TOKENS.double[0][:3], *TOKENS.double[3][-3:]]),
    st.text(min_size=1, max_size=20),
    st.from_regex(r"[0-9.\-]{1,20}|[0-9A-F]{1,20}", fullmatch=True),
)
users = st.from_regex(r"[0-9]{7,15}", fullmatch=True)
jids = st.one_of(
    st.builds(Jid, users, st.sampled_from([PHONE_SERVER, LID_SERVER]), st.integers(0, 255)),
    st.builds(Jid, users, st.sampled_from(["hosted", "hosted.lid"]), st.integers(0, 255)),
    st.builds(Jid, words, st.sampled_from([GROUP_SERVER, "broadcast", "newsletter"])),
    st.just(SERVER_JID),
)
leaves = st.builds(
    Node,
    words,
    st.dictionaries(words, st.one_of(words, jids, st.just("")), max_size=4),
    st.one_of(st.none(), st.binary(max_size=300), words),
)


def _by_transport(node: Node) -> Node:
    """Return the node as it arrives: text without a token travels as bytes."""
    content = node.content
    if isinstance(content, tuple):
        content = tuple(_by_transport(child) for child in content)
    elif isinstance(content, str) and not (
        content in TOKENS.single_index or content in TOKENS.double_index
    ):
        content = content.encode()
    return Node(node.tag, node.attrs, content)


nodes = st.recursive(
    leaves,
    lambda children: st.builds(
        Node,
        words,
        st.dictionaries(words, words, max_size=2),
        st.lists(children, min_size=1, max_size=4).map(tuple),
    ),
    max_leaves=12,
)


@given(nodes)
def test_decoding_gives_back_what_was_encoded(node):
    assert CODEC.decode(CODEC.encode(node)) == _by_transport(node)


@given(nodes)
def test_compressed_stanzas_are_inflated(node):
    plain = CODEC.encode(node)
    assert CODEC.decode(b"\x02" + zlib.compress(plain[1:])) == CODEC.decode(plain)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_stanza_or_a_codec_error(data):
    try:
        node = CODEC.decode(data)
    except CodecError:
        return
    assert isinstance(node, Node)


@given(nodes, st.data())
def test_every_truncated_stanza_is_refused(node, data):
    encoded = CODEC.encode(node)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(CodecError):
        CODEC.decode(encoded[:cut])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 2**20 - 1, 2**20, 2**20 + 5])
def test_binary_content_of_any_length_class_survives(size):
    node = Node("iq", {}, bytes(size))
    assert CODEC.decode(CODEC.encode(node)).data == bytes(size)


@pytest.mark.parametrize("count", [1, 255, 256, 700])
def test_long_lists_of_children_survive(count):
    node = Node("iq", {}, tuple(Node("id", {"type": str(number)}) for number in range(count)))
    assert CODEC.decode(CODEC.encode(node)) == node


def test_wire_bytes_are_those_of_the_protocol():
    """Written out by hand after whatsmeow's binary/encoder.go."""
    node = Node("iq", {"id": Jid("", PHONE_SERVER), "type": "double-1-2"}, (Node("get"),))
    parts = (
        [0],  # not compressed
        [248, 6, 5],  # a list of six: tag, two attributes, content; "iq"
        [6, 250, 0, 3],  # id = pair of nobody and s.whatsapp.net
        [4, 237, 2],  # type = dictionary 1, entry 2
        [248, 1, 248, 1, 7],  # one child: "get"
    )
    expected = bytes(itertools.chain(*parts))
    assert CODEC.encode(node) == expected


@pytest.mark.parametrize(
    ("jid", "encoded"),
    [
        (Jid("4915", PHONE_SERVER, 3), [247, 0, 3, 252, 4, *b"4915"]),
        (Jid("4915", LID_SERVER, 3), [247, 1, 3, 252, 4, *b"4915"]),
        (Jid("4915", "hosted", 0), [247, 128, 0, 252, 4, *b"4915"]),
        (Jid("4915", "hosted.lid", 99), [247, 129, 99, 252, 4, *b"4915"]),
        (Jid("4915", PHONE_SERVER), [250, 252, 4, *b"4915", 3]),
        (Jid("4915", LID_SERVER), [250, 252, 4, *b"4915", 8]),
    ],
)
def test_devices_travel_as_ad_jids_and_users_as_pairs(jid, encoded):
    assert CODEC.encode(Node("iq", {"id": jid}))[5:] == bytes(encoded)


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ([255, 2, 0x12, 0x34], "1234"),
        ([255, 0x80 | 2, 0x12, 0x3F], "123"),
        ([255, 0x80 | 3, 0x1A, 0x2B, 0x9F], "1-2.9"),
        ([251, 2, 0xAB, 0x09], "AB09"),
        ([251, 0x80 | 2, 0xAB, 0xF0], "ABF"),
        ([255, 0], ""),
    ],
)
def test_packed_digits_and_hex_are_unpacked(packed, text):
    data = bytes([0, 248, 3, 5, 6, *packed])
    assert CODEC.decode(data) == Node("iq", {"id": text})
    content = bytes([0, 248, 2, 5, *packed])
    assert CODEC.decode(content).data == text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes([0]),
        bytes([0, 0]),  # an empty list where a node should be
        bytes([0, 248, 0]),  # a node without even a tag
        bytes([0, 248, 1, 0]),  # an empty tag
        bytes([0, 248, 1, 235]),  # a token beyond the dictionary
        bytes([0, 248, 1, 245]),  # an interop JID, which this server does not know
        bytes([0, 248, 3, 5, 6, 255, 1, 0xC0]),  # an unused code in packed digits
        bytes([0, 248, 3, 5, 6, 252, 1, 0xFF]),  # an attribute that is not UTF-8
        bytes([0, 248, 1, 5, 5]),  # something after the end
        bytes([2, 1, 2, 3]),  # not zlib
        b"\x02" + zlib.compress(b"\xf8\x01\x05")[:-2],  # cut short
        bytes([0] + [248, 2, 5, 248, 1] * (MAX_DEPTH + 1) + [248, 1, 5]),
    ],
)
def test_malformed_stanzas_are_refused(data):
    with pytest.raises(CodecError):
        CODEC.decode(data)


def test_what_does_not_fit_the_format_is_refused():
    with pytest.raises(CodecError):
        CODEC.encode(Node(""))
    with pytest.raises(CodecError):
        CODEC.encode(Node("iq", {"id": Jid("1", PHONE_SERVER, 256)}))
    with pytest.raises(CodecError):
        CODEC.encode(Node("iq", {"id": Jid("1", GROUP_SERVER, 1)}))
    with pytest.raises(CodecError):
        CODEC.encode(Node("iq", {}, tuple(Node("id") for _ in range(65_536))))


@given(jids)
def test_jids_survive_being_written_as_text(jid):
    if "@" not in jid.user and ":" not in jid.user:
        assert Jid.parse(str(jid)) == jid


@pytest.mark.parametrize(
    ("text", "jid"),
    [
        ("4915@s.whatsapp.net", Jid("4915", PHONE_SERVER)),
        ("4915:12@lid", Jid("4915", LID_SERVER, 12)),
        ("4915.0:3@s.whatsapp.net", Jid("4915", PHONE_SERVER, 3)),
        ("s.whatsapp.net", SERVER_JID),
        ("1234-5678@g.us", Jid("1234-5678", GROUP_SERVER)),
    ],
)
def test_jids_are_read_in_all_their_spellings(text, jid):
    assert Jid.parse(text) == jid


def test_a_jid_with_a_wordy_device_is_refused():
    with pytest.raises(CodecError):
        Jid.parse("4915:phone@s.whatsapp.net")


def test_nodes_normalise_what_they_are_given():
    node = Node("iq", {"id": 7, "type": None, "to": SERVER_JID}, ())
    assert node.attrs == {"id": "7", "to": SERVER_JID}
    assert node.content is None
    changed = node.with_attrs(id=None, from_=SERVER_JID)
    assert changed.attrs == {"to": SERVER_JID, "from": SERVER_JID}
    assert changed.text("id") == ""
    assert changed.jid("from") is SERVER_JID


def test_children_are_found_by_path():
    node = Node("iq", {}, (Node("a"), Node("b", {}, (Node("c", {}, "text"),)), Node("a")))
    found = node.child("b", "c")
    assert found is not None
    assert found.data == b"text"
    assert node.child("b", "x") is None
    assert node.child("x", "c") is None
    assert len(list(node.all("a"))) == 2


def test_dictionary_is_only_found_in_a_loaded_client():
    if list(library_mappings("no-such-library-was-ever-loaded")):
        pytest.fail("a library that does not exist has mappings")
    if not list(library_mappings()):
        with pytest.raises(TokenError, match="not loaded"):
            load_tokens()

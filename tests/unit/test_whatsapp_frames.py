from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavisor.whatsapp.commands import PROTOCOL_VERSION
from wavisor.whatsapp.frames import MAX_FRAME, FrameDecoder, FrameError, encode_frame


@given(bodies=st.lists(st.binary(max_size=300), max_size=8), data=st.data())
def test_bodies_survive_whatever_pieces_they_arrive_in(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(encode_frame, bodies))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    decoder = FrameDecoder()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
    assert received == bodies
    assert decoder.pending == 0


def test_an_unfinished_frame_waits_for_its_rest() -> None:
    decoder = FrameDecoder()
    frame = encode_frame(b"hello")
    assert list(decoder.feed(frame[:-1])) == []
    assert decoder.pending == len(frame) - 1
    assert list(decoder.feed(frame[-1:])) == [b"hello"]


def test_a_body_over_the_limit_is_not_encoded() -> None:
    assert len(encode_frame(bytes(MAX_FRAME))) > MAX_FRAME
    with pytest.raises(FrameError, match="over the limit"):
        encode_frame(bytes(MAX_FRAME + 1))


def test_a_length_over_the_limit_is_refused_before_anything_is_collected() -> None:
    header = bytes([PROTOCOL_VERSION]) + (MAX_FRAME + 1).to_bytes(4, "big")
    with pytest.raises(FrameError, match="over the limit"):
        list(FrameDecoder().feed(header))


def test_another_version_is_refused() -> None:
    frame = bytes([PROTOCOL_VERSION + 1]) + encode_frame(b"{}")[1:]
    with pytest.raises(FrameError, match=f"version {PROTOCOL_VERSION + 1}"):
        list(FrameDecoder().feed(frame))


def test_frames_before_a_bad_one_are_still_delivered() -> None:
    received = []
    with pytest.raises(FrameError):
        for body in FrameDecoder().feed(encode_frame(b"good") + b"\xff" * 5):
            received.append(body)
    assert received == [b"good"]

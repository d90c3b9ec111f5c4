"""Which type a file is, by its content, and which kinds of message take it."""

from __future__ import annotations

import pytest

from support.media_samples import animation, needs_ffmpeg, picture, recording
from wavisor.config import MediaSettings
from wavisor.media import MediaError, MediaReason, limit_of, source_limit_of
from wavisor.media.sniff import KINDS, checked_type, type_of

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [
        ("mp4", "video/mp4"),
        ("mov", "video/quicktime"),
        ("3gp", "video/3gpp"),
        ("mkv", "video/x-matroska"),
        ("webm", "video/webm"),
        ("mp3", "audio/mpeg"),
        ("m4a", "audio/mp4"),
        ("aac", "audio/aac"),
        ("ogg", "audio/ogg"),
        ("wav", "audio/wav"),
        ("flac", "audio/flac"),
    ],
)
@needs_ffmpeg
def test_recording_is_recognised(suffix: str, media_type: str) -> None:
    assert type_of(recording(suffix)[:8192]) == media_type


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_picture_is_recognised(kind: str) -> None:
    assert type_of(picture(kind)) == f"image/{kind.lower()}"
    assert type_of(animation()) == "image/gif"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("notes.txt", "text/plain"),
        ("table.csv", "text/csv"),
        ("not-really.png", "application/octet-stream"),
        ("unknown.qqq", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_name_decides_where_the_content_does_not(name: str | None, media_type: str) -> None:
    assert type_of(b"hello, world", name) == media_type


def test_content_wins_over_the_name() -> None:
    assert type_of(picture("PNG"), "letter.pdf") == "image/png"


def test_speech_of_old_telephones_is_recognised() -> None:
    assert type_of(b"#!AMR\n\x3c\x00") == "audio/amr"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "document"])
@pytest.mark.parametrize(
    "content", [b"<html></html>", b"%PDF-1.4\n", b"MZ\x90\x00", b"#EXTM3U\n/etc/passwd\n", b"\0"]
)
def test_what_is_no_media_is_refused(kind: str, content: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        checked_type(kind, content, "a.mp4")
    assert caught.value.reason is MediaReason.UNSUPPORTED


def test_document_may_be_anything() -> None:
    assert checked_type("document", b"MZ\x90\x00", "a.txt") != ""
    assert checked_type("document", picture(), None) == "image/png"


def test_limits_are_those_of_the_settings() -> None:
    settings = MediaSettings()
    limits = {kind: limit_of(kind, settings) // MIB for kind in KINDS}
    assert limits == {
        "image": 16,
        "video": 64,
        "audio": 16,
        "voice": 16,
        "document": 100,
        "sticker": 1,
    }
    assert source_limit_of("sticker", settings) == 16 * MIB
    assert source_limit_of("document", settings) == 100 * MIB

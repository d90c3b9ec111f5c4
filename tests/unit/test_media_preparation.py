"""From a file that was received to one that can be sent."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.media_samples import animation, needs_ffmpeg, picture, recording
from wavisor.config import MediaSettings
from wavisor.media import MediaError, MediaReason, MediaStore, Prepared, Preparer
from wavisor.media.pictures import describe_picture
from wavisor.media.tools import Workshop
from wavisor.whatsapp.content import MediaKind


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MediaStore]:
    made = MediaStore(tmp_path / "media")
    made.open()
    yield made
    made.close()


def prepare(
    store: MediaStore, kind: MediaKind, content: bytes, name: str | None = None, **settings: Any
) -> Prepared:
    async def run() -> Prepared:
        preparer = Preparer(store, MediaSettings(**settings))
        async with store.incoming(10**9) as received:
            await received.write(content)
            await received.finish()
            return await preparer.prepare(kind, received, name)

    prepared = asyncio.run(run())
    assert Path(prepared.file.path).read_bytes() == prepared.stored.path.read_bytes()
    assert prepared.file.size == prepared.stored.size == prepared.stored.path.stat().st_size
    assert list((store.root / "incoming").iterdir()) == []
    return prepared


def refusal(store: MediaStore, kind: MediaKind, content: bytes, **more: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        prepare(store, kind, content, **more)
    assert [one for one in store.root.rglob("*") if one.is_file()] == []
    return caught.value


def preview_of(prepared: Prepared) -> Image.Image:
    assert prepared.file.thumbnail_path is not None
    preview = Image.open(prepared.file.thumbnail_path)
    preview.load()
    assert preview.format == "JPEG"
    return preview


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_picture_is_measured_and_gets_a_preview(store: MediaStore, kind: str) -> None:
    prepared = prepare(store, "image", picture(kind, 400, 300), "cat.png")
    assert (prepared.file.width, prepared.file.height) == (400, 300)
    assert prepared.file.mime_type == f"image/{kind.lower()}"
    assert prepared.file.file_name == "cat.png"
    assert preview_of(prepared).size == (100, 75)
    assert prepared.stored.path.read_bytes() == picture(kind, 400, 300)


def test_program_for_pictures_compiles_no_module_to_disk(
    store: MediaStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its limit on files would cut a compiled module short, which Python then loads for ever after.
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\n"
        "print(json.dumps({'width': int(sys.dont_write_bytecode), 'height': 1, 'animated': False}))"
    )
    monkeypatch.setattr("wavisor.media.pictures._PROGRAM", program)
    picture_of = asyncio.run(
        describe_picture(Workshop(1, 20), tmp_path / "picture", tmp_path / "preview")
    )
    assert picture_of.width == 1


def test_picture_is_measured_as_it_is_held(store: MediaStore) -> None:
    prepared = prepare(store, "image", picture("JPEG", 400, 300, orientation=6))
    assert (prepared.file.width, prepared.file.height) == (300, 400)
    assert preview_of(prepared).size == (75, 100)


def test_transparent_picture_has_a_white_preview(store: MediaStore) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(buffer, "PNG")
    corner = preview_of(prepare(store, "image", buffer.getvalue())).getpixel((0, 0))
    assert isinstance(corner, tuple)
    assert min(corner) > 240


@pytest.mark.parametrize("kind", ["image", "sticker"])
def test_damaged_picture_is_refused(store: MediaStore, kind: MediaKind) -> None:
    error = refusal(store, kind, picture("PNG", 200, 200)[:300])
    assert error.reason is MediaReason.UNREADABLE


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["image", "sticker"])
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 6_000), (1_000_000_000, 1)])
def test_decompression_bomb_is_refused(
    store: MediaStore, kind: MediaKind, size: tuple[int, int]
) -> None:
    error = refusal(store, kind, bomb(*size))
    assert error.reason is MediaReason.UNREADABLE
    assert "pixels" in error.detail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_sticker_becomes_webp_of_512_pixels(store: MediaStore, kind: str) -> None:
    prepared = prepare(store, "sticker", picture(kind, 300, 100))
    assert prepared.file.mime_type == "image/webp"
    assert not prepared.file.animated
    with Image.open(prepared.file.path) as made:
        assert (made.format, made.size) == ("WEBP", (512, 512))
        corner = made.convert("RGBA").getpixel((0, 0))
    assert isinstance(corner, tuple)
    assert corner[3] == 0  # what the picture does not cover is transparent


def test_animated_sticker_keeps_its_frames(store: MediaStore) -> None:
    prepared = prepare(store, "sticker", animation(3))
    assert prepared.file.animated
    with Image.open(prepared.file.path) as made:
        assert (made.format, made.size) == ("WEBP", (512, 512))
        assert getattr(made, "n_frames", 1) == 3


def test_sticker_that_is_one_already_is_left_alone(store: MediaStore) -> None:
    ready = picture("WEBP", 512, 512)
    assert prepare(store, "sticker", ready).stored.path.read_bytes() == ready


def test_sticker_that_cannot_become_small_enough_is_refused(store: MediaStore) -> None:
    noise = Image.effect_noise((512, 512), 200).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    error = refusal(store, "sticker", buffer.getvalue(), media_sticker_limit_bytes=2000)
    assert error.reason is MediaReason.UNREADABLE
    assert "2000 bytes" in error.detail


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp4", "mov", "3gp"])
def test_film_is_measured_and_gets_a_preview(store: MediaStore, suffix: str) -> None:
    prepared = prepare(store, "video", recording(suffix))
    file = prepared.file
    assert file.seconds in (2, 3)
    assert (file.width, file.height) == ((176, 144) if suffix == "3gp" else (320, 240))
    assert max(preview_of(prepared).size) == 100
    assert prepared.stored.path.read_bytes() == recording(suffix)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "aac", "ogg"])
def test_sound_is_timed(store: MediaStore, suffix: str) -> None:
    assert prepare(store, "audio", recording(suffix)).file.seconds == 3


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "aac", "ogg", "wav", "flac", "webm", "mp4"])
def test_voice_becomes_opus_with_a_waveform(store: MediaStore, suffix: str) -> None:
    file = prepare(store, "voice", recording(suffix)).file
    assert file.mime_type == "audio/ogg"
    assert file.seconds == 3
    assert file.waveform is not None
    waveform = base64.b64decode(file.waveform)
    assert len(waveform) == 64
    assert max(waveform) == 100
    content = Path(file.path).read_bytes()
    assert content.startswith(b"OggS")
    assert content[28:37] == b"OpusHead\x01"
    assert content[37] == 1  # channels (RFC 7845)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["video", "audio", "voice"])
def test_damaged_recording_is_refused(store: MediaStore, kind: MediaKind) -> None:
    whole = recording("ogg" if kind != "video" else "mp4")
    damaged = whole[:60] + b"\0" * 3000
    assert refusal(store, kind, damaged).reason is MediaReason.UNREADABLE


@needs_ffmpeg
def test_film_without_pictures_is_no_film(store: MediaStore) -> None:
    # Sound in a container that calls itself a film.
    sound = recording("m4a")
    film = sound[:8] + b"isom" + sound[12:]
    assert refusal(store, "video", film).reason is MediaReason.UNSUPPORTED


@needs_ffmpeg
def test_film_without_sound_is_no_voice(store: MediaStore) -> None:
    assert refusal(store, "voice", recording("mov")).reason is MediaReason.UNSUPPORTED


@pytest.mark.parametrize("kind", ["video", "audio", "voice"])
def test_missing_ffmpeg_is_named(store: MediaStore, kind: MediaKind) -> None:
    head = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" if kind == "video" else b"OggS" + bytes(40)
    error = refusal(store, kind, head, ffprobe="ffprobe-that-is-not-installed")
    assert error.reason is MediaReason.TOOL_MISSING
    assert "ffprobe-that-is-not-installed" in error.detail


def test_ffmpeg_that_hangs_is_given_up(store: MediaStore, tmp_path: Path) -> None:
    hanging = tmp_path / "ffprobe"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    error = refusal(
        store,
        "voice",
        b"OggS" + bytes(40),
        ffprobe=str(hanging),
        media_job_timeout_seconds=1,
    )
    assert error.reason is MediaReason.TOOL_TIMEOUT


@needs_ffmpeg
def test_voice_that_becomes_too_large_is_refused(store: MediaStore) -> None:
    error = refusal(store, "voice", recording("wav"), media_voice_limit_bytes=2000)
    assert error.reason is MediaReason.TOO_LARGE


@needs_ffmpeg
def test_playlist_in_disguise_reads_no_other_file(store: MediaStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ogg"
    secret.write_bytes(recording("ogg"))
    for playlist in (
        f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n",
        f"ffconcat version 1.0\nfile {secret}",
    ):
        for disguise in (b"OggS", b"ID3\x04\0\0\0\0\0\0"):
            content = disguise + b"\n" + playlist.encode()
            assert refusal(store, "voice", content).reason is MediaReason.UNREADABLE


def test_document_is_kept_as_it_is(store: MediaStore) -> None:
    file = prepare(store, "document", b"a,b\n1,2\n", "table.csv").file
    assert (file.mime_type, file.file_name, file.size) == ("text/csv", "table.csv", 8)
    assert file.thumbnail_path is None

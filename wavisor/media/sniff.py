"""What type a file is, told by its content, and which kinds of message take that type.

The library is ``filetype``: it gives one answer, is 1.6 MB in memory, and runs no native code on
what strangers send. It is imported when there is a first file. ``puremagic`` gives several guesses
(a plain ZIP is a Word file to it); libmagic takes twice the memory and is a parser in C.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

from wavisor.config.groups import MediaSettings
from wavisor.media.errors import MediaError, MediaReason
from wavisor.whatsapp.content import MediaKind

__all__ = ["KINDS", "KindRule", "limit_of", "source_limit_of", "type_of"]

UNKNOWN = "application/octet-stream"


@dataclass(frozen=True)
class KindRule:
    """What a kind of message takes."""

    types: frozenset[str]
    """Media types; empty for any."""
    hint: str
    """What to do with others."""


# What WhatsApp's own apps show; other types arrive and cannot be opened there.
_IMAGES = frozenset({"image/jpeg", "image/png", "image/webp"})
_VIDEOS = frozenset({"video/mp4", "video/3gpp", "video/quicktime"})
_SOUNDS = frozenset({"audio/mpeg", "audio/mp4", "audio/aac", "audio/amr", "audio/ogg"})
_RECORDINGS = _SOUNDS | {
    "audio/wav",
    "audio/flac",
    "video/mp4",
    "video/webm",
    "video/3gpp",
    "video/quicktime",
}

KINDS: dict[MediaKind, KindRule] = {
    "image": KindRule(_IMAGES, "a picture is JPEG, PNG or WebP; send others as a document"),
    "video": KindRule(_VIDEOS, "a film is MP4, 3GP or QuickTime; send others as a document"),
    "audio": KindRule(_SOUNDS, "sound is MP3, M4A, AAC, AMR or Ogg; send others as voice"),
    "voice": KindRule(
        _RECORDINGS, "voice is made from MP3, M4A, AAC, AMR, Ogg, WAV, FLAC, MP4, WebM, 3GP"
    ),
    "document": KindRule(frozenset(), ""),
    "sticker": KindRule(_IMAGES | {"image/gif"}, "a sticker is made from JPEG, PNG, WebP or GIF"),
}

_ALIASES = {"audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac", "video/x-m4v": "video/mp4"}
_BRANDS_3GPP = (b"ftyp3gp", b"ftyp3g2")


def type_of(head: bytes, file_name: str | None = None) -> str:
    """Return the media type of a file.

    Args:
        head: its first bytes, some 8 KiB.
        file_name: tells the type where the content does not, as that of text.
    """
    if head[4:11] in _BRANDS_3GPP:
        return "video/3gpp"
    if head.startswith(b"#!AMR"):
        return "audio/amr"
    import filetype  # type: ignore[import-untyped]  # it has no stubs

    found: str | None = filetype.guess_mime(head)
    if found is not None:
        return _ALIASES.get(found, found)
    named = mimetypes.guess_type(file_name)[0] if file_name else None
    # Its content has just proved that it is none of these.
    if named is None or named.startswith(("image/", "video/", "audio/")):
        return UNKNOWN
    return named


def checked_type(kind: MediaKind, head: bytes, file_name: str | None = None) -> str:
    """Return the media type of a file if the kind takes it.

    Raises:
        MediaError: it does not.
    """
    found, rule = type_of(head, file_name), KINDS[kind]
    if rule.types and found not in rule.types:
        what = "is of an unknown type" if found == UNKNOWN else f"is {found}"
        raise MediaError(MediaReason.UNSUPPORTED, f"{what}, but {rule.hint}")
    return found


def limit_of(kind: MediaKind, settings: MediaSettings) -> int:
    """Return how large a file of this kind may be when it is sent, in bytes."""
    return int(getattr(settings, f"media_{kind}_limit_bytes"))


def source_limit_of(kind: MediaKind, settings: MediaSettings) -> int:
    """Return how large a file may be that such a one is made of, in bytes."""
    if kind == "sticker":
        return max(settings.media_image_limit_bytes, settings.media_sticker_limit_bytes)
    return limit_of(kind, settings)

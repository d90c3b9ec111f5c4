"""What WhatsApp shows for a link in a text: title, description and a small picture of its page.

Fetched by us, from wherever the link leads; so within the same rule as files, and only a little of
it. A preview is a courtesy: whatever goes wrong, there is none, and the text is sent all the same.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin

import structlog

from wavisor.media.errors import MediaError
from wavisor.media.fetch import Fetcher, Patience
from wavisor.media.pictures import describe_picture
from wavisor.media.sniff import checked_type
from wavisor.media.store import MediaStore, StoredFile
from wavisor.media.tools import Workshop

__all__ = ["LinkPreview", "LinkPreviewer", "first_link"]

log = structlog.get_logger(__name__)

_LINK = re.compile(r"https?://[^\s<>\"'|\\^`{}]{4,2000}", re.IGNORECASE)
_PUNCTUATION = ".,;:!?)]}*_~"
_PAGE_BYTES = 256 * 1024
_PICTURE_BYTES = 2 * 1024 * 1024
_ANY_LENGTH = 2**40
_PATIENCE = Patience(total=5.0, idle=3.0)
_TITLE_LIMIT = 200
_DESCRIPTION_LIMIT = 500
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{1,30})", re.IGNORECASE)


@dataclass(frozen=True)
class LinkPreview:
    """What is shown for a link."""

    url: str
    """As it stands in the text."""
    title: str
    description: str | None
    picture: StoredFile | None
    """A JPEG of at most 100 by 100 pixels."""


class _EnoughError(Exception):
    """As much of the page was read as is looked at."""


class LinkPreviewer:
    """Makes previews.

    Args:
        fetcher: fetches pages and pictures.
        store: keeps the pictures.
        workshop: shrinks them.
    """

    def __init__(self, fetcher: Fetcher, store: MediaStore, workshop: Workshop) -> None:
        self._fetcher = fetcher
        self._store = store
        self._workshop = workshop

    async def preview(self, text: str) -> LinkPreview | None:
        """Return the preview of the first link in ``text``; None when there is none to be had."""
        url = first_link(text)
        if url is None:
            return None
        try:
            content, address = await self._page(url)
            page = await asyncio.to_thread(_read_page, content)
            if page.title is None:
                return None
            return LinkPreview(
                url=url,
                title=page.title,
                description=page.description,
                picture=await self._picture(address, page.picture),
            )
        except MediaError as error:
            log.info("no preview of a link", reason=error.reason.value)
            return None

    async def _page(self, url: str) -> tuple[bytes, str]:
        content = bytearray()

        async def take(chunk: bytes) -> None:
            content.extend(chunk)
            if len(content) >= _PAGE_BYTES or b"</head" in content[-len(chunk) - 6 :]:
                raise _EnoughError

        address = url
        with suppress(_EnoughError):
            fetched = await self._fetcher.fetch(url, take, limit=_ANY_LENGTH, patience=_PATIENCE)
            address = fetched.url
        return bytes(content[:_PAGE_BYTES]), address

    async def _picture(self, page: str, address: str | None) -> StoredFile | None:
        if address is None:
            return None
        try:
            async with (
                self._store.incoming(_PICTURE_BYTES) as received,
                self._store.incoming(_PICTURE_BYTES, ".jpg") as small,
            ):
                await self._fetcher.fetch(
                    urljoin(page, address),
                    received.write,
                    limit=_PICTURE_BYTES,
                    patience=_PATIENCE,
                )
                await received.finish()
                checked_type("image", received.head)
                await describe_picture(self._workshop, received.path, small.path)
                return await self._store.keep(small.path)
        except (MediaError, ValueError) as error:
            log.info("no picture for the preview of a link", error=type(error).__name__)
            return None


def first_link(text: str) -> str | None:
    """Return the first link in a text, without the punctuation that follows it."""
    match = _LINK.search(text)
    return None if match is None else match.group().rstrip(_PUNCTUATION)


@dataclass
class _Page:
    title: str | None = None
    description: str | None = None
    picture: str | None = None


class _Head(HTMLParser):
    """Collects what the head of a page says about it (https://ogp.me)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a ``meta`` says; begin to read the title."""
        if tag == "title":
            self._in_title = True
        elif tag == "meta":
            values = dict(attrs)
            name = (values.get("property") or values.get("name") or "").lower()
            content = values.get("content")
            if name and content:
                self.found.setdefault(name, content)

    def handle_endtag(self, tag: str) -> None:
        """End the title."""
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        """Take in the title."""
        if self._in_title:
            self.found["title"] = (self.found.get("title", "") + data)[: 2 * _TITLE_LIMIT]


def _read_page(content: bytes) -> _Page:
    declared = _CHARSET.search(content[:2048])
    charset = declared.group(1).decode("ascii") if declared else "utf-8"
    try:
        text = content.decode(charset, "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    head = _Head()
    # Broken markup has made the parser of the standard library raise before.
    with suppress(AssertionError, ValueError):
        head.feed(text)
    found = head.found
    return _Page(
        title=_line(found.get("og:title") or found.get("title"), _TITLE_LIMIT),
        description=_line(
            found.get("og:description") or found.get("description"), _DESCRIPTION_LIMIT
        ),
        picture=found.get("og:image") or found.get("og:image:url"),
    )


def _line(text: str | None, limit: int) -> str | None:
    # NUL and surrogates cannot be stored; a page may hold anything.
    words = (text or "").replace("\0", " ").encode("utf-8", "ignore").decode().split()
    return " ".join(words)[:limit] or None

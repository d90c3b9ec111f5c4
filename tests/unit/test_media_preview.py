"""What is shown for a link in a text, from pages that may hold anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from support.media_samples import picture
from wavisor.media import Fetcher, LinkPreview, LinkPreviewer, MediaStore
from wavisor.media.preview import first_link
from wavisor.media.tools import Workshop
from wavisor.netguard import TargetRule


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MediaStore]:
    made = MediaStore(tmp_path / "media")
    made.open()
    yield made
    made.close()


def preview(
    store: MediaStore,
    pages: dict[str, bytes],
    text: str = "see {base}/page.",
    *,
    rule: TargetRule | None = None,
) -> LinkPreview | None:
    class Page(RequestHandler):
        def get(self, path: str) -> None:
            if path not in pages:
                self.set_status(404)
                return
            self.write(pages[path])

    async def run() -> LinkPreview | None:
        sockets = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(Application([("/(.*)", Page)], log_function=lambda _: None))
        server.add_sockets(sockets)
        base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        fetcher = Fetcher(rule or TargetRule(allow_private=True))
        previewer = LinkPreviewer(fetcher, store, Workshop(1, 20.0))
        try:
            return await previewer.preview(text.format(base=base))
        finally:
            fetcher.close()
            server.stop()
            await server.close_all_connections()

    return asyncio.run(run())


def test_page_tells_title_description_and_picture(store: MediaStore) -> None:
    page = (
        b"""<!doctype html><html><head><title>Other</title>
        <meta property="og:title" content="Caf\xc3\xa9 &amp; more">
        <meta name="description" content=" two
        lines ">
        <meta property="og:image" content="/cat.png"></head><body>"""
        + b"x" * 300_000
    )
    found = preview(store, {"page": page, "cat.png": picture("PNG", 400, 300)})
    assert found is not None
    assert found.url.endswith("/page")
    assert (found.title, found.description) == ("Café & more", "two lines")
    assert found.picture is not None
    with Image.open(BytesIO(found.picture.path.read_bytes())) as small:
        assert (small.format, small.size) == ("JPEG", (100, 75))
    assert list((store.root / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<title>Plain</title>", "Plain"),
        (b"<TITLE>Unclosed", "Unclosed"),
        (b"<meta charset='latin-1'><title>Caf\xe9</title>", "Café"),
        (b"<meta charset='nonsense'><title>T</title>", "T"),
        (b"<title>" + b"x" * 5000 + b"</title>", "x" * 200),
    ],
)
def test_title_is_found_in_untidy_pages(store: MediaStore, page: bytes, title: str) -> None:
    found = preview(store, {"page": page})
    assert found is not None
    assert found.title == title
    assert found.picture is None


@pytest.mark.parametrize(
    "page", [b"", b"<html></html>", b"\xff\xd8\xff\xe0" * 100, b"<title> \n </title>", b"<!["]
)
def test_page_without_title_has_no_preview(store: MediaStore, page: bytes) -> None:
    assert preview(store, {"page": page}) is None


@pytest.mark.parametrize(
    "image", ["/none.png", "/text", "http://[", "file:///etc/passwd", "http://169.254.169.254/"]
)
def test_picture_that_cannot_be_had_is_left_out(store: MediaStore, image: str) -> None:
    page = f'<title>T</title><meta property="og:image" content="{image}">'.encode()
    found = preview(store, {"page": page, "text": b"no picture"})
    assert found is not None
    assert (found.title, found.picture) == ("T", None)


def test_link_that_leads_inside_has_no_preview(store: MediaStore) -> None:
    assert preview(store, {"page": b"<title>secret</title>"}, rule=TargetRule()) is None


def test_page_that_is_missing_has_no_preview(store: MediaStore) -> None:
    assert preview(store, {}) is None


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("no link", None),
        ("http://", None),
        ("see https://example.com/a?b=c#d.", "https://example.com/a?b=c#d"),
        ("(https://example.com/x), and http://example.org", "https://example.com/x"),
        ("HTTPS://EXAMPLE.COM!", "HTTPS://EXAMPLE.COM"),
        ("ftp://example.com https://example.org\nnext", "https://example.org"),
    ],
)
def test_first_link_is_found_without_what_follows_it(text: str, link: str | None) -> None:
    assert first_link(text) == link

"""Files of messages: fetching, telling their type, converting, keeping.

A bottom layer beside ``whatsapp`` and ``storage``: no tornado handler, no SQL, no actor. The HTTP
layer brings files in and gets back what a session is told of them::

    async with store.incoming(limit) as received:
        await fetcher.fetch(url, received.write, limit=limit)
        await received.finish()
        prepared = await preparer.prepare("image", received)
"""

from __future__ import annotations

from wavisor.media.errors import MediaError, MediaReason
from wavisor.media.fetch import Fetched, Fetcher, Patience, plain_name
from wavisor.media.prepare import Prepared, Preparer
from wavisor.media.preview import LinkPreview, LinkPreviewer
from wavisor.media.sniff import limit_of, source_limit_of
from wavisor.media.store import Arrived, Incoming, MediaStore, StoredFile

__all__ = [
    "Arrived",
    "Fetched",
    "Fetcher",
    "Incoming",
    "LinkPreview",
    "LinkPreviewer",
    "MediaError",
    "MediaReason",
    "MediaStore",
    "Patience",
    "Prepared",
    "Preparer",
    "StoredFile",
    "limit_of",
    "plain_name",
    "source_limit_of",
]

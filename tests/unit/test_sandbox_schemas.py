"""Hand-declared schemas agree with the installed client's, and content is read rightly."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wavisor.sandbox import schemas
from wavisor.sandbox.codec import Jid
from wavisor.sandbox.content import (
    Content,
    MalformedContentError,
    describe,
    device_sent,
    text_message,
)

ROOT = Path(__file__).resolve().parents[2]

# In a process of its own: importing neonize starts a Go runtime.
DUMP = """
import importlib, json, pathlib, sys
import neonize.proto as root
found = {}
def visit(message):
    found.setdefault(message.name, []).append(
        {field.name: [field.number, field.type, field.is_repeated] for field in message.fields}
    )
    for nested in message.nested_types:
        visit(nested)
folder = pathlib.Path(root.__file__).parent
for file in folder.rglob("*_pb2.py"):
    name = ".".join(("neonize.proto", *file.relative_to(folder).with_suffix("").parts))
    try:
        module = importlib.import_module(name)
    except NameError:  # some modules of the wheel do not import
        continue
    for message in module.DESCRIPTOR.message_types_by_name.values():
        visit(message)
json.dump(found, sys.stdout)
"""

OWN = {
    "SignalMessage",
    "PreKeySignalMessage",
    "SenderKeyMessage",
    "SenderKeyDistribution",
}
"""Declared here alone: Signal's own."""

UNREADABLE = {name for name in schemas.FIELDS if name.startswith("SyncAction")} | {
    name for name in schemas.FIELDS if name.endswith(("Action", "Setting"))
}
"""In a module of the wheel that does not import. The native client reads them end to end."""

TYPES = {
    "double": 1,
    "bytes": 12,
    "string": 9,
    "bool": 8,
    "int32": 5,
    "int64": 3,
    "uint32": 13,
    "uint64": 4,
}
MESSAGE_TYPE, ENUM_TYPE = 11, 14


def test_fields_are_numbered_and_typed_as_in_the_installed_client():
    dump = subprocess.run(
        [sys.executable, "-c", DUMP],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
        text=True,
    )
    theirs = json.loads(dump.stdout.splitlines()[-1])
    for name, fields in schemas.FIELDS.items():
        if name in OWN | UNREADABLE:
            continue
        candidates = theirs.get(name, [])
        assert any(_agrees(fields, candidate) for candidate in candidates), name


def _agrees(ours: dict[str, tuple[int, str]], theirs: dict[str, list]) -> bool:
    for name, (number, kind) in ours.items():
        if name not in theirs:
            return False
        base = kind.removeprefix("repeated ")
        # Enumerations travel as plain numbers.
        types = {TYPES.get(base, MESSAGE_TYPE)} | ({ENUM_TYPE} if base == "int32" else set())
        their_number, their_type, repeated = theirs[name]
        if number != their_number or their_type not in types or repeated != (base != kind):
            return False
    return True


def test_text_is_read_as_it_was_written():
    assert describe(text_message("hé 👋")) == Content("text", "hé 👋")


def test_copy_for_own_devices_names_its_chat():
    content = describe(device_sent(Jid("123", "lid"), text_message("hi")))
    assert content == Content("text", "hi", destination=Jid("123", "lid"))


def built(**fields) -> bytes:
    message = schemas.MESSAGE()
    for path, value in fields.items():
        *parents, last = path.split("__")
        target = message
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (built(extendedTextMessage__text="see"), Content("text", "see")),
        (
            built(
                extendedTextMessage__text="yes",
                extendedTextMessage__contextInfo__stanzaID="A1",
                extendedTextMessage__contextInfo__isForwarded=True,
            ),
            Content("text", "yes", quoted="A1", forwarded=True),
        ),
        (built(imageMessage__caption="sea"), Content("image", "sea")),
        (
            built(viewOnceMessageV2__message__imageMessage__mimetype="image/png"),
            Content("image", view_once=True),
        ),
        (built(audioMessage__PTT=True), Content("voice")),
        (
            built(locationMessage__degreesLatitude=1.5, locationMessage__name="Pier"),
            Content("location", names=("Pier",), position=(1.5, 0.0)),
        ),
        (built(imageMessage__mimetype="image/png"), Content("image")),
        (built(videoMessage__caption="waves"), Content("video", "waves")),
        (
            built(documentWithCaptionMessage__message__documentMessage__caption="paper"),
            Content("document", "paper"),
        ),
        (
            built(reactionMessage__text="👍", reactionMessage__key__ID="A1"),
            Content("reaction", "👍", target="A1"),
        ),
        (built(ephemeralMessage__message__conversation="gone"), Content("text", "gone")),
        (
            built(
                editedMessage__message__protocolMessage__type=14,
                editedMessage__message__protocolMessage__key__ID="A1",
                editedMessage__message__protocolMessage__editedMessage__conversation="new",
            ),
            Content("edit", "new", target="A1"),
        ),
        (built(protocolMessage__key__ID="A1"), Content("revoke", target="A1")),
        (built(protocolMessage__type=6), Content("protocol")),
        (b"", Content("unknown")),
    ],
)
def test_content_is_described(content, expected):
    assert replace(describe(content), media=None) == expected


def test_content_that_is_no_message_is_refused():
    with pytest.raises(MalformedContentError):
        describe(b"\xff\xff")

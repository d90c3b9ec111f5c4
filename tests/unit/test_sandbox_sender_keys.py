"""Encryption in groups and of media: what is read, what is refused."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from wavisor.sandbox.media_crypto import (
    MediaDecryptionError,
    MediaFile,
    decrypt_media,
    encrypt_media,
)
from wavisor.sandbox.number_variants import variants
from wavisor.sandbox.ratchet import DuplicateMessageError, InvalidMessageError
from wavisor.sandbox.sender_keys import NoSenderKeyError, SenderKeys


def told() -> tuple[SenderKeys, SenderKeys]:
    """Return the keys of an author and of somebody who was told of them."""
    author, reader = SenderKeys(), SenderKeys()
    reader.learn("group", "author", author.distribution("group"))
    return author, reader


def test_group_messages_are_read_in_any_order_and_once():
    author, reader = told()
    messages = [author.encrypt("group", f"text {number}".encode()) for number in range(5)]
    for number in (3, 0, 4, 1, 2):
        assert reader.decrypt("group", "author", messages[number]) == f"text {number}".encode()
    with pytest.raises(DuplicateMessageError):
        reader.decrypt("group", "author", messages[2])


def test_who_was_told_later_reads_only_what_came_later():
    author, _ = told()
    early = author.encrypt("group", b"early")
    late_reader = SenderKeys()
    late_reader.learn("group", "author", author.distribution("group"))
    with pytest.raises(DuplicateMessageError):
        late_reader.decrypt("group", "author", early)
    assert late_reader.decrypt("group", "author", author.encrypt("group", b"late")) == b"late"


def test_being_told_again_does_not_forget_what_is_still_to_come():
    author, reader = told()
    start = author.distribution("group")
    first, second = author.encrypt("group", b"1"), author.encrypt("group", b"2")
    assert reader.decrypt("group", "author", second) == b"2"
    reader.learn("group", "author", start)
    assert reader.decrypt("group", "author", first) == b"1"
    with pytest.raises(DuplicateMessageError):
        reader.decrypt("group", "author", second)


def test_unknown_and_renewed_keys_are_missed_and_forgeries_refused():
    author, reader = told()
    message = author.encrypt("group", b"hello")
    with pytest.raises(InvalidMessageError):
        reader.decrypt("group", "author", message[:-1] + bytes([message[-1] ^ 1]))
    with pytest.raises(NoSenderKeyError):
        reader.decrypt("another group", "author", message)
    author.renew("group")
    with pytest.raises(NoSenderKeyError):
        reader.decrypt("group", "author", author.encrypt("group", b"new"))
    reader.forget("group", "author")
    with pytest.raises(NoSenderKeyError):
        reader.decrypt("group", "author", message)


def stored(content: bytes, kind: str = "image") -> tuple[MediaFile, bytes]:
    """Return a file as a message describes it, and as the media host has it."""
    key, encrypted = encrypt_media(kind, content)
    file = MediaFile(
        kind=kind,
        direct_path="/v/x",
        key=key,
        digest=sha256(content).digest(),
        encrypted_digest=sha256(encrypted).digest(),
        size=len(content),
        mime_type="image/png",
    )
    return file, encrypted


@pytest.mark.parametrize("content", [b"", b"x", bytes(16), bytes(100_000)])
def test_media_are_decrypted_as_they_were_encrypted(content):
    file, encrypted = stored(content)
    assert decrypt_media(file, encrypted) == content


def test_media_that_are_not_what_the_message_says_are_refused():
    file, encrypted = stored(b"content")
    spoilt = encrypted[:-1] + bytes([encrypted[-1] ^ 1])
    with pytest.raises(MediaDecryptionError, match="encrypted file"):
        decrypt_media(file, spoilt)
    with pytest.raises(MediaDecryptionError, match="MAC"):
        decrypt_media(replace(file, encrypted_digest=sha256(spoilt).digest()), spoilt)
    with pytest.raises(MediaDecryptionError, match="MAC"):
        decrypt_media(replace(file, kind="document"), encrypted)
    with pytest.raises(MediaDecryptionError, match="another hash"):
        decrypt_media(replace(file, digest=bytes(32)), encrypted)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5511987654321", "551187654321"),
        ("5215512345678", "525512345678"),
        ("5491123456789", "541123456789"),
    ],
)
def test_two_ways_to_write_a_number_lead_to_each_other(one, other):
    assert variants(one) == [other]
    assert variants(other) == [one]


@pytest.mark.parametrize("number", ["12025550110", "551133334444", "4915550000001"])
def test_other_numbers_are_written_in_one_way(number):
    assert variants(number) == []

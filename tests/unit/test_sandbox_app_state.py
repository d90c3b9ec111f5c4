"""Synchronised settings: patches, their running hash, and the server's numbering."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavisor.sandbox import schemas
from wavisor.sandbox.accounts import Account
from wavisor.sandbox.app_state import (
    AppStateStore,
    Collection,
    InvalidPatchError,
    Setting,
    StaleVersionError,
    SyncKey,
    make_patch,
    read_patch,
)
from wavisor.sandbox.shared_settings import NAME_COLLECTION, SharedSettings, requests_key


def setting(name: str, *index: str) -> Setting:
    value = schemas.SYNC_ACTION_DATA().value
    value.pushNameSetting.name = name
    return Setting(index or ("setting_pushName",), value)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=20)), max_size=6))
@settings(max_examples=25, deadline=None)
def test_every_patch_is_read_as_it_was_written(changes):
    key, writer, reader = SyncKey.generate(), Collection("regular"), Collection("regular")
    for index, text in changes:
        patch = make_patch(key, writer, [setting(text, index)])
        writer, _ = read_patch(key, writer, patch)
        reader, (read,) = read_patch(key, reader, patch)
        assert read.index == (index,)
        assert read.value.pushNameSetting.name == text
    assert reader == writer


def test_hash_depends_on_what_is_in_force_and_not_on_how_it_came_to_be():
    key, state = SyncKey.generate(), Collection("regular")
    first = make_patch(key, state, [setting("a", "one")])
    once, _ = read_patch(key, state, first)
    twice, _ = read_patch(key, once, make_patch(key, once, [setting("b", "one")]))
    removal = schemas.SYNCD_PATCH.FromString(first)
    for mutation in removal.mutations:
        mutation.operation = 1
    assert once.hash != bytes(128)
    assert twice.hash != once.hash
    assert once.advanced(removal.mutations).hash == bytes(128)


def test_patch_of_another_key_or_another_state_is_refused():
    key, state = SyncKey.generate(), Collection("regular")
    patch = make_patch(key, state, [setting("a")])
    with pytest.raises(InvalidPatchError):
        read_patch(SyncKey.generate(), state, patch)
    with pytest.raises(InvalidPatchError):
        read_patch(key, Collection("regular_low"), patch)
    after, _ = read_patch(key, state, patch)
    with pytest.raises(InvalidPatchError):
        read_patch(key, after, patch)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_altered_patch_is_refused_or_says_the_same(data):
    key, state = SyncKey.generate(), Collection("regular")
    patch = make_patch(key, state, [setting("a")])
    position = data.draw(st.integers(0, len(patch) - 1))
    altered = bytearray(patch)
    altered[position] ^= data.draw(st.integers(1, 255))
    try:
        _, read = read_patch(key, state, bytes(altered))
    except InvalidPatchError:
        return
    # Outside of what the MACs cover (the key's id in the envelope) nothing is decided.
    assert [item.value.pushNameSetting.name for item in read] == ["a"]


def test_server_numbers_patches_and_refuses_stale_ones():
    store, key, state = AppStateStore(), SyncKey.generate(), Collection("regular")
    assert store.version("regular") == 0
    assert store.since("regular", 0) == []
    first = make_patch(key, state, [setting("a")])
    assert store.append("regular", 0, first) == 1
    with pytest.raises(StaleVersionError):
        store.append("regular", 0, first)
    with pytest.raises(InvalidPatchError):
        store.append("regular", 1, b"\xff\xff")
    after, _ = read_patch(key, state, first)
    assert store.append("regular", 1, make_patch(key, after, [setting("b")])) == 2
    (second,) = store.since("regular", 1)
    assert schemas.SYNCD_PATCH.FromString(second).version.version == 2
    assert store.version("regular_low") == 0


def test_phone_reads_the_name_that_a_companion_gave():
    account = Account("12025550110", "1", "Alice", on_whatsapp=True)
    phone = SharedSettings(account)
    phone.put_name("Alice")
    shared = schemas.MESSAGE.FromString(phone.key_share()).protocolMessage
    (share,) = shared.appStateSyncKeyShare.keys
    key = SyncKey(share.keyID.keyID, share.keyData.keyData)
    state = Collection(NAME_COLLECTION)
    for patch in account.app_state.since(NAME_COLLECTION, 0):
        state, read = read_patch(key, state, patch)
        assert read[0].value.pushNameSetting.name == "Alice"
    patch = make_patch(key, state, [setting("Ally")])
    account.app_state.append(NAME_COLLECTION, state.version, patch)
    assert phone.read_name() == "Ally"
    phone.put_name("Alice again")
    assert phone.read_name() == "Alice again"
    assert account.app_state.version(NAME_COLLECTION) == 3


def test_key_is_shared_when_it_is_asked_for():
    request = schemas.MESSAGE()
    request.protocolMessage.type = 7
    assert requests_key(request.SerializeToString())
    assert not requests_key(schemas.MESSAGE(conversation="key, please").SerializeToString())
    assert not requests_key(b"\xff")


def test_key_is_not_shown():
    key = SyncKey.generate()
    assert repr(key.data) not in repr(key)

"""Two independent parties of Signal: first messages, answers, disorder, loss, forgery."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavisor.sandbox import schemas
from wavisor.sandbox.ratchet import PreKeyMessage, RatchetMessage, derive
from wavisor.sandbox.signal_protocol import (
    Ciphertext,
    DuplicateMessageError,
    InvalidMessageError,
    NoSessionError,
    SignalDevice,
    SignalError,
    UnknownPreKeyError,
    pad_message,
    unpad_message,
)
from wavisor.sandbox.xeddsa import generate_keypair

ALICE, BOB = "alice", "bob"


@pytest.fixture
def parties() -> tuple[SignalDevice, SignalDevice]:
    """Alice, who knows Bob's bundle, and Bob, who has heard of nobody."""
    return _parties()


def _parties() -> tuple[SignalDevice, SignalDevice]:
    alice, bob = SignalDevice(), SignalDevice()
    alice.begin(BOB, bob.issue_bundle())
    return alice, bob


def _acquainted() -> tuple[SignalDevice, SignalDevice]:
    alice, bob = _parties()
    bob.decrypt(ALICE, alice.encrypt(BOB, b"hello"))
    alice.decrypt(BOB, bob.encrypt(ALICE, b"hello yourself"))
    return alice, bob


def test_first_messages_carry_the_session_until_the_other_side_answered(parties):
    alice, bob = parties
    for text in (b"one", b"two"):
        first = alice.encrypt(BOB, text)
        assert first.kind == "pkmsg"
        assert bob.decrypt(ALICE, first) == text
    answer = bob.encrypt(ALICE, b"three")
    assert answer.kind == "msg"
    assert alice.decrypt(BOB, answer) == b"three"
    assert alice.encrypt(BOB, b"four").kind == "msg"


def test_bundle_without_a_one_time_key_works(parties):
    alice, bob = parties
    alice.begin(BOB, dataclasses.replace(bob.issue_bundle(), one_time=None))
    first = alice.encrypt(BOB, b"hello")
    assert PreKeyMessage.parse(first.data).pre_key_id is None
    assert bob.decrypt(ALICE, first) == b"hello"


def test_every_bundle_has_a_one_time_key_of_its_own():
    device = SignalDevice()
    keys = [device.issue_bundle().one_time for _ in range(20)]
    assert len({key.public for key in keys if key}) == 20
    assert len({key.id for key in keys if key}) == 20


def test_one_time_key_is_used_up(parties):
    alice, bob = parties
    bundle = bob.issue_bundle()
    alice.begin(BOB, bundle)
    bob.decrypt(ALICE, alice.encrypt(BOB, b"hello"))
    mallory = SignalDevice()
    mallory.begin(BOB, bundle)
    with pytest.raises(UnknownPreKeyError):
        bob.decrypt("mallory", mallory.encrypt(BOB, b"me too"))


def test_rejected_first_message_leaves_the_one_time_key(parties):
    alice, bob = parties
    genuine = alice.encrypt(BOB, b"hello")
    with pytest.raises(InvalidMessageError):
        bob.decrypt(ALICE, Ciphertext("pkmsg", _spoil_inner_mac(genuine.data)))
    assert not bob.has_session(ALICE)
    assert bob.decrypt(ALICE, genuine) == b"hello"


def test_unknown_signed_key_is_refused(parties):
    alice, bob = parties
    message = PreKeyMessage.parse(alice.encrypt(BOB, b"hello").data)
    wrong = dataclasses.replace(message, signed_pre_key_id=99).serialize()
    with pytest.raises(UnknownPreKeyError):
        bob.decrypt(ALICE, Ciphertext("pkmsg", wrong))


def test_bundle_with_a_foreign_signature_is_refused(parties):
    alice, bob = parties
    bundle = bob.issue_bundle()
    with pytest.raises(InvalidMessageError, match="signature"):
        alice.begin(BOB, dataclasses.replace(bundle, identity=generate_keypair().public))
    with pytest.raises(InvalidMessageError, match="signature"):
        unsigned = dataclasses.replace(bundle.signed, signature=None)
        alice.begin(BOB, dataclasses.replace(bundle, signed=unsigned))


def test_bundle_with_a_key_of_small_order_is_refused(parties):
    alice, bob = parties
    bundle = bob.issue_bundle()
    assert bundle.one_time is not None
    weak = dataclasses.replace(bundle.one_time, public=bytes(32))
    with pytest.raises(InvalidMessageError, match="unusable"):
        alice.begin(BOB, dataclasses.replace(bundle, one_time=weak))


def test_nobody_can_be_written_to_before_a_session_began():
    device = SignalDevice()
    with pytest.raises(NoSessionError):
        device.encrypt(BOB, b"hello")
    with pytest.raises(NoSessionError):
        device.decrypt(BOB, Ciphertext("msg", b""))


@given(order=st.permutations(range(12)))
@settings(max_examples=40, deadline=None)
def test_messages_of_one_chain_arrive_in_any_order(order):
    alice, bob = _acquainted()
    sent = [alice.encrypt(BOB, bytes([number])) for number in range(12)]
    assert [bob.decrypt(ALICE, sent[number]) for number in order] == [bytes([n]) for n in order]


@given(order=st.permutations(range(6)))
@settings(max_examples=30, deadline=None)
def test_first_messages_arrive_in_any_order(order):
    alice, bob = _parties()
    sent = [alice.encrypt(BOB, bytes([number])) for number in range(6)]
    assert [bob.decrypt(ALICE, sent[number]) for number in order] == [bytes([n]) for n in order]


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_conversation_survives_disorder_and_loss(seed, steps):
    """Both write at random; the network delays, reorders and loses; what arrives is readable."""
    chance = random.Random(seed)
    alice, bob = _acquainted()
    transit: list[tuple[bool, bytes, Ciphertext]] = []
    for step in range(steps):
        if transit and chance.random() < 0.5:
            to_bob, expected, message = transit.pop(_recent(chance, transit))
            if chance.random() < 0.15:
                continue
            reader, address = (bob, ALICE) if to_bob else (alice, BOB)
            assert reader.decrypt(address, message) == expected
        else:
            to_bob, text = chance.random() < 0.5, str(step).encode()
            writer, address = (alice, BOB) if to_bob else (bob, ALICE)
            transit.append((to_bob, text, writer.encrypt(address, text)))


def _recent(chance: random.Random, transit: list) -> int:
    """Choose one of the last messages: Signal keeps the keys of five older chains only."""
    return chance.randrange(max(0, len(transit) - 3), len(transit))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_both_begin_at_once_and_understand_each_other(seed):
    chance = random.Random(seed)
    alice, bob = SignalDevice(), SignalDevice()
    alice.begin(BOB, bob.issue_bundle())
    bob.begin(ALICE, alice.issue_bundle())
    from_alice, from_bob = alice.encrypt(BOB, b"a"), bob.encrypt(ALICE, b"b")
    assert bob.decrypt(ALICE, from_alice) == b"a"
    assert alice.decrypt(BOB, from_bob) == b"b"
    for number in range(10):
        writer, reader, to, of = (
            (alice, bob, BOB, ALICE) if chance.random() < 0.5 else (bob, alice, ALICE, BOB)
        )
        text = str(number).encode()
        assert reader.decrypt(of, writer.encrypt(to, text)) == text


def test_new_session_does_not_lose_late_messages_of_the_old_one():
    alice, bob = _acquainted()
    late = alice.encrypt(BOB, b"late")
    alice.begin(BOB, bob.issue_bundle())
    assert bob.decrypt(ALICE, alice.encrypt(BOB, b"new")) == b"new"
    assert bob.decrypt(ALICE, late) == b"late"


def test_reinstalled_party_begins_anew():
    alice, bob = _acquainted()
    again = SignalDevice()
    assert alice.has_session(BOB, bob.identity.public)
    assert not alice.has_session(BOB, again.identity.public)
    alice.begin(BOB, again.issue_bundle())
    assert again.decrypt(ALICE, alice.encrypt(BOB, b"hello")) == b"hello"


def test_forgotten_session_must_begin_anew():
    alice, bob = _acquainted()
    bob.forget(ALICE)
    assert not bob.has_session(ALICE)
    with pytest.raises(NoSessionError):
        bob.decrypt(ALICE, alice.encrypt(BOB, b"hello?"))


@pytest.mark.parametrize("first", [True, False])
def test_message_is_readable_once(first):
    alice, bob = _parties() if first else _acquainted()
    message = alice.encrypt(BOB, b"once")
    assert bob.decrypt(ALICE, message) == b"once"
    with pytest.raises(DuplicateMessageError):
        bob.decrypt(ALICE, message)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_message_is_refused_and_harms_nothing(data):
    alice, bob = _acquainted()
    genuine = alice.encrypt(BOB, b"genuine")
    position = data.draw(st.integers(1, len(genuine.data) - 1))
    damaged = bytearray(genuine.data)
    damaged[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidMessageError):
        bob.decrypt(ALICE, Ciphertext("msg", bytes(damaged)))
    assert bob.decrypt(ALICE, genuine) == b"genuine"


@given(garbage=st.binary(max_size=200), kind=st.sampled_from(["msg", "pkmsg"]))
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused_and_raises_nothing_else(garbage, kind):
    _, bob = _acquainted()
    for prefix in (b"", b"\x33"):
        with pytest.raises(SignalError):
            bob.decrypt(ALICE, Ciphertext(kind, prefix + garbage))


def test_message_too_far_in_the_future_is_refused():
    alice, bob = _acquainted()
    for _ in range(2001):
        alice.encrypt(BOB, b"lost")
    with pytest.raises(InvalidMessageError):
        bob.decrypt(ALICE, alice.encrypt(BOB, b"far"))


def test_two_thousand_lost_messages_are_bridged():
    alice, bob = _acquainted()
    for _ in range(2000):
        alice.encrypt(BOB, b"lost")
    assert bob.decrypt(ALICE, alice.encrypt(BOB, b"near")) == b"near"


def test_message_for_somebody_else_is_not_readable():
    alice, bob = _acquainted()
    carol = SignalDevice()
    alice.begin("carol", carol.issue_bundle())
    carol.decrypt(ALICE, alice.encrypt("carol", b"hello"))
    alice.decrypt("carol", carol.encrypt(ALICE, b"hello yourself"))
    with pytest.raises(InvalidMessageError):
        bob.decrypt(ALICE, alice.encrypt("carol", b"secret"))


def test_private_keys_are_not_shown():
    alice, _ = _acquainted()
    state = alice._sessions[BOB].states[0]
    assert repr(state.root_key) not in repr(state)
    assert repr(state.sending_ratchet.private) not in repr(state)


def test_hkdf_gives_the_published_output():
    """RFC 5869, test case 1."""
    output = derive(
        bytes.fromhex("0b" * 22),
        bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
        42,
        salt=bytes.fromhex("000102030405060708090a0b0c"),
    )
    assert output.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_wire_form_of_a_message_is_what_the_native_client_parses():
    """Version byte, protobuf, 8 bytes of MAC; keys with their type byte."""
    alice, _ = _acquainted()
    data = alice.encrypt(BOB, b"text").data
    assert data[0] == 0x33
    body = schemas.SIGNAL_MESSAGE.FromString(data[1:-8])
    assert len(body.ratchetKey) == 33
    assert body.ratchetKey[0] == 5
    assert RatchetMessage.parse(data).counter == body.counter == 0


@given(content=st.binary(max_size=100))
def test_padding_comes_off_again(content):
    padded = pad_message(content)
    assert 1 <= len(padded) - len(content) <= 15
    assert unpad_message(padded) == content


@pytest.mark.parametrize("padded", [b"", b"\x00", b"\x03\x03", b"text\x01\x02\x03", b"\xff"])
def test_wrong_padding_is_refused(padded):
    with pytest.raises(InvalidMessageError):
        unpad_message(padded)


def _spoil_inner_mac(data: bytes) -> bytes:
    message = PreKeyMessage.parse(data)
    inner = bytearray(message.message)
    inner[-1] ^= 1
    return dataclasses.replace(message, message=bytes(inner)).serialize()

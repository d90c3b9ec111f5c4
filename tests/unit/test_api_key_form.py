"""The form of keys, and the rules by which one is good."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavisor.domain import Role
from wavisor.http.keys.checks import address_allowed, good_until, network_text, secret_fits
from wavisor.http.keys.form import (
    GivenKey,
    is_key,
    key_text,
    make_prefix,
    make_secret,
    read_key,
)
from wavisor.http.permissions import KEY_PERMISSIONS, Permission, permissions_of
from wavisor.storage import KeyRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(**more: object) -> KeyRecord:
    key = KeyRecord(
        id="key_1",
        subscription_id="sub_1",
        instance_id=None,
        creator_id="usr_1",
        name="Shop",
        prefix="a" * 12,
        digest="0" * 64,
        permissions=("messages:send",),
        addresses=(),
        expires_at=None,
        created_at=NOW,
        last_used_at=None,
        last_used_address=None,
        revoked_at=None,
        previous_digest=None,
        previous_until=None,
    )
    return replace(key, **more)  # type: ignore[arg-type]


def test_a_new_key_is_read_as_what_is_stored_of_it() -> None:
    prefix, (secret, digest) = make_prefix(), make_secret()
    text = key_text(prefix, secret)
    assert is_key(text)
    assert read_key(text) == GivenKey(prefix, digest)
    assert secret not in digest
    assert secret not in repr(read_key(text)) and digest not in repr(read_key(text))


def test_no_two_keys_are_alike() -> None:
    assert len({make_secret() for _ in range(100)}) == 100
    assert len({make_prefix() for _ in range(100)}) == 100


@given(st.text(max_size=80))
def test_whatever_is_no_key_is_not_read_as_one(text: str) -> None:
    for candidate in (text, f"wav_{text}", f"wav_{'a' * 12}_{text}"):
        found = read_key(candidate)
        assert found is None or candidate == f"wav_{found.prefix}_{candidate[-40:]}"


@pytest.mark.parametrize("spoilt", ["\n", " ", "x", "\0", "é", "_"])
def test_a_key_with_something_behind_it_is_none(spoilt: str) -> None:
    text = key_text(make_prefix(), make_secret()[0])
    assert read_key(text + spoilt) is None
    assert read_key(text[:-1] + spoilt) is None or spoilt == "x"
    assert read_key(text.upper()) is None


def test_both_secrets_of_a_rotated_key_fit_and_no_other() -> None:
    key = record(digest="1" * 64, previous_digest="2" * 64, previous_until=NOW)
    assert secret_fits(key, GivenKey(key.prefix, "1" * 64))
    assert secret_fits(key, GivenKey(key.prefix, "2" * 64))
    assert not secret_fits(key, GivenKey(key.prefix, "3" * 64))
    assert not secret_fits(record(), GivenKey(key.prefix, "3" * 64))


def test_an_earlier_secret_is_good_until_the_sooner_of_grace_and_expiry() -> None:
    grace, expiry = NOW + timedelta(days=1), NOW + timedelta(hours=1)
    key = record(digest="1" * 64, previous_digest="2" * 64, previous_until=grace)
    present, before = (GivenKey(key.prefix, one * 64) for one in "12")
    assert good_until(key, present) is None
    assert good_until(key, before) == grace
    ending = replace(key, expires_at=expiry)
    assert good_until(ending, present) == good_until(ending, before) == expiry


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7/32 ", "203.0.113.7"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("2001:db8:0:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ],
)
def test_networks_are_stored_in_one_form(text: str, stored: str) -> None:
    assert network_text(text) == stored
    assert network_text(stored) == stored


@pytest.mark.parametrize(
    "text",
    ["", "shop", "10.0.0.1/8", "10.0.0.0/33", "1.2.3", "fe80::1%eth0", "::/129", "010.0.0.1", "1"],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        network_text(text)


@given(st.ip_addresses(), st.integers(min_value=0, max_value=32))
def test_an_address_is_in_its_own_networks(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    network = ipaddress.ip_network((address, bits), strict=False)
    mapped = getattr(address, "ipv4_mapped", None)
    told = str(mapped if mapped is not None else address)
    if mapped is None:
        assert address_allowed([network_text(str(network))], told)
    assert address_allowed([network_text(str(address))], told)
    other = address + 1 if int(address) == 0 else address - 1
    assert not address_allowed([network_text(str(other))], told)


@pytest.mark.parametrize("address", ["unknown", "", "203.0.113.8", "2001:db8::2"])
def test_an_address_that_is_not_listed_is_not_allowed(address: str) -> None:
    assert not address_allowed(["203.0.113.7", "2001:db8::1"], address)
    assert address_allowed([], address)


def test_keys_cannot_be_given_what_would_let_them_outlive_their_revocation() -> None:
    people = {Permission.ACCOUNT, Permission.KEYS_MANAGE, Permission.USERS_MANAGE}
    assert not people & KEY_PERMISSIONS


def test_whoever_manages_keys_has_all_that_keys_may_have() -> None:
    # Else rotating somebody else's key would hand out more than one has.
    for role in Role:
        own = permissions_of(role, is_operator=False)
        assert Permission.KEYS_MANAGE not in own or own >= KEY_PERMISSIONS

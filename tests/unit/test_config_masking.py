"""URLs are shown without their passwords, however odd the password."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavisor.config.values import mask_url

ALPHABET = st.characters(min_codepoint=33, max_codepoint=126)


@given(st.text(ALPHABET, min_size=8, max_size=30))
def test_a_password_never_survives_raw(password: str) -> None:
    assert password not in mask_url(f"postgresql://wavisor:{password}@db.example:5432/wavisor")


@given(st.text(min_size=8, max_size=30).map(lambda text: quote(text, safe="")))
def test_a_quoted_password_is_masked_and_the_rest_kept(password: str) -> None:
    masked = mask_url(f"postgresql://wavisor:{password}@db.example:5432/wavisor?sslmode=require")
    assert masked == "postgresql://wavisor:********@db.example:5432/wavisor?sslmode=require"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example/wavisor",
        "postgresql://wavisor@db.example/wavisor",
        "sqlite:////var/lib/wavisor@home/wavisor.db",
    ],
)
def test_urls_without_a_password_are_shown_as_they_are(url: str) -> None:
    assert mask_url(url) == url


@pytest.mark.parametrize("name", ["password", "sslpassword", "PASSWORD", "passfile"])
def test_passwords_in_the_query_are_masked(name: str) -> None:
    assert "hunter22" not in mask_url(f"postgresql://h/d?{name}=hunter22&x=1")

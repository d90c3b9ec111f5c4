"""By which messages people say that they want no campaign."""

from __future__ import annotations

import pytest

from wavisor.actors.instance.settings import OptOutSettings


@pytest.mark.parametrize(
    "text", ["STOP", "stop", " Stop. ", "STOP!", "„stop“", "stop\n", "*STOP*", "_stop_"]
)
def test_the_word_alone_is_understood_however_it_is_written(text: str) -> None:
    assert OptOutSettings().means(text)


@pytest.mark.parametrize("text", [None, "", "!", "don't stop", "stop it", "stopp", "st op"])
def test_nothing_else_is(text: str | None) -> None:
    assert not OptOutSettings().means(text)


def test_a_keyword_may_be_a_sign_or_several_words() -> None:
    settings = OptOutSettings(keywords=("\N{OCTAGONAL SIGN}", "Keine Werbung!"))
    assert settings.means("\N{OCTAGONAL SIGN}")
    assert settings.means("keine werbung")
    assert not settings.means("!")
    assert not settings.means("stop")

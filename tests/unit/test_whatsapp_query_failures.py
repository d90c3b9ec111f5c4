"""Why queries failed, read from the native client's words."""

from __future__ import annotations

import pytest

from wavisor.whatsapp.query_failures import failure_of_query, outcome_of_code


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ("info query timed out", "timeout", None),
        ("failed to send usync query: websocket not connected", "not_connected", None),
        ("info query returned status 404: item-not-found", "not_found", 404),
        ("info query returned status 410: gone", "not_found", 410),
        ("info query returned status 401: not-authorized", "forbidden", 401),
        ("info query returned status 403: forbidden", "forbidden", 403),
        ("info query returned status 405: not-allowed", "forbidden", 405),
        ("info query returned status 400: bad-request", "invalid", 400),
        ("info query returned status 406: not-acceptable", "invalid", 406),
        ("info query returned status 419: resource-limit", "rate_limited", 419),
        ("info query returned status 429: rate-overlimit", "rate_limited", 429),
        ("info query returned status 500: internal-server-error", "rejected", 500),
        ("info query returned status 423: locked", "rejected", 423),
        ("graphql error: 404 Not Found (CRITICAL)", "not_found", 404),
        ("graphql error: 429 slow down (ERROR)", "rate_limited", 429),
        ("graphql error: 500 oops (ERROR)", "rejected", 500),
        ("that user or group does not have a profile picture", "not_found", None),
        ("the user has hidden their profile picture from you", "forbidden", None),
        ("you're not participating in that group", "forbidden", None),
        ("that group does not exist", "not_found", None),
        ("that group invite link is not valid", "not_found", None),
        ("that group invite link has been revoked", "not_found", None),
        ("the given data is not a valid image", "invalid", None),
        ("invalid disappearing timer provided", "invalid", None),
        ("no LID found for 15550100@s.whatsapp.net from server", "not_found", None),
        ("can't send presence without PushName set", "rejected", None),
        ("no app state keys found, creating app state keys is not yet", "rejected", None),
        ("something new", "internal", None),
    ],
)
def test_each_error_of_the_client_has_a_reason(text: str, reason: str, code: int | None) -> None:
    failure = failure_of_query(text)
    assert (failure.reason, failure.code) == (reason, code)


def test_a_wrapped_error_keeps_its_cause() -> None:
    text = "failed to get old group info to update topic: that group does not exist"
    assert failure_of_query(text).reason == "not_found"


def test_numbers_do_not_stay_in_the_words() -> None:
    for text in (
        "failed to get user info for 4915112345678@s.whatsapp.net: info query timed out",
        "no LID found for 4915112345678@s.whatsapp.net from server",
    ):
        assert "4915112345678" not in failure_of_query(text).detail


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, None),
        (200, None),
        (401, "forbidden"),
        (403, "invitation_needed"),
        (404, "not_found"),
        (408, "left_recently"),
        (409, "already"),
        (500, "refused"),
    ],
)
def test_each_code_of_a_participant_has_a_reason(code: int, reason: str | None) -> None:
    assert outcome_of_code(code) == reason

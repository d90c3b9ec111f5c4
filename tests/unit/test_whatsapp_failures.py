from __future__ import annotations

import pytest

from wavisor.whatsapp.failures import (
    cause_of,
    connect_failure,
    download_failure,
    query_failure,
    send_failure,
    upload_failure,
)


@pytest.mark.parametrize(
    ("text", "reason", "code", "uncertain"),
    [
        ("server returned error 463", "reach_out_timelock", 463, False),
        ("server returned error 479", "rejected", 479, False),
        ("timed out waiting for message send response", "timeout", None, True),
        (
            "websocket disconnected before message send returned response",
            "not_connected",
            None,
            True,
        ),
        (
            "websocket disconnected before message send (retry) returned response",
            "not_connected",
            None,
            True,
        ),
        # Without a prefix this is said when the message was already out and is to be repeated.
        ("websocket not connected", "not_connected", None, True),
        ("failed to send message node: websocket not connected", "not_connected", None, False),
        ("failed to send message node: frame socket is closed", "not_connected", None, False),
        ("failed to send message node: write tcp: broken pipe", "internal", None, True),
        ("failed to get group members: that group does not exist", "not_found", None, False),
        (
            "failed to get group members: you're not participating in that group",
            "forbidden",
            None,
            False,
        ),
        ("failed to get device list: info query timed out", "timeout", None, False),
        (
            "failed to get user info for 15550100@s.whatsapp.net to fill LID cache: "
            "info query returned status 429: rate-overlimit",
            "rate_limited",
            429,
            False,
        ),
        ("no LID found for 15550100@s.whatsapp.net from server", "not_on_whatsapp", None, False),
        (
            "failed to prefetch sessions: info query returned status 503: service-unavailable",
            "rejected",
            503,
            False,
        ),
        ("the store doesn't contain a device JID", "not_connected", None, False),
        ("can't send message to unknown server x", "internal", None, False),
        ("something that nobody has seen yet", "internal", None, True),
    ],
)
def test_a_failed_send_is_classified(
    text: str, reason: str, code: int | None, uncertain: bool
) -> None:
    failure = send_failure(text)
    assert (failure.reason, failure.code, failure.uncertain) == (reason, code, uncertain)


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ("info query timed out", "timeout", None),
        ("info query returned status 400: bad-request", "rejected", 400),
        ("info query returned status 429: rate-overlimit", "rate_limited", 429),
        ("websocket not connected", "not_connected", None),
        ("websocket disconnected before info query returned response", "not_connected", None),
        ("phone number too short", "invalid", None),
        ("international phone number required (must not start with 0)", "invalid", None),
        ("whatever", "internal", None),
    ],
)
def test_a_failed_question_is_classified_and_never_uncertain(
    text: str, reason: str, code: int | None
) -> None:
    failure = query_failure(text)
    assert (failure.reason, failure.code, failure.uncertain) == (reason, code, False)


def test_details_name_no_numbers() -> None:
    text = "failed to get user info for 15550100@s.whatsapp.net to fill LID cache: websocket closed"
    assert "15550100" not in send_failure(text).detail
    assert "websocket closed" in send_failure(text).detail


def test_the_refusal_of_new_conversations_is_told_in_words() -> None:
    failure = send_failure("server returned error 463")
    assert "does not let this number begin further conversations" in failure.detail


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ("upload failed with status code 507", "upload_failed", 507),
        ("failed to execute request: dial tcp: no route to host", "upload_failed", None),
        (
            "failed to refresh media connections: info query timed out",
            "timeout",
            None,
        ),
        (
            "failed to refresh media connections: failed to query media connections: "
            "info query returned status 429: rate-overlimit",
            "rate_limited",
            429,
        ),
        ("failed to refresh media connections: websocket not connected", "not_connected", None),
    ],
)
def test_a_failed_upload_is_certain(text: str, reason: str, code: int | None) -> None:
    failure = upload_failure(text)
    assert (failure.reason, failure.code, failure.uncertain) == (reason, code, False)


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ("download failed with status code 404", "media_gone", 404),
        ("download failed with status code 410", "media_gone", 410),
        ("download failed with status code 403", "media_gone", 403),
        (
            "failed to download media from last host: download failed with status code 500",
            "media_unreachable",
            500,
        ),
        ("failed to download media from last host: EOF", "media_unreachable", None),
        ("hash of media ciphertext doesn't match", "media_corrupt", None),
        ("hash of media plaintext doesn't match", "media_corrupt", None),
        (
            "failed to download media from last host: invalid media hmac",
            "media_corrupt",
            None,
        ),
        ("file too short", "media_corrupt", None),
        ("no url present", "invalid", None),
        ("didn't find any attachments in message", "invalid", None),
        ("invalid checksum length: expected 32, got 3", "invalid", None),
        ("failed to refresh media connections: info query timed out", "timeout", None),
    ],
)
def test_a_failed_download_tells_whether_to_try_again(
    text: str, reason: str, code: int | None
) -> None:
    failure = download_failure(text)
    assert (failure.reason, failure.code) == (reason, code)


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError(b"caf\xc3\xa9"), "café"), (ValueError("x"), "x"), (ValueError(), "")],
)
def test_the_clients_texts_come_as_bytes_or_not(error: Exception, text: str) -> None:
    assert cause_of(error) == text


@pytest.mark.parametrize(
    ("text", "by_proxy", "cause"),
    [
        ("dial tcp: lookup web.whatsapp.com: no such host", False, "network"),
        ("failed to open database: disk I/O error", True, "key_store"),
        ("socks connect tcp 10.0.0.1:1080: authentication failed", True, "proxy"),
        ("proxyconnect tcp: dial tcp 10.0.0.1:8080: refused", True, "proxy"),
        ("proxyconnect tcp: dial tcp 10.0.0.1:8080: refused", False, "network"),
    ],
)
def test_a_failed_connection_is_classified(text: str, by_proxy: bool, cause: str) -> None:
    assert connect_failure("ins_1", text, by_proxy=by_proxy).cause == cause


def test_a_failed_connection_never_quotes_what_may_be_a_proxys_password() -> None:
    text = 'Get "https://web.whatsapp.com": proxyconnect http://user:secret@10.0.0.1: refused'
    assert "secret" not in (connect_failure("ins_1", text, by_proxy=True).detail or "")

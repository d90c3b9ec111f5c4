"""Moments that clients give: their zone can lead beyond the years that there are."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from support.gateway import GatewayLab


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_beyond_every_calendar_is_refused(
    gateway_on_both: GatewayLab, moment: str
) -> None:
    check_refused(gateway_on_both, moment)


# As seconds since 1970 they would be times long gone: what is scheduled would go at once.
@pytest.mark.parametrize("moment", ["1790000000", "+1", "-1", "20300131", "2030-01-31", "tomorrow"])
def test_a_moment_is_a_date_and_a_time_and_no_number(gateway: GatewayLab, moment: str) -> None:
    check_refused(gateway, moment)


def check_refused(gateway: GatewayLab, moment: str) -> None:
    """Check that no operation takes a moment."""
    operator = gateway.register()  # the first one of an installation
    token = operator.token
    headers = {"X-Instance-Id": gateway.create_instance(operator)}
    for path, names in (
        ("/api/audit", ("since", "until")),
        ("/api/admin/audit", ("since", "until")),
        ("/api/messages", ("from", "to")),
        ("/api/stats", ("from", "to")),
    ):
        for name in names:
            answer = gateway.get(f"{path}?{name}={quote(moment)}", token=token)
            assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, name), path
    webhook = gateway.post("/api/webhooks", {"url": "https://example.com/"}, token=token).json
    now = "2030-01-01T00:00:00Z"
    text = {"to": "+15550199", "text": "x"}
    for path, body, pointer in (
        (f"/api/webhooks/{webhook['id']}/replay", {"from": moment, "to": now}, "#/from"),
        (f"/api/webhooks/{webhook['id']}/replay", {"from": now, "to": moment}, "#/to"),
        ("/api/messages/text", {**text, "sendAt": moment}, "#/sendAt"),
        ("/api/messages/text", {**text, "expiresAt": moment}, "#/expiresAt"),
        (
            "/api/keys",
            {"name": "k", "permissions": ["messages:read"], "expiresAt": moment},
            "#/expiresAt",
        ),
        (
            "/api/campaigns",
            {
                "name": "c",
                "template": "t",
                "instances": [headers["X-Instance-Id"]],
                "startAt": moment,
            },
            "#/startAt",
        ),
    ):
        answer = gateway.post(path, body, token=token, headers=headers)
        assert (answer.status, answer.pointers) == (422, [pointer]), path

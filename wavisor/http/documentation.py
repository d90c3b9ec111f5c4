"""The API's own description: the OpenAPI document, and a page that shows it.

The page's scripts come with the package (Swagger UI, see ``static/NOTICE.md``): nothing is
loaded from elsewhere.
"""

from __future__ import annotations

import asyncio

from wavisor.http.permissions import PUBLIC
from wavisor.http.routing import Call, Content, Reply, Router

__all__ = ["router"]

router = Router("documentation", "What this API offers.")

_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Wavisor API</title>
<link rel="icon" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
"""
# Swagger UI sets style attributes and shows icons as data URLs.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@router.route(
    "GET",
    "/openapi.json",
    operation="getOpenapi",
    summary="The OpenAPI document",
    access=PUBLIC,
    responses={200: Content(("application/json",))},
)
async def get_openapi(call: Call[None, None]) -> Reply:
    """Describes every operation of this API in OpenAPI 3.1."""
    application = call.application
    document = await asyncio.to_thread(lambda: application.document)
    return Reply(document, media_type="application/json")


@router.route(
    "GET",
    "/docs",
    operation="getDocs",
    summary="The documentation page",
    access=PUBLIC,
    responses={200: Content(("text/html; charset=utf-8",))},
)
async def get_docs(_: Call[None, None]) -> Reply:
    """Shows the OpenAPI document to people, with a form to try each operation."""
    return Reply(
        _PAGE,
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": _PAGE_POLICY},
    )

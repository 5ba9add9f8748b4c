"""`/docs`: the API's reference and a place to try it, without loading anything from another server."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from api.examples import IDEMPOTENCY_KEY
from config.settings import DEVELOPMENT_API_KEY, SANDBOX_STRIPE_KEY, Settings

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Paysaga API</title>
<link rel="stylesheet" href="docs/swagger-ui/swagger-ui.css">
<link rel="icon" href="docs/swagger-ui/favicon-32x32.png">
</head>
<body data-example-key="{example_key}" data-development-key="{development_key}">
<div id="docs"></div>
<script src="docs/swagger-ui/swagger-ui-bundle.js"></script>
<script src="docs/static/docs.js"></script>
</body>
</html>
"""

_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""What the browser may load and ask: this server. Swagger UI sets styles inline."""


def install(app: FastAPI, settings: Settings) -> None:
    """The page and its files; Swagger UI's own come from the package fastapi-swagger."""
    page = page_of(settings)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    app.mount("/docs/swagger-ui", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/docs/static", StaticFiles(directory=Path(__file__).parent / "static"))


def page_of(settings: Settings) -> str:
    """Where the PSP is the sandbox of this machine, the page is authorized with the development key already."""
    psp_key = settings.stripe_api_key
    local = psp_key is None or psp_key.get_secret_value() == SANDBOX_STRIPE_KEY
    return _PAGE.format(example_key=IDEMPOTENCY_KEY, development_key=DEVELOPMENT_API_KEY if local else "")

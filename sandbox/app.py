"""The application: Stripe's API under `/v1`, Twilio's messages, the control API under `/_control`, pages for people.

Start here. A `/v1` request goes through `api.py` (account, idempotency, faults, log) to an operation in
`routes.py`; operations change documents in `store.py` and emit `events.py`, which `webhooks.py` delivers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.routing import Route

from sandbox import books, control, pages, twilio
from sandbox.api import StripeApi
from sandbox.errors import ApiError
from sandbox.state import Sandbox
from sandbox.twilio import TwilioApi

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def create_app(sandbox: Sandbox) -> FastAPI:
    """The ASGI application around a sandbox; its lifespan runs the deliveries and timers."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(sandbox.courier.run()), asyncio.create_task(sandbox.timers.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            sandbox.store.close()

    app = FastAPI(title="Sandbox payment provider", lifespan=lifespan, docs_url="/_control/docs", redoc_url=None)
    app.state.sandbox = sandbox
    # Before the routers, and past FastAPI's own machinery: this is the hot path.
    app.router.routes.append(Route("/v1/{path:path}", StripeApi(sandbox), methods=METHODS))
    app.state.twilio = TwilioApi()
    app.router.routes.append(Route(twilio.PATH, app.state.twilio, methods=METHODS))
    app.include_router(twilio.router)
    app.include_router(control.router)
    app.include_router(books.router)
    app.include_router(pages.router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """200 while the server is up."""
        return {"status": "ok"}

    return app


async def _api_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """A control call that does not validate, in words."""
    assert isinstance(error, RequestValidationError | ValidationError)
    problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    return JSONResponse({"error": {"type": "invalid_request_error", "message": problems}}, 422)

"""The HTTP API. It translates; the process also hosts a worker of its own, so that a payment starts where it arrives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import health, history, merchant, payment, problems, webhook
from api.context import Principals
from api.strict import BodyLimit
from config.settings import Settings
from workers.services import open_services, register_search_attributes
from workers.worker import ActivitySet, payment_worker, running

DESCRIPTION = """
A payment system that a shop or marketplace runs itself.

* Amounts are decimal strings in major units: `"500.00"`.
* Every POST that moves money needs an `Idempotency-Key`: sending it again is always safe.
* Errors are `application/problem+json` with a stable `code`.
* A declined payment is a created payment: `201`, status `FAILED`, `failure.code`.
"""


def create_app(settings: Settings) -> FastAPI:
    """One per process. Its services live as long as the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, application="paysaga-api") as services:
            await register_search_attributes(services.temporal)
            app.state.services = services
            app.state.principals = Principals()
            workers = [payment_worker(services, ActivitySet(services))] if settings.api_worker else []
            async with running(workers):
                yield

    app = FastAPI(title="Paysaga", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    problems.install(app)
    app.add_middleware(BodyLimit, bytes_max=settings.api_max_body_bytes)
    for module in (payment, merchant, history, webhook, health):
        app.include_router(module.router)
    return app

"""The HTTP API. It translates; its process also hosts a worker, so that a payment starts where it arrives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from api import (
    audit_log,
    codec,
    docs,
    event_type,
    health,
    history,
    login,
    mailbox,
    openapi,
    problems,
    session,
    start,
    webhook,
)
from api.access import Principals
from api.cors import CrossOrigin, Origins
from api.dead_letter import routes as dead_letter
from api.deadline import Deadlines
from api.discrepancy import routes as discrepancy
from api.dispute import routes as dispute
from api.explain import routes as explain
from api.gate import Gate, Gates
from api.headers import AnswerHeaders
from api.jwt import verifier_of
from api.ledger import routes as ledger
from api.merchant import routes as merchant
from api.notification import routes as notification
from api.payment import routes as payment
from api.payout import routes as payout
from api.rate_limit import RateLimit
from api.reconciliation import files as settlement_files
from api.reconciliation import report as reconciliation_report
from api.reconciliation import routes as reconciliation
from api.refund import routes as refund
from api.request_counts import Counts
from api.retry_after import RetryAfter
from api.risk import routes as risk
from api.strict import BodyLimit, HeadAsGet
from api.webhook_endpoint import routes as webhook_endpoint
from config.settings import Settings
from runtime import collector
from runtime.temporal import register_search_attributes
from runtime.wiring import SettingMissing, open_runtime
from services.codec import Histories
from services.password import PasswordHasher
from services.session import Sessions
from workers.worker import payment_worker, running

_ROUTED = (
    payment,
    webhook,
    explain,
    refund,
    dispute,
    risk,
    merchant,
    payout,
    ledger,
    reconciliation,
    settlement_files,
    reconciliation_report,
    discrepancy,
    history,
    audit_log,
    session,
    login,
    event_type,
    webhook_endpoint,
    dead_letter,
    notification,
    codec,
    health,
)
"""Routers are tried in this order: those that are asked for most stand first."""


def create_app(settings: Settings) -> FastAPI:
    """One per process. Its runtime lives as long as the application. Raises SettingMissing."""
    tokens, counts = verifier_of(settings), _counts(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runtime(settings, application="paysaga-api") as runtime:
            await register_search_attributes(runtime.temporal)
            await counts.open()
            app.state.runtime = runtime
            app.state.principals = Principals()
            app.state.sessions = Sessions(
                runtime.database,
                runtime.keyring,
                PasswordHasher(settings.login_scrypt_n),
                timedelta(seconds=settings.session_life_s),
                timedelta(seconds=settings.session_idle_s),
            )
            app.state.origins = Origins()
            app.state.tokens = tokens
            app.state.histories = Histories(runtime.database, runtime.keyring)
            app.state.gates = Gates(settings, runtime.pace)
            workers = [payment_worker(runtime)] if settings.api_worker else []
            async with running(workers):
                collector.serve()
                yield

    app = FastAPI(
        title="Paysaga",
        version="1",
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    problems.install(app)
    openapi.install(app)
    docs.install(app, settings)
    start.install(app, settings)
    mailbox.install(app, settings)
    _guard(app, settings, counts)
    for module in _ROUTED:
        module.router.add_to(app)
    session.for_anybody.add_to(app)
    return app


def _guard(app: FastAPI, settings: Settings, counts: Counts) -> None:
    """Put in front of the routes what looks at every request, the innermost first."""
    app.add_middleware(Gate)
    larger = {
        "/v1/reconciliations/files": settings.reconcile_file_max_bytes,
        "/webhooks/": webhook.EVENT_BYTES_MAX,
        codec.PATH: codec.BYTES_MAX,
    }
    app.add_middleware(BodyLimit, bytes_max=settings.api_max_body_bytes, larger=larger)
    app.add_middleware(CrossOrigin)
    app.add_middleware(codec.CodecCors, settings=settings)
    app.add_middleware(RateLimit, settings=settings, counts=counts)
    app.add_middleware(Deadlines, longest_s=settings.api_begin_within_s)
    app.add_middleware(RetryAfter)
    app.add_middleware(AnswerHeaders)
    app.add_middleware(HeadAsGet)


def _counts(settings: Settings) -> Counts:
    """Raises SettingMissing where the Redis of the settings cannot be used."""
    url = settings.rate_limit_redis_url
    try:
        return Counts(url.get_secret_value() if url else None)
    except ValueError as error:
        raise SettingMissing(f"PAYSAGA_RATE_LIMIT_REDIS_URL is not usable: {error}.") from error

"""`/healthz`, `/readyz`, `/metrics`: for the machines that watch over this one."""

from datetime import timedelta

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST
from temporalio.service import RPCError

from api.context import RuntimeOf
from api.problems import problems
from api.routing import Router
from db.core.health import is_migrated
from domain.errors import Unavailable
from runtime.metrics import exposition

router = Router(tags=["operations"])


@router.get("/healthz", summary="The process is alive")
async def healthz() -> dict[str, str]:
    """It asks nothing of anybody else: a database that is down is no reason to restart this process."""
    return {"status": "ok"}


@router.get("/readyz", responses=problems(503), summary="The process can take payments")
async def readyz(runtime: RuntimeOf) -> dict[str, str]:
    """503 while PostgreSQL or Temporal does not answer, or while the schema is not this version's."""
    if not await is_migrated(runtime.database):
        raise Unavailable("The database schema is not of this version; run `paysaga migrate`.")
    try:
        await runtime.temporal.service_client.check_health(timeout=timedelta(seconds=2))
    except RPCError as error:
        raise Unavailable("Temporal does not answer.") from error
    return {"status": "ready"}


@router.get("/metrics", summary="Prometheus metrics", include_in_schema=False)
async def metrics() -> Response:
    """Where several processes serve the API, of all of them."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)

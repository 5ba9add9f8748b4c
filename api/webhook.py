"""`/webhooks/{psp}`: events of a PSP, signed by it."""

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel

from api.context import RuntimeOf, json_answer
from api.problems import problems
from api.routing import Router
from services import webhook

router = Router(tags=["webhooks"])

EVENT_BYTES_MAX = 2 * 1024 * 1024
"""No PSP says how large its events become; those with many lines and full metadata are some hundred kilobytes."""


class Received(BaseModel):
    received: bool = True


@router.post(
    "/webhooks/{psp}",
    response_model=Received,
    responses=problems(400, 404, 413, 503),
    summary="An event of a PSP, signed by it",
)
async def receive_webhook(
    psp: Annotated[str, Path(examples=["stripe"])], request: Request, runtime: RuntimeOf
) -> Response:
    """200 once it is stored, also for a duplicate, an unknown type or object, and what is another account's or of the
    other mode, which is kept and ignored, and at once for what can never matter: an event about a payment that has
    ended unpaid which tells of no money; 400 when it cannot be trusted or is no event; 503 when it cannot be stored,
    so that the PSP sends it again."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    await webhook.receive(runtime, psp, await request.body(), headers)
    return json_answer(Received())

"""`/v1/dead-letters`: what was given up, trying it again, and leaving it as it is."""

from typing import Annotated

from fastapi import Body, Path, Query, Request, Response

from api.access import DeadLettersReader, DeadLettersWriter, caller
from api.context import HEADERS, IdempotencyKey, RuntimeOf, headers, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.dead_letter import examples
from api.dead_letter.shapes import (
    DeadLetterCounts,
    DeadLetterDetail,
    DeadLetterList,
    DeadLetterReplayIn,
    DeadLetterReplayOut,
    DiscardIn,
    counts_out,
    letter_detail,
    letter_out,
    replay_out,
)
from api.history import Since, Until
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db.dead_letter import Wanted
from domain.dead_letter import LetterStatus, Source
from runtime.wiring import Runtime
from services.dead_letter import letters
from services.dead_letter.letters import Ended

router = Router(prefix="/v1", tags=["dead letters"], route_class=StrictRoute)

LetterId = Annotated[str, Path(description="`dl_…`", examples=["dl_01kb8x0000example000000000"])]
DONE = {"description": "Done", "headers": HEADERS}


@router.get("/dead-letters", response_model=DeadLetterList, responses=READ_PROBLEMS, summary="List what was given up")
async def list_dead_letters(
    who: DeadLettersReader,
    runtime: RuntimeOf,
    source: Annotated[Source | None, Query(examples=["webhook_deliveries"])] = None,
    error_class: Annotated[str | None, Query(max_length=255, examples=["http_503"])] = None,
    status: Annotated[LetterStatus | None, Query(examples=["OPEN"])] = None,
    object_id: Annotated[str | None, Query(max_length=255, description="what it is about")] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Events that the broker refuses, webhooks that a shop's endpoint never took, a PSP's events that nobody could
    use, workflows that get nowhere: the newest first. `since` and `until` are of the last error."""
    wanted = Wanted(source, error_class, status, object_id, since, until)
    before = decode("dead_letter", cursor)
    rows = await letters.page(runtime.database, caller(who), wanted, before=before, limit=limit + 1)
    following = encode("dead_letter", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(DeadLetterList(data=[letter_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/dead-letters/counts", response_model=DeadLetterCounts, responses=READ_PROBLEMS, summary="Count what is open"
)
async def count_dead_letters(who: DeadLettersReader, runtime: RuntimeOf) -> Response:
    """By source and error class, with the age of the oldest."""
    return json_answer(counts_out(await letters.counts(runtime.database, caller(who))))


@router.post(
    "/dead-letter-replays",
    response_model=DeadLetterReplayOut,
    responses={**WRITE_PROBLEMS, 200: {"description": "Tried again, or counted"}},
    summary="Try many again",
)
async def replay_dead_letters(
    request: Request,
    body: Annotated[DeadLetterReplayIn, Body(openapi_examples=examples.REPLAYS)],
    who: DeadLettersWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """The oldest first, `limit` of them at most and `rate_per_s` a second; the answer comes when that is done. What
    cannot be tried again now, as where an endpoint is disabled, stays open. Under the same key it goes on with the
    same ones. `dry_run` counts, and does not use up the key."""
    done = await letters.replay_many(
        runtime,
        caller(who),
        body.wanted,
        limit=body.limit,
        rate_per_s=body.rate_per_s,
        dry_run=body.dry_run,
        request=keyed(request, key, body),
    )
    return json_answer(replay_out(done))


@router.get(
    "/dead-letters/{letter_id}", response_model=DeadLetterDetail, responses=READ_PROBLEMS, summary="Show a dead letter"
)
async def show_dead_letter(letter_id: LetterId, who: DeadLettersReader, runtime: RuntimeOf) -> Response:
    """Its cause, how often it was tried, what it was to bring and what it concerns."""
    return json_answer(letter_detail(await letters.show(runtime.database, caller(who), letter_id)))


@router.post(
    "/dead-letters/{letter_id}/replay",
    response_model=DeadLetterDetail,
    responses={**WRITE_PROBLEMS, 200: DONE},
    summary="Try one again",
)
async def replay_dead_letter(
    request: Request, letter_id: LetterId, who: DeadLettersWriter, runtime: RuntimeOf, key: IdempotencyKey
) -> Response:
    """Under the same id as before, with all tries before it again: an event is published, a webhook is sent, a PSP's
    event goes to the sweeper, a workflow starts from its rows. If it fails again, that is a new dead letter. One that
    is not open is 409 `dead_letter_closed`."""
    done = await letters.replay(runtime, caller(who), letter_id, request=keyed(request, key, None))
    return await _ended(runtime, who, done)


@router.post(
    "/dead-letters/{letter_id}/discard",
    response_model=DeadLetterDetail,
    responses={**WRITE_PROBLEMS, 200: DONE},
    summary="Leave one as it is",
)
async def discard_dead_letter(
    request: Request,
    letter_id: LetterId,
    body: Annotated[DiscardIn, Body(openapi_examples=examples.DISCARDS)],
    who: DeadLettersWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """For a reason, which is kept with the name of whoever gave it. One that is not open is 409
    `dead_letter_closed`."""
    under = keyed(request, key, body)
    done = await letters.discard(runtime.database, caller(who), letter_id, body.reason, request=under)
    return await _ended(runtime, who, done)


async def _ended(runtime: Runtime, who: DeadLettersReader, done: Ended) -> Response:
    shown = await letters.show(runtime.database, caller(who), done.letter.id)
    return json_answer(letter_detail(shown), sent=headers(f"/v1/dead-letters/{done.letter.id}", replayed=done.replayed))

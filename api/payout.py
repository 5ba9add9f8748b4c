"""`/v1/payouts`: pay a seller now or on a schedule, and see what became of it and what it pays."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel

from api import examples
from api.context import (
    IdempotencyKey,
    MerchantsReader,
    MerchantsWriter,
    NoWait,
    PayoutsReader,
    PayoutsWriter,
    RuntimeOf,
    keyed,
)
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.fields import ClientId, DayIn
from api.merchant import SellerAccount, find_merchant
from api.paths import parameter
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.schemas.payout import PayoutDetail, PayoutIn, PayoutItemList, PayoutList, PayoutScheduleIn, PayoutScheduleOut
from api.strict import StrictRoute
from api.views.merchant import schedule_out
from api.views.payout import payout_detail, payout_item, payout_out
from db import merchant
from db.api_key import Principal
from db.core import idempotency
from db.core.database import LockTimeout
from db.core.idempotency import Claim
from db.ledger import wallet
from db.payout import lifecycle as payout_lifecycle
from db.payout import payout, release
from db.payout import schedule as payout_schedule
from db.payout.payout import NewPayout
from db.payout.record import Payout
from domain.errors import NotFound, Unavailable, Unprocessable
from domain.ids import CLIENT_ID, new_id
from domain.money import MoneyError, parse_major
from domain.payout import ReleaseFundsStep, next_due, next_run_day
from domain.status import PayoutStatus
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1/payouts", tags=["payouts"], route_class=StrictRoute)

ONE = "/" + parameter("payout_id", but="schedule")
PayoutId = Annotated[str, Path(description="`pt_…`", examples=["pt_01kafm6e8x7f5h9k3n1p4r6t8w"])]

HEADERS: dict[str, Any] = {
    "Location": {"description": "where to ask again", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if the key was seen before: this is the payout of then, in its present state",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
UNDER_WAY: dict[str, Any] = {
    "model": PayoutDetail,
    "description": "Stored, the amount taken out of the wallet, and on its way",
    "headers": HEADERS,
}


# --- asking for one ---


@router.post(
    "",
    response_model=PayoutDetail,
    status_code=202,
    responses={
        **WRITE_PROBLEMS,
        201: {
            "model": PayoutDetail,
            "description": "Ended already: PAID, or FAILED and the money in the wallet again",
            "headers": HEADERS,
        },
        202: UNDER_WAY,
    },
    summary="Pay a seller out",
)
async def create_payout(
    request: Request,
    body: Annotated[PayoutIn, Body(openapi_examples=examples.PAYOUTS)],
    who: PayoutsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
    wait_s: NoWait,
) -> Response:
    """All that is available, or a part of it. What is due is made available first, and what the seller owes is kept
    back. It leaves the wallet at once; the bank takes days, so the answer does not wait for it unless `Prefer: wait`
    says so."""
    hash_ = keyed(request, key, body).hash
    now = datetime.now(UTC)
    payout_id = new_id("pt")
    wish = Wish(who.tenant_id, body.seller_account, body.amount, body.currency, who.key_id)

    async def once(connection: Any) -> Claim:
        claim = await idempotency.claim(connection, who.tenant_id, key, hash_, payout_id)
        if not claim.replayed:
            await payout.request(connection, await new_payout(connection, runtime, payout_id, wish), now)
        return claim

    with contextlib.suppress(Unavailable):  # what is not made available now is so on its schedule
        await release_due(runtime, who.tenant_id, body.seller_account)
    try:
        claim = await runtime.database.run_patiently(once)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    with runtime.notifier.watch(claim.object_id) as changed:
        await _start(runtime, claim.object_id)
        row = await _outcome(runtime, claim.object_id, changed, wait_s)
    return await _answer(runtime, row, 201 if row.ended else 202, replayed=claim.replayed)


_RELEASE_PAGE = 100
_RELEASE_S = 0.3
_RELEASE_LOOK_S = 0.05


async def release_due(runtime: Runtime, tenant_id: str, seller_account: str) -> None:
    """What is due of this seller becomes available, as far as that is quick: the rest is released on its schedule.

    What another transaction is working on (a webhook is being stored) is looked at again.
    """
    now = datetime.now(UTC)
    step = ReleaseFundsStep(due_at=now, at=now, limit=_RELEASE_PAGE)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RELEASE_S
    while loop.time() < deadline:
        released = await runtime.database.run(lambda c: release.release(c, step, of=(tenant_id, seller_account)))
        if not released.more and not released.skipped:
            return
        await asyncio.sleep(0 if released.more else _RELEASE_LOOK_S)


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. `amount` in major units, None: all that is available."""

    tenant_id: str
    seller_account: str
    amount: str | None
    currency: str | None
    actor: str


async def new_payout(connection: Any, runtime: Runtime, payout_id: str, wish: Wish) -> NewPayout:
    """Raises NotFound; Unprocessable `currency_required`, or an amount's code."""
    seller = await merchant.get(connection, wish.tenant_id, wish.seller_account)
    currency = wish.currency or await _only_currency(connection, wish.tenant_id, wish.seller_account)
    return NewPayout(
        id=payout_id,
        tenant_id=wish.tenant_id,
        seller_account=seller["seller_account"],
        currency=currency,
        amount=_amount(runtime, wish.amount, currency),
        psp=runtime.psp.name,
        actor=wish.actor,
        send_for_s=runtime.send_for_s,
        fit=runtime.payable,
    )


async def _only_currency(connection: Any, tenant_id: str, seller_account: str) -> str:
    found = [row["currency"] for row in await wallet.of_seller(connection, tenant_id, seller_account)]
    if not found:
        raise Unprocessable("Nothing was ever credited to this seller.", code="nothing_to_pay_out")
    if len(found) > 1:
        detail = f"The wallet has several currencies, say which: {', '.join(found)}."
        raise Unprocessable(detail, code="currency_required")
    return str(found[0])


def _amount(runtime: Runtime, text: str | None, currency: str) -> int | None:
    """In minor units, as the PSP can move it; None: everything. Raises Unprocessable."""
    if text is None:
        return None
    try:
        amount = parse_major(text, currency)
    except MoneyError as error:
        raise Unprocessable(str(error), code=error.code) from error
    if amount <= 0:
        raise Unprocessable("An amount is above zero.", code="amount_not_positive")
    refusal = runtime.psp.check_payout(amount, currency)
    if refusal is not None:
        raise Unprocessable(refusal.message, code=refusal.code)
    return amount


async def _start(runtime: Runtime, payout_id: str) -> None:
    """The first request may have died between storing and starting; starting what runs already changes nothing."""
    row = await runtime.database.read(lambda c: payout.get(c, payout_id))
    if row.status is PayoutStatus.REQUESTED:
        await _told(runtime, row, fresh=True)


async def _told(runtime: Runtime, row: Payout, *, fresh: bool) -> None:
    """Tell its workflow, or start it. It is stored: where Temporal is slow or away the sweeper does it."""
    with contextlib.suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_START_S):
            await runtime.workflow_client.start_payout(row, fresh=fresh)


_LOOK_S = 0.5
_START_S = 0.5


async def _outcome(runtime: Runtime, payout_id: str, changed: asyncio.Event, wait_s: float) -> Payout:
    """The payout once it has ended, or as it is when the wait is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        row = await runtime.database.read(lambda c: payout.get(c, payout_id))
        left = deadline - loop.time()
        if row.ended or left <= 0:
            return row
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_LOOK_S, left)):
                await changed.wait()
        changed.clear()


async def _answer(runtime: Runtime, row: Payout, status: int, *, replayed: bool = False) -> Response:
    steps = await runtime.database.read(lambda c: payout.transitions(c, row.id))
    headers = {"Location": f"/v1/payouts/{row.id}"} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return _json(payout_detail(row, steps), status, headers)


def _json(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, "application/json")


# --- the schedule ---


@router.post("/schedule", response_model=PayoutScheduleOut, responses=WRITE_PROBLEMS, summary="Pay a seller regularly")
async def set_payout_schedule(
    body: Annotated[PayoutScheduleIn, Body(openapi_examples=examples.PAYOUT_SCHEDULES)],
    who: MerchantsWriter,
    runtime: RuntimeOf,
) -> Response:
    """The whole schedule, in place of the one of before. On a day that it means, the run pays all that is available,
    in each currency that reaches its minimum."""
    row = await runtime.database.run(
        lambda c: payout_schedule.put(c, who.tenant_id, body.seller_account, body.schedule, who.key_id)
    )
    return _scheduled(runtime, row)


@router.get(
    "/schedule/{seller_account}",
    response_model=PayoutScheduleOut,
    responses=READ_PROBLEMS,
    summary="Show a seller's payout schedule",
)
async def show_payout_schedule(seller_account: SellerAccount, who: MerchantsReader, runtime: RuntimeOf) -> Response:
    """When the seller is paid without asking, and when the next time is."""
    return _scheduled(runtime, await find_merchant(runtime, who, seller_account))


def _scheduled(runtime: Runtime, row: dict[str, Any]) -> Response:
    settings = runtime.settings
    following = None
    if payout_schedule.can_be_paid(row):
        day = next_run_day(datetime.now(UTC), settings.business_zone, settings.payout_run_at)
        following = next_due(payout_schedule.of(row), day)
    return _json(schedule_out(row, following))


# --- reading ---


@router.get("", response_model=PayoutList, responses=READ_PROBLEMS, summary="List the payouts")
async def list_payouts(
    who: PayoutsReader,
    runtime: RuntimeOf,
    seller_account: Annotated[ClientId | None, Query(examples=["seller_anna"])] = None,
    status: Annotated[PayoutStatus | None, Query(examples=["PAID"])] = None,
    business_date: Annotated[
        DayIn | None, Query(description="of the run that made them", examples=["2026-11-24"])
    ] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Newest first; of one seller, with one status, or made by the run of one date."""
    position = decode("payout", cursor)
    rows = await runtime.database.read(
        lambda c: payout.page(
            c,
            who.tenant_id,
            seller_account=seller_account,
            status=status.value if status else None,
            business_date=business_date,
            before=int(position) if position else None,
            limit=limit + 1,
        )
    )
    following = encode("payout", rows[limit - 1].seq) if len(rows) > limit else None
    return _json(PayoutList(data=[payout_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(ONE, response_model=PayoutDetail, responses=READ_PROBLEMS, summary="Show a payout")
async def show_payout(payout_id: PayoutId, who: PayoutsReader, runtime: RuntimeOf) -> Response:
    """Where it stands. A bank may return what was PAID, days later: then it is RETURNED, and the money in the wallet
    again."""
    row = await _find(runtime, who, payout_id)
    steps = await runtime.database.read(lambda c: payout.transitions(c, row.id))
    return _json(payout_detail(row, steps))


async def _find(runtime: Runtime, who: Principal, payout_id: str) -> Payout:
    known = CLIENT_ID.fullmatch(payout_id) is not None
    found = await runtime.database.read(lambda c: payout.find(c, who.tenant_id, payout_id)) if known else None
    if found is None:
        raise NotFound("There is no such payout.", code="payout_not_found")
    return found


@router.get(f"{ONE}/items", response_model=PayoutItemList, responses=READ_PROBLEMS, summary="List what a payout pays")
async def list_payout_items(
    payout_id: PayoutId,
    who: PayoutsReader,
    runtime: RuntimeOf,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Posting by posting, in the order in which they came into the wallet; together they are the payout's amount."""
    row = await _find(runtime, who, payout_id)
    after = int(decode("payout_item", cursor) or 0)
    items = await runtime.database.read(lambda c: payout.items(c, row.id, after=after, limit=limit + 1))
    following = encode("payout_item", items[limit - 1]["posting_seq"]) if len(items) > limit else None
    return _json(PayoutItemList(data=[payout_item(item) for item in items[:limit]], next_cursor=following))


# --- cancelling ---


@router.post(
    f"{ONE}/cancel",
    response_model=PayoutDetail,
    status_code=202,
    responses={
        **WRITE_PROBLEMS,
        200: {"model": PayoutDetail, "description": "CANCELLED already", "headers": HEADERS},
        202: {"model": PayoutDetail, "description": "Being cancelled, if it is not too late", "headers": HEADERS},
    },
    summary="Cancel a payout that the bank has not got",
)
async def cancel_payout(
    request: Request, payout_id: PayoutId, who: PayoutsWriter, runtime: RuntimeOf, key: IdempotencyKey
) -> Response:
    """The PSP is asked to stop it: then it ends CANCELLED and the money is in the wallet again; otherwise it goes on.
    One that has ended, or that could not be stopped before, is 409 `payout_not_cancellable`."""
    row = await _find(runtime, who, payout_id)
    hash_ = keyed(request, key, None).hash
    now = datetime.now(UTC)

    async def once(connection: Any) -> tuple[Payout, bool]:
        claim = await idempotency.claim(connection, who.tenant_id, key, hash_, row.id)
        if claim.replayed:
            return await payout.get(connection, row.id), True
        return await payout_lifecycle.request_cancel(connection, row.id, who.key_id, now), False

    try:
        found, replayed = await runtime.database.run(once)
    except LockTimeout as error:
        raise idempotency.in_progress(error) from error
    if not found.ended:
        await _told(runtime, found, fresh=not payout_lifecycle.listens(found))
    return await _answer(runtime, found, 200 if found.ended else 202, replayed=replayed)

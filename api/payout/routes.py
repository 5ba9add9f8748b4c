"""`/v1/payouts`: pay a seller now or on a schedule, and see what became of it and what it pays."""

from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, Response

from api import examples
from api.access import MerchantsReader, MerchantsWriter, PayoutsReader, PayoutsWriter, caller
from api.context import HEADERS, IdempotencyKey, NoWait, RuntimeOf, headers, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, FileLimit, decode, encode
from api.fields import ClientId, DayIn
from api.merchant.routes import SellerAccount
from api.paths import parameter
from api.payout.shapes import (
    PayoutDetail,
    PayoutIn,
    PayoutItemList,
    PayoutList,
    PayoutScheduleIn,
    PayoutScheduleOut,
    payout_detail,
    payout_item,
    payout_out,
    schedule_out,
)
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from api.tables import AsCsv, also_csv, file
from db.merchant import Merchant
from db.payout import request as payout_request
from db.payout.record import Payout, PayoutItem
from domain.status import PayoutStatus
from runtime.wiring import Runtime
from services import merchant as merchants
from services import payout as payouts
from services.pages import pages
from services.payout import PayoutRequest
from services.tables import ITEM_COLUMNS, PAYOUT_COLUMNS, item_csv, payout_csv

router = Router(prefix="/v1/payouts", tags=["payouts"], route_class=StrictRoute)

ONE = "/" + parameter("payout_id", but="schedule")
PayoutId = Annotated[
    str, Path(description="our id, `pt_…`, or the PSP's `tr_…` or `po_…`", examples=["pt_01kafm6e8x7f5h9k3n1p4r6t8w"])
]

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
    wanted = PayoutRequest(body.seller_account, body.amount, body.currency)
    done = await payouts.create(runtime, caller(who), wanted, request=keyed(request, key, body), wait_s=wait_s)
    return await _answer(runtime, done.payout, 201 if done.payout.ended else 202, replayed=done.replayed)


async def _answer(runtime: Runtime, row: Payout, status: int, *, replayed: bool = False) -> Response:
    detail = payout_detail(await payouts.shown(runtime.database, row.id))
    return json_answer(detail, status, headers(f"/v1/payouts/{row.id}", replayed=replayed))


# --- the schedule ---


@router.post("/schedule", response_model=PayoutScheduleOut, responses=WRITE_PROBLEMS, summary="Pay a seller regularly")
async def set_payout_schedule(
    body: Annotated[PayoutScheduleIn, Body(openapi_examples=examples.PAYOUT_SCHEDULES)],
    who: MerchantsWriter,
    runtime: RuntimeOf,
) -> Response:
    """The whole schedule, in place of the one of before. On a day that it means, the run pays all that is available,
    in each currency that reaches its minimum."""
    return _scheduled(
        runtime, await payouts.set_schedule(runtime.database, caller(who), body.seller_account, body.schedule)
    )


@router.get(
    "/schedule/{seller_account}",
    response_model=PayoutScheduleOut,
    responses=READ_PROBLEMS,
    summary="Show a seller's payout schedule",
)
async def show_payout_schedule(seller_account: SellerAccount, who: MerchantsReader, runtime: RuntimeOf) -> Response:
    """The days on which the seller is paid without asking, and the next of them."""
    return _scheduled(runtime, await merchants.find(runtime.database, caller(who), seller_account))


def _scheduled(runtime: Runtime, row: Merchant) -> Response:
    zone, run_at = runtime.settings.business_zone, runtime.settings.payout_run_at
    return json_answer(schedule_out(row, payouts.next_payout_on(row, zone=zone, run_at=run_at)))


# --- reading ---


@router.get(
    "", response_model=PayoutList, responses=READ_PROBLEMS | also_csv(PAYOUT_COLUMNS), summary="List the payouts"
)
async def list_payouts(
    who: PayoutsReader,
    runtime: RuntimeOf,
    seller_account: Annotated[ClientId | None, Query(examples=["seller_anna"])] = None,
    status: Annotated[PayoutStatus | None, Query(examples=["PAID"])] = None,
    business_date: Annotated[
        DayIn | None, Query(description="of the run that made them", examples=["2026-11-24"])
    ] = None,
    cursor: Cursor = None,
    limit: FileLimit = None,
    *,
    as_csv: AsCsv,
) -> Response:
    """Newest first; of one seller, with one status, or made by the run of one date."""
    position = decode("payout", cursor)

    async def read(before: int | None, count: int) -> list[Payout]:
        return await payouts.page(
            runtime.reports if as_csv else runtime.database,
            caller(who),
            seller_account=seller_account,
            status=status.value if status else None,
            business_date=business_date,
            before=before,
            limit=count,
        )

    before, size = int(position) if position else None, limit or LIMIT_DEFAULT
    if as_csv:
        found = pages(read, lambda row: row.seq, after=before, limit=limit)
        return await file("payouts.csv", found, payout_csv, PAYOUT_COLUMNS)
    rows = await read(before, size + 1)
    following = encode("payout", rows[size - 1].seq) if len(rows) > size else None
    return json_answer(PayoutList(data=[payout_out(row) for row in rows[:size]], next_cursor=following))


@router.get(ONE, response_model=PayoutDetail, responses=READ_PROBLEMS, summary="Show a payout")
async def show_payout(payout_id: PayoutId, who: PayoutsReader, runtime: RuntimeOf) -> Response:
    """Its status and history. A bank may return what was PAID, days later: then it is RETURNED, and the money in the
    wallet again."""
    row = await payouts.find(runtime.database, caller(who), payout_id)
    return json_answer(payout_detail(await payouts.shown(runtime.database, row.id)))


@router.get(
    f"{ONE}/items",
    response_model=PayoutItemList,
    responses=READ_PROBLEMS | also_csv(ITEM_COLUMNS),
    summary="List what a payout pays",
)
async def list_payout_items(
    payout_id: PayoutId,
    who: PayoutsReader,
    runtime: RuntimeOf,
    cursor: Cursor = None,
    limit: FileLimit = None,
    *,
    as_csv: AsCsv,
) -> Response:
    """Posting by posting, in the order in which they came into the wallet; together they are the payout's amount."""
    row = await payouts.find(runtime.database, caller(who), payout_id)

    async def read(after: int | None, count: int) -> list[PayoutItem]:
        return await runtime.reports.read(lambda c: payout_request.items(c, row.id, after=after or 0, limit=count))

    after, size = int(decode("payout_item", cursor) or 0), limit or LIMIT_DEFAULT
    if as_csv:
        found = pages(read, lambda item: item.posting_seq, after=after, limit=limit)
        return await file(f"payout-{row.id}.csv", found, item_csv, ITEM_COLUMNS)
    items = await read(after, size + 1)
    following = encode("payout_item", items[size - 1].posting_seq) if len(items) > size else None
    return json_answer(PayoutItemList(data=[payout_item(item) for item in items[:size]], next_cursor=following))


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
    done = await payouts.cancel(runtime, caller(who), payout_id, request=keyed(request, key, None))
    return await _answer(runtime, done.payout, 200 if done.payout.ended else 202, replayed=done.replayed)

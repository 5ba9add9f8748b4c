"""`/v1/transactions`: a buyer's or seller's history. `/v1/ledger/transactions`: the books."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from api.context import LedgerReader, PaymentsReader, ServicesOf
from api.cursor import LIMIT_DEFAULT, LIMIT_MAX, decode, encode
from api.problems import PROBLEMS
from api.schemas import HistoryEntry, HistoryList, LedgerList
from api.views import failure_out, ledger_out
from db import history, ledger
from domain.errors import Unprocessable
from domain.money import to_major
from domain.psp import Failure
from domain.status import Status

router = APIRouter(prefix="/v1", tags=["history"])

Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]


@router.get(
    "/transactions/{user_id}", response_model=HistoryList, responses=PROBLEMS, summary="What a buyer or seller did"
)
async def list_transactions(
    user_id: Annotated[str, Path(max_length=64, examples=["buyer_1"])],
    who: PaymentsReader,
    services: ServicesOf,
    role: Literal["buyer", "seller"] = "buyer",
    status: Status | None = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Payment orders, newest first. Somebody without any is an empty list."""
    before = decode("order", cursor)
    rows = await services.database.read(
        lambda c: history.orders_of(
            c,
            who.tenant_id,
            user_id,
            role=role,
            status=status.value if status else None,
            before=before,
            limit=limit + 1,
        )
    )
    following = encode("order", rows[limit - 1]["id"]) if len(rows) > limit else None
    page = HistoryList(data=[_entry(row) for row in rows[:limit]], next_cursor=following)
    return Response(page.model_dump_json(), media_type="application/json")


def _entry(row: dict[str, object]) -> HistoryEntry:
    failure = Failure.model_validate(row["failure"]) if row["failure"] else None
    amount, currency = row["amount"], str(row["currency"])
    assert isinstance(amount, int), "BIGINT"
    fields = {name: row[name] for name in HistoryEntry.model_fields if name in row}
    return HistoryEntry.model_validate(
        fields | {"amount": to_major(amount, currency), "failure": failure_out(failure), "next_action": None}
    )


@router.get("/ledger/transactions", response_model=LedgerList, responses=PROBLEMS, summary="The books, newest first")
async def list_ledger_transactions(
    who: LedgerReader,
    services: ServicesOf,
    payment_id: Annotated[str | None, Query(max_length=64)] = None,
    payment_order_id: Annotated[str | None, Query(max_length=64, description="our id, `po_…`")] = None,
    account: Annotated[str | None, Query(max_length=120, examples=["psp_clearing:stripe"])] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """By payment, order, account or time. Each transaction sums to zero per currency; a correction names what it
    corrects."""
    for text in (payment_id, payment_order_id, account):
        if text is not None and not text.isprintable():
            raise Unprocessable("The text has a character that cannot be stored.", code="text_invalid")
    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise Unprocessable("A time names its zone, such as 2026-11-20T00:00:00Z.", code="time_invalid")
    position = decode("ledger", cursor)
    if position is not None and not (position.isdigit() and len(position) < 19):
        raise Unprocessable("The cursor is not one of ours.", code="cursor_invalid")
    rows = await services.database.read(
        lambda c: ledger.page(
            c,
            who.tenant_id,
            payment_id=payment_id,
            order_id=payment_order_id,
            account=account,
            since=since,
            until=until,
            before=int(position) if position else None,
            limit=limit + 1,
        )
    )
    following = encode("ledger", rows[limit - 1]["seq"]) if len(rows) > limit else None
    page = LedgerList(data=[ledger_out(row) for row in rows[:limit]], next_cursor=following)
    return Response(page.model_dump_json(), media_type="application/json")

"""`/v1/transactions`: a buyer's or seller's history. `/v1/ledger/transactions`: the books."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from api.context import LedgerReader, PaymentsReader, ServicesOf
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.problems import READ_PROBLEMS
from api.schemas import HistoryEntry, HistoryList, LedgerList
from api.views import failure_out, ledger_out
from db import history, ledger
from domain.errors import Unprocessable
from domain.ids import is_client_id
from domain.money import to_major
from domain.psp import Failure
from domain.status import Status

router = APIRouter(prefix="/v1", tags=["history"])


def _moment(text: object) -> datetime:
    """RFC 3339 with a zone, in UTC; a bare number is no time here."""
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("time", "a time with its zone, such as 2026-11-20T00:00:00Z", {"code": "time_invalid"})


Moment = Annotated[datetime, BeforeValidator(_moment)]


@router.get(
    "/transactions/{user_id}", response_model=HistoryList, responses=READ_PROBLEMS, summary="What a buyer or seller did"
)
async def list_transactions(
    user_id: Annotated[str, Path(description="your own id of the buyer, or the seller_account", examples=["buyer_1"])],
    who: PaymentsReader,
    services: ServicesOf,
    role: Literal["buyer", "seller"] = "buyer",
    status: Status | None = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Payment orders, newest first. Somebody without any is an empty list."""
    before = decode("order", cursor)
    if not is_client_id(user_id):
        return _json(HistoryList(data=[], next_cursor=None))
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
    return _json(HistoryList(data=[_entry(row) for row in rows[:limit]], next_cursor=following))


def _json(page: HistoryList | LedgerList) -> Response:
    return Response(page.model_dump_json(), media_type="application/json")


def _entry(row: dict[str, object]) -> HistoryEntry:
    failure = Failure.model_validate(row["failure"]) if row["failure"] else None
    amount, currency = row["amount"], str(row["currency"])
    assert isinstance(amount, int), "BIGINT"
    fields = {name: row[name] for name in HistoryEntry.model_fields if name in row}
    return HistoryEntry.model_validate(
        fields | {"amount": to_major(amount, currency), "failure": failure_out(failure), "next_action": None}
    )


@router.get(
    "/ledger/transactions", response_model=LedgerList, responses=READ_PROBLEMS, summary="The books, newest first"
)
async def list_ledger_transactions(
    who: LedgerReader,
    services: ServicesOf,
    payment_id: Annotated[str | None, Query(max_length=64)] = None,
    payment_order_id: Annotated[str | None, Query(max_length=64, description="our id, `po_…`")] = None,
    account: Annotated[str | None, Query(max_length=120, examples=["psp_clearing:stripe"])] = None,
    since: Annotated[Moment | None, Query(description="from this moment on", examples=["2026-01-01T00:00:00Z"])] = None,
    until: Annotated[Moment | None, Query(description="before this moment", examples=["2099-01-01T00:00:00Z"])] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """By payment, order, account or time. Each transaction sums to zero per currency; a correction names what it
    corrects."""
    for text in (payment_id, payment_order_id, account):
        if text is not None and not text.isprintable():
            raise Unprocessable("The text has a character that cannot be stored.", code="text_invalid")
    position = decode("ledger", cursor)
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
    return _json(LedgerList(data=[ledger_out(row) for row in rows[:limit]], next_cursor=following))

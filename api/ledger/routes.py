"""`/v1/ledger/transactions`: the books. `/v1/ledger/accounts`: the trial balance, now or at a past moment.
`/v1/merchants/…/statement`: what a seller was credited and debited in a period, also as CSV."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api.context import LedgerReader, RuntimeOf, caller
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.fields import Currency
from api.history import Moment, Since, Until
from api.ledger.shapes import (
    AccountOut,
    LedgerList,
    StatementOut,
    TrialBalanceOut,
    account_out,
    ledger_out,
    side_out,
    statement_balances,
    statement_line,
    total_out,
)
from api.merchant.routes import SellerAccount
from api.problems import READ_PROBLEMS
from api.strict import StrictRoute
from db.ledger import posting, statement
from db.ledger.posting import Wanted
from db.ledger.statement import Period
from domain.errors import NotFound, Unprocessable
from domain.statement import STATEMENT_COLUMNS, Entry, Line, csv_line, statement_csv
from services import ledger
from services.ledger import StatementRequest

router = APIRouter(prefix="/v1", tags=["history"], route_class=StrictRoute)

_CSV = "text/csv"
_JSON = "application/json"

At = Annotated[
    Moment | None,
    Query(
        description="what was booked before this moment; left out: everything that is booked",
        examples=["2099-01-01T00:00:00Z"],
    ),
]


@router.get(
    "/ledger/transactions", response_model=LedgerList, responses=READ_PROBLEMS, summary="The books, newest first"
)
async def list_ledger_transactions(
    who: LedgerReader,
    runtime: RuntimeOf,
    payment_id: Annotated[str | None, Query(max_length=64)] = None,
    payment_order_id: Annotated[str | None, Query(max_length=64, description="our id, `po_…`")] = None,
    account: Annotated[str | None, Query(max_length=120, examples=["psp_clearing:stripe"])] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """By payment, order, account or time. Each transaction sums to zero per currency; a correction names what it
    corrects."""
    for text in (payment_id, payment_order_id, account):
        if text is not None and not text.isprintable():
            raise Unprocessable("The text has a character that cannot be stored.", code="text_invalid")
    wanted = Wanted(payment_id, payment_order_id, account, since, until)
    position = decode("ledger", cursor)
    rows = await runtime.database.read(
        lambda c: posting.page(c, who.tenant_id, wanted, before=int(position) if position else None, limit=limit + 1)
    )
    following = encode("ledger", rows[limit - 1].seq) if len(rows) > limit else None
    return _json(LedgerList(data=[ledger_out(row) for row in rows[:limit]], next_cursor=following))


@router.get("/ledger/accounts", response_model=TrialBalanceOut, responses=READ_PROBLEMS, summary="The trial balance")
async def list_accounts(
    who: LedgerReader,
    runtime: RuntimeOf,
    at: At = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Every account with its balance on its side, by currency and name, now or at a past moment. `totals` are of all
    accounts, not of the page, and stand on the first page: per currency, debit and credit are equal."""
    after = decode("account", cursor)
    currency, _, name = (after or "").partition("/")
    rows = await runtime.database.read(
        lambda c: statement.balances(
            c, tenant_id=who.tenant_id, at=at, after=(currency, name) if after else None, limit=limit + 1
        )
    )
    totals = await runtime.database.read(lambda c: statement.totals(c, who.tenant_id, at)) if after is None else None
    last = rows[limit - 1] if len(rows) > limit else None
    return _json(
        TrialBalanceOut(
            at=at,
            data=[account_out(row) for row in rows[:limit]],
            totals=[total_out(total) for total in totals] if totals is not None else None,
            next_cursor=encode("account", f"{last.currency}/{last.account}") if last else None,
        )
    )


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type=_JSON)


@router.get(
    "/ledger/accounts/{account}",
    response_model=AccountOut,
    responses=READ_PROBLEMS,
    summary="The balance of an account",
)
async def show_account(
    account: Annotated[
        str,
        Path(description="as in the books, such as `wallet:seller_anna:available`", examples=["psp_clearing:stripe"]),
    ],
    who: LedgerReader,
    runtime: RuntimeOf,
    at: At = None,
) -> Response:
    """In each of its currencies, now or at a past moment."""
    rows = (
        await runtime.database.read(lambda c: statement.balances(c, tenant_id=who.tenant_id, account=account, at=at))
        if account.isprintable()
        else []
    )
    if not rows:
        raise NotFound("There is no such account.", code="account_not_found")
    return _json(AccountOut(account=account, kind=rows[0].kind, at=at, balances=[side_out(row) for row in rows]))


@router.get(
    "/merchants/{seller_account}/statement",
    response_model=StatementOut,
    responses=READ_PROBLEMS
    | {
        200: {
            "content": {_CSV: {"schema": {"type": "string"}, "example": csv_line(STATEMENT_COLUMNS)}},
            "description": "as JSON, or as CSV where `format=csv` or `Accept: text/csv` asks for it",
        }
    },
    summary="A seller's statement of account",
)
async def show_statement(
    seller_account: SellerAccount,
    who: LedgerReader,
    runtime: RuntimeOf,
    since: Annotated[Moment, Query(alias="from", description="from this moment on", examples=["2026-01-01T00:00:00Z"])],
    until: Annotated[Moment, Query(alias="to", description="before this moment", examples=["2099-01-01T00:00:00Z"])],
    currency: Annotated[Currency, Query(description="ISO 4217", examples=["INR"])],
    form: Annotated[
        Literal["json", "csv"] | None,
        Query(alias="format", description="left out, `Accept` decides", examples=["json"]),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = _JSON,
) -> Response:
    """The opening balance, each movement of the seller's wallet with the balance after it, in the order in which they
    were booked, and the closing balance, which is the sum. `owed` is what the seller owes us, and `total` is what we
    owe, less that. Of a long period it is sent in parts; one that breaks off in the middle has no closing balance."""
    wanted = StatementRequest(seller_account, since, until, currency)
    (period,) = await ledger.periods(runtime.database, caller(who), wanted)
    entries = statement.statement(runtime.database.read, period)
    opening = await anext(entries)  # before an answer is begun: what fails here is still a problem
    if form == "csv" or (form is None and _wants_csv(accept)):
        name = f"statement-{period.seller_account}-{currency}-{since:%Y%m%d}-{until:%Y%m%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(_csv(opening, entries, currency), media_type=_CSV, headers=headers)
    return StreamingResponse(_as_json(opening, entries, period), media_type=_JSON)


def _wants_csv(accept: str) -> bool:
    """True if `text/csv` is asked for, and liked better than JSON (RFC 9110, 12.5.1)."""
    quality = {_CSV: 0.0, _JSON: 0.0}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in quality:
            weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
            quality[name] = _weight(weights[0]) if weights else 1.0
    return quality[_CSV] > quality[_JSON]


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


async def _csv(opening: Entry, entries: AsyncIterator[Entry], currency: str) -> AsyncIterator[str]:
    yield csv_line(STATEMENT_COLUMNS) + statement_csv(opening, currency)
    async for entry in entries:
        yield statement_csv(entry, currency)


async def _as_json(opening: Entry, entries: AsyncIterator[Entry], period: Period) -> AsyncIterator[str]:
    """The members of StatementOut, in the order in which they become known."""
    frame = StatementOut(
        seller_account=period.seller_account,
        currency=period.currency,
        since=period.since,
        until=period.until,
        opening=statement_balances(opening.balance, period.currency),
        lines=[],
        closing=statement_balances(opening.balance, period.currency),
    )
    head, lines, _ = frame.model_dump_json(by_alias=True).partition('"lines":[')
    yield head + lines
    comma = ""
    async for entry in entries:
        if isinstance(entry, Line):
            yield comma + statement_line(entry, period.currency).model_dump_json()
            comma = ","
        else:
            yield f'],"closing":{statement_balances(entry.balance, period.currency).model_dump_json()}}}'

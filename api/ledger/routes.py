"""`/v1/ledger/transactions`: the books. `/v1/ledger/accounts`: the trial balance, now or at a past moment.
`/v1/merchants/…/statement`: what a seller was credited and debited in a period, also as CSV."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import Path, Query, Response
from fastapi.responses import StreamingResponse

from api.access import LedgerReader, caller, tenant_of
from api.context import RuntimeOf, json_answer
from api.cursor import LIMIT_DEFAULT, Cursor, FileLimit, decode, encode
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
    statement_turnover,
    total_out,
)
from api.merchant.routes import SellerAccount
from api.problems import READ_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from api.tables import MEDIA_TYPES, AsCsv, also_csv, file
from db.core.snapshot import in_snapshot
from db.ledger import statement
from db.ledger.posting import BookedTransaction, Wanted
from db.ledger.statement import Period
from domain.errors import Unprocessable
from domain.statement import (
    STATEMENT_COLUMNS,
    TRIAL_BALANCE_COLUMNS,
    AccountBalance,
    Closing,
    Entry,
    Line,
    Turnover,
    csv_line,
    statement_csv,
    trial_balance_csv,
)
from services import ledger
from services.ledger import StatementRequest
from services.pages import pages
from services.tables import POSTING_COLUMNS, postings_csv

router = Router(prefix="/v1", tags=["history"], route_class=StrictRoute)

At = Annotated[
    Moment | None,
    Query(
        description="what was booked before this moment; left out: everything that is booked",
        examples=["2099-01-01T00:00:00Z"],
    ),
]


@router.get(
    "/ledger/transactions",
    response_model=LedgerList,
    responses=READ_PROBLEMS | also_csv(POSTING_COLUMNS),
    summary="The books, newest first",
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
    limit: FileLimit = None,
    *,
    as_csv: AsCsv,
) -> Response:
    """By payment, order, account or time. Each transaction sums to zero per currency; a correction names what it
    corrects. As CSV each posting is a line. A merchant sees the lines of its own wallet alone."""
    for text in (payment_id, payment_order_id, account):
        if text is not None and not text.isprintable():
            raise Unprocessable("The text has a character that cannot be stored.", code="text_invalid")
    wanted = Wanted(payment_id, payment_order_id, account, since, until)

    async def read(before: int | None, count: int) -> list[BookedTransaction]:
        return await ledger.transactions(runtime.reports, caller(who), wanted, before=before, limit=count)

    position = decode("ledger", cursor)
    before, size = int(position) if position else None, limit or LIMIT_DEFAULT
    if as_csv:
        found = pages(read, lambda row: row.seq, after=before, limit=limit)
        return await file("ledger.csv", found, postings_csv, POSTING_COLUMNS)
    rows = await read(before, size + 1)
    following = encode("ledger", rows[size - 1].seq) if len(rows) > size else None
    return json_answer(LedgerList(data=[ledger_out(row) for row in rows[:size]], next_cursor=following))


@router.get(
    "/ledger/accounts",
    response_model=TrialBalanceOut,
    responses=READ_PROBLEMS | also_csv(TRIAL_BALANCE_COLUMNS),
    summary="The trial balance",
)
async def list_accounts(
    who: LedgerReader,
    runtime: RuntimeOf,
    at: At = None,
    cursor: Cursor = None,
    limit: FileLimit = None,
    *,
    as_csv: AsCsv,
) -> Response:
    """Every account with its balance on its side, by currency and name, now or at a past moment. `totals` are of all
    accounts, not of the page, and stand on the first page: per currency, debit and credit are equal. It is about all
    sellers: a merchant is refused with 403."""
    tenant_id, after = tenant_of(who), decode("account", cursor)
    currency, _, name = (after or "").partition("/")

    async def read(count: int | None) -> list[AccountBalance]:
        place = (currency, name) if after else None
        return await in_snapshot(
            runtime.reports, lambda c: statement.balances(c, tenant_id=tenant_id, at=at, after=place, limit=count)
        )

    if as_csv:  # in one piece, so that its two sides are those of one moment
        return await file("trial-balance.csv", _once(await read(limit)), trial_balance_csv, TRIAL_BALANCE_COLUMNS)
    size = limit or LIMIT_DEFAULT
    rows = await read(size + 1)
    totals = await in_snapshot(runtime.reports, lambda c: statement.totals(c, tenant_id, at)) if after is None else None
    last = rows[size - 1] if len(rows) > size else None
    return json_answer(
        TrialBalanceOut(
            at=at,
            data=[account_out(row) for row in rows[:size]],
            totals=[total_out(total) for total in totals] if totals is not None else None,
            next_cursor=encode("account", f"{last.currency}/{last.account}") if last else None,
        )
    )


async def _once(rows: Sequence[AccountBalance]) -> AsyncIterator[Sequence[AccountBalance]]:
    yield rows


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
    rows = await ledger.balances(runtime.reports, caller(who), account, at)
    return json_answer(AccountOut(account=account, kind=rows[0].kind, at=at, balances=[side_out(row) for row in rows]))


@router.get(
    "/merchants/{seller_account}/statement",
    response_model=StatementOut,
    responses=READ_PROBLEMS | also_csv(STATEMENT_COLUMNS),
    summary="A seller's statement of account",
)
async def show_statement(
    seller_account: SellerAccount,
    who: LedgerReader,
    runtime: RuntimeOf,
    since: Annotated[Moment, Query(alias="from", description="from this moment on", examples=["2026-01-01T00:00:00Z"])],
    until: Annotated[Moment, Query(alias="to", description="before this moment", examples=["2099-01-01T00:00:00Z"])],
    currency: Annotated[Currency, Query(description="ISO 4217", examples=["INR"])],
    as_csv: AsCsv,
) -> Response:
    """The opening balance, each movement of the seller's wallet with gross, fee and net and the balance after it, in
    the order in which they were booked, their totals, and the closing balance, which is the sum. `owed` is what the
    seller owes us, and the balance's `total` is what we owe, less that. Of a long period it is sent in parts; one that
    breaks off in the middle has no closing balance."""
    wanted = StatementRequest(seller_account, since, until, currency)
    (period,) = await ledger.periods(runtime.reports, caller(who), wanted)
    entries = statement.statement(runtime.reports.read, period)
    opening = await anext(entries)  # before an answer is begun: what fails here is still a problem
    if as_csv:
        name = f"statement-{period.seller_account}-{currency}-{since:%Y%m%d}-{until:%Y%m%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(_csv(opening, entries, currency), media_type=MEDIA_TYPES["csv"], headers=headers)
    return StreamingResponse(_as_json(opening, entries, period), media_type=MEDIA_TYPES["json"])


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
        totals=statement_turnover(Turnover(), period.currency),
    )
    head, lines, _ = frame.model_dump_json(by_alias=True).partition('"lines":[')
    yield head + lines
    comma = ""
    async for entry in entries:
        if isinstance(entry, Line):
            yield comma + statement_line(entry, period.currency).model_dump_json()
            comma = ","
        elif isinstance(entry, Closing):
            closing = statement_balances(entry.balance, period.currency).model_dump_json()
            totals = statement_turnover(entry.turnover, period.currency).model_dump_json()
            yield f'],"closing":{closing},"totals":{totals}}}'

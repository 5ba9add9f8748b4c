"""The control API of the books, `/_control`: settlement files, and lies planted in them and at the bank."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from sandbox import bank, connected, planting, reports
from sandbox.context import Context
from sandbox.control import Caller, Here
from sandbox.errors import Doc
from sandbox.views import view

router = APIRouter(prefix="/_control")

Moment = Annotated[int, Query(ge=0, le=253_402_300_799)]


# --- settlement files -------------------------------------------------------------------------------------------


@router.get("/reports/itemized")
async def read_report(
    interval_start: Moment, interval_end: Moment, sandbox: Here, caller: Caller, account: str | None = None
) -> Response:
    """The balance changes of an interval as CSV; `account` chooses a connected account."""
    ctx = sandbox.context(connected.select(sandbox.store, caller, account))
    return Response(await reports.itemized(ctx, interval_start, interval_end), media_type="text/csv")


@router.get("/bank/statement")
async def read_statement(
    start: Annotated[Moment, Query(alias="from")],
    end: Annotated[Moment, Query(alias="to")],
    sandbox: Here,
    caller: Caller,
) -> Response:
    """The platform's bank statement as camt.053."""
    return Response(bank.statement(sandbox.context(caller), start, end), media_type="application/xml")


# --- lies in the provider's books --------------------------------------------------------------------------------


def _line(ctx: Context, line: Doc) -> Doc:
    return view(ctx, "balance_transactions", line)


@router.post("/balance_transactions", status_code=201)
async def plant_line(line: planting.Line, sandbox: Here, caller: Caller) -> Doc:
    """Add a balance transaction for nothing."""
    ctx = sandbox.context(caller)
    with sandbox.store.transaction():
        return _line(ctx, planting.plant(ctx, line))


@router.patch("/balance_transactions/{line_id}")
async def change_line(line_id: str, change: planting.Change, sandbox: Here, caller: Caller) -> Doc:
    """Change what a balance transaction reports, or hide it."""
    ctx = sandbox.context_of(caller, "balance_transactions", line_id)
    with sandbox.store.transaction():
        return _line(ctx, planting.change(ctx, ctx.load("balance_transactions", line_id), change))


@router.post("/balance_transactions/{line_id}/duplicate", status_code=201)
async def duplicate_line(line_id: str, sandbox: Here, caller: Caller) -> Doc:
    """Report a balance transaction twice."""
    ctx = sandbox.context_of(caller, "balance_transactions", line_id)
    with sandbox.store.transaction():
        return _line(ctx, planting.duplicate(ctx, ctx.load("balance_transactions", line_id)))


# --- lies at the bank --------------------------------------------------------------------------------------------


class BankChange(BaseModel):
    """A change of what the bank shows of a payout, in minor units; `null` shows the truth again."""

    model_config = ConfigDict(extra="forbid")

    amount: int | None = Field(None, ge=1)
    hidden: bool | None = None


@router.patch("/payouts/{payout_id}/bank")
async def change_bank(payout_id: str, change: BankChange, sandbox: Here, caller: Caller) -> Doc:
    """Have the bank statement show another amount for a payout of the platform, or nothing of it."""
    ctx = sandbox.context(caller)
    with sandbox.store.transaction():
        payout = ctx.load("payouts", payout_id)
        shown: Doc = payout.get("_bank", {}) | change.model_dump(exclude_unset=True)
        payout["_bank"] = {name: value for name, value in shown.items() if value is not None}
        ctx.store.update("payouts", payout)
    return {"payout": payout_id} | shown


class BankEntry(BaseModel):
    """An entry of the bank that no payout stands behind; `amount` in minor units."""

    model_config = ConfigDict(extra="forbid")

    amount: int = Field(ge=1)
    currency: str
    reference: str = Field("NOTPROVIDED", max_length=35, pattern=r"^[^\x00-\x1f]*$")
    text: str = Field("", max_length=140, pattern=r"^[^\x00-\x1f]*$")
    credit: bool = True
    at: int | None = Field(None, ge=0)


@router.post("/bank/entries", status_code=201)
async def plant_entry(entry: BankEntry, sandbox: Here, caller: Caller) -> Doc:
    """Plant a bank entry of nobody."""
    ctx = sandbox.context(caller)
    return bank.book(
        ctx,
        entry.amount,
        entry.currency.lower(),
        entry.reference,
        entry.text,
        credit=entry.credit,
        at=ctx.account.now if entry.at is None else entry.at,
    )

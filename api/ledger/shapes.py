"""The shapes of the books, of balances and of statements over HTTP."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from api.fields import Out
from db.ledger.posting import BookedTransaction
from domain.ledger import Posting
from domain.money import to_major
from domain.statement import AccountBalance, Balances, Line, Total, Turnover


class PostingOut(Out):
    account: str
    currency: str
    debit: str | None = None
    credit: str | None = None


class LedgerTransactionOut(Out):
    id: str
    object: Literal["ledger_transaction"] = "ledger_transaction"
    kind: str
    source_id: str
    payment_id: str | None
    payment_order_id: str | None
    corrects: str | None
    at: datetime
    postings: list[PostingOut]


class AccountBalanceOut(Out):
    """The balance of an account, on its side; both null: it is zero."""

    account: str = Field(examples=["wallet:seller_anna:available"])
    kind: str = Field(examples=["liability"])
    currency: str
    debit: str | None = None
    credit: str | None = None


class BalanceTotal(Out):
    currency: str
    debit: str
    credit: str


class TrialBalanceOut(Out):
    object: Literal["trial_balance"] = "trial_balance"
    at: datetime | None = Field(description="what was booked before it; null: everything")
    data: list[AccountBalanceOut]
    totals: list[BalanceTotal] | None = Field(description="of all accounts; null on every page but the first")
    next_cursor: str | None


class BalanceSide(Out):
    currency: str
    debit: str | None = None
    credit: str | None = None


class AccountOut(Out):
    object: Literal["ledger_account"] = "ledger_account"
    account: str
    kind: str
    at: datetime | None = Field(description="what was booked before it; null: everything")
    balances: list[BalanceSide]


class StatementBalances(Out):
    """A seller's wallet, or what a movement changed of it; `total` is what we owe, less what is `owed` to us."""

    pending: str
    available: str
    reserved: str
    owed: str
    total: str


class StatementTurnover(Out):
    gross: str
    fee: str
    net: str


class StatementLineOut(Out):
    at: datetime
    description: str = Field(examples=["sale"])
    kind: str = Field(description="of the ledger transaction", examples=["capture"])
    transaction_id: str
    payment_id: str | None
    order_id: str | None = Field(description="our id of the order")
    payment_order_id: str | None = Field(description="your own")
    reference: str | None = Field(description="the refund, dispute or payout that it is about")
    change: StatementBalances
    balance: StatementBalances = Field(description="after it")
    gross: str = Field(description="before the fee: of a sale what the buyer paid")
    fee: str = Field(description="what the platform and the PSP kept of it; below zero: gave back")
    net: str = Field(description="`gross` less `fee`: the `total` of the change")


class StatementOut(Out):
    model_config = ConfigDict(frozen=True, validate_by_name=True)

    object: Literal["statement"] = "statement"
    seller_account: str
    currency: str
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")
    opening: StatementBalances
    lines: list[StatementLineOut]
    closing: StatementBalances = Field(description="`opening` and the `change` of all lines")
    totals: StatementTurnover = Field(description="the sums of all lines")


class LedgerList(Out):
    object: Literal["list"] = "list"
    data: list[LedgerTransactionOut]
    next_cursor: str | None


# --- rows as answers ---


def ledger_out(row: BookedTransaction) -> LedgerTransactionOut:
    return LedgerTransactionOut(
        id=row.id,
        kind=row.kind,
        source_id=row.source_id,
        payment_id=row.payment_id,
        payment_order_id=row.order_id,
        corrects=row.corrects,
        at=row.at,
        postings=[_posting(line) for line in row.postings],
    )


def _posting(line: Posting) -> PostingOut:
    amount = to_major(abs(line.amount), line.currency)
    side = {"debit": amount} if line.amount > 0 else {"credit": amount}
    return PostingOut(account=line.account, currency=line.currency, **side)


def account_out(row: AccountBalance) -> AccountBalanceOut:
    return AccountBalanceOut(account=row.account, kind=row.kind, **side_out(row).model_dump())


def side_out(row: AccountBalance) -> BalanceSide:
    """The balance on its side; one of zero is on none."""
    sides = {"debit": row.debit, "credit": row.credit}
    amounts = {side: to_major(amount, row.currency) for side, amount in sides.items() if amount}
    return BalanceSide(currency=row.currency, **amounts)


def total_out(total: Total) -> BalanceTotal:
    sides = {"debit": to_major(total.debit, total.currency), "credit": to_major(total.credit, total.currency)}
    return BalanceTotal(currency=total.currency, **sides)


def statement_balances(of: Balances, currency: str) -> StatementBalances:
    return StatementBalances(**{n: to_major(getattr(of, n), currency) for n in StatementBalances.model_fields})


def statement_turnover(of: Turnover, currency: str) -> StatementTurnover:
    return StatementTurnover(**{n: to_major(getattr(of, n), currency) for n in StatementTurnover.model_fields})


def statement_line(line: Line, currency: str) -> StatementLineOut:
    amounts = {n: statement_balances(getattr(line, n), currency) for n in ("change", "balance")}
    moved = statement_turnover(line.turnover, currency).model_dump()
    return StatementLineOut.model_validate(
        {n: getattr(line, n) for n in StatementLineOut.model_fields if n not in amounts | moved} | amounts | moved
    )

"""Ledger: TODO docstring."""

from datetime import datetime
from typing import Literal

from pydantic import (
    ConfigDict,
    Field,
)

from api.fields import Out


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


class LedgerList(Out):
    object: Literal["list"] = "list"
    data: list[LedgerTransactionOut]
    next_cursor: str | None

"""Ledger: TODO docstring."""

from typing import Any

from api.schemas.ledger import (
    AccountBalanceOut,
    BalanceSide,
    BalanceTotal,
    LedgerTransactionOut,
    PostingOut,
    StatementBalances,
    StatementLineOut,
)
from domain.money import to_major
from domain.statement import AccountBalance, Balances, Line, Total


def ledger_out(row: dict[str, Any]) -> LedgerTransactionOut:
    return LedgerTransactionOut(
        id=row["id"],
        kind=row["kind"],
        source_id=row["source_id"],
        payment_id=row["payment_id"],
        payment_order_id=row["order_id"],
        corrects=row["corrects"],
        at=row["at"],
        postings=[_posting(line) for line in row["postings"]],
    )


def _posting(line: dict[str, Any]) -> PostingOut:
    amount = to_major(abs(line["amount"]), line["currency"])
    side = {"debit": amount} if line["amount"] > 0 else {"credit": amount}
    return PostingOut(account=line["account"], currency=line["currency"], **side)


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


def statement_line(line: Line, currency: str) -> StatementLineOut:
    amounts = {n: statement_balances(getattr(line, n), currency) for n in ("change", "balance")}
    return StatementLineOut.model_validate(
        {n: getattr(line, n) for n in StatementLineOut.model_fields if n not in amounts} | amounts
    )

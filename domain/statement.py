"""A statement of account and a trial balance: their entries, their terms, and how they are written as CSV.

Amounts are minor units here and decimal strings in major units in the CSV; times are ISO 8601 in UTC.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from domain.ledger import Kind
from domain.money import to_major

WORDS: dict[Kind, str] = {
    Kind.CAPTURE: "sale",
    Kind.CAPTURE_REVERSAL: "sale taken back",
    Kind.PSP_FEE: "fee of the payment provider",
    Kind.PSP_FEE_SELLER: "fee of the payment provider",
    Kind.PSP_FEE_SELLER_REVERSAL: "fee of the payment provider given back",
    Kind.SUSPENSE: "received, and not credited",
    Kind.SUSPENSE_REFUND: "refunded, and never credited",
    Kind.SUSPENSE_REFUND_REVERSAL: "refund of what was never credited came back",
    Kind.REFUND_RESERVE: "set aside for a refund",
    Kind.REFUND_RELEASE: "refund not made, given back",
    Kind.REFUND: "refunded to the buyer",
    Kind.REFUND_REVERSAL: "refund came back",
    Kind.DISPUTE_WITHDRAWN: "withdrawn for a dispute",
    Kind.DISPUTE_REINSTATED: "given back after a dispute",
    Kind.DISPUTE_FEE: "fee for a dispute",
    Kind.DISPUTE_RESERVE: "set aside for a dispute",
    Kind.DISPUTE_RELEASE: "dispute over, given back",
    Kind.DISPUTE_LOSS: "dispute lost",
    Kind.DISPUTE_LOSS_REVERSAL: "lost dispute decided anew",
    Kind.RELEASE: "became available",
    Kind.DEBT_RECOVERY: "kept back for what was owed",
    Kind.PAYOUT: "payout",
    Kind.PAYOUT_TRANSFER: "payout transferred",
    Kind.PAYOUT_PAID: "payout at the bank",
    Kind.PAYOUT_PAID_REVERSAL: "payout returned by the bank",
    Kind.PAYOUT_SETTLED: "payout settled otherwise",
    Kind.PAYOUT_TRANSFER_REVERSAL: "payout taken back",
    Kind.PAYOUT_REVERSAL: "payout given back",
    Kind.BANK_PAYOUT: "paid to our bank",
    Kind.BANK_PAYOUT_REVERSAL: "came back from our bank",
    Kind.ADJUSTMENT: "correction",
}


@dataclass(frozen=True)
class Balances:
    """A seller's wallet, or a change of it, in minor units. `owed` is what the seller owes us."""

    pending: int = 0
    available: int = 0
    reserved: int = 0
    owed: int = 0

    @property
    def total(self) -> int:
        """The sum that we owe the seller, all in all."""
        return self.pending + self.available + self.reserved - self.owed

    def __add__(self, other: "Balances") -> "Balances":
        return Balances(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Turnover:
    """The seller's money that a movement, or several of them, brought or took, in minor units: `net` is the change of
    the wallet's total, `fee` what of it the platform and the PSP kept (below zero: gave back)."""

    net: int = 0
    fee: int = 0

    @property
    def gross(self) -> int:
        """The sum before the fee: of a sale what the buyer paid."""
        return self.net + self.fee

    def __add__(self, other: "Turnover") -> "Turnover":
        return Turnover(self.net + other.net, self.fee + other.fee)


@dataclass(frozen=True)
class Opening:
    """The balance at the beginning of the period, `at`."""

    at: datetime
    balance: Balances


@dataclass(frozen=True)
class Line:
    """One ledger transaction, by what it changed and the balance after it. `reference`: the refund, dispute or payout
    that it is about; `payment_order_id`: the client's name of the order; `fee`: what the platform and the PSP kept."""

    at: datetime
    transaction_id: str
    kind: str
    payment_id: str | None
    order_id: str | None
    payment_order_id: str | None
    reference: str | None
    change: Balances
    balance: Balances
    fee: int = 0

    @property
    def turnover(self) -> Turnover:
        return Turnover(self.change.total, self.fee)

    @property
    def description(self) -> str:
        """The kind of the transaction as a seller understands it."""
        return words(self.kind)


@dataclass(frozen=True)
class Closing:
    """The balance at the end of the period, `at`: the opening one and all lines, of which `turnover` is the sum."""

    at: datetime
    balance: Balances
    turnover: Turnover = Turnover()


Entry = Opening | Line | Closing


@dataclass(frozen=True)
class AccountBalance:
    """The balance of an account in minor units, debit positive; `tenant_id` is None where the books of all tenants are
    one."""

    tenant_id: str | None
    account: str
    kind: str
    currency: str
    balance: int

    @property
    def debit(self) -> int:
        return max(0, self.balance)

    @property
    def credit(self) -> int:
        return max(0, -self.balance)


@dataclass(frozen=True)
class Total:
    """The totals of a trial balance in one currency: they are equal, or the books are wrong."""

    currency: str
    debit: int
    credit: int


def totals(rows: Iterable[AccountBalance]) -> list[Total]:
    """The totals of a trial balance, by currency."""
    sums: dict[str, tuple[int, int]] = {}
    for row in rows:
        debit, credit = sums.get(row.currency, (0, 0))
        sums[row.currency] = (debit + row.debit, credit + row.credit)
    return [Total(currency, *sums[currency]) for currency in sorted(sums)]


def words(kind: str) -> str:
    """The kind of a transaction as a seller understands it."""
    try:
        return WORDS[Kind(kind)]
    except ValueError:  # of a later release
        return kind.replace("_", " ")


# --- CSV (RFC 4180) ---

_PARTS = ("pending", "available", "reserved", "owed", "total")
_TURNOVER = ("gross", "fee", "net")

STATEMENT_COLUMNS = (
    "at", "description", "kind", "transaction_id", "payment_id", "order_id", "payment_order_id", "reference",
    "currency", *_PARTS, *(f"balance_{part}" for part in _PARTS), *_TURNOVER,
)  # fmt: skip
"""`pending` to `total` is what the line changed, `balance_…` is what there is after it; `gross` less `fee` is `net`,
which is the `total` of the change."""

TRIAL_BALANCE_COLUMNS = ("tenant_id", "account", "kind", "currency", "debit", "credit")


_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_FORMULA_STARTS = frozenset("=+-@\N{MINUS SIGN}")
_BLANK_CATEGORIES = frozenset({"Zs", "Cc", "Cf"})
_BLANK_STARTS = ("\t", "\r", "\n")


def csv_line(cells: Sequence[str | None]) -> str:
    """One line with its line break, quoted where needed; None is an empty cell. Every CSV that leaves Paysaga is made
    of these lines: no spreadsheet takes a cell of theirs for a formula, and numbers stay numbers."""
    written = io.StringIO()
    csv.writer(written).writerow([_harmless(cell or "") for cell in cells])
    return written.getvalue()


def _harmless(text: str) -> str:
    """Put an apostrophe before what begins as a formula does (https://owasp.org/www-community/attacks/CSV_Injection),
    also in another width, or behind blanks and characters that nobody sees, which some spreadsheets leave out."""
    if not text or text[0].isalnum() or _NUMBER.fullmatch(text):
        return text
    first = next((c for c in text if unicodedata.category(c) not in _BLANK_CATEGORIES), "")
    begins = text.startswith(_BLANK_STARTS) or unicodedata.normalize("NFKC", first) in _FORMULA_STARTS
    return f"'{text}" if begins else text


def moment(at: datetime) -> str:
    """ISO 8601 in UTC, such as `2026-03-10T12:00:00Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def statement_csv(entry: Entry, currency: str) -> str:
    """One line of the statement, before the last one that of the totals; see STATEMENT_COLUMNS."""
    balance = _amounts(entry.balance, currency, _PARTS)
    if isinstance(entry, Line):
        names = (entry.transaction_id, entry.payment_id, entry.order_id, entry.payment_order_id, entry.reference)
        what = [entry.description, entry.kind, *names]
        moved = _amounts(entry.turnover, currency, _TURNOVER)
        return csv_line(
            [moment(entry.at), *what, currency, *_amounts(entry.change, currency, _PARTS), *balance, *moved]
        )
    if isinstance(entry, Opening):
        return _sum_csv(entry.at, "opening balance", currency, balance=balance)
    totals = _amounts(entry.turnover, currency, _TURNOVER)
    return _sum_csv(entry.at, "totals", currency, moved=totals) + _sum_csv(
        entry.at, "closing balance", currency, balance=balance
    )


def _sum_csv(
    at: datetime, name: str, currency: str, *, balance: Sequence[str] = ("",) * 5, moved: Sequence[str] = ("",) * 3
) -> str:
    """A line that is about no transaction."""
    return csv_line([moment(at), name, *[""] * 6, currency, *[""] * len(_PARTS), *balance, *moved])


def _amounts(of: Balances | Turnover, currency: str, parts: Sequence[str]) -> list[str]:
    return [to_major(getattr(of, part), currency) for part in parts]


def trial_balance_csv(row: AccountBalance) -> str:
    """One line of the trial balance; see TRIAL_BALANCE_COLUMNS."""
    sides = [to_major(side, row.currency) if side else "" for side in (row.debit, row.credit)]
    return csv_line([row.tenant_id, row.account, row.kind, row.currency, *sides])

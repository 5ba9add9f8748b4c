"""The chart of accounts and the transactions that may be posted, each as a pure function from amounts to postings.

Signs: a debit is positive, a credit negative; a transaction sums to zero per currency.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from domain.model import Frozen


class Kind(StrEnum):
    """The kind of a ledger transaction; (kind, source_id) is unique, so each fact is booked once."""

    CAPTURE = "capture"
    CAPTURE_REVERSAL = "capture_reversal"
    PSP_FEE = "psp_fee"
    PSP_FEE_SELLER = "psp_fee_seller"
    PSP_FEE_SELLER_REVERSAL = "psp_fee_seller_reversal"
    SUSPENSE = "suspense"
    SUSPENSE_REFUND = "suspense_refund"
    SUSPENSE_REFUND_REVERSAL = "suspense_refund_reversal"
    REFUND_RESERVE = "refund_reserve"
    REFUND_RELEASE = "refund_release"
    REFUND = "refund"
    REFUND_REVERSAL = "refund_reversal"
    DISPUTE_WITHDRAWN = "dispute_withdrawn"
    DISPUTE_REINSTATED = "dispute_reinstated"
    DISPUTE_FEE = "dispute_fee"
    DISPUTE_RESERVE = "dispute_reserve"
    DISPUTE_RELEASE = "dispute_release"
    DISPUTE_LOSS = "dispute_loss"
    DISPUTE_LOSS_REVERSAL = "dispute_loss_reversal"
    RELEASE = "release"
    DEBT_RECOVERY = "debt_recovery"
    PAYOUT = "payout"
    PAYOUT_TRANSFER = "payout_transfer"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_PAID_REVERSAL = "payout_paid_reversal"
    PAYOUT_SETTLED = "payout_settled"
    PAYOUT_TRANSFER_REVERSAL = "payout_transfer_reversal"
    PAYOUT_REVERSAL = "payout_reversal"
    BANK_PAYOUT = "bank_payout"
    BANK_PAYOUT_REVERSAL = "bank_payout_reversal"
    ADJUSTMENT = "adjustment"


class Bucket(StrEnum):
    """The three parts of a seller's wallet, and what the seller owes us, which is an account of its own beside them."""

    PENDING = "pending"
    AVAILABLE = "available"
    RESERVED = "reserved"
    RECEIVABLE = "receivable"


class AccountKind(StrEnum):
    """The kind of an account, which says on which side its balance is normally."""

    ASSET = "asset"
    LIABILITY = "liability"
    REVENUE = "revenue"
    EXPENSE = "expense"


PLATFORM_FEES = "platform_fees"
PSP_FEES = "psp_fees"
SUSPENSE = "suspense"
DISPUTES_HELD = "disputes_held"
DISPUTE_LOSSES = "dispute_losses"
"""What is lost in a dispute and no seller bears: nothing of the payment was ever credited."""

PAYOUT_IN_TRANSIT = "payout_in_transit"
"""Left a wallet, and not yet with the seller."""
PAYOUT_FLOAT = "payout_float"
"""Transferred to a seller's account at the PSP, and not yet confirmed as paid."""
BANK = "bank"
ADJUSTMENTS = "adjustments"
"""What a reconciliation found and a person decided to bear."""


def psp_clearing(psp: str) -> str:
    """The account of what a PSP holds for us."""
    return f"psp_clearing:{psp}"


def wallet(seller_account: str, bucket: Bucket) -> str:
    """The account behind a bucket; a seller's debt is `receivable:{seller}`."""
    return f"receivable:{seller_account}" if bucket is Bucket.RECEIVABLE else f"wallet:{seller_account}:{bucket}"


def account_kind(account: str) -> AccountKind:
    """The kind of an account, from its name. Raises KeyError for a name that is not in the chart."""
    return {
        "psp_clearing": AccountKind.ASSET,
        "wallet": AccountKind.LIABILITY,
        "receivable": AccountKind.ASSET,
        "disputes_held": AccountKind.ASSET,
        "dispute_losses": AccountKind.EXPENSE,
        "suspense": AccountKind.LIABILITY,
        "platform_fees": AccountKind.REVENUE,
        "psp_fees": AccountKind.EXPENSE,
        "payout_in_transit": AccountKind.LIABILITY,
        "payout_float": AccountKind.ASSET,
        "bank": AccountKind.ASSET,
        "adjustments": AccountKind.EXPENSE,
    }[account.partition(":")[0]]


class Posting(Frozen):
    """One line: `amount` in minor units, debit positive."""

    account: str
    currency: str
    amount: int


class Transaction(Frozen):
    """A transaction to be posted. `source_id` is the id of ours, or the PSP's reference, that it books, once per
    kind."""

    kind: Kind
    source_id: str
    postings: tuple[Posting, ...]
    payment_id: str | None = None
    payment_order_id: str | None = None
    corrects: str | None = None


def _lines(currency: str, lines: Sequence[tuple[str, int]]) -> tuple[Posting, ...]:
    """Postings of one currency without the lines that are zero (a fee of nothing is no line)."""
    postings = tuple(Posting(account=a, currency=currency, amount=n) for a, n in lines if n)
    assert sum(p.amount for p in postings) == 0, "a transaction sums to zero"
    return postings


def capture(psp: str, seller: str, amount: int, platform_fee: int, currency: str) -> tuple[Posting, ...]:
    """Credit the seller and our fee, gross: psp_clearing / wallet pending and platform_fees."""
    return _lines(
        currency,
        [
            (psp_clearing(psp), amount),
            (wallet(seller, Bucket.PENDING), -(amount - platform_fee)),
            (PLATFORM_FEES, -platform_fee),
        ],
    )


def capture_to_suspense(seller: str, amount: int, platform_fee: int, currency: str) -> tuple[Posting, ...]:
    """Take a posted capture back: wallet pending and platform_fees / suspense; the refund then empties suspense."""
    return _lines(
        currency,
        [
            (wallet(seller, Bucket.PENDING), amount - platform_fee),
            (PLATFORM_FEES, platform_fee),
            (SUSPENSE, -amount),
        ],
    )


def capture_from_suspense(seller: str, amount: int, platform_fee: int, currency: str) -> tuple[Posting, ...]:
    """Credit the seller and our fee with money that was held: suspense / wallet pending and platform_fees."""
    return reversed_lines(capture_to_suspense(seller, amount, platform_fee, currency))


def to_suspense(psp: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Hold money that came in and cannot be credited: psp_clearing / suspense."""
    return _lines(currency, [(psp_clearing(psp), amount), (SUSPENSE, -amount)])


def refund_from_suspense(psp: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Refund money that was never credited: suspense / psp_clearing."""
    return _lines(currency, [(SUSPENSE, amount), (psp_clearing(psp), -amount)])


def psp_fee(psp: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Book the fee that the PSP withheld: psp_fees / psp_clearing."""
    return _lines(currency, [(PSP_FEES, amount), (psp_clearing(psp), -amount)])


def psp_fee_to_seller(seller: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Charge the PSP's fee to the seller: wallet pending / psp_fees."""
    return _lines(currency, [(wallet(seller, Bucket.PENDING), amount), (PSP_FEES, -amount)])


def reserve(seller: str, parts: Mapping[Bucket, int], currency: str) -> tuple[Posting, ...]:
    """Set money of the seller's aside: `parts` (pending, available, receivable) / wallet reserved."""
    taken = [(wallet(seller, bucket), amount) for bucket, amount in parts.items()]
    return _lines(currency, [*taken, (wallet(seller, Bucket.RESERVED), -sum(parts.values()))])


def refund(psp: str, seller: str, reserved: int, platform_fee: int, currency: str) -> tuple[Posting, ...]:
    """Book a refund that the buyer has: wallet reserved, and platform_fees as far as it is returned / psp_clearing."""
    return _lines(
        currency,
        [
            (wallet(seller, Bucket.RESERVED), reserved),
            (PLATFORM_FEES, platform_fee),
            (psp_clearing(psp), -(reserved + platform_fee)),
        ],
    )


def dispute_withdrawn(psp: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Book money that the buyer's bank took, and that we claim back: disputes_held / psp_clearing."""
    return _lines(currency, [(DISPUTES_HELD, amount), (psp_clearing(psp), -amount)])


def dispute_loss(seller: str, parts: Mapping[Bucket, int], fee: int, currency: str) -> tuple[Posting, ...]:
    """Charge the loss to the seller and, of `parts`, the PSP's `fee`: wallet, receivable / disputes_held, psp_fees."""
    taken = [(wallet(seller, bucket), amount) for bucket, amount in parts.items()]
    return _lines(currency, [*taken, (DISPUTES_HELD, fee - sum(parts.values())), (PSP_FEES, -fee)])


def dispute_loss_of_ours(amount: int, currency: str) -> tuple[Posting, ...]:
    """Bear a loss that no seller bears: dispute_losses / disputes_held."""
    return _lines(currency, [(DISPUTE_LOSSES, amount), (DISPUTES_HELD, -amount)])


def release(seller: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Make money available to the seller: wallet pending / wallet available."""
    return _lines(currency, [(wallet(seller, Bucket.PENDING), amount), (wallet(seller, Bucket.AVAILABLE), -amount)])


def debt_recovery(seller: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Keep back what the seller owes us: wallet available / receivable."""
    return _lines(currency, [(wallet(seller, Bucket.AVAILABLE), amount), (wallet(seller, Bucket.RECEIVABLE), -amount)])


def payout(seller: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Take a payout out of the wallet: wallet available / payout_in_transit."""
    return _lines(currency, [(wallet(seller, Bucket.AVAILABLE), amount), (PAYOUT_IN_TRANSIT, -amount)])


def payout_transfer(psp: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Book a transfer to the seller's account at the PSP: payout_float / psp_clearing."""
    return _lines(currency, [(PAYOUT_FLOAT, amount), (psp_clearing(psp), -amount)])


def payout_paid(amount: int, currency: str) -> tuple[Posting, ...]:
    """Book a payout that is at the seller's bank: payout_in_transit / payout_float."""
    return _lines(currency, [(PAYOUT_IN_TRANSIT, amount), (PAYOUT_FLOAT, -amount)])


def bank_payout(psp: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """Book what the PSP pays to our own bank: bank / psp_clearing."""
    return _lines(currency, [(BANK, amount), (psp_clearing(psp), -amount)])


def reversed_lines(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    """The same postings with the opposite sign."""
    return tuple(p.model_copy(update={"amount": -p.amount}) for p in postings)


def wallet_changes(postings: Sequence[Posting]) -> dict[tuple[str, str, Bucket], int]:
    """The changes of wallets by these postings: (seller, currency, bucket) → change of what we owe the seller (credit
    is plus), or, of the receivable, of what the seller owes us (debit is plus)."""
    changes: dict[tuple[str, str, Bucket], int] = {}
    for posting in postings:
        kind, _, rest = posting.account.partition(":")
        if kind not in ("wallet", "receivable"):
            continue
        seller, _, bucket = rest.partition(":")
        wallet_of = (seller, posting.currency, Bucket(bucket or kind))
        changes[wallet_of] = changes.get(wallet_of, 0) + (posting.amount if kind == "receivable" else -posting.amount)
    return changes

"""Movements of money as the other side lists them: on our account at the PSP, and on our bank account."""

from datetime import datetime
from enum import StrEnum

from domain.model import Frozen


class PspLineKind(StrEnum):
    """The kind of a movement on our account at the PSP."""

    CHARGE = "charge"
    REFUND = "refund"
    REFUND_FAILURE = "refund_failure"
    DISPUTE = "dispute"
    DISPUTE_REVERSAL = "dispute_reversal"
    TRANSFER = "transfer"
    TRANSFER_REVERSAL = "transfer_reversal"
    PAYOUT = "payout"
    """From our account at the PSP to our own bank."""
    PAYOUT_REVERSAL = "payout_reversal"
    FEE = "fee"
    """A fee that belongs to no other line."""
    OTHER = "other"


class PspLine(Frozen):
    """One movement on our account at the PSP, in minor units: `amount` < 0 went out, `fee` > 0 was kept by the PSP; the
    balance changed by `amount - fee`.

    `reference` is the PSP's name of the movement, `source_reference` that of the object behind it, `charge_reference`
    that of the charge which it belongs to, as we stored it. `our_reference` is the id of ours that the object carries:
    of our charge, refund or payout. `trace_id` is the bank's own reference of a payout to our bank.
    """

    reference: str
    kind: PspLineKind
    amount: int
    fee: int
    currency: str
    occurred_at: datetime
    available_on: datetime | None = None
    source_reference: str | None = None
    charge_reference: str | None = None
    our_reference: str | None = None
    description: str | None = None
    trace_id: str | None = None


class PspLines(Frozen):
    """One page of movements. `cursor`: where the next one begins; None at the end. `reason`: why there is no answer,
    then `lines` is empty and the same page is to be asked for again."""

    lines: tuple[PspLine, ...] = ()
    cursor: str | None = None
    reason: str | None = None


class BankLine(Frozen):
    """One booked entry of our bank account, in minor units: `amount` < 0 went out. `references`: every name that the
    statement gives it (end-to-end id, the bank's own reference, words of the remittance text)."""

    reference: str
    amount: int
    currency: str
    booked_at: datetime
    references: tuple[str, ...] = ()
    text: str | None = None

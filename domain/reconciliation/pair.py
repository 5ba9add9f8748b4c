"""The pair that a rule judges: a line of the other side, and what belongs to it here; and what is found about it.

A finding is known again in later runs by its fingerprint, which names what is broken and not how.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from domain.ids import is_ours
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.reconciliation import Fix, LineClass, MatchedBy, Subject

BANK_DAYS = 5


@dataclass(frozen=True, slots=True)
class Terms:
    """The time that either side has before something missing is a break, at the time `at`.

    `booking_grace_s`: for us to book what the PSP lists. `listing_grace_s`: for the PSP to list what we booked.
    `bank_days`: working days until a payout is on the bank's statement. `pending_s`: for a refund to be pending at the
    PSP, which takes the money when it starts.
    """

    at: datetime
    booking_grace_s: float = 3_600
    listing_grace_s: float = 172_800
    bank_days: int = BANK_DAYS
    pending_s: float = 1_209_600


@dataclass(frozen=True, slots=True)
class Line:
    """The other side's line, in minor units; `amount` with the parts that were taken back of it, whose names are
    `parts`. `alone`: it is such a part itself, and its first line is not known."""

    run_id: str
    line_no: int
    reference: str
    amount: int
    fee: int
    currency: str
    occurred_at: datetime
    source_reference: str | None = None
    charge_reference: str | None = None
    our_reference: str | None = None
    parts: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Booked:
    """A posting of ours, on the account of the other side."""

    amount: int
    currency: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One line and what belongs to it here, as far as there is any.

    `key` names it here: our id, or the PSP's name of the movement. `record_*` is what our record says, with the sign
    that the line has. `undone`: a refund and its failure, which are both listed and come to nothing. `unrelated`: an
    entry of our bank that is not the PSP's. `called`: the name on the bank's entry that it was matched by. `alike`: how
    many lines and how many records of ours a guess had to choose among. `confirmed`: an earlier run has matched them,
    by `how`. `corrected` and `fee_corrected` are corrections
    that people have booked (currency → minor units), on top of `booked` and `fee`.
    """

    subject: Subject
    kind: str
    key: str
    tenant_id: str
    line: Line | None = None
    booked: Booked | None = None
    fee: Booked | None = None
    how: MatchedBy | None = None
    object_id: str | None = None
    payment_id: str | None = None
    payment_status: str | None = None
    record_amount: int | None = None
    record_currency: str | None = None
    record_status: str | None = None
    record_at: datetime | None = None
    duplicate_of: str | None = None
    undone: bool = False
    unrelated: bool = False
    called: str | None = None
    alike: tuple[int, int] = (1, 1)
    confirmed: bool = False
    corrected: Mapping[str, int] = field(default_factory=dict)
    fee_corrected: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The object behind it in a sentence, and whose name that is: ids of ours and of a PSP may begin alike."""
        name = self.object_id or self.payment_id or self.key
        return f"our {name}" if is_ours(name) else f"the PSP's {name}"

    @property
    def known(self) -> bool:
        """True if there is a record of ours behind it."""
        return self.object_id is not None


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement of a pair.

    `differences`, by currency: the other side's amount less the ledger's with every correction; empty where a
    correction has set it right, which is then `settled`.
    """

    fingerprint: str
    cls: LineClass
    reason: str
    due_at: datetime | None = None
    fix: Fix | None = None
    differences: Mapping[str, int] = field(default_factory=dict)
    settled: bool = False

    @property
    def currency(self) -> str | None:
        """The currency of the difference; None unless there is exactly one."""
        return next(iter(self.differences)) if len(self.differences) == 1 else None

    @property
    def difference(self) -> int | None:
        """The difference in minor units; None unless there is exactly one currency."""
        return self.differences[self.currency] if self.currency is not None else None


def fingerprint(pair: Pair) -> str:
    """The name of what is broken, the same in every run. A line that belongs to nothing here goes by its own name."""
    if pair.subject is Subject.BANK:
        return f"bank:{pair.kind}:{pair.key}"
    by_line = pair.line is not None and (_belongs_to_nothing(pair) or pair.line.alone)
    return f"line:{pair.line.reference}" if by_line and pair.line is not None else f"{pair.kind}:{pair.key}"


def fingerprints(pair: Pair) -> list[str]:
    """Every fingerprint under which this pair may have been found and corrected before."""
    line = pair.line
    if pair.duplicate_of is not None and line is not None:
        own = [] if pair.duplicate_of == line.reference else [f"line:{line.reference}"]
        return [f"duplicate:{line.reference}", *own]
    if pair.kind == PspLineKind.FEE:
        return [f"fee:{line.reference if line is not None else pair.key}"]
    names = [fingerprint(pair)]
    if pair.subject is Subject.BANK:
        return [*names, f"bank:bank:{line.reference}"] if line is not None else names
    if line is not None:
        if pair.kind in _REFUNDS and line.our_reference not in (None, pair.key):
            names.append(f"{pair.kind}:{line.our_reference}")  # before that record gave the PSP's refund away
        names += [f"line:{name}" for name in (line.reference, *line.parts)] + [f"fee:{line.reference}"]
    elif pair.fee is not None:
        names.append(f"fee:{pair.key}")
    return list(dict.fromkeys(names))


_REFUNDS = (PspLineKind.REFUND, PspLineKind.REFUND_FAILURE)


def _belongs_to_nothing(pair: Pair) -> bool:
    keyed = (PspLineKind.DISPUTE, PspLineKind.DISPUTE_REVERSAL, PspLineKind.PAYOUT, PspLineKind.PAYOUT_REVERSAL)
    return not pair.known and pair.booked is None and pair.kind not in keyed

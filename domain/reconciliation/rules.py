"""What a line, our record and the ledger are to each other: pure rules over a pair that the matching set side by side.

The matching itself (which line belongs to which record) is done in SQL, and what is plainly equal never comes here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from domain.calendar import working_days_after
from domain.psp import PspLineKind
from domain.reconciliation.reconciliation import Fix, LineClass, MatchedBy, Subject, shown
from domain.status import PAYOUT_GIVEN_BACK, TERMINAL, PayoutStatus, RefundStatus, Status

BANK_DAYS = 5


@dataclass(frozen=True, slots=True)
class Terms:
    """When a break is one. `here_s`: how long we may take to hear of what the PSP lists; `there_s`: how long the PSP
    may take to list what we booked; `bank_days`: working days until a payout is on the statement; `pending_s`: how long
    a refund may be pending at the PSP, which takes the money when it starts."""

    at: datetime
    here_s: float = 3_600
    there_s: float = 172_800
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
    """What the ledger says, on the account of the other side."""

    amount: int
    currency: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One line and what belongs to it here, as far as there is any. `key`: what names it here (our id, or the PSP's
    name of the movement); `record_*`: our record's own word, with the sign that the line has. `undone`: a refund and
    its failure, which are both listed and come to nothing. `unrelated`: an entry of our bank that is not the PSP's.
    `corrected`, `fee_corrected`: what people have booked about it (currency → minor units), on top of `booked` and
    `fee`."""

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
    corrected: Mapping[str, int] = field(default_factory=dict)
    fee_corrected: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a person calls it: the object of ours."""
        return self.object_id or self.payment_id or self.key

    @property
    def known(self) -> bool:
        """There is a record of ours behind it."""
        return self.object_id is not None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pair turned out to be. `differences`: what the other side says less what the ledger says with every
    correction, by currency; nothing where a correction has set it right, which is then `settled`."""

    fingerprint: str
    cls: LineClass
    reason: str
    due_at: datetime | None = None
    fix: Fix | None = None
    differences: Mapping[str, int] = field(default_factory=dict)
    settled: bool = False

    @property
    def currency(self) -> str | None:
        """Of the difference, where there is one of one currency."""
        return next(iter(self.differences)) if len(self.differences) == 1 else None

    @property
    def difference(self) -> int | None:
        return self.differences[self.currency] if self.currency is not None else None


def judge(pair: Pair, terms: Terms) -> list[Finding]:
    """One finding about the movement itself, and one about its fee where that is not as it should be. A pair that is
    matched by less than our own reference is a finding as well; one that is plainly matched has none."""
    if pair.unrelated:
        reason = "Not of the PSP: it names no payout of it, and is like none that we booked."
        return [Finding(fingerprint(pair), LineClass.UNRELATED, reason)]
    if pair.duplicate_of is not None:
        return [_less(_duplicate(pair, terms), pair.corrected)]
    main = None if pair.kind == PspLineKind.FEE else _movement(pair, terms)
    # Where the whole movement is of another currency, or is not there on one side, its fee says nothing new.
    with_fee = main is None or (pair.booked is not None and main.cls is not LineClass.CURRENCY)
    fee = _fee(pair, terms) if with_fee else None
    corrected = pair.corrected if with_fee else _sum(pair.corrected, pair.fee_corrected)
    found = [
        _less(main, corrected) if main is not None else _overdone(pair, fingerprint(pair), corrected, terms),
        _less(fee, pair.fee_corrected) if fee is not None else _fee_overdone(pair, terms) if with_fee else None,
    ]
    broken = [finding for finding in found if finding is not None]
    if not broken and pair.line is not None and pair.how not in (None, MatchedBy.REFERENCE):
        return [_matched(pair)]
    return broken


def fingerprint(pair: Pair) -> str:
    """Of what is broken, not of how: the same in every run. What is nobody's here goes by the line's own name."""
    if pair.subject is Subject.BANK:
        return f"bank:{pair.kind}:{pair.key}"
    by_line = pair.line is not None and (_nobodys(pair) or pair.line.alone)
    return f"line:{pair.line.reference}" if by_line and pair.line is not None else f"{pair.kind}:{pair.key}"


def fingerprints(pair: Pair) -> list[str]:
    """Every one under which this pair may have been broken before, and corrected."""
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
        names += [f"line:{name}" for name in (line.reference, *line.parts)] + [f"fee:{line.reference}"]
    elif pair.fee is not None:
        names.append(f"fee:{pair.key}")
    return list(dict.fromkeys(names))


def _nobodys(pair: Pair) -> bool:
    keyed = (PspLineKind.DISPUTE, PspLineKind.DISPUTE_REVERSAL, PspLineKind.PAYOUT, PspLineKind.PAYOUT_REVERSAL)
    return not pair.known and pair.booked is None and pair.kind not in keyed


# --- the movement ---


def _movement(pair: Pair, terms: Terms) -> Finding | None:
    if pair.line is not None and pair.line.alone and (pair.booked is not None or pair.record_status == "booked"):
        return _taken_back(pair, pair.line, terms)
    if pair.line is not None and pair.booked is not None:
        return _compared(pair, pair.line, pair.booked, terms)
    if pair.line is not None:
        return _unbooked(pair, pair.line, terms)
    if pair.booked is not None:
        return _unlisted(pair, pair.booked, terms)
    return _record_alone(pair, terms)


def _taken_back(pair: Pair, line: Line, terms: Terms) -> Finding:
    """A part without the line that it is a part of, which is taken to be what we booked."""
    taken = _money(-line.amount, line.currency)
    reason = f"{_who(pair)} took {taken} of {pair.name} back ({line.reference}), and that is not booked."
    return _broken(pair, LineClass.AMOUNT, reason, terms, differences={line.currency: line.amount})


def _compared(pair: Pair, line: Line, booked: Booked, terms: Terms) -> Finding | None:
    there, ours = _money(line.amount, line.currency), _money(booked.amount, booked.currency)
    if line.currency != booked.currency:
        reason = f"{_who(pair)} lists {there} for {pair.name}, and we booked it in {booked.currency}: {ours}."
        differences = _sum({line.currency: line.amount - line.fee}, _ledger(pair), sign=-1)
        return _broken(pair, LineClass.CURRENCY, reason, terms, differences=differences)
    if line.amount != booked.amount:
        reason = f"{_who(pair)} lists {there} for {pair.name}, and we booked {ours}."
        differences = {line.currency: line.amount - booked.amount}
        return _broken(pair, LineClass.AMOUNT, reason, terms, differences=differences)
    if pair.record_amount is not None and (pair.record_amount, pair.record_currency) != (line.amount, line.currency):
        record = _money(pair.record_amount, pair.record_currency)
        reason = f"{_who(pair)} and the ledger say {there} for {pair.name}, and its record says {record}."
        return _broken(pair, LineClass.AMOUNT, reason, terms)
    return None


def _unbooked(pair: Pair, line: Line, terms: Terms) -> Finding | None:
    """The other side lists it, and the ledger has nothing of it."""
    if _came_to_nothing(pair, line):
        return None
    listed = f"{_who(pair)} lists a {_noun(pair)} of {_money(line.amount, line.currency)} ({line.reference})"
    fix = _FIXES.get(pair.kind, _no_fix)(pair) if pair.subject is Subject.PSP else None
    differences = _sum({line.currency: line.amount - line.fee})
    due_at = _heard_of(pair, line, terms)
    if due_at is not None and terms.at < due_at:
        reason = f"{listed} that has not arrived here yet."
        if pair.known and pair.record_status in (RefundStatus.PENDING, RefundStatus.FAILED):
            reason = f"{listed} for {pair.name}, which is {pair.record_status} here."
        return Finding(fingerprint(pair), LineClass.TIMING, reason, due_at, None, differences)
    if pair.known:
        reason = f"{listed} for {pair.name}, which is {pair.record_status} here and not booked."
        return _broken(pair, LineClass.STATUS, reason, terms, fix=fix, differences=differences)
    if fix is Fix.BOOK_BANK_PAYOUT:
        reason = f"{listed} to our bank, which is not booked."
    elif pair.payment_id is not None:
        reason = f"{listed} of payment {pair.payment_id}, and we have no record of it."
    elif line.our_reference is not None:
        reason = f"{listed} that carries our reference {line.our_reference}, which is not known here."
    else:
        reason = f"{listed}, and nothing here belongs to it."
    return _broken(pair, LineClass.MISSING_HERE, reason, terms, fix=fix, differences=differences)


def _came_to_nothing(pair: Pair, line: Line) -> bool:
    """A charge that was taken back as a whole (a bank debit that failed after days), or a refund that failed: what is
    listed comes to nothing, and that is what we booked."""
    if pair.kind == PspLineKind.CHARGE:
        return bool(line.parts) and line.amount == 0
    return pair.undone and pair.record_status == RefundStatus.FAILED


def _heard_of(pair: Pair, line: Line, terms: Terms) -> datetime | None:
    """Until when we may not have booked what is listed; None: at once, nobody will tell us."""
    if pair.subject is Subject.BANK or _FIXES.get(pair.kind) is _fix_payout:
        return None
    if pair.kind == PspLineKind.REFUND and pair.known and not pair.undone:
        if pair.record_status == RefundStatus.PENDING:
            return line.occurred_at + timedelta(seconds=terms.pending_s)
        if pair.record_status == RefundStatus.FAILED and pair.record_at is not None:
            return pair.record_at + timedelta(seconds=terms.there_s)  # its failure is a line of its own
    return line.occurred_at + timedelta(seconds=terms.here_s)


def _unlisted(pair: Pair, booked: Booked, terms: Terms) -> Finding:
    """We booked it, and the other side does not list it."""
    assert booked.at is not None, "what is booked has a time"
    due_at = _expected(pair, booked.at, terms)
    ours = f"We booked a {_noun(pair)} of {_money(booked.amount, booked.currency)} for {pair.name}"
    who = "the bank" if pair.subject is Subject.BANK else "the PSP"
    differences = _sum({}, _ledger(pair), sign=-1)
    if terms.at < due_at:
        reason = f"{ours} that {who} may still list."
        return Finding(fingerprint(pair), LineClass.TIMING, reason, due_at, None, differences)
    reason = f"{ours}, and {who} does not list it."
    return Finding(fingerprint(pair), LineClass.MISSING_AT_PSP, reason, due_at, differences=differences)


def _record_alone(pair: Pair, terms: Terms) -> Finding:
    assert pair.record_at is not None, "our record says when"
    due_at = pair.record_at + timedelta(seconds=terms.here_s)
    cls = LineClass.TIMING if terms.at < due_at else LineClass.STATUS
    amount = _money(pair.record_amount, pair.record_currency)
    reason = f"{pair.name} says that the PSP took {amount}, and it is neither booked nor listed."
    fix = Fix.ADVANCE_PAYMENT if cls is LineClass.STATUS else None
    return Finding(fingerprint(pair), cls, reason, due_at, fix)


def _expected(pair: Pair, booked_at: datetime, terms: Terms) -> datetime:
    if pair.subject is Subject.PSP:
        return booked_at + timedelta(seconds=terms.there_s)
    return working_days_after(booked_at, terms.bank_days)


def _duplicate(pair: Pair, terms: Terms) -> Finding:
    line = pair.line
    assert line is not None, "only a line is there twice"
    listed = _money(line.amount, line.currency)
    if pair.duplicate_of == line.reference:
        reason = f"{_who(pair)} lists {line.reference} ({listed}) more than once."
    else:
        reason = f"{_who(pair)} lists {listed} for {pair.name} again as {line.reference}, after {pair.duplicate_of}."
    return Finding(
        f"duplicate:{line.reference}",
        LineClass.DUPLICATE,
        reason,
        terms.at,
        differences=_sum({line.currency: line.amount - line.fee}),
    )


def _matched(pair: Pair) -> Finding:
    assert pair.line is not None, "a match has a line"
    if pair.how is MatchedBy.GUESS:
        reason = f"A guess: {pair.name} is the only one of this amount at this time, and so is {pair.line.reference}."
    else:
        reason = f"Matched by the PSP's own name, {pair.line.source_reference or pair.line.reference}."
    return Finding(fingerprint(pair), LineClass.MATCHED, reason)


def _broken(
    pair: Pair,
    cls: LineClass,
    reason: str,
    terms: Terms,
    *,
    fix: Fix | None = None,
    differences: Mapping[str, int] | None = None,
) -> Finding:
    """Due at once, unless it can be fixed by rule: that is given the time that a webhook has."""
    due_at = terms.at + timedelta(seconds=terms.here_s) if fix is not None else terms.at
    return Finding(fingerprint(pair), cls, reason, due_at, fix, differences or {})


# --- the fee ---


def _fee(pair: Pair, terms: Terms) -> Finding | None:
    """The PSP's fee of a line, against what is booked under the PSP's name of that line."""
    if pair.subject is Subject.BANK:
        return None
    booked = -pair.fee.amount if pair.fee is not None else 0
    if pair.line is None:
        return _fee_unlisted(pair, terms) if pair.kind == PspLineKind.FEE else None
    line = pair.line
    due = line.fee - (line.amount if pair.kind == PspLineKind.FEE else 0)
    if due == booked and (due == 0 or pair.fee is None or pair.fee.currency == line.currency):
        return None
    kept = f"The PSP kept a fee of {_money(due, line.currency)} with {line.reference}"
    of = f" ({pair.name})" if pair.known else ""
    if pair.fee is None:
        fix = Fix.ADVANCE_DISPUTE if pair.kind in _DISPUTES else Fix.BOOK_FEE
        reason = f"{kept}{of} that is not booked."
    elif pair.fee.currency != line.currency:
        fix = None
        reason = f"{kept}{of}, and we booked it in {pair.fee.currency}."
    else:
        fix = None
        reason = f"{kept}{of}, and we booked {_money(booked, line.currency)}."
    if pair.how is MatchedBy.GUESS:
        fix = None  # a seller may bear it: not on a guess
    differences = _sum({line.currency: -due}, {pair.fee.currency: pair.fee.amount} if pair.fee else {}, sign=-1)
    due_at = terms.at + timedelta(seconds=terms.here_s) if fix is not None else terms.at
    return Finding(f"fee:{line.reference}", LineClass.FEE, reason, due_at, fix, differences)


def _fee_unlisted(pair: Pair, terms: Terms) -> Finding | None:
    if pair.fee is None or pair.fee.at is None:
        return None
    due_at = _expected(pair, pair.fee.at, terms)
    late = terms.at >= due_at
    reason = (
        f"We booked a fee of {_money(-pair.fee.amount, pair.fee.currency)} for {pair.key}, which the PSP "
        f"{'does not list' if late else 'may still list'}."
    )
    cls = LineClass.FEE if late else LineClass.TIMING
    return Finding(f"fee:{pair.key}", cls, reason, due_at, None, {pair.fee.currency: -pair.fee.amount})


# --- what people have corrected ---


def _ledger(pair: Pair) -> dict[str, int]:
    """What is booked of it, each in its own currency."""
    return _sum(*({b.currency: b.amount} for b in (pair.booked, pair.fee) if b is not None))


def _sum(*amounts: Mapping[str, int], sign: int = 1) -> dict[str, int]:
    """By currency, without zeros: the first, and the others with `sign`."""
    total: dict[str, int] = {}
    for i, part in enumerate(amounts):
        for currency, amount in part.items():
            total[currency] = total.get(currency, 0) + (amount if i == 0 else sign * amount)
    return {currency: amount for currency, amount in total.items() if amount}


def _less(finding: Finding, corrected: Mapping[str, int]) -> Finding:
    """A correction is in the ledger: only what it leaves is still a difference."""
    left = _sum(finding.differences, corrected, sign=-1)
    return replace(finding, differences=left, settled=bool(finding.differences) and not left)


def _overdone(pair: Pair, name: str, corrected: Mapping[str, int], terms: Terms) -> Finding | None:
    """A correction of what has come right without it: its money is in the ledger twice."""
    if not any(corrected.values()):
        return None
    booked = ", ".join(_money(amount, currency) for currency, amount in corrected.items() if amount)
    reason = f"{pair.name} is as it should be, and a correction of {booked} was booked on top of it."
    cls = LineClass.FEE if name.startswith("fee:") else LineClass.AMOUNT
    return Finding(name, cls, reason, terms.at, differences=_sum({}, corrected, sign=-1))


def _fee_overdone(pair: Pair, terms: Terms) -> Finding | None:
    return _overdone(pair, f"fee:{pair.line.reference if pair.line else pair.key}", pair.fee_corrected, terms)


# --- what is safe to do ---

_DISPUTES = (PspLineKind.DISPUTE, PspLineKind.DISPUTE_REVERSAL)


def _no_fix(_: Pair) -> Fix | None:
    return None


def _fix_charge(pair: Pair) -> Fix | None:
    """Its workflow asks the PSP itself. Of a payment that is settled another charge is a person's matter, and so is
    what was taken back."""
    if pair.line is not None and pair.line.amount <= 0:
        return None
    if not pair.known or pair.payment_status is None or pair.payment_status == Status.SUCCESS:
        return None
    return Fix.ADVANCE_PAYMENT


def _fix_refund(pair: Pair) -> Fix | None:
    if pair.known:
        return Fix.ADVANCE_REFUND if pair.record_status != RefundStatus.FAILED else None
    dashboard = pair.payment_status is not None and Status(pair.payment_status) in TERMINAL
    named = pair.line is not None and pair.line.our_reference is None and pair.line.source_reference is not None
    return Fix.ADVANCE_REFUND if dashboard and named and pair.payment_status == Status.SUCCESS else None


def _fix_refund_failure(pair: Pair) -> Fix | None:
    return Fix.ADVANCE_REFUND if pair.known and pair.record_status != RefundStatus.FAILED else None


def _fix_dispute(pair: Pair) -> Fix | None:
    named = pair.line is not None and pair.line.source_reference is not None
    return Fix.ADVANCE_DISPUTE if pair.payment_id is not None and named else None


def _fix_transfer(pair: Pair) -> Fix | None:
    if not pair.known or pair.record_status is None:
        return None
    return None if PayoutStatus(pair.record_status) in PAYOUT_GIVEN_BACK else Fix.ADVANCE_PAYOUT


def _fix_payout(_: Pair) -> Fix | None:
    return Fix.BOOK_BANK_PAYOUT


_FIXES: Mapping[str, Callable[[Pair], Fix | None]] = {
    PspLineKind.CHARGE: _fix_charge,
    PspLineKind.REFUND: _fix_refund,
    PspLineKind.REFUND_FAILURE: _fix_refund_failure,
    PspLineKind.DISPUTE: _fix_dispute,
    PspLineKind.DISPUTE_REVERSAL: _fix_dispute,
    PspLineKind.TRANSFER: _fix_transfer,
    PspLineKind.TRANSFER_REVERSAL: _fix_transfer,
    PspLineKind.PAYOUT: _fix_payout,
    PspLineKind.PAYOUT_REVERSAL: _fix_payout,
}

# --- words ---


def _who(pair: Pair) -> str:
    return "The bank" if pair.subject is Subject.BANK else "The PSP"


def _noun(pair: Pair) -> str:
    return "movement" if pair.kind in (PspLineKind.OTHER, "bank") else pair.kind.replace("_", " ")


def _money(amount: int | None, currency: str | None) -> str:
    return f"{shown(amount, currency)} {currency}"

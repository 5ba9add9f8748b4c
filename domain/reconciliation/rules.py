"""The rules of reconciliation: a pure function from a pair, as the matching set it side by side, to its findings.

The matching itself (which line belongs to which record) is done in SQL, and what is plainly equal never comes here.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from domain.calendar import working_days_after
from domain.reconciliation.fixes import safe_fix
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.pair import Booked, Finding, Line, Pair, Terms, fingerprint
from domain.reconciliation.reconciliation import Fix, LineClass, MatchedBy, Subject, shown
from domain.status import RefundStatus

_DISPUTES = (PspLineKind.DISPUTE, PspLineKind.DISPUTE_REVERSAL)
_BANK_PAYOUTS = (PspLineKind.PAYOUT, PspLineKind.PAYOUT_REVERSAL)


def judge(pair: Pair, terms: Terms) -> list[Finding]:
    """One finding about the movement itself, and one about its fee where that is not as it should be. A pair that is
    matched by less than our own reference is a finding as well; one that is plainly matched has none."""
    if pair.unrelated:
        reason = "Not of the PSP: it names no payout of it, and is like none that we booked."
        return [Finding(fingerprint(pair), LineClass.UNRELATED, reason)]
    if pair.duplicate_of is not None:
        return [_without_corrections(_duplicate(pair, terms), pair.corrected)]
    main = None if pair.kind == PspLineKind.FEE else _movement(pair, terms)
    # Where the whole movement is of another currency, or is not there on one side, its fee says nothing new.
    with_fee = main is None or (pair.booked is not None and main.cls is not LineClass.CURRENCY)
    fee = _fee(pair, terms) if with_fee else None
    corrected = pair.corrected if with_fee else _sum(pair.corrected, pair.fee_corrected)
    name = fingerprint(pair)
    found = [_without_corrections(main, corrected) if main else _overcorrected(pair, name, corrected, terms)]
    if with_fee:
        found.append(_without_corrections(fee, pair.fee_corrected) if fee else _fee_overcorrected(pair, terms))
    broken = [finding for finding in found if finding is not None]
    if not broken and pair.line is not None and pair.how not in (None, MatchedBy.REFERENCE):
        return [_matched(pair)]
    return broken


# --- the movement ---


def _movement(pair: Pair, terms: Terms) -> Finding | None:
    if pair.line is not None and pair.line.alone and (pair.booked is not None or pair.record_status == "booked"):
        return _partly_taken_back(pair, pair.line, terms)
    if pair.line is not None and pair.booked is not None:
        return _compared(pair, pair.line, pair.booked, terms)
    if pair.line is not None:
        return _unbooked(pair, pair.line, terms)
    if pair.booked is not None:
        return _unlisted(pair, pair.booked, terms)
    return _record_alone(pair, terms)


def _partly_taken_back(pair: Pair, line: Line, terms: Terms) -> Finding:
    """The finding about a part whose first line is not known: that line is taken to be what we booked."""
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
    """The finding about a line that the ledger has nothing of."""
    if _comes_to_nothing(pair, line):
        return None
    listed = f"{_who(pair)} lists a {_noun(pair)} of {_money(line.amount, line.currency)} ({line.reference})"
    fix = safe_fix(pair)
    differences = _sum({line.currency: line.amount - line.fee})
    due_at = _booking_deadline(pair, line, terms)
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


def _comes_to_nothing(pair: Pair, line: Line) -> bool:
    """True where what is listed comes to nothing, and nothing is what we booked: a charge that was taken back as a
    whole (a bank debit that failed after days), or a refund that failed."""
    if pair.kind == PspLineKind.CHARGE:
        return bool(line.parts) and line.amount == 0
    return pair.undone and pair.record_status == RefundStatus.FAILED


def _booking_deadline(pair: Pair, line: Line, terms: Terms) -> datetime | None:
    """The time until which we need not have booked what is listed; None: there is none, no webhook tells of it."""
    if pair.subject is Subject.BANK or pair.kind in _BANK_PAYOUTS:
        return None
    if pair.kind == PspLineKind.REFUND and pair.known and not pair.undone:
        if pair.record_status == RefundStatus.PENDING:
            return line.occurred_at + timedelta(seconds=terms.pending_s)
        if pair.record_status == RefundStatus.FAILED and pair.record_at is not None:
            return pair.record_at + timedelta(seconds=terms.listing_grace_s)  # its failure is a line of its own
    return line.occurred_at + timedelta(seconds=terms.booking_grace_s)


def _unlisted(pair: Pair, booked: Booked, terms: Terms) -> Finding:
    """The finding about a booking that the other side does not list."""
    assert booked.at is not None, "what is booked has a time"
    due_at = _listing_deadline(pair, booked.at, terms)
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
    due_at = pair.record_at + timedelta(seconds=terms.booking_grace_s)
    cls = LineClass.TIMING if terms.at < due_at else LineClass.STATUS
    amount = _money(pair.record_amount, pair.record_currency)
    reason = f"{_start(pair.name)} says that the PSP took {amount}, and it is neither booked nor listed."
    fix = Fix.ADVANCE_PAYMENT if cls is LineClass.STATUS else None
    return Finding(fingerprint(pair), cls, reason, due_at, fix)


def _listing_deadline(pair: Pair, booked_at: datetime, terms: Terms) -> datetime:
    if pair.subject is Subject.PSP:
        return booked_at + timedelta(seconds=terms.listing_grace_s)
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
    if pair.confirmed and pair.called is None:
        by = "a guess from amount and day" if pair.how is MatchedBy.GUESS else "its name"
        reason = f"Matched with {pair.name} by an earlier run, by {by}; it stays its match."
    elif pair.how is MatchedBy.GUESS and max(pair.alike) > 1:
        reason = (
            f"A guess: {_alike(pair)} have this amount at this time, and no name tells them apart; {pair.name} was "
            "taken in the order of time."
        )
    elif pair.how is MatchedBy.GUESS:
        reason = f"A guess: {pair.name} is the only one of this amount at this time, and so is {pair.line.reference}."
    elif pair.called is not None:
        reason = f"Matched by {pair.called}, which the entry names."
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
    """A finding that is due at once; one that can be fixed by rule is given the time that a webhook has."""
    due_at = terms.at + timedelta(seconds=terms.booking_grace_s) if fix is not None else terms.at
    return Finding(fingerprint(pair), cls, reason, due_at, fix, differences or {})


# --- the fee ---


def _fee(pair: Pair, terms: Terms) -> Finding | None:
    """The finding about a line's fee, against what is booked under the PSP's name of that line."""
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
    due_at = terms.at + timedelta(seconds=terms.booking_grace_s) if fix is not None else terms.at
    return Finding(f"fee:{line.reference}", LineClass.FEE, reason, due_at, fix, differences)


def _fee_unlisted(pair: Pair, terms: Terms) -> Finding | None:
    if pair.fee is None or pair.fee.at is None:
        return None
    due_at = _listing_deadline(pair, pair.fee.at, terms)
    late = terms.at >= due_at
    reason = (
        f"We booked a fee of {_money(-pair.fee.amount, pair.fee.currency)} for {pair.key}, which the PSP "
        f"{'does not list' if late else 'may still list'}."
    )
    cls = LineClass.FEE if late else LineClass.TIMING
    return Finding(f"fee:{pair.key}", cls, reason, due_at, None, {pair.fee.currency: -pair.fee.amount})


# --- what people have corrected ---


def _ledger(pair: Pair) -> dict[str, int]:
    """The amounts booked of it, each in its own currency."""
    return _sum(*({b.currency: b.amount} for b in (pair.booked, pair.fee) if b is not None))


def _sum(*amounts: Mapping[str, int], sign: int = 1) -> dict[str, int]:
    """The sum by currency, without zeros: the first, and the others with `sign`."""
    total: dict[str, int] = {}
    for i, part in enumerate(amounts):
        for currency, amount in part.items():
            total[currency] = total.get(currency, 0) + (amount if i == 0 else sign * amount)
    return {currency: amount for currency, amount in total.items() if amount}


def _without_corrections(finding: Finding, corrected: Mapping[str, int]) -> Finding:
    """The finding less what corrections have booked: only what they leave is still a difference."""
    left = _sum(finding.differences, corrected, sign=-1)
    return replace(finding, differences=left, settled=bool(finding.differences) and not left)


def _overcorrected(pair: Pair, name: str, corrected: Mapping[str, int], terms: Terms) -> Finding | None:
    """The finding about a correction of what has come right without it: its money is in the ledger twice."""
    if not any(corrected.values()):
        return None
    booked = ", ".join(_money(amount, currency) for currency, amount in corrected.items() if amount)
    reason = f"{_start(pair.name)} is as it should be, and a correction of {booked} was booked on top of it."
    cls = LineClass.FEE if name.startswith("fee:") else LineClass.AMOUNT
    return Finding(name, cls, reason, terms.at, differences=_sum({}, corrected, sign=-1))


def _fee_overcorrected(pair: Pair, terms: Terms) -> Finding | None:
    return _overcorrected(pair, f"fee:{pair.line.reference if pair.line else pair.key}", pair.fee_corrected, terms)


# --- words ---


def _who(pair: Pair) -> str:
    return "The bank" if pair.subject is Subject.BANK else "The PSP"


def _start(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _noun(pair: Pair) -> str:
    return "movement" if pair.kind in (PspLineKind.OTHER, "bank") else pair.kind.replace("_", " ")


def _alike(pair: Pair) -> str:
    """The number of lines and of records that a guess had to choose among."""
    there, ours = pair.alike
    bank = pair.subject is Subject.BANK
    lines = ("entry" if there == 1 else "entries") if bank else ("line" if there == 1 else "lines")
    records = ("payout" if bank else "record") + ("" if ours == 1 else "s")
    return f"{there} {lines} and {ours} {records}"


def _money(amount: int | None, currency: str | None) -> str:
    return f"{shown(amount, currency)} {currency}"

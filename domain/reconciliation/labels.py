"""What a reconciliation is called where people read it: the page, the log, the terminal."""

from collections.abc import Mapping

from domain.reconciliation.reconciliation import Decision, Fix, LineClass, Source, Subject

CLASS_WORDS: Mapping[LineClass, str] = {
    LineClass.MATCHED: "matched",
    LineClass.MISSING_AT_PSP: "booked here, not listed there",
    LineClass.MISSING_HERE: "listed there, unknown here",
    LineClass.AMOUNT: "another amount",
    LineClass.CURRENCY: "another currency",
    LineClass.FEE: "another fee",
    LineClass.DUPLICATE: "listed twice",
    LineClass.TIMING: "still expected",
    LineClass.STATUS: "known here, and not booked",
    LineClass.UNRELATED: "nothing of the payment provider's",
}

FIX_WORDS: Mapping[Fix, str] = {
    Fix.ADVANCE_PAYMENT: "ask the payment provider again, and bring the payment up to date",
    Fix.ADVANCE_REFUND: "bring the refund up to date",
    Fix.ADVANCE_DISPUTE: "bring the dispute up to date",
    Fix.ADVANCE_PAYOUT: "bring the payout up to date",
    Fix.BOOK_FEE: "book the fee",
    Fix.BOOK_BANK_PAYOUT: "book what was paid to our bank",
}

DECISION_WORDS: Mapping[Decision, str] = {
    Decision.APPLY_FIX: "do what is proposed",
    Decision.ADJUST: "book the difference as a correction",
    Decision.TO_SUSPENSE: "hold the money in suspense until somebody claims it",
    Decision.ACCEPT: "book nothing; the note explains it",
}

_PSPS = {"stripe": "Stripe"}


def psp_name(psp: str) -> str:
    return _PSPS.get(psp, psp)


def other_side(subject: str, psp: str) -> str:
    """Whose lines are compared with our books."""
    return "the bank" if subject == Subject.BANK else psp_name(psp)


def what_was_read(source: str, file_name: str | None) -> str:
    return f"the file {file_name}" if source == Source.FILE else "its list of movements"

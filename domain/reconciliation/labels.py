"""The terms of reconciliation as people read them: on the page, in the log, at the terminal."""

from collections.abc import Mapping

from domain.reconciliation.reconciliation import Decision, Fix, LineClass, Subject

CLASS_LABELS: Mapping[LineClass, str] = {
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

FIX_LABELS: Mapping[Fix, str] = {
    Fix.ADVANCE_PAYMENT: "ask the payment provider again, and bring the payment up to date",
    Fix.ADVANCE_REFUND: "bring the refund up to date",
    Fix.ADVANCE_DISPUTE: "bring the dispute up to date",
    Fix.ADVANCE_PAYOUT: "bring the payout up to date",
    Fix.BOOK_FEE: "book the fee",
    Fix.BOOK_BANK_PAYOUT: "book what was paid to our bank",
}

DECISION_LABELS: Mapping[Decision, str] = {
    Decision.APPLY_FIX: "do what is proposed",
    Decision.ADJUST: "book the difference as a correction",
    Decision.TO_SUSPENSE: "hold the money in suspense until somebody claims it",
    Decision.ACCEPT: "book nothing; the note explains it",
}


def psp_name(psp: str) -> str:
    """`stripe` → `Stripe`."""
    return psp.capitalize()


def other_side(subject: str, psp: str) -> str:
    """The side whose lines are compared with our books, by name."""
    return "the bank" if subject == Subject.BANK else psp_name(psp)


def their_name(subject: str, psp: str, reference: str) -> str:
    """A name that is not ours, and whose it is: the PSP's `po_…` is no payment order."""
    return f"{other_side(subject, psp)}'s {reference}"

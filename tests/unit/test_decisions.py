"""The decisions that each task offers: every kind that a workflow waits with has some, and no other is taken."""

from cli.hints import _HINTS
from domain.decisions import ACCEPTABLE, in_words, offered, offered_for_payout, offered_for_refund
from domain.messages import Decision
from domain.payout import PayoutCall, PayoutDecision
from domain.psp import RefundOutcome


def test_what_each_task_about_a_payment_offers() -> None:
    assert offered("amount_mismatch") == (Decision.CANCEL,)
    assert offered("amount_mismatch", acceptable=True) == (Decision.ACCEPT, Decision.CANCEL)
    for kind in ("capture_refused", "past_deadline", "authorized_unexpectedly"):
        assert offered(kind) == (Decision.RETRY, Decision.CANCEL)
    for kind in ("charge_not_found", "psp_unknown"):
        assert set(offered(kind)) == {Decision.RETRY, Decision.NOT_CHARGED, Decision.REFERENCE, Decision.CANCEL}
        assert offered(kind, has_reference=True) == (Decision.RETRY, Decision.CANCEL)


def test_what_a_refund_offers() -> None:
    for outcome in (RefundOutcome.FAILED, RefundOutcome.NOT_FOUND):
        for undoes in (True, False):
            assert offered_for_refund(outcome, undoes_charge=undoes) == (Decision.RETRY, Decision.REFERENCE)
    for mismatch in (RefundOutcome.SUCCEEDED, RefundOutcome.PENDING):
        assert offered_for_refund(mismatch, undoes_charge=False) == (Decision.ACCEPT, Decision.REFERENCE)
        assert offered_for_refund(mismatch, undoes_charge=True) == (Decision.REFERENCE,)


def test_what_a_payout_offers() -> None:
    for call in PayoutCall:
        assert all(decision.value in _HINTS["payout_amount_mismatch"] for decision in offered_for_payout(call))
    assert PayoutDecision.PAID not in offered_for_payout(PayoutCall.TRANSFER)
    assert PayoutDecision.REFERENCE not in offered_for_payout(PayoutCall.REVERSAL)


def test_a_task_names_the_decisions_that_it_offers() -> None:
    for kind in ("amount_mismatch", "capture_refused", "charge_not_found", "psp_unknown", "past_deadline"):
        assert all(decision.value in _HINTS[kind] for decision in offered(kind)), kind
    acceptable = offered("amount_mismatch", acceptable=True)
    assert all(decision.value in _HINTS[f"amount_mismatch: {ACCEPTABLE}"] for decision in acceptable)
    assert in_words((Decision.RETRY,)) == "retry"
    assert in_words((Decision.RETRY, Decision.REFERENCE, Decision.CANCEL)) == "retry, reference or cancel"

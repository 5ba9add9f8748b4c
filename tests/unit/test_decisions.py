"""The decisions that each task offers: every kind that a workflow waits with has some, and no other is taken."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from cli.hints import _HINTS, hint
from db.task import Task
from domain.decisions import ACCEPTABLE, in_words, offered, offered_for_payout, offered_for_refund, to_be_decided, told
from domain.ids import new_id
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


REFUNDS = [
    (outcome, undoes)
    for outcome in (RefundOutcome.FAILED, RefundOutcome.NOT_FOUND, RefundOutcome.SUCCEEDED)
    for undoes in (False, True)
]
ASKED = [
    *(("refund_failed", offered_for_refund(outcome, undoes_charge=undoes)) for outcome, undoes in REFUNDS),
    *(
        (kind, offered(kind, has_reference=known))
        for kind in ("charge_not_found", "psp_unknown")
        for known in (False, True)
    ),
    *((kind, offered_for_payout(call)) for kind in ("payout_unclear", "payout_amount_mismatch") for call in PayoutCall),
]


def typed(kind: str, detail: str) -> list[str]:
    """The decisions in the commands that the task's hint prints."""
    task = Task(new_id("task"), "shop", new_id("pay"), new_id("pt"), kind, detail, datetime.now(UTC), None, None, None)
    return re.findall(r"resolve \S+ (?:--decision )?(\w+)", hint(task))


@pytest.mark.parametrize(("kind", "decisions"), ASKED)
def test_a_task_prints_the_commands_of_the_decisions_that_it_offers_alone(
    kind: str, decisions: Sequence[StrEnum]
) -> None:
    detail = f"Refund {new_id('re')}: it is so. {to_be_decided(decisions)}"
    assert sorted(told(detail) or ()) == sorted(decisions)
    assert sorted(typed(kind, detail)) == sorted(decisions)
    assert "\n\n" not in hint(
        Task("task_1", "shop", "pay_1", "pt_1", kind, detail, datetime.now(UTC), None, None, None)
    )


def test_each_refund_of_a_task_has_its_own_decisions() -> None:
    mismatch = f"Refund {new_id('re')}: another amount. {to_be_decided((Decision.ACCEPT, Decision.REFERENCE))}"
    failed = f"Refund {new_id('re')}: failed. {to_be_decided((Decision.RETRY, Decision.REFERENCE))}"
    assert typed("refund_failed", f"{mismatch}\n{failed}") == ["reference", "accept", "retry", "reference"]

"""Inputs of workflows that run already, and results in their histories, as the version before this one wrote them."""

from datetime import timedelta

import pytest
from pydantic import BaseModel

from config.settings import Settings
from domain.dispute import DisputeInput
from domain.late_charge import LateChargeInput
from domain.payment import PaymentInput, Resumed
from domain.payout import PayoutInput
from domain.refund import RefundInput
from domain.status import Status
from domain.waiting import Backoff, WaitPolicies, WaitPolicy
from runtime.wiring import wait_policies

PATIENCE = {
    "confirm_s": 1.0, "action_s": 2.0, "pending_s": 3.0, "authorization_s": 4.0, "authorization_margin_s": 5.0,
    "evidence_warning_s": 6.0, "poll_first_s": 7.0, "poll_max_s": 8.0,
}  # fmt: skip
PAYMENT = {
    "version": 1, "payment_id": "pay_1", "tenant_id": "shop", "psp": "stripe", "amount": 100, "currency": "INR",
    "confirmed": True, "order_ids": ["po_1"], "keep_successful": False, "risk": False, "authorize_only": False,
    "capture_by_request": False, "capture_on_expiry": False, "task_queue": "paysaga",
}  # fmt: skip
REST = {"version": 1, "payment_id": "pay_1", "psp": "stripe", "task_queue": "paysaga"}
STORED: list[tuple[type[BaseModel], dict[str, object]]] = [
    (PaymentInput, PAYMENT),
    (RefundInput, REST | {"refund_id": "re_1"}),
    (DisputeInput, REST | {"dispute_id": "dp_1"}),
    (LateChargeInput, REST | {"charge_id": "ch_1", "reference": "pi_1"}),
    (PayoutInput, {"payout_id": "pt_1", "tenant_id": "shop", "psp": "stripe", "status": "PAID", "task_queue": "q"}),
]


@pytest.mark.parametrize(("model", "stored"), STORED, ids=lambda value: getattr(value, "__name__", ""))
def test_an_input_of_the_version_before_is_read(model: type[BaseModel], stored: dict[str, object]) -> None:
    inp = model.model_validate(stored | {"patience": PATIENCE})
    written = inp.model_dump(mode="json")
    assert {name: written[name] for name in stored} == stored
    assert {name: written["patience"][name] for name in PATIENCE} == PATIENCE
    assert inp.patience.polls == Backoff(first_s=7, max_s=8, factor=2)  # type: ignore[attr-defined]


def test_a_result_keeps_its_stored_name() -> None:
    stored = '{"released":true,"status":"EXECUTING","failure":null}'
    resumed = Resumed(resumed=True, status=Status.EXECUTING)
    assert Resumed.model_validate_json(stored) == resumed
    assert resumed.model_dump_json(by_alias=True) == stored


def test_gaps_double_up_to_the_longest() -> None:
    polls = WaitPolicy(poll_first_s=5, poll_max_s=60).polls
    gaps = [polls.first]
    while len(gaps) < 6:
        gaps.append(polls.after(gaps[-1]))
    assert [gap.total_seconds() for gap in gaps] == [5, 10, 20, 40, 60, 60]
    assert [polls.nth(number) for number in range(6)] == gaps
    assert polls.nth(10_000) == polls.longest == timedelta(seconds=60)


def gaps_of(policy: WaitPolicy, until: timedelta) -> list[float]:
    """In seconds, between the looks at a charge that is waited for so long."""
    gap, waited, gaps = policy.first_gap, timedelta(0), [policy.first_gap.total_seconds()]
    while waited < until:
        waited += gap
        gap = policy.gap_after(gap, waited)
        gaps.append(gap.total_seconds())
    return gaps


def test_the_gaps_are_short_while_the_buyer_waits_at_a_screen_and_hours_for_a_bank_debit() -> None:
    policies = wait_policies(Settings())
    for method in ("card", "upi", "wallet", "netbanking"):
        gaps = gaps_of(policies.of(method), timedelta(days=1))
        short = gaps[: gaps.index(30)]
        assert short[:3] == [5, 10, 15]
        assert max(short) == 15
        assert sum(short) >= 600
        assert gaps[len(short) : len(short) + 9] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert gaps_of(policies.of("bank_debit"), timedelta(hours=10)) == [3600, 7200, 14400, 21600, 21600]


def test_a_payment_that_runs_already_keeps_the_gaps_that_it_began_with() -> None:
    policy = WaitPolicy.model_validate(PATIENCE)
    assert gaps_of(policy, timedelta(seconds=30)) == [7, 8, 8, 8, 8]


def test_no_gap_at_a_screen_is_above_the_longest() -> None:
    assert gaps_of(WaitPolicy(poll_first_s=60, poll_max_s=2, present_s=9), timedelta(seconds=5)) == [2, 2, 2, 2]


def test_a_first_gap_above_the_longest_is_kept() -> None:
    polls = Backoff(first_s=10, max_s=3)
    assert (polls.first, polls.after(polls.first)) == (timedelta(seconds=10), timedelta(seconds=3))


def test_a_payment_method_may_wait_by_a_policy_of_its_own() -> None:
    slow = WaitPolicy(poll_first_s=60, poll_factor=3)
    policies = WaitPolicies(by_method={"netbanking": slow})
    assert policies.of("netbanking") is slow
    assert policies.of("card") == WaitPolicy()

"""What a payment shows of its orders, an order of its refunds, and the tables of what may become what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.status import (
    DISPUTE_ENDED,
    DISPUTE_HOLDS,
    DISPUTE_STEPS,
    DISPUTE_TRANSITIONS,
    MERCHANT_STEPS,
    MERCHANT_TRANSITIONS,
    ORDER_STEPS,
    REFUND_STEPS,
    REFUND_TRANSITIONS,
    RESTING,
    TERMINAL,
    TRANSITIONS,
    MerchantStatus,
    OrderRefundStatus,
    Status,
    Step,
    can_become,
    combined,
    order_refund_status,
)

some_statuses = st.lists(st.sampled_from(Status), min_size=1, max_size=6)
amounts = st.integers(min_value=0, max_value=10**12)


# --- the payment's status ---


@pytest.mark.parametrize("status", Status)
def test_a_payment_of_one_order_has_its_status(status: Status) -> None:
    assert combined([status]) is status
    assert combined([status, status]) is status


@pytest.mark.parametrize(
    ("orders", "shown"),
    [
        (["SUCCESS", "NEEDS_ATTENTION", "REQUIRES_ACTION"], "NEEDS_ATTENTION"),
        (["REQUIRES_ACTION", "IN_REVIEW", "PENDING"], "REQUIRES_ACTION"),
        (["PENDING", "IN_REVIEW"], "IN_REVIEW"),
        (["AUTHORIZED", "PENDING"], "PENDING"),
        (["EXECUTING", "AUTHORIZED"], "AUTHORIZED"),
        (["NOT_STARTED", "EXECUTING"], "EXECUTING"),
        (["SUCCESS", "NOT_STARTED"], "NOT_STARTED"),
        (["SUCCESS", "FAILED", "CANCELLED"], "SUCCESS"),
        (["CANCELLED", "FAILED"], "FAILED"),
    ],
)
def test_the_most_urgent_order_is_shown_and_of_ended_ones_the_best(orders: list[str], shown: str) -> None:
    assert combined([Status(order) for order in orders]) is Status(shown)


@given(some_statuses)
def test_a_payment_shows_one_of_its_orders_and_ends_only_when_all_have(statuses: list[Status]) -> None:
    shown = combined(statuses)
    assert shown in statuses
    assert (shown in TERMINAL) is all(status in TERMINAL for status in statuses)


@given(some_statuses, st.randoms(use_true_random=False))
def test_the_order_of_the_orders_and_repetitions_do_not_matter(statuses: list[Status], random: object) -> None:
    shuffled = list(statuses)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert combined(shuffled) is combined(statuses) is combined(statuses + statuses)


# --- an order's refunds ---


@pytest.mark.parametrize(
    ("captured", "refunded", "under_way", "shown"),
    [
        (500, 0, 0, None),
        (0, 0, 0, None),
        (500, 0, 1, OrderRefundStatus.REFUNDING),
        (500, 499, 1, OrderRefundStatus.REFUNDING),
        (500, 1, 0, OrderRefundStatus.PARTIALLY_REFUNDED),
        (500, 499, 0, OrderRefundStatus.PARTIALLY_REFUNDED),
        (500, 500, 0, OrderRefundStatus.REFUNDED),
        (500, 501, 0, OrderRefundStatus.REFUNDED),  # made in the PSP's dashboard, beyond what was left
    ],
)
def test_how_much_of_an_order_was_given_back(
    captured: int, refunded: int, under_way: int, shown: OrderRefundStatus | None
) -> None:
    assert order_refund_status(captured, refunded, under_way) is shown


@given(captured=amounts, refunded=amounts, under_way=amounts)
def test_nothing_is_shown_exactly_while_nothing_was_or_is_given_back(
    captured: int, refunded: int, under_way: int
) -> None:
    shown = order_refund_status(captured, refunded, under_way)
    assert (shown is None) is (refunded == 0 and under_way == 0)
    assert (shown is OrderRefundStatus.REFUNDING) is (under_way > 0)


# --- the tables ---

TABLES = {"order": ORDER_STEPS, "refund": REFUND_STEPS, "dispute": DISPUTE_STEPS, "merchant": MERCHANT_STEPS}


@pytest.mark.parametrize("steps", TABLES.values(), ids=TABLES)
def test_no_transition_is_listed_twice_and_none_leads_nowhere(steps: tuple[Step, ...]) -> None:
    pairs = [(old, step.new) for step in steps for old in step.old]
    assert len(pairs) == len(set(pairs))
    assert all(old is not new for old, new in pairs)
    assert all(step.by and step.why for step in steps)


@pytest.mark.parametrize("steps", TABLES.values(), ids=TABLES)
def test_every_status_is_reached_from_where_its_objects_come_into_being(steps: tuple[Step, ...]) -> None:
    reached = {step.new for step in steps if not step.old}
    while new := {step.new for step in steps if reached & set(step.old)} - reached:
        reached |= new
    assert reached == set(type(steps[0].new))


def test_ends_are_never_left_and_everything_else_can_be() -> None:
    assert {status for status in Status if not TRANSITIONS[status]} == TERMINAL
    assert not TERMINAL & RESTING
    for status in RESTING:
        assert TRANSITIONS[status] >= TERMINAL


def test_can_become_reads_the_table() -> None:
    for old in Status:
        for new in Status:
            assert can_become(old, new) is (new in TRANSITIONS[old])
    assert not can_become(Status.NOT_STARTED, Status.SUCCESS), "nothing is paid that nobody asked to charge"


def test_a_refund_that_succeeded_only_fails() -> None:
    assert {new for old, new in REFUND_TRANSITIONS if old == "SUCCEEDED"} == {"FAILED"}


def test_a_dispute_that_was_won_stays_so_and_money_that_is_lost_stays_held() -> None:
    assert not [new for old, new in DISPUTE_TRANSITIONS if old == "WON"]
    assert {str(status) for status in DISPUTE_ENDED & DISPUTE_HOLDS} == {"LOST"}


def test_a_closed_merchant_stays_closed() -> None:
    assert not [new for old, new in MERCHANT_TRANSITIONS if old == MerchantStatus.CLOSED]

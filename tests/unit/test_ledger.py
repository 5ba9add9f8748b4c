"""The transactions that may be posted: each sums to zero, and each moves the accounts that it says."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import ledger
from domain.ledger import AccountKind, Bucket, Kind, Posting, account_kind, wallet, wallet_changes

minor = st.integers(min_value=0, max_value=10**11)
parts = st.dictionaries(st.sampled_from([Bucket.PENDING, Bucket.AVAILABLE, Bucket.RECEIVABLE]), minor)

POSTINGS: dict[str, st.SearchStrategy[tuple[Posting, ...]]] = {
    "capture": st.builds(ledger.capture, st.just("stripe"), st.just("anna"), minor, minor, st.just("INR")),
    "capture_to_suspense": st.builds(ledger.capture_to_suspense, st.just("anna"), minor, minor, st.just("INR")),
    "capture_from_suspense": st.builds(ledger.capture_from_suspense, st.just("anna"), minor, minor, st.just("INR")),
    "to_suspense": st.builds(ledger.to_suspense, st.just("stripe"), minor, st.just("INR")),
    "refund_from_suspense": st.builds(ledger.refund_from_suspense, st.just("stripe"), minor, st.just("INR")),
    "psp_fee": st.builds(ledger.psp_fee, st.just("stripe"), minor, st.just("INR")),
    "psp_fee_to_seller": st.builds(ledger.psp_fee_to_seller, st.just("anna"), minor, st.just("INR")),
    "reserve": st.builds(ledger.reserve, st.just("anna"), parts, st.just("INR")),
    "refund": st.builds(ledger.refund, st.just("stripe"), st.just("anna"), minor, minor, st.just("INR")),
    "dispute_withdrawn": st.builds(ledger.dispute_withdrawn, st.just("stripe"), minor, st.just("INR")),
    "dispute_loss": st.builds(ledger.dispute_loss, st.just("anna"), parts, minor, st.just("INR")),
    "dispute_loss_of_ours": st.builds(ledger.dispute_loss_of_ours, minor, st.just("INR")),
    "release": st.builds(ledger.release, st.just("anna"), minor, st.just("INR")),
    "debt_recovery": st.builds(ledger.debt_recovery, st.just("anna"), minor, st.just("INR")),
    "payout": st.builds(ledger.payout, st.just("anna"), minor, st.just("INR")),
    "payout_transfer": st.builds(ledger.payout_transfer, st.just("stripe"), minor, st.just("INR")),
    "payout_paid": st.builds(ledger.payout_paid, minor, st.just("INR")),
    "bank_payout": st.builds(ledger.bank_payout, st.just("stripe"), minor, st.just("INR")),
}


def totals(postings: tuple[Posting, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for posting in postings:
        found[posting.account] = found.get(posting.account, 0) + posting.amount
    return {account: amount for account, amount in found.items() if amount}


def test_every_posting_function_is_tried_here() -> None:
    made = {
        name
        for name, function in vars(ledger).items()
        if callable(function) and getattr(function, "__annotations__", {}).get("return") == tuple[Posting, ...]
    }
    assert made - {"_lines", "reversed_lines"} == set(POSTINGS)


@pytest.mark.parametrize("name", POSTINGS)
def test_a_transaction_sums_to_zero_whatever_the_amounts(name: str) -> None:
    @given(POSTINGS[name])
    def holds(postings: tuple[Posting, ...]) -> None:
        assert sum(posting.amount for posting in postings) == 0
        assert all(posting.amount for posting in postings), "a line of nothing is no line"
        assert {posting.currency for posting in postings} <= {"INR"}
        assert all(account_kind(posting.account) for posting in postings)
        assert totals(postings + ledger.reversed_lines(postings)) == {}, "a reversal undoes it"

    holds()


@pytest.mark.parametrize(
    ("postings", "expected"),
    [
        (
            lambda: ledger.capture("stripe", "anna", 50000, 1500, "INR"),
            {"psp_clearing:stripe": 50000, "wallet:anna:pending": -48500, "platform_fees": -1500},
        ),
        (
            lambda: ledger.capture_to_suspense("anna", 50000, 1500, "INR"),
            {"wallet:anna:pending": 48500, "platform_fees": 1500, "suspense": -50000},
        ),
        (
            lambda: ledger.capture_from_suspense("anna", 50000, 1500, "INR"),
            {"suspense": 50000, "wallet:anna:pending": -48500, "platform_fees": -1500},
        ),
        (
            lambda: ledger.reserve("anna", {Bucket.PENDING: 100, Bucket.AVAILABLE: 20, Bucket.RECEIVABLE: 3}, "INR"),
            {
                "wallet:anna:pending": 100,
                "wallet:anna:available": 20,
                "receivable:anna": 3,
                "wallet:anna:reserved": -123,
            },
        ),
        (
            lambda: ledger.refund("stripe", "anna", 9700, 300, "INR"),
            {"wallet:anna:reserved": 9700, "platform_fees": 300, "psp_clearing:stripe": -10000},
        ),
        (
            lambda: ledger.dispute_withdrawn("stripe", 50000, "INR"),
            {"disputes_held": 50000, "psp_clearing:stripe": -50000},
        ),
        (
            lambda: ledger.dispute_loss("anna", {Bucket.RESERVED: 50000, Bucket.RECEIVABLE: 1500}, 1500, "INR"),
            {"wallet:anna:reserved": 50000, "receivable:anna": 1500, "disputes_held": -50000, "psp_fees": -1500},
        ),
        (lambda: ledger.dispute_loss_of_ours(50000, "INR"), {"dispute_losses": 50000, "disputes_held": -50000}),
        (lambda: ledger.psp_fee_to_seller("anna", 320, "INR"), {"wallet:anna:pending": 320, "psp_fees": -320}),
        (
            lambda: ledger.release("anna", 48500, "INR"),
            {"wallet:anna:pending": 48500, "wallet:anna:available": -48500},
        ),
        (lambda: ledger.debt_recovery("anna", 700, "INR"), {"wallet:anna:available": 700, "receivable:anna": -700}),
        (lambda: ledger.payout("anna", 48500, "INR"), {"wallet:anna:available": 48500, "payout_in_transit": -48500}),
        (
            lambda: ledger.payout_transfer("stripe", 48500, "INR"),
            {"payout_float": 48500, "psp_clearing:stripe": -48500},
        ),
        (lambda: ledger.payout_paid(48500, "INR"), {"payout_in_transit": 48500, "payout_float": -48500}),
        (lambda: ledger.bank_payout("stripe", 97000, "INR"), {"bank": 97000, "psp_clearing:stripe": -97000}),
    ],
)
def test_what_is_debited_and_credited(postings: Callable[[], Any], expected: dict[str, int]) -> None:
    assert totals(postings()) == expected


def test_what_was_withdrawn_and_came_back_leaves_nothing() -> None:
    taken = ledger.dispute_withdrawn("stripe", 50000, "INR")
    assert totals(taken + ledger.reversed_lines(taken)) == {}


@pytest.mark.parametrize(("fee_returned", "kept"), [(1500, 0), (0, 1500), (700, 800)])
def test_a_captured_and_refunded_order_leaves_only_the_fee_that_is_kept(fee_returned: int, kept: int) -> None:
    """Of the seller's part nothing is left: what the platform keeps, the seller has paid."""
    net, back = 48500, 50000 - fee_returned
    books = (
        *ledger.capture("stripe", "anna", 50000, 1500, "INR"),
        *ledger.reserve("anna", {Bucket.PENDING: net, Bucket.RECEIVABLE: back - net}, "INR"),
        *ledger.refund("stripe", "anna", back, fee_returned, "INR"),
    )
    assert totals(books) == ({"platform_fees": -kept, "receivable:anna": kept} if kept else {})


@given(amount=minor, debt=minor, fee=minor)
def test_a_lost_dispute_takes_what_is_held_from_the_seller_and_the_bank(amount: int, debt: int, fee: int) -> None:
    """Withdrawn, set aside, lost: nothing is held any more, and the seller bears amount and fee."""
    books = (
        *ledger.dispute_withdrawn("stripe", amount + debt, "INR"),
        *ledger.psp_fee("stripe", fee, "INR"),
        *ledger.reserve("anna", {Bucket.AVAILABLE: amount, Bucket.RECEIVABLE: debt + fee}, "INR"),
        *ledger.dispute_loss("anna", {Bucket.RESERVED: amount + debt + fee}, fee, "INR"),
    )
    left = totals(books)
    assert left.get("disputes_held", 0) == left.get("psp_fees", 0) == left.get("wallet:anna:reserved", 0) == 0
    assert left.get("psp_clearing:stripe", 0) == -(amount + debt + fee)


# --- wallets ---


def test_a_credit_is_more_for_the_seller_and_a_debit_of_the_receivable_more_that_the_seller_owes() -> None:
    postings = ledger.reserve("anna", {Bucket.PENDING: 100, Bucket.AVAILABLE: 20, Bucket.RECEIVABLE: 3}, "INR")
    assert wallet_changes(postings) == {
        ("anna", "INR", Bucket.PENDING): -100,
        ("anna", "INR", Bucket.AVAILABLE): -20,
        ("anna", "INR", Bucket.RECEIVABLE): 3,
        ("anna", "INR", Bucket.RESERVED): 123,
    }
    released = wallet_changes(ledger.reversed_lines(postings))
    assert released == {place: -change for place, change in wallet_changes(postings).items()}


def test_accounts_of_ours_are_no_wallets_and_sellers_and_currencies_stay_apart() -> None:
    postings = (
        *ledger.capture("stripe", "anna", 50000, 1500, "INR"),
        *ledger.capture("stripe", "bo", 1000, 0, "JPY"),
        *ledger.capture("stripe", "anna", 200, 0, "INR"),
        *ledger.dispute_withdrawn("stripe", 5, "INR"),
        *ledger.dispute_loss_of_ours(5, "INR"),
    )
    assert wallet_changes(postings) == {
        ("anna", "INR", Bucket.PENDING): 48700,
        ("bo", "JPY", Bucket.PENDING): 1000,
    }


@given(st.lists(st.one_of(*POSTINGS.values()), max_size=6))
def test_wallets_follow_their_accounts(transactions: list[tuple[Posting, ...]]) -> None:
    """What the seller has, less what the seller owes, is what the accounts say with the sign turned round."""
    postings = tuple(posting for transaction in transactions for posting in transaction)
    changes = wallet_changes(postings)
    booked = totals(postings)
    for bucket in Bucket:
        sign = 1 if bucket is Bucket.RECEIVABLE else -1
        assert changes.get(("anna", "INR", bucket), 0) == sign * booked.get(wallet("anna", bucket), 0)


# --- the chart ---


def test_the_chart_knows_every_account_and_no_other() -> None:
    assert wallet("anna", Bucket.RECEIVABLE) == "receivable:anna"
    assert wallet("anna", Bucket.RESERVED) == "wallet:anna:reserved"
    assert account_kind(wallet("anna", Bucket.RECEIVABLE)) is AccountKind.ASSET
    assert account_kind(wallet("anna", Bucket.RESERVED)) is AccountKind.LIABILITY
    assert account_kind(ledger.DISPUTES_HELD) is AccountKind.ASSET
    assert account_kind(ledger.DISPUTE_LOSSES) is AccountKind.EXPENSE
    with pytest.raises(KeyError):
        account_kind("savings")


def test_each_kind_that_takes_back_belongs_to_one_that_gives() -> None:
    kinds = {kind.value for kind in Kind}
    assert all(kind.removesuffix("_reversal") in kinds for kind in kinds)

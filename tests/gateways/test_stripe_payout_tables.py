"""Transfers and payouts in our words: every status one outcome, every refusal one code."""

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from gateways.stripe import payout_objects as objects
from gateways.stripe.payout_objects import (
    moved_as_asked,
    paid_as_asked,
    payout_result,
    refusal_of,
    taken_back,
    transfer_result,
)

TRANSFER: dict[str, Any] = {
    "object": "transfer",
    "id": "tr_1",
    "amount": 500,
    "amount_reversed": 0,
    "currency": "usd",
    "destination": "acct_1",
    "reversed": False,
    "reversals": {"object": "list", "data": []},
}
PAYOUT: dict[str, Any] = {
    "object": "payout",
    "id": "po_1",
    "status": "pending",
    "amount": 500,
    "currency": "usd",
    "arrival_date": 1_700_000_000,
}


# --- refusals ---


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "balance_insufficient"}, "balance_insufficient"),
        ({"code": "insufficient_funds"}, "balance_insufficient"),
        ({"code": "resource_missing", "param": "destination"}, "payout_account_invalid"),
        ({"param": "destination"}, "payout_account_invalid"),
        ({"code": "insufficient_capabilities_for_transfer"}, "payout_account_invalid"),
        ({"code": "account_invalid"}, "payout_account_invalid"),
        ({"code": "balance_insufficient", "param": "destination"}, "balance_insufficient"),
        ({"code": "transfers_not_allowed"}, "transfer_refused"),
        ({"code": "brand_new"}, "transfer_refused"),
        ({"code": None, "param": None}, "transfer_refused"),
        ({"code": 5, "param": 5}, "transfer_refused"),
        ({}, "transfer_refused"),
    ],
)
def test_refusals_of_a_transfer(error: dict[str, Any], code: str) -> None:
    failure = refusal_of(error, "transfer_refused")
    said = error.get("code")
    assert (failure.code, failure.psp_code) == (code, said if isinstance(said, str) else None)


@pytest.mark.parametrize(
    ("psp_code", "code"),
    [
        ("payouts_not_allowed", "payout_account_invalid"),
        ("bank_account_unusable", "payout_account_invalid"),
        ("account_closed", "payout_account_invalid"),
        ("balance_insufficient", "balance_insufficient"),
        ("amount_too_small", "payout_refused"),
        ("payouts_limit_exceeded", "payout_refused"),
    ],
)
def test_refusals_of_a_payout(psp_code: str, code: str) -> None:
    assert refusal_of({"code": psp_code}, "payout_refused").code == code


def test_every_code_has_a_sentence() -> None:
    assert set(objects._REFUSALS.values()) <= objects._MESSAGES.keys()
    assert all(message.endswith(".") for message in objects._MESSAGES.values())


# --- transfers ---


@pytest.mark.parametrize(
    ("currency", "sent", "amount"), [("usd", 500, 500), ("jpy", 500, 500), ("kwd", 5_010, 5_010), ("isk", 500, 5)]
)
def test_a_transfer_that_was_made(currency: str, sent: int, amount: int) -> None:
    expected = TransferResult(outcome=TransferOutcome.DONE, reference="tr_1", amount=amount, currency=currency.upper())
    assert transfer_result({**TRANSFER, "currency": currency, "amount": sent}) == expected


@pytest.mark.parametrize(
    ("broken", "reference"),
    [
        ({"object": "payout"}, "tr_1"),
        ({"object": "transfer_reversal"}, "tr_1"),
        ({"id": ""}, None),
        ({"id": 5}, None),
        ({"amount": "500"}, "tr_1"),
        ({"amount": None}, "tr_1"),
        ({"amount": True}, "tr_1"),
        ({"currency": "zzz"}, "tr_1"),
        ({"currency": None}, "tr_1"),
        ({"currency": "isk", "amount": 550}, "tr_1"),
    ],
)
def test_a_transfer_that_cannot_be_read_is_unknown(broken: dict[str, Any], reference: str | None) -> None:
    result = transfer_result({**TRANSFER, **broken})
    assert (result.outcome, result.reason, result.reference) == (TransferOutcome.UNKNOWN, "malformed", reference)


@pytest.mark.parametrize("thing", [None, [], "tr_1", {}, 5])
def test_what_is_no_object_is_unknown(thing: Any) -> None:
    assert transfer_result(thing).reason == "malformed"
    assert payout_result(thing).reason == "malformed"


@pytest.mark.parametrize(
    ("amount", "currency", "outcome"),
    [
        (500, "USD", TransferOutcome.DONE),
        (501, "USD", TransferOutcome.UNKNOWN),
        (499, "USD", TransferOutcome.UNKNOWN),
        (500, "EUR", TransferOutcome.UNKNOWN),
    ],
)
def test_another_amount_is_not_what_was_asked(amount: int, currency: str, outcome: TransferOutcome) -> None:
    result = moved_as_asked(transfer_result(TRANSFER), amount, currency)
    reason = None if outcome is TransferOutcome.DONE else "amount_mismatch"
    assert (result.outcome, result.reason, result.reference, result.amount) == (outcome, reason, "tr_1", 500)


def reversal(number: int, key: str | None) -> dict[str, Any]:
    return {"id": f"trr_{number}", "amount": 500, "metadata": {"paysaga_key": key} if key else {}}


@pytest.mark.parametrize(
    ("entries", "reference"),
    [
        ([reversal(1, "k")], "trr_1"),
        ([reversal(2, None), reversal(1, "k")], "trr_1"),
        ([reversal(2, None), reversal(1, "other")], "trr_2"),
        ([], None),
        (None, None),
        (["trr_1"], None),
    ],
)
def test_the_reversal_behind_a_transfer_that_was_taken_back(entries: Any, reference: str | None) -> None:
    back = taken_back({**TRANSFER, "reversed": True, "amount_reversed": 500, "reversals": {"data": entries}}, "k")
    assert back == TransferResult(outcome=TransferOutcome.DONE, reference=reference, amount=500, currency="USD")


@pytest.mark.parametrize("more", [{}, {"amount_reversed": 499}, {"reversed": "yes"}, {"reversed": None}])
def test_a_transfer_that_was_not_taken_back_in_full(more: dict[str, Any]) -> None:
    assert taken_back({**TRANSFER, **more}, "k") is None


def test_a_reversal_whose_amount_cannot_be_read_is_unknown() -> None:
    back = taken_back({**TRANSFER, "reversed": True, "amount_reversed": None}, "k")
    assert back is not None
    assert (back.outcome, back.reason) == (TransferOutcome.UNKNOWN, "malformed")


# --- payouts ---


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        ("pending", PayoutOutcome.PENDING, None),
        ("in_transit", PayoutOutcome.PENDING, None),
        ("paid", PayoutOutcome.PAID, None),
        ("failed", PayoutOutcome.FAILED, None),
        ("canceled", PayoutOutcome.CANCELLED, None),
        ("cancelled", PayoutOutcome.UNKNOWN, "unrecognised"),
        ("PAID", PayoutOutcome.UNKNOWN, "unrecognised"),
        ("", PayoutOutcome.UNKNOWN, "unrecognised"),
    ],
)
def test_statuses_of_a_payout(status: str, outcome: PayoutOutcome, reason: str | None) -> None:
    result = payout_result({**PAYOUT, "status": status})
    assert (result.outcome, result.reason, result.reference) == (outcome, reason, "po_1")
    assert (result.amount, result.currency) == (500, "USD")
    assert result.arrival_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (result.failure is not None) == (outcome is PayoutOutcome.FAILED)


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        ("account_closed", "The bank account has been closed.", "The bank account has been closed."),
        ("no_account", None, "The payout did not reach the bank account."),
        (None, None, "The payout did not reach the bank account."),
        (5, ["x"], "The payout did not reach the bank account."),
        ("x", "y" * 900, "y" * 500),
    ],
)
def test_why_a_payout_failed(code: Any, message: Any, told: str) -> None:
    result = payout_result({**PAYOUT, "status": "failed", "failure_code": code, "failure_message": message})
    assert result.failure is not None
    psp_code = code if isinstance(code, str) else None
    assert (result.failure.code, result.failure.psp_code, result.failure.message) == ("payout_failed", psp_code, told)


@pytest.mark.parametrize("arrival", [None, 0, "soon", 10**30])
def test_a_payout_without_an_arrival_is_readable(arrival: Any) -> None:
    result = payout_result({**PAYOUT, "arrival_date": arrival})
    assert (result.outcome, result.arrival_at) == (PayoutOutcome.PENDING, None)


@pytest.mark.parametrize(
    "broken",
    [
        {"object": "transfer"},
        {"id": None},
        {"status": None, "amount": None},
        {"status": ["paid"]},
        {"amount": 5.5},
        {"currency": "zzz"},
    ],
)
def test_a_payout_that_cannot_be_read_is_unknown(broken: dict[str, Any]) -> None:
    result = payout_result({**PAYOUT, **broken})
    assert (result.outcome, result.reason) == (PayoutOutcome.UNKNOWN, "malformed")
    assert result.reference == ("po_1" if "id" not in broken else None)


@pytest.mark.parametrize("status", ["pending", "paid", "failed", "canceled"])
def test_a_payout_of_another_amount_is_unknown(status: str) -> None:
    result = payout_result({**PAYOUT, "status": status})
    assert paid_as_asked(result, 500, "USD") == result
    for amount, currency in [(501, "USD"), (500, "EUR")]:
        other = paid_as_asked(result, amount, currency)
        assert (other.outcome, other.reason, other.reference) == (PayoutOutcome.UNKNOWN, "amount_mismatch", "po_1")
        assert other.failure is None


def test_a_payout_without_an_answer_has_no_amount_to_compare() -> None:
    unknown = PayoutResult(outcome=PayoutOutcome.UNKNOWN, reason="timeout")
    assert paid_as_asked(unknown, 1, "USD") == unknown

"""Money out against the sandbox: every course a payout takes, every fault, and the money moved once at the end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.psp import (
    PayoutOutcome,
    PayoutRequest,
    PayoutResult,
    PspEventKind,
    ReversalRequest,
    TransferOutcome,
    TransferRequest,
    TransferResult,
)
from tests.gateways.wire import T, delivered, timeout_for

if TYPE_CHECKING:
    from tests.gateways.conftest import Account


@pytest.fixture
async def rich(account: "Account") -> "Account":
    """An account that can transfer what it does not have; its payouts move only when they are told to."""
    await account.control("PATCH", "account", {"check_available_balance": False, "payout_delay_s": None})
    return account


def payout_request(of: TransferRequest, **more: Any) -> PayoutRequest:
    fields: dict[str, Any] = {
        "key": f"{of.payout_id}:payout:1",
        "payout_id": of.payout_id,
        "destination": of.destination,
        "amount": of.amount,
        "currency": of.currency,
    }
    return PayoutRequest(**(fields | more))


def reversal_request(of: TransferRequest, made: TransferResult, **more: Any) -> ReversalRequest:
    fields: dict[str, Any] = {
        "key": f"{of.payout_id}:reversal:1",
        "payout_id": of.payout_id,
        "transfer_reference": made.reference or "",
        "amount": of.amount,
        "currency": of.currency,
    }
    return ReversalRequest(**(fields | more))


async def transferred(account: "Account", destination: str = "acct_paysOut") -> tuple[TransferRequest, TransferResult]:
    request = account.transfer_request(destination)
    result = await account.psp.transfer(request, timeout_s=T)
    assert result.outcome is TransferOutcome.DONE
    return request, result


async def paid_out(account: "Account", destination: str = "acct_paysOut") -> tuple[PayoutRequest, PayoutResult]:
    request = payout_request((await transferred(account, destination))[0])
    result = await account.psp.pay_out(request, timeout_s=T)
    assert result.outcome is PayoutOutcome.PENDING
    return request, result


async def seen(account: "Account", request: PayoutRequest, result: PayoutResult) -> PayoutResult:
    return await account.psp.retrieve_payout(
        result.reference or "", payout_id=request.payout_id, destination=request.destination, timeout_s=T
    )


async def found(account: "Account", request: PayoutRequest) -> PayoutResult:
    since = datetime.now(UTC) - timedelta(minutes=5)
    return await account.psp.find_payout(
        request.payout_id, destination=request.destination, created_from=since, timeout_s=T
    )


async def logged(account: "Account", kind: str) -> list[dict[str, Any]]:
    """What really happened, by the provider's own log."""
    entries: list[dict[str, Any]] = (await account.control("GET", "log"))[kind]
    return entries


# --- transfers ---


async def test_a_transfer_and_its_look_up(rich: "Account") -> None:
    request, result = await transferred(rich)
    assert (result.amount, result.currency, (result.reference or "")[:3]) == (10_000, "USD", "tr_")
    assert await rich.psp.transfer(request, timeout_s=T) == result
    assert await rich.psp.find_transfer(request.payout_id, timeout_s=T) == result
    [entry] = await logged(rich, "transfers")
    assert (entry["destination"], entry["transfer_group"]) == (request.destination, request.payout_id)
    assert entry["metadata"] == {"seller": "s-1", "paysaga_payout": request.payout_id, "paysaga_key": request.key}


async def test_a_transfer_that_is_not_there(rich: "Account") -> None:
    await transferred(rich)
    assert (await rich.psp.find_transfer("pt_none", timeout_s=T)).outcome is TransferOutcome.NOT_FOUND


@pytest.mark.parametrize(("amount", "currency"), [(500, "JPY"), (12_340, "KWD"), (99, "INR")])
async def test_currencies(rich: "Account", amount: int, currency: str) -> None:
    request = rich.transfer_request(amount=amount, currency=currency)
    result = await rich.psp.transfer(request, timeout_s=T)
    assert (result.outcome, result.amount, result.currency) == (TransferOutcome.DONE, amount, currency)
    paid = await rich.psp.pay_out(payout_request(request), timeout_s=T)
    assert (paid.outcome, paid.amount, paid.currency) == (PayoutOutcome.PENDING, amount, currency)


@pytest.mark.parametrize(
    ("destination", "code"), [("acct_transferRefused", "transfer_refused"), ("acct_nobody", "payout_account_invalid")]
)
async def test_refused_transfers(rich: "Account", destination: str, code: str) -> None:
    result = await rich.psp.transfer(rich.transfer_request(destination), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code, result.reference) == (TransferOutcome.REFUSED, code, None)
    assert await logged(rich, "transfers") == []


async def test_a_transfer_of_what_is_not_there(account: "Account") -> None:
    result = await account.psp.transfer(account.transfer_request(), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (TransferOutcome.REFUSED, "balance_insufficient")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("timeout_before", "timeout"),
        ("timeout_after", "timeout"),
        ("cut_before", "connection"),
        ("cut_after", "connection"),
        ("http_500_uncached", "server_error"),
        ("http_503", "server_error"),
        ("rate_limit", "rate_limited"),
        ("broken_body", "malformed"),
    ],
)
async def test_a_transfer_without_an_answer_is_made_once_under_its_key(rich: "Account", kind: str, reason: str) -> None:
    planted = await rich.fault(kind, "transfers.create")
    request = rich.transfer_request()
    result = await rich.psp.transfer(request, timeout_s=timeout_for(reason))
    assert (result.outcome, result.reason, result.reference) == (TransferOutcome.UNKNOWN, reason, None)
    await rich.struck(planted)
    for _ in range(100):
        result = await rich.psp.transfer(request, timeout_s=T)
        if result.reason != "in_flight":
            break
        await asyncio.sleep(0.02)
    assert result.outcome is TransferOutcome.DONE
    assert len(await logged(rich, "transfers")) == 1


async def test_a_stored_500_is_resolved_by_the_look_up(rich: "Account") -> None:
    await rich.fault("http_500_after", "transfers.create")
    request = rich.transfer_request()
    reasons = [(await rich.psp.transfer(request, timeout_s=T)).reason for _ in range(2)]
    assert reasons == ["server_error", "server_error_replayed"]
    assert (await rich.psp.find_transfer(request.payout_id, timeout_s=T)).outcome is TransferOutcome.DONE
    assert len(await logged(rich, "transfers")) == 1


@pytest.mark.parametrize("kind", ["wrong_amount", "wrong_currency"])
async def test_another_amount_than_was_asked_is_never_done(rich: "Account", kind: str) -> None:
    await rich.fault(kind, "transfers.create")
    result = await rich.psp.transfer(rich.transfer_request(), timeout_s=T)
    assert (result.outcome, result.reason) == (TransferOutcome.UNKNOWN, "amount_mismatch")
    assert (result.reference or "").startswith("tr_")


async def test_the_same_key_for_something_else_is_unknown(rich: "Account") -> None:
    request, _ = await transferred(rich)
    result = await rich.psp.transfer(request.model_copy(update={"amount": 9_999}), timeout_s=T)
    assert (result.outcome, result.reason) == (TransferOutcome.UNKNOWN, "key_reused")


# --- taking it back ---


async def test_a_reversal_takes_it_back_once(rich: "Account") -> None:
    request, made = await transferred(rich)
    back = reversal_request(request, made)
    first = await rich.psp.reverse_transfer(back, timeout_s=T)
    assert (first.outcome, first.amount, first.currency) == (TransferOutcome.DONE, 10_000, "USD")
    assert (first.reference or "").startswith("trr_")
    assert await rich.psp.reverse_transfer(back, timeout_s=T) == first
    assert await rich.psp.reverse_transfer(back.model_copy(update={"key": "another"}), timeout_s=T) == first
    assert await rich.psp.find_reversal(back, timeout_s=T) == first
    # Nothing of it is on the seller's account any more.
    assert (await rich.psp.find_transfer(request.payout_id, timeout_s=T)).outcome is TransferOutcome.NOT_FOUND
    assert len(await logged(rich, "transfer_reversals")) == 1


async def test_a_refused_reversal(rich: "Account") -> None:
    request, made = await transferred(rich, "acct_reversalRefused")
    result = await rich.psp.reverse_transfer(reversal_request(request, made), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (TransferOutcome.REFUSED, "balance_insufficient")


async def test_a_reversal_of_nothing(rich: "Account") -> None:
    request = rich.transfer_request()
    nothing = TransferResult(outcome=TransferOutcome.DONE, reference="tr_none")
    result = await rich.psp.reverse_transfer(reversal_request(request, nothing), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (TransferOutcome.REFUSED, "reversal_refused")


@pytest.mark.parametrize(("kind", "outcome"), [("http_500", "REFUSED"), ("http_500_after", "DONE")])
async def test_a_stored_500_does_not_stand_in_the_way_of_a_reversal(rich: "Account", kind: str, outcome: str) -> None:
    request, made = await transferred(rich)
    await rich.fault(kind, "transfer_reversals.create")
    back = reversal_request(request, made)
    assert (await rich.psp.reverse_transfer(back, timeout_s=T)).reason == "server_error"
    assert (await rich.psp.reverse_transfer(back, timeout_s=T)).outcome.value == outcome


# --- payouts ---


async def test_a_payout_arrives(rich: "Account") -> None:
    request, result = await paid_out(rich)
    assert (result.amount, result.currency, (result.reference or "")[:3]) == (10_000, "USD", "po_")
    assert result.arrival_at is not None
    assert await rich.psp.pay_out(request, timeout_s=T) == result
    assert await seen(rich, request, result) == await found(rich, request) == result
    for step, outcome in [("transit", PayoutOutcome.PENDING), ("pay", PayoutOutcome.PAID)]:
        await rich.control("POST", f"payouts/{result.reference}/{step}")
        assert (await seen(rich, request, result)).outcome is outcome
        assert (await found(rich, request)).outcome is outcome
    [entry] = await logged(rich, "payouts")
    assert (entry["account"], entry["metadata"]["paysaga_payout"]) == (request.destination, request.payout_id)


@pytest.mark.parametrize(
    ("steps", "psp_code"), [(["fail"], "account_closed"), (["transit", "pay", "return"], "no_account")]
)
async def test_a_payout_fails_or_comes_back(rich: "Account", steps: list[str], psp_code: str) -> None:
    request, result = await paid_out(rich)
    for step in steps:
        await rich.control("POST", f"payouts/{result.reference}/{step}")
    state = await seen(rich, request, result)
    assert state.failure is not None
    assert (state.outcome, state.failure.code, state.failure.psp_code) == (
        PayoutOutcome.FAILED,
        "payout_failed",
        psp_code,
    )
    # The money is on the seller's account again, and can be taken back from there.
    made = await rich.psp.find_transfer(request.payout_id, timeout_s=T)
    of = TransferRequest(**request.model_dump())
    assert (await rich.psp.reverse_transfer(reversal_request(of, made), timeout_s=T)).outcome is TransferOutcome.DONE


async def test_a_payout_takes_its_course_by_itself(rich: "Account") -> None:
    await rich.control("PATCH", "account", {"payout_delay_s": 60})
    request, result = await paid_out(rich, "acct_payoutFails")
    await rich.control("POST", "clock/advance", {"seconds": 61})
    assert (await seen(rich, request, result)).outcome is PayoutOutcome.FAILED


async def test_refused_payouts(rich: "Account") -> None:
    for destination, code in [
        ("acct_payoutRefused", "payout_account_invalid"),
        ("acct_paysOut", "balance_insufficient"),
    ]:
        request = payout_request(rich.transfer_request(destination))
        result = await rich.psp.pay_out(request, timeout_s=T)
        assert result.failure is not None
        assert (result.outcome, result.failure.code, result.reference) == (PayoutOutcome.FAILED, code, None)
    assert await logged(rich, "payouts") == []


async def test_a_payout_of_a_fraction_where_only_whole_units_are_paid(rich: "Account") -> None:
    transfer = rich.transfer_request(amount=10_050, currency="HUF")
    assert (await rich.psp.transfer(transfer, timeout_s=T)).outcome is TransferOutcome.DONE
    result = await rich.psp.pay_out(payout_request(transfer), timeout_s=T)
    assert result.failure is not None
    assert (result.outcome, result.failure.code) == (PayoutOutcome.FAILED, "amount_precision")
    result = await rich.psp.pay_out(payout_request(transfer, amount=10_000), timeout_s=T)
    assert (result.outcome, result.amount) == (PayoutOutcome.PENDING, 10_000)


async def test_an_account_that_is_not_ours_to_use_is_unknown(rich: "Account") -> None:
    result = await rich.psp.pay_out(payout_request(rich.transfer_request("acct_nobody")), timeout_s=T)
    assert (result.outcome, result.reason) == (PayoutOutcome.UNKNOWN, "credentials")


@pytest.mark.parametrize(
    ("kind", "reason"), [("timeout_after", "timeout"), ("cut_before", "connection"), ("broken_body", "malformed")]
)
async def test_a_payout_without_an_answer_is_made_once_under_its_key(rich: "Account", kind: str, reason: str) -> None:
    request = payout_request((await transferred(rich))[0])
    planted = await rich.fault(kind, "payouts.create")
    result = await rich.psp.pay_out(request, timeout_s=timeout_for(reason))
    assert (result.outcome, result.reason) == (PayoutOutcome.UNKNOWN, reason)
    await rich.struck(planted)
    result = await rich.psp.pay_out(request, timeout_s=T)
    assert result.outcome is PayoutOutcome.PENDING
    assert len(await logged(rich, "payouts")) == 1
    assert (await found(rich, request)).reference == result.reference


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        # More than the seller's account holds could not be paid: here the answer lies.
        ({"kind": "wrong_amount", "persist": False}, "amount_mismatch"),
        ({"kind": "wrong_amount", "delta": -1}, "amount_mismatch"),
        ({"kind": "wrong_currency", "persist": False}, "amount_mismatch"),
        ({"kind": "unknown_status"}, "unrecognised"),
    ],
)
async def test_a_payout_that_is_not_what_was_asked(rich: "Account", fault: dict[str, Any], reason: str) -> None:
    request = payout_request((await transferred(rich))[0])
    await rich.fault(operation="payouts.create", **fault)
    result = await rich.psp.pay_out(request, timeout_s=T)
    assert (result.outcome, result.reason) == (PayoutOutcome.UNKNOWN, reason)
    assert (result.reference or "").startswith("po_")


async def test_a_payout_of_another_account_is_not_found(rich: "Account") -> None:
    request, result = await paid_out(rich)
    elsewhere = request.model_copy(update={"destination": "acct_paysOut_elsewhere"})
    assert (await seen(rich, elsewhere, result)).outcome is PayoutOutcome.NOT_FOUND
    assert (await found(rich, elsewhere)).outcome is PayoutOutcome.NOT_FOUND
    later = datetime.now(UTC) + timedelta(minutes=5)
    late = await rich.psp.find_payout(
        request.payout_id, destination=request.destination, created_from=later, timeout_s=T
    )
    assert late.outcome is PayoutOutcome.NOT_FOUND


async def test_cancelling_in_time_and_too_late(rich: "Account") -> None:
    for steps, outcome, code in [
        ([], PayoutOutcome.CANCELLED, None),
        (["transit"], PayoutOutcome.PENDING, "payout_not_cancellable"),
        (["pay"], PayoutOutcome.PAID, "payout_not_cancellable"),
        (["fail"], PayoutOutcome.FAILED, "payout_failed"),
    ]:
        request, result = await paid_out(rich)
        for step in steps:
            await rich.control("POST", f"payouts/{result.reference}/{step}")
        for _ in range(2):
            end = await rich.psp.cancel_payout(
                result.reference or "",
                payout_id=request.payout_id,
                destination=request.destination,
                key="c",
                timeout_s=T,
            )
            assert (end.outcome, end.reference, end.failure and end.failure.code) == (outcome, result.reference, code)


# --- webhooks ---


async def test_webhooks_as_they_are_really_delivered(rich: "Account") -> None:
    async with delivered(rich) as events:
        request, result = await paid_out(rich)
        for step in ("transit", "pay", "return"):
            await rich.control("POST", f"payouts/{result.reference}/{step}")
        of = TransferRequest(**request.model_dump())
        made = await rich.psp.find_transfer(request.payout_id, timeout_s=T)
        await rich.psp.reverse_transfer(reversal_request(of, made), timeout_s=T)
    about = {(event.type, event.reference): event for event in events if event.kind is PspEventKind.PAYOUT}
    assert set(about) == {
        ("payout.paid", result.reference),
        ("payout.failed", result.reference),
        ("transfer.reversed", made.reference),
    }
    assert {event.payout_id for event in about.values()} == {request.payout_id}
    accounts = {event.payload.get("account") for event in about.values() if event.type.startswith("payout.")}
    assert accounts == {request.destination}

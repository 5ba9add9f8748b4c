"""Money out over a bad wire: what leaves this process, and what an answer proves."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import pytest

from domain.psp import (
    PayoutOutcome,
    PayoutRequest,
    PayoutResult,
    ReversalRequest,
    TransferOutcome,
    TransferRequest,
    TransferResult,
)
from gateways.stripe.gateway import StripePsp
from tests.gateways.wire import Server, T, answer, build, in_turn, served

SINCE = datetime(2026, 11, 1, tzinfo=UTC)

TRANSFER = TransferRequest(
    key="pt_1:transfer:1", payout_id="pt_1", destination="acct_1", amount=500, currency="USD", metadata={"seller": "s"}
)
REVERSAL = ReversalRequest(
    key="pt_1:reversal:1", payout_id="pt_1", transfer_reference="tr_1", amount=500, currency="USD"
)
PAYOUT = PayoutRequest(
    key="pt_1:payout:1", payout_id="pt_1", destination="acct_1", amount=500, currency="USD", metadata={"seller": "s"}
)


def ours(key: str) -> dict[str, str]:
    return {"paysaga_payout": "pt_1", "paysaga_key": key}


def transfer(**more: Any) -> dict[str, Any]:
    base = {"object": "transfer", "id": "tr_1", "amount": 500, "currency": "usd", "destination": "acct_1"}
    return {**base, "reversed": False, "amount_reversed": 0, "metadata": ours(TRANSFER.key), **more}


def reversal(**more: Any) -> dict[str, Any]:
    base = {"object": "transfer_reversal", "id": "trr_1", "amount": 500, "currency": "usd", "transfer": "tr_1"}
    return {**base, "metadata": ours(REVERSAL.key), **more}


def payout(**more: Any) -> dict[str, Any]:
    base = {"object": "payout", "id": "po_1", "amount": 500, "currency": "usd", "status": "pending"}
    return {**base, "metadata": ours(PAYOUT.key), **more}


def ok(thing: Any) -> bytes:
    return answer(200, json.dumps(thing))


def page(*things: Any, more: bool = False) -> bytes:
    return ok({"object": "list", "data": list(things), "has_more": more})


def refusal(code: str | None = None, status: int = 400, **more: Any) -> bytes:
    return answer(status, json.dumps({"error": {"type": "invalid_request_error", "code": code, **more}}))


POOR = refusal("balance_insufficient")
MISSING = refusal("resource_missing", 404)

Call = Callable[[StripePsp], Awaitable[TransferResult | PayoutResult]]
CALLS: dict[str, Call] = {
    "transfer": lambda psp: psp.transfer(TRANSFER, timeout_s=T),
    "find_transfer": lambda psp: psp.find_transfer("pt_1", timeout_s=T),
    "retrieve_transfer": lambda psp: psp.retrieve_transfer("tr_1", payout_id="pt_1", destination="acct_1", timeout_s=T),
    "reverse_transfer": lambda psp: psp.reverse_transfer(REVERSAL, timeout_s=T),
    "find_reversal": lambda psp: psp.find_reversal(REVERSAL, timeout_s=T),
    "pay_out": lambda psp: psp.pay_out(PAYOUT, timeout_s=T),
    "retrieve_payout": lambda psp: psp.retrieve_payout("po_1", payout_id="pt_1", destination="acct_1", timeout_s=T),
    "find_payout": lambda psp: psp.find_payout("pt_1", destination="acct_1", created_from=SINCE, timeout_s=T),
    "cancel_payout": lambda psp: psp.cancel_payout(
        "po_1", payout_id="pt_1", destination="acct_1", key="c", timeout_s=T
    ),
}


def sent(server: Server, number: int = 0) -> tuple[str, list[str], list[str]]:
    """The first line, the headers and the fields of a request."""
    head, _, body = server.requests[number].partition("\r\n\r\n")
    first, *headers = head.split("\r\n")
    return first, headers, [unquote_plus(field) for field in body.split("&") if field]


# --- what is sent ---


async def test_what_a_transfer_sends() -> None:
    server = Server(ok(transfer()))
    async with served(server) as psp:
        result = await psp.transfer(TRANSFER, timeout_s=T)
    assert result == TransferResult(outcome=TransferOutcome.DONE, reference="tr_1", amount=500, currency="USD")
    first, headers, fields = sent(server)
    assert first == "POST /v1/transfers HTTP/1.1"
    assert "Idempotency-Key: pt_1:transfer:1" in headers
    assert not any(header.startswith("Stripe-Account") for header in headers)
    assert sorted(fields) == [
        "amount=500",
        "currency=usd",
        "destination=acct_1",
        "metadata[paysaga_key]=pt_1:transfer:1",
        "metadata[paysaga_payout]=pt_1",
        "metadata[seller]=s",
        "transfer_group=pt_1",
    ]


async def test_what_a_reversal_sends() -> None:
    server = Server(ok(reversal()))
    async with served(server) as psp:
        result = await psp.reverse_transfer(REVERSAL, timeout_s=T)
    assert result == TransferResult(outcome=TransferOutcome.DONE, reference="trr_1", amount=500, currency="USD")
    first, headers, fields = sent(server)
    assert first == "POST /v1/transfers/tr_1/reversals HTTP/1.1"
    assert "Idempotency-Key: pt_1:reversal:1" in headers
    assert not any(header.startswith("Stripe-Account") for header in headers)
    assert fields == ["amount=500", "metadata[paysaga_payout]=pt_1", "metadata[paysaga_key]=pt_1:reversal:1"]


async def test_what_a_payout_sends() -> None:
    server = Server(ok(payout(arrival_date=1_800_000_000)))
    async with served(server) as psp:
        result = await psp.pay_out(PAYOUT, timeout_s=T)
    assert (result.outcome, result.reference, result.amount) == (PayoutOutcome.PENDING, "po_1", 500)
    assert result.arrival_at == datetime.fromtimestamp(1_800_000_000, UTC)
    first, headers, fields = sent(server)
    assert first == "POST /v1/payouts HTTP/1.1"
    assert {"Idempotency-Key: pt_1:payout:1", "Stripe-Account: acct_1"} <= set(headers)
    assert sorted(fields) == [
        "amount=500",
        "currency=usd",
        "metadata[paysaga_key]=pt_1:payout:1",
        "metadata[paysaga_payout]=pt_1",
        "metadata[seller]=s",
    ]


@pytest.mark.parametrize(
    ("name", "reply", "line"),
    [
        ("retrieve_payout", ok(payout()), "GET /v1/payouts/po_1"),
        ("find_payout", page(), f"GET /v1/payouts?created[gte]={int(SINCE.timestamp())}&limit=100"),
        ("cancel_payout", ok(payout(status="canceled")), "POST /v1/payouts/po_1/cancel"),
    ],
)
async def test_a_payout_is_looked_at_where_it_was_made(name: str, reply: bytes, line: str) -> None:
    server = Server(reply)
    async with served(server) as psp:
        await CALLS[name](psp)
    first, headers, fields = sent(server)
    assert unquote_plus(first) == f"{line} HTTP/1.1"
    assert "Stripe-Account: acct_1" in headers
    assert fields == []


async def test_each_cancel_has_a_key_of_its_own() -> None:
    server = Server(answer(500, "no"))
    async with served(server) as psp:
        for _ in range(2):
            await psp.cancel_payout("po_1", payout_id="pt_1", destination="acct_1", key="pt_1:cancel", timeout_s=T)
    keys = {header for n in range(2) for header in sent(server, n)[1] if header.startswith("Idempotency-Key: ")}
    assert len(keys) == 2
    assert all(key.startswith("Idempotency-Key: pt_1:cancel:") for key in keys)


@pytest.mark.parametrize(
    ("currency", "amount", "units"), [("JPY", 500, 500), ("KWD", 12_340, 12_340), ("ISK", 5, 500), ("INR", 99, 99)]
)
async def test_amounts_are_sent_in_stripes_units(currency: str, amount: int, units: int) -> None:
    more = {"amount": amount, "currency": currency}
    told = {"amount": units, "currency": currency.lower()}
    server = Server(in_turn(ok(transfer(**told)), ok(payout(**told)), ok(reversal(**told))))
    async with served(server) as psp:
        moved = await psp.transfer(TRANSFER.model_copy(update=more), timeout_s=T)
        paid = await psp.pay_out(PAYOUT.model_copy(update=more), timeout_s=T)
        back = await psp.reverse_transfer(REVERSAL.model_copy(update=more), timeout_s=T)
    assert all(f"amount={units}" in sent(server, number)[2] for number in range(3))
    assert (moved.outcome, paid.outcome, back.outcome) == (
        TransferOutcome.DONE,
        PayoutOutcome.PENDING,
        TransferOutcome.DONE,
    )
    assert (moved.amount, paid.amount, back.amount) == (amount, amount, amount)


@pytest.mark.parametrize(
    ("amount", "currency", "code"), [(501, "KWD", "amount_precision"), (5, "ZZZ", "currency_unknown")]
)
async def test_an_amount_that_cannot_be_sent_is_refused_and_not_sent(amount: int, currency: str, code: str) -> None:
    server = Server(ok({}))
    more = {"amount": amount, "currency": currency}
    async with served(server) as psp:
        moved = await psp.transfer(TRANSFER.model_copy(update=more), timeout_s=T)
        paid = await psp.pay_out(PAYOUT.model_copy(update=more), timeout_s=T)
        back = await psp.reverse_transfer(REVERSAL.model_copy(update=more), timeout_s=T)
    assert (moved.outcome, back.outcome) == (TransferOutcome.REFUSED, TransferOutcome.REFUSED)
    assert paid.outcome is PayoutOutcome.FAILED
    assert {result.failure.code for result in (moved, paid, back) if result.failure} == {code}
    assert server.requests == []


async def test_without_a_sellers_account_our_own_never_pays() -> None:
    server = Server(ok(payout()))
    async with served(server) as psp:
        paid = await psp.pay_out(PAYOUT.model_copy(update={"destination": ""}), timeout_s=T)
        seen = await psp.retrieve_payout("po_1", payout_id="pt_1", destination="", timeout_s=T)
        found = await psp.find_payout("pt_1", destination="", created_from=SINCE, timeout_s=T)
        ended = await psp.cancel_payout("po_1", payout_id="pt_1", destination="", key="c", timeout_s=T)
    assert paid.failure is not None
    assert (paid.outcome, paid.failure.code) == (PayoutOutcome.FAILED, "payout_account_invalid")
    assert {result.outcome for result in (seen, found, ended)} == {PayoutOutcome.UNKNOWN}
    assert server.requests == []


# --- what proves nothing ---


@pytest.mark.parametrize("name", ["find_transfer", "retrieve_payout", "find_payout"])
async def test_a_refused_look_is_unknown(name: str) -> None:
    async with served(Server(refusal("parameter_unknown"))) as psp:
        result = await CALLS[name](psp)
    assert (result.outcome.value, result.reason) == ("UNKNOWN", "unrecognised")


@pytest.mark.parametrize("name", ["transfer", "reverse_transfer", "pay_out", "cancel_payout"])
async def test_a_refusal_whose_reason_cannot_be_looked_up_is_unknown(name: str) -> None:
    async with served(Server(in_turn(POOR, refusal("parameter_unknown")))) as psp:
        result = await CALLS[name](psp)
    assert (result.outcome.value, result.reason) == ("UNKNOWN", "unrecognised")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(500, "no"), "server_error"),
        (answer(503, '{"error":{}}'), "server_error"),
        (answer(409, '{"error":{"type":"idempotency_error"}}'), "in_flight"),
        (answer(429, '{"error":{}}'), "rate_limited"),
        (answer(400, '{"error":{"type":"invalid_request_error","code":"lock_timeout"}}'), "in_flight"),
        (answer(400, '{"error":{"type":"idempotency_error"}}'), "key_reused"),
        (answer(401, '{"error":{}}'), "credentials"),
        (refusal("account_invalid", 403), "credentials"),
        (answer(402, "no"), "unrecognised"),
        (answer(200, "<html>"), "malformed"),
        (answer(200, "[]"), "malformed"),
        (answer(200, "{}"), "malformed"),
        (answer(200, '{"object":'), "malformed"),
        (b"not http\r\n\r\n", "connection"),
    ],
)
async def test_answers_that_prove_nothing(name: str, reply: bytes, reason: str) -> None:
    server = Server(reply)
    async with served(server) as psp:
        result = await CALLS[name](psp)
    assert (result.outcome.value, result.reason, result.reference) == ("UNKNOWN", reason, None)
    assert result.failure is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", [name for name in CALLS if name != "reverse_transfer"])
async def test_a_stored_500_is_unknown(name: str) -> None:
    async with served(Server(answer(500, "no", "Idempotent-Replayed: true"))) as psp:
        result = await CALLS[name](psp)
    assert (result.outcome.value, result.reason) == ("UNKNOWN", "server_error_replayed")


@pytest.mark.parametrize("name", CALLS)
async def test_no_answer_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "T", 0.1)
    async with served(Server(None)) as psp:
        result = await CALLS[name](psp)
    assert (result.outcome.value, result.reason) == ("UNKNOWN", "timeout")


@pytest.mark.parametrize("name", CALLS)
async def test_nobody_there(name: str) -> None:
    psp = build("http://127.0.0.1:1")
    result = await CALLS[name](psp)
    await psp.close()
    assert (result.outcome.value, result.reason) == ("UNKNOWN", "connection")


async def test_the_breaker_and_the_bulkhead_hold_for_money_out() -> None:
    server = Server(answer(500, "no"))
    async with served(server, breaker_failures=2) as psp:
        reasons = [(await call(psp)).reason for call in CALLS.values()]
    assert reasons == ["server_error"] * 2 + ["breaker_open"] * 7
    async with served(server, concurrency_max=0) as psp:
        assert {(await call(psp)).reason for call in CALLS.values()} == {"busy"}
    assert len(server.requests) == 2


# --- transfers ---


@pytest.mark.parametrize(
    ("more", "reason", "reference"),
    [
        ({"amount": 501}, "amount_mismatch", "tr_1"),
        ({"currency": "eur"}, "amount_mismatch", "tr_1"),
        ({"destination": "acct_2"}, "another_account", "tr_1"),
        ({"destination": None}, "another_account", "tr_1"),
        ({"metadata": ours("k") | {"paysaga_payout": "pt_2"}}, "key_reused", None),
        ({"object": "payout"}, "malformed", "tr_1"),
    ],
)
async def test_a_transfer_that_is_not_what_was_asked(more: dict[str, Any], reason: str, reference: str | None) -> None:
    async with served(Server(ok(transfer(**more)))) as psp:
        result = await psp.transfer(TRANSFER, timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (TransferOutcome.UNKNOWN, reason, reference)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (POOR, "balance_insufficient"),
        (refusal("transfers_not_allowed"), "transfer_refused"),
        (refusal("resource_missing", param="destination"), "payout_account_invalid"),
        (refusal(), "transfer_refused"),
    ],
)
async def test_a_refused_transfer(reply: bytes, code: str) -> None:
    server = Server(in_turn(reply, page()))
    async with served(server) as psp:
        result = await psp.transfer(TRANSFER, timeout_s=T)
    assert (result.outcome, result.reference, result.reason) == (TransferOutcome.REFUSED, None, None)
    assert result.failure is not None
    assert result.failure.code == code
    assert sent(server, 1)[0].startswith("GET /v1/transfers?transfer_group=pt_1&")


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (transfer(), TransferOutcome.DONE, None),
        (transfer(metadata=ours("an earlier attempt")), TransferOutcome.DONE, None),
        (transfer(reversed=True), TransferOutcome.REFUSED, None),
        (transfer(metadata={"paysaga_payout": "pt_2"}), TransferOutcome.REFUSED, None),
        (transfer(metadata=None), TransferOutcome.REFUSED, None),
        (transfer(amount=400), TransferOutcome.UNKNOWN, "amount_mismatch"),
        (transfer(destination="acct_2"), TransferOutcome.UNKNOWN, "another_account"),
    ],
)
async def test_a_refusal_may_be_the_echo_of_the_transfer_itself(
    found: dict[str, Any], outcome: TransferOutcome, reason: str | None
) -> None:
    async with served(Server(in_turn(POOR, page(found)))) as psp:
        result = await psp.transfer(TRANSFER, timeout_s=T)
    assert (result.outcome, result.reason) == (outcome, reason)


@pytest.mark.parametrize("second", [answer(500, "no"), answer(200, "{}"), None])
async def test_a_refusal_without_the_second_answer_is_unknown(second: bytes | None) -> None:
    replies = Server(in_turn(POOR, second or b"broken\r\n\r\n"))
    async with served(replies) as psp:
        moved = await psp.transfer(TRANSFER, timeout_s=T)
    assert moved.outcome is TransferOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        ([], None),
        ([transfer(id="tr_9", metadata={})], None),
        ([transfer(id="tr_9", metadata={"paysaga_payout": "pt_11"})], None),
        ([transfer(reversed=True)], None),
        ([transfer(id="tr_2", reversed=True), transfer()], "tr_1"),
        ([transfer(), transfer(id="tr_0", reversed=True)], "tr_1"),
        (["tr_1", None, transfer()], "tr_1"),
    ],
)
async def test_which_transfer_is_ours(found: list[Any], reference: str | None) -> None:
    async with served(Server(page(*found))) as psp:
        result = await psp.find_transfer("pt_1", timeout_s=T)
    outcome = TransferOutcome.DONE if reference else TransferOutcome.NOT_FOUND
    assert (result.outcome, result.reference) == (outcome, reference)


async def test_a_look_up_that_does_not_end_is_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.stripe.wire.PAGES_MAX", 3)
    other = {"id": "x_1", "metadata": {}}
    server = Server(page(other, more=True))
    async with served(server) as psp:
        for name in ("find_transfer", "find_payout"):
            result = await CALLS[name](psp)
            assert (result.outcome.value, result.reason) == ("UNKNOWN", "incomplete")
    assert len(server.requests) == 6
    assert "starting_after=x_1" in sent(server, 5)[0]
    assert all("Stripe-Account: acct_1" in sent(server, number)[1] for number in (3, 4, 5))


# --- reversals ---

BACK = transfer(reversed=True, amount_reversed=500, reversals={"data": [reversal(id="trr_7", metadata={})]})
LESS_BACK = transfer(amount_reversed=400, reversals={"data": [reversal(amount=400)]})
STORED_500 = answer(500, "no", "Idempotent-Replayed: true")


@pytest.mark.parametrize("first", [refusal(), POOR, STORED_500])
@pytest.mark.parametrize(
    ("state", "outcome", "reason", "reference"),
    [
        (ok(BACK), TransferOutcome.DONE, None, "trr_7"),
        (ok(transfer()), TransferOutcome.REFUSED, None, None),
        (ok(transfer(amount_reversed=100)), TransferOutcome.REFUSED, None, None),
        (MISSING, TransferOutcome.REFUSED, None, None),
        (ok({**BACK, "amount_reversed": 400}), TransferOutcome.UNKNOWN, "amount_mismatch", "trr_7"),
        (ok({**BACK, "currency": "eur"}), TransferOutcome.UNKNOWN, "amount_mismatch", "trr_7"),
        (ok({**BACK, "id": "tr_2"}), TransferOutcome.UNKNOWN, "malformed", None),
        (ok({**BACK, "object": "payout"}), TransferOutcome.UNKNOWN, "malformed", None),
        (refusal(), TransferOutcome.UNKNOWN, "unrecognised", None),
        (answer(500, "no"), TransferOutcome.UNKNOWN, "server_error", None),
    ],
)
async def test_a_reversal_that_was_not_made_is_what_became_of_the_transfer(
    first: bytes, state: bytes, outcome: TransferOutcome, reason: str | None, reference: str | None
) -> None:
    server = Server(in_turn(first, state))
    async with served(server) as psp:
        result = await psp.reverse_transfer(REVERSAL, timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (outcome, reason, reference)
    assert (result.failure is not None) == (outcome is TransferOutcome.REFUSED)
    assert sent(server, 1)[0] == "GET /v1/transfers/tr_1 HTTP/1.1"


@pytest.mark.parametrize(("reply", "code"), [(POOR, "balance_insufficient"), (refusal(), "reversal_refused")])
async def test_why_a_reversal_was_refused(reply: bytes, code: str) -> None:
    async with served(Server(in_turn(reply, ok(transfer())))) as psp:
        result = await psp.reverse_transfer(REVERSAL, timeout_s=T)
    assert result.failure is not None
    assert result.failure.code == code


@pytest.mark.parametrize(
    ("more", "reason", "reference"),
    [
        ({"amount": 499}, "amount_mismatch", "trr_1"),
        ({"currency": "eur"}, "amount_mismatch", "trr_1"),
        ({"transfer": "tr_2"}, "key_reused", None),
        ({"object": "transfer"}, "malformed", "trr_1"),
    ],
)
async def test_a_reversal_that_is_not_what_was_asked(more: dict[str, Any], reason: str, reference: str | None) -> None:
    async with served(Server(ok(reversal(**more)))) as psp:
        result = await psp.reverse_transfer(REVERSAL, timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (TransferOutcome.UNKNOWN, reason, reference)


@pytest.mark.parametrize(
    ("state", "outcome", "reason"),
    [
        (ok(BACK), TransferOutcome.DONE, None),
        (ok(transfer()), TransferOutcome.NOT_FOUND, None),
        (ok(transfer(amount_reversed=100)), TransferOutcome.NOT_FOUND, None),
        (ok(LESS_BACK), TransferOutcome.UNKNOWN, "amount_mismatch"),
        (MISSING, TransferOutcome.NOT_FOUND, None),
        (ok({**BACK, "amount_reversed": 400}), TransferOutcome.UNKNOWN, "amount_mismatch"),
    ],
)
async def test_a_look_whether_a_transfer_was_taken_back(
    state: bytes, outcome: TransferOutcome, reason: str | None
) -> None:
    server = Server(state)
    async with served(server) as psp:
        result = await psp.find_reversal(REVERSAL, timeout_s=T)
    assert (result.outcome, result.reason) == (outcome, reason)
    assert sent(server)[0].startswith("GET /v1/transfers/tr_1 ")


@pytest.mark.parametrize(
    ("reply", "outcome", "reason"),
    [
        (ok(transfer()), TransferOutcome.DONE, None),
        (ok(transfer(metadata={})), TransferOutcome.DONE, None),
        (ok(transfer(metadata={"paysaga_payout": "pt_2"})), TransferOutcome.NOT_FOUND, None),
        (ok(transfer(destination="acct_2")), TransferOutcome.NOT_FOUND, None),
        (ok(transfer(amount_reversed=1)), TransferOutcome.NOT_FOUND, None),
        (ok(transfer(id="tr_2")), TransferOutcome.UNKNOWN, "malformed"),
        (ok(payout(id="tr_1")), TransferOutcome.UNKNOWN, "malformed"),
        (MISSING, TransferOutcome.NOT_FOUND, None),
        (refusal(), TransferOutcome.UNKNOWN, "unrecognised"),
    ],
)
async def test_a_look_at_a_transfer(reply: bytes, outcome: TransferOutcome, reason: str | None) -> None:
    async with served(Server(reply)) as psp:
        result = await CALLS["retrieve_transfer"](psp)
    assert (result.outcome, result.reason) == (outcome, reason)


# --- payouts ---


@pytest.mark.parametrize(
    ("more", "reason", "reference"),
    [
        ({"amount": 501}, "amount_mismatch", "po_1"),
        ({"currency": "eur"}, "amount_mismatch", "po_1"),
        ({"metadata": {"paysaga_payout": "pt_2"}}, "key_reused", None),
        ({"status": "brand_new"}, "unrecognised", "po_1"),
        ({"object": "transfer"}, "malformed", "po_1"),
    ],
)
async def test_a_payout_that_is_not_what_was_asked(more: dict[str, Any], reason: str, reference: str | None) -> None:
    async with served(Server(ok(payout(**more)))) as psp:
        result = await psp.pay_out(PAYOUT, timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (PayoutOutcome.UNKNOWN, reason, reference)


@pytest.mark.parametrize(
    ("found", "outcome", "reference"),
    [
        ([], PayoutOutcome.FAILED, None),
        ([payout(metadata=ours("an earlier attempt"))], PayoutOutcome.PENDING, "po_1"),
        ([payout(metadata=ours("an earlier attempt"), status="failed")], PayoutOutcome.FAILED, None),
        ([payout(status="failed"), payout(id="po_0", metadata=ours("earlier"))], PayoutOutcome.PENDING, "po_0"),
        ([payout(metadata={})], PayoutOutcome.FAILED, None),
        ([payout()], PayoutOutcome.PENDING, "po_1"),
        ([payout(status="failed")], PayoutOutcome.FAILED, "po_1"),
        ([payout(amount=1)], PayoutOutcome.UNKNOWN, "po_1"),
    ],
)
async def test_a_refused_payout_may_be_the_echo_of_itself(
    found: list[dict[str, Any]], outcome: PayoutOutcome, reference: str | None
) -> None:
    server = Server(in_turn(POOR, page(*found)))
    async with served(server) as psp:
        result = await psp.pay_out(PAYOUT, timeout_s=T)
    assert (result.outcome, result.reference) == (outcome, reference)
    if not reference:
        assert result.failure is not None
        assert result.failure.code == "balance_insufficient"
    assert "Stripe-Account: acct_1" in sent(server, 1)[1]


@pytest.mark.parametrize(
    ("found", "outcome", "reference"),
    [
        ([], PayoutOutcome.NOT_FOUND, None),
        ([payout(metadata={})], PayoutOutcome.NOT_FOUND, None),
        ([payout(metadata={"paysaga_payout": "pt_11"})], PayoutOutcome.NOT_FOUND, None),
        ([payout(original_payout="po_0")], PayoutOutcome.NOT_FOUND, None),
        ([payout(status="paid")], PayoutOutcome.PAID, "po_1"),
        ([payout(id="po_2", status="failed"), payout()], PayoutOutcome.PENDING, "po_1"),
        ([payout(id="po_2", status="canceled"), payout(status="failed")], PayoutOutcome.CANCELLED, "po_2"),
        ([payout(id="po_2", status="odd"), payout(status="failed")], PayoutOutcome.UNKNOWN, "po_2"),
    ],
)
async def test_which_payout_is_ours(found: list[dict[str, Any]], outcome: PayoutOutcome, reference: str | None) -> None:
    async with served(Server(page(*found))) as psp:
        result = await psp.find_payout("pt_1", destination="acct_1", created_from=SINCE, timeout_s=T)
    assert (result.outcome, result.reference) == (outcome, reference)


@pytest.mark.parametrize(
    ("reply", "outcome", "reason"),
    [
        (ok(payout(status="paid")), PayoutOutcome.PAID, None),
        (ok(payout(id="po_2")), PayoutOutcome.UNKNOWN, "malformed"),
        (ok(payout(metadata={}, status="paid")), PayoutOutcome.PAID, None),
        (ok(payout(metadata={"paysaga_payout": "pt_2"})), PayoutOutcome.NOT_FOUND, None),
        (ok(payout(original_payout="po_0")), PayoutOutcome.NOT_FOUND, None),
        (MISSING, PayoutOutcome.NOT_FOUND, None),
        (refusal(), PayoutOutcome.UNKNOWN, "unrecognised"),
    ],
)
async def test_a_look_at_a_payout(reply: bytes, outcome: PayoutOutcome, reason: str | None) -> None:
    async with served(Server(reply)) as psp:
        result = await psp.retrieve_payout("po_1", payout_id="pt_1", destination="acct_1", timeout_s=T)
    assert (result.outcome, result.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        ("pending", PayoutOutcome.PENDING, "payout_not_cancellable"),
        ("in_transit", PayoutOutcome.PENDING, "payout_not_cancellable"),
        ("paid", PayoutOutcome.PAID, "payout_not_cancellable"),
        ("failed", PayoutOutcome.FAILED, "payout_failed"),
        ("canceled", PayoutOutcome.CANCELLED, None),
        ("odd", PayoutOutcome.UNKNOWN, None),
    ],
)
async def test_a_refused_cancel_is_what_became_of_the_payout(
    status: str, outcome: PayoutOutcome, code: str | None
) -> None:
    async with served(Server(in_turn(refusal(), ok(payout(status=status))))) as psp:
        result = await psp.cancel_payout("po_1", payout_id="pt_1", destination="acct_1", key="c", timeout_s=T)
    assert (result.outcome, result.reference) == (outcome, "po_1")
    assert (result.failure and result.failure.code) == code


@pytest.mark.parametrize(
    ("replies", "outcome", "reason"),
    [
        ([ok(payout(status="canceled"))], PayoutOutcome.CANCELLED, None),
        ([ok(payout())], PayoutOutcome.UNKNOWN, "unrecognised"),
        ([ok(payout(id="po_2", status="canceled"))], PayoutOutcome.UNKNOWN, "malformed"),
        ([MISSING, MISSING], PayoutOutcome.NOT_FOUND, None),
        ([refusal(), answer(500, "no")], PayoutOutcome.UNKNOWN, "server_error"),
    ],
)
async def test_cancelling(replies: list[bytes], outcome: PayoutOutcome, reason: str | None) -> None:
    async with served(Server(in_turn(*replies))) as psp:
        result = await psp.cancel_payout("po_1", payout_id="pt_1", destination="acct_1", key="c", timeout_s=T)
    assert (result.outcome, result.reason) == (outcome, reason)

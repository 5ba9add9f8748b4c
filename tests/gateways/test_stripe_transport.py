"""The adapter against a server that speaks HTTP badly: what the wire can do, and what leaves this process."""

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from domain.psp import (
    CaptureRequest,
    CardFacts,
    ChargeLookup,
    ChargeOutcome,
    ChargeRequest,
    DisputeOutcome,
    EvidenceRequest,
    RefundOutcome,
    RefundRequest,
)
from tests.gateways.wire import Server, T, answer, build, in_turn, served, timeout_for
from tests.support.eventually import eventually

SUCCEEDED = json.dumps(
    {
        "object": "payment_intent",
        "id": "pi_1",
        "status": "succeeded",
        "amount": 500,
        "amount_received": 500,
        "currency": "usd",
    }
)
REQUEST = ChargeRequest(
    key="pay_1:charge:1",
    charge_id="ch_1",
    payment_id="pay_1",
    amount=500,
    currency="USD",
    method="card",
    token="tok_secretsecret",
    description="An order",
)


async def test_what_a_charge_sends() -> None:
    server = Server(answer(200, SUCCEEDED))
    async with served(server) as psp:
        for _ in range(3):
            result = await psp.charge(REQUEST, timeout_s=T)
            assert (result.outcome, result.amount) == (ChargeOutcome.SUCCEEDED, 500)
    assert server.connections == 1  # kept alive
    head, _, body = server.requests[0].partition("\r\n\r\n")
    assert head.startswith("POST /v1/payment_intents HTTP/1.1")
    assert "Idempotency-Key: pay_1:charge:1" in head
    assert "X-Stripe-Client-Telemetry" not in server.requests[2]
    for field in (
        "amount=500",
        "currency=usd",
        "confirm=true",
        "capture_method=automatic",
        "payment_method_types[0]=card",
        "payment_method_data[card][token]=tok_secretsecret",
        "metadata[paysaga_payment]=pay_1",
        "metadata[paysaga_charge]=ch_1",
        "expand[0]=latest_charge.balance_transaction",
    ):
        assert field in body


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(200, SUCCEEDED[:-20]), "malformed"),
        (answer(200, "<html>"), "malformed"),
        (answer(200, "[]"), "malformed"),
        (answer(200, "null"), "malformed"),
        (answer(200, '"succeeded"'), "malformed"),
        (answer(200, "{}"), "malformed"),
        (answer(200, ""), "malformed"),
        (answer(402, "{}"), "unrecognised"),
        (answer(402, "no"), "unrecognised"),
        (answer(402, '{"error":{}}'), "unrecognised"),
        (answer(402, '{"error":[]}'), "malformed"),
        (answer(402, '{"error":"invalid_grant"}'), "unrecognised"),
        (answer(400, '{"error":{"type":"idempotency_error"}}'), "key_reused"),
        (answer(409, '{"error":{"type":"idempotency_error"}}'), "in_flight"),
        (answer(409, "no"), "in_flight"),
        (answer(401, '{"error":{}}'), "credentials"),
        (answer(403, "no"), "credentials"),
        (answer(404, "no"), "unrecognised"),
        (answer(429, '{"error":{}}'), "rate_limited"),
        (answer(429, "no"), "rate_limited"),
        (answer(500, '{"error":{}}'), "server_error"),
        (answer(502, "<html>"), "server_error"),
        (answer(500, "<html>", "Idempotent-Replayed: true"), "server_error_replayed"),
        (answer(500, '{"error":{}}', "idempotent-replayed: true"), "server_error_replayed"),
        (answer(302, "", "Location: /elsewhere"), "unrecognised"),
        (b"not http\r\n\r\n", "connection"),
        (SUCCEEDED.encode(), "connection"),
    ],
)
async def test_answers_that_prove_nothing(reply: bytes, reason: str) -> None:
    server = Server(reply)
    async with served(server) as psp:
        result = await psp.charge(REQUEST, timeout_s=T)
    assert (result.outcome, result.reason) == (ChargeOutcome.UNKNOWN, reason)
    assert len(server.requests) == 1  # no retry, no redirect


@pytest.mark.parametrize("reply", [b"", answer(200, SUCCEEDED)[:-9], b"HTTP/1.1 200 X\r\nContent"])
async def test_connection_cut(reply: bytes) -> None:
    server = Server(reply, then_close=True)
    async with served(server) as psp:
        result = await psp.charge(REQUEST, timeout_s=T)
    assert (result.outcome, result.reason) == (ChargeOutcome.UNKNOWN, "connection")


async def test_nobody_there() -> None:
    psp = build("http://127.0.0.1:1")
    result = await psp.charge(REQUEST, timeout_s=T)
    await psp.close()
    assert (result.outcome, result.reason) == (ChargeOutcome.UNKNOWN, "connection")


async def test_after_close() -> None:
    server = Server(answer(200, SUCCEEDED))
    async with served(server) as psp:
        await psp.charge(REQUEST, timeout_s=T)
        await psp.close()
        result = await psp.charge(REQUEST, timeout_s=T)
        assert result.outcome is ChargeOutcome.UNKNOWN
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [None, b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{"])
async def test_a_timeout_closes_the_connection(reply: bytes | None) -> None:
    server = Server(reply)
    async with served(server) as psp, asyncio.timeout(T):
        started = time.perf_counter()
        result = await psp.charge(REQUEST, timeout_s=timeout_for("timeout"))
        took_s = time.perf_counter() - started
        await server.closed.wait()
    assert (result.outcome, result.reason) == (ChargeOutcome.UNKNOWN, "timeout")
    assert took_s > 0.9 * timeout_for("timeout"), "given up early"


async def test_cancellation_is_passed_on_and_closes_the_connection() -> None:
    server = Server(None)
    async with served(server) as psp:
        task = asyncio.create_task(psp.charge(REQUEST, timeout_s=5))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.wait(), T)


async def test_the_breaker_stops_the_sending() -> None:
    server = Server(answer(500, "no"))
    async with served(server, breaker_failures=2) as psp:
        reasons = [(await psp.charge(REQUEST, timeout_s=T)).reason for _ in range(4)]
    assert reasons == ["server_error", "server_error", "breaker_open", "breaker_open"]
    assert len(server.requests) == 2


async def test_the_bulkhead_stops_the_sending() -> None:
    server = Server(None)

    async def both_are_there() -> bool:
        return len(server.requests) == 2

    async with served(server, concurrency_max=2) as psp:
        waiting = [asyncio.create_task(psp.charge(REQUEST, timeout_s=T)) for _ in range(2)]
        await eventually(both_are_there)
        results = [await psp.charge(REQUEST, timeout_s=T) for _ in range(3)]
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    assert [result.reason for result in results] == ["busy"] * 3
    assert len(server.requests) == 2


async def test_an_answer_about_another_charge_is_not_ours() -> None:
    other = {**json.loads(SUCCEEDED), "metadata": {"paysaga_charge": "ch_2"}}
    async with served(Server(answer(200, json.dumps(other)))) as psp:
        result = await psp.charge(REQUEST, timeout_s=T)
    assert (result.outcome, result.reason) == (ChargeOutcome.UNKNOWN, "key_reused")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"metadata": None},
        {"metadata": {}},
        {"metadata": {"paysaga_charge": "ch_2"}},
        {"metadata": {"paysaga_charge": "ch_1"}, "id": "pi_2"},
    ],
)
async def test_a_look_at_another_charge_is_not_ours(more: dict[str, Any]) -> None:
    other = {**json.loads(SUCCEEDED), **more}
    async with served(Server(answer(200, json.dumps(other)))) as psp:
        retrieved = await psp.retrieve_charge("pi_1", charge_id="ch_1", timeout_s=T)
        voided = await psp.void_charge("pi_1", charge_id="ch_1", key="v", timeout_s=T)
    for result in (retrieved, voided):
        assert (result.outcome, result.reason, result.reference) == (ChargeOutcome.UNKNOWN, "another_charge", None)


async def test_each_cancel_has_a_key_of_its_own() -> None:
    server = Server(answer(500, "no"))
    async with served(server) as psp:
        for _ in range(2):
            await psp.void_charge("pi_1", charge_id="ch_1", key="pay_1:void", timeout_s=T)
    keys = {line for sent in server.requests for line in sent.split("\r\n") if line.startswith("Idempotency-Key: ")}
    assert len(keys) == 2
    assert all(key.startswith("Idempotency-Key: pay_1:void:") for key in keys)


async def test_a_charge_that_can_still_be_paid_is_not_voided() -> None:
    payable = {**json.loads(SUCCEEDED), "status": "requires_payment_method", "metadata": {"paysaga_charge": "ch_1"}}
    async with served(Server(answer(200, json.dumps(payable)))) as psp:
        result = await psp.void_charge("pi_1", charge_id="ch_1", key="v", timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (ChargeOutcome.UNKNOWN, "unrecognised", "pi_1")


@pytest.mark.parametrize(
    ("metadata", "is_found"),
    [
        ({"paysaga_refund": "rf_1", "paysaga_key": "k2"}, True),
        ({"paysaga_refund": "rf_1"}, True),
        ({"paysaga_refund": "rf_1", "paysaga_key": "k1"}, False),
        ({"paysaga_refund": "rf_2", "paysaga_key": "k2"}, False),
        ({"paysaga_key": "k2"}, False),
    ],
)
async def test_which_refund_is_ours(metadata: dict[str, str], is_found: bool) -> None:
    refund = {"object": "refund", "id": "re_1", "status": "succeeded", "amount": 500, "currency": "usd"}
    page = {"object": "list", "data": [{**refund, "metadata": metadata}], "has_more": False}
    async with served(Server(answer(200, json.dumps(page)))) as psp:
        result = await psp.find_refund("rf_1", "pi_1", key="k2", timeout_s=T)
    expected = (
        (RefundOutcome.SUCCEEDED, "re_1", 500, "USD") if is_found else (RefundOutcome.NOT_FOUND, None, None, None)
    )
    assert (result.outcome, result.reference, result.amount, result.currency) == expected


async def test_a_refused_list_is_unknown() -> None:
    now = datetime.now(UTC)
    lookup = ChargeLookup(charge_id="ch_1", key="k", created_from=now, created_to=now)
    async with served(Server(answer(400, REFUSED))) as psp:
        charge = await psp.find_charge(lookup, timeout_s=T)
        refund = await psp.find_refund("rf_1", "pi_1", key="k", timeout_s=T)
    assert (charge.outcome, charge.reason) == (ChargeOutcome.UNKNOWN, "unrecognised")
    assert (refund.outcome, refund.reason) == (RefundOutcome.UNKNOWN, "unrecognised")


async def test_an_amount_that_cannot_be_sent_is_no_unknown_answer_of_the_psp() -> None:
    server, too_fine = Server(answer(200, SUCCEEDED)), {"currency": "KWD", "amount": 501}
    refund = RefundRequest(key="k", refund_id="rf_1", charge_reference="pi_1", reason="", **too_fine)
    async with served(server) as psp:
        charged = await psp.charge(REQUEST.model_copy(update=too_fine), timeout_s=T)
        refunded = await psp.refund(refund, timeout_s=T)
    assert (charged.outcome, refunded.outcome) == (ChargeOutcome.DECLINED, RefundOutcome.FAILED)
    assert [result.failure and result.failure.code for result in (charged, refunded)] == ["amount_precision"] * 2
    assert server.requests == []


REFUSED = json.dumps(
    {"error": {"type": "invalid_request_error", "code": "token_already_used", "message": "No: tok_secretsecret"}}
)


@pytest.mark.parametrize("reply", [answer(200, SUCCEEDED), answer(400, REFUSED), answer(500, REFUSED)])
async def test_no_token_in_logs_output_or_results(
    reply: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(Server(reply)) as psp:
        result = await psp.charge(REQUEST, timeout_s=T)
        await psp.describe_card(REQUEST.token, timeout_s=T)
    captured = capfd.readouterr()
    for text in (caplog.text, captured.out, captured.err, repr(result), result.model_dump_json(), repr(REQUEST)):
        assert "secretsecret" not in text


# --- captures ---

CAPTURE = CaptureRequest(key="pay_1:capture", charge_id="ch_1", reference="pi_1", amount=300, currency="USD")


def our_intent(status: str, **more: Any) -> str:
    return json.dumps({**json.loads(SUCCEEDED), "status": status, "metadata": {"paysaga_charge": "ch_1"}, **more})


NOT_CAPTURABLE = answer(400, '{"error":{"type":"invalid_request_error","code":"payment_intent_unexpected_state"}}')


async def test_what_a_capture_sends() -> None:
    server = Server(answer(200, our_intent("succeeded", amount_received=300)))
    async with served(server) as psp:
        for _ in range(2):
            result = await psp.capture_charge(CAPTURE, timeout_s=T)
            assert (result.outcome, result.amount, result.reference) == (ChargeOutcome.SUCCEEDED, 300, "pi_1")
    heads, bodies = zip(*(sent.split("\r\n\r\n") for sent in server.requests), strict=True)
    assert heads[0].startswith("POST /v1/payment_intents/pi_1/capture HTTP/1.1")
    assert set(bodies) == {"amount_to_capture=300&expand[0]=latest_charge.balance_transaction"}
    keys = {line for head in heads for line in head.split("\r\n") if line.startswith("Idempotency-Key: ")}
    assert len(keys) == 2  # a stored refusal or 500 must not stand in the way of the next call
    assert all(key.startswith("Idempotency-Key: pay_1:capture:") for key in keys)


@pytest.mark.parametrize(
    ("state", "outcome", "reason", "code"),
    [
        ("succeeded", ChargeOutcome.SUCCEEDED, None, None),
        ("canceled", ChargeOutcome.VOIDED, None, None),
        ("requires_capture", ChargeOutcome.AUTHORIZED, None, "request_refused"),
        ("requires_payment_method", ChargeOutcome.UNKNOWN, "unrecognised", None),
        ("requires_action", ChargeOutcome.UNKNOWN, "unrecognised", None),
        ("processing", ChargeOutcome.UNKNOWN, "unrecognised", None),
        ("brand_new", ChargeOutcome.UNKNOWN, "unrecognised", None),
    ],
)
async def test_a_refused_capture_is_what_became_of_the_charge(
    state: str, outcome: ChargeOutcome, reason: str | None, code: str | None
) -> None:
    server = Server(in_turn(NOT_CAPTURABLE, answer(200, our_intent(state))))
    async with served(server) as psp:
        result = await psp.capture_charge(CAPTURE, timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (outcome, reason, "pi_1")
    assert (result.failure and result.failure.code) == code
    assert server.requests[1].startswith("GET /v1/payment_intents/pi_1?expand")


async def test_a_refused_capture_of_nothing_or_without_a_second_answer_is_unknown() -> None:
    missing = answer(404, '{"error":{"type":"invalid_request_error","code":"resource_missing"}}')
    for second, reason in [(missing, "unrecognised"), (answer(500, "no"), "server_error")]:
        async with served(Server(in_turn(NOT_CAPTURABLE, second))) as psp:
            result = await psp.capture_charge(CAPTURE, timeout_s=T)
        assert (result.outcome, result.reason) == (ChargeOutcome.UNKNOWN, reason)


@pytest.mark.parametrize("state", ["requires_capture", "processing"])
async def test_a_capture_that_did_not_capture_is_no_refusal(state: str) -> None:
    async with served(Server(answer(200, our_intent(state)))) as psp:
        result = await psp.capture_charge(CAPTURE, timeout_s=T)
    assert (result.outcome, result.reason, result.failure) == (ChargeOutcome.UNKNOWN, "unrecognised", None)


@pytest.mark.parametrize("replies", [(), (NOT_CAPTURABLE,)])
@pytest.mark.parametrize("more", [{"metadata": {"paysaga_charge": "ch_2"}}, {"id": "pi_2"}, {"metadata": None}])
async def test_a_capture_of_another_charge_is_not_ours(replies: tuple[bytes, ...], more: dict[str, Any]) -> None:
    async with served(Server(in_turn(*replies, answer(200, our_intent("succeeded", **more))))) as psp:
        result = await psp.capture_charge(CAPTURE, timeout_s=T)
    assert (result.outcome, result.reason, result.reference) == (ChargeOutcome.UNKNOWN, "another_charge", None)


async def test_a_capture_that_cannot_be_sent_is_refused() -> None:
    server = Server(answer(200, our_intent("requires_capture")))
    async with served(server) as psp:
        result = await psp.capture_charge(CAPTURE.model_copy(update={"currency": "KWD", "amount": 501}), timeout_s=T)
    assert (result.outcome, result.failure and result.failure.code) == (ChargeOutcome.AUTHORIZED, "amount_precision")
    assert not any("/capture" in request for request in server.requests)


async def test_the_shops_metadata_goes_to_the_psp() -> None:
    server = Server(answer(200, SUCCEEDED))
    shops = {
        "order": "A 17",
        "a[b]": "refused there",
        "empty": "",
        "paysaga_charge": "ch_other",
        "paysaga_refund": "re",
    }
    async with served(server) as psp:
        await psp.charge(REQUEST.model_copy(update={"metadata": shops}), timeout_s=T)
    body = parse_qs(server.requests[0].rpartition("\r\n")[2])
    sent = {name: values for name, values in body.items() if name.startswith("metadata")}
    assert sent["metadata[order]"] == ["A 17"]
    assert sent["metadata[paysaga_charge]"] == [REQUEST.charge_id]
    assert sent.keys() == {
        f"metadata[{name}]" for name in ("order", "paysaga_payment", "paysaga_charge", "paysaga_key")
    }


@pytest.mark.parametrize(("method", "name"), [("card", "statement_descriptor_suffix"), ("upi", "statement_descriptor")])
async def test_the_words_on_the_buyers_statement(method: str, name: str) -> None:
    server = Server(answer(200, SUCCEEDED))
    async with served(server, statement_descriptor="ANNAS SHOP") as psp:
        await psp.charge(REQUEST.model_copy(update={"method": method}), timeout_s=T)
    body = parse_qs(server.requests[0].rpartition("\r\n")[2])
    assert {key: value for key, value in body.items() if "descriptor" in key} == {name: ["ANNAS SHOP"]}


@pytest.mark.parametrize(
    ("kept", "sent"), [(None, ["https://shop/back"]), ("", None), ("https://other/", ["https://other/"])]
)
async def test_the_payments_own_return_url_goes_before_the_accounts(kept: str | None, sent: list[str] | None) -> None:
    server = Server(answer(200, SUCCEEDED))
    async with served(server) as psp:
        await psp.charge(REQUEST.model_copy(update={"return_url": kept}), timeout_s=T)
    assert parse_qs(server.requests[0].rpartition("\r\n")[2]).get("return_url") == sent


async def test_an_authorisation_asks_for_a_later_capture() -> None:
    server = Server(answer(200, our_intent("requires_capture")))
    async with served(server) as psp:
        result = await psp.charge(REQUEST.model_copy(update={"authorize_only": True}), timeout_s=T)
    assert (result.outcome, result.amount) == (ChargeOutcome.AUTHORIZED, 500)
    assert "capture_method=manual" in server.requests[0]


# --- a look at a card ---

MISSING = answer(404, '{"error":{"type":"invalid_request_error","code":"resource_missing"}}')
A_CARD = {"fingerprint": "f1", "country": "IN", "brand": "visa", "funding": "debit", "last4": "4242"}


@pytest.mark.parametrize(
    ("token", "path", "kind"),
    [
        ("tok_secretsecret", "/v1/tokens/tok_secretsecret", "token"),
        ("pm_secretsecret", "/v1/payment_methods/pm_secretsecret", "payment_method"),
        ("tok_a/../b?c", "/v1/tokens/tok_a%2F..%2Fb%3Fc", "token"),
    ],
)
async def test_a_card_is_described_without_being_used(token: str, path: str, kind: str) -> None:
    server = Server(answer(200, json.dumps({"object": kind, "id": "x", "card": A_CARD})))
    async with served(server) as psp:
        card = await psp.describe_card(token, timeout_s=T)
    assert card == CardFacts(fingerprint="f1", country="IN", brand="visa", funding="debit")
    assert [sent.partition(" HTTP")[0] for sent in server.requests] == [f"GET {path}"]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        MISSING,
        answer(400, '{"error":{"type":"invalid_request_error"}}'),
        answer(401, "{}"),
        answer(429, "{}"),
        answer(500, "no"),
        answer(200, "[]"),
        answer(200, "{}"),
        answer(200, json.dumps({"object": "charge", "card": A_CARD})),
        answer(200, json.dumps({"object": "token", "card": None})),
        answer(200, json.dumps({"object": "payment_method", "type": "upi", "upi": {}})),
        answer(200, json.dumps({"object": "token", "card": {"last4": "4242"}})),
    ],
)
async def test_no_card_without_a_trustworthy_answer(reply: bytes | None) -> None:
    async with served(Server(reply)) as psp:
        timeout_s = timeout_for("timeout" if reply is None else None)
        assert await psp.describe_card("tok_secretsecret", timeout_s=timeout_s) is None


async def test_nobody_is_asked_for_what_is_no_card_or_when_the_guard_refuses() -> None:
    server = Server(answer(500, "no"))
    async with served(server, breaker_failures=1) as psp:
        for token in ("", "upi:a@b", "src_1", "cus_1/payment_methods"):
            assert await psp.describe_card(token, timeout_s=T) is None
        assert server.requests == []
        for _ in range(2):
            assert await psp.describe_card("tok_1", timeout_s=T) is None
    assert len(server.requests) == 1


# --- disputes ---

EVIDENCE = EvidenceRequest(key="dp_1:evidence:1", reference="du_1", fields={"product_description": "A secretsecret"})


def a_dispute(status: str) -> bytes:
    thing = {"object": "dispute", "id": "du_1", "amount": 500, "currency": "usd", "charge": "ch_1", "status": status}
    return answer(200, json.dumps({**thing, "balance_transactions": []}))


async def test_what_evidence_sends_and_that_the_present_state_is_asked_for() -> None:
    # The first answer is one that Stripe kept under the key; meanwhile the issuer has decided.
    server = Server(in_turn(a_dispute("under_review"), a_dispute("won")))
    async with served(server) as psp:
        result = await psp.submit_evidence(EVIDENCE, timeout_s=T)
    assert (result.outcome, result.failure) == (DisputeOutcome.WON, None)
    head, _, body = server.requests[0].partition("\r\n\r\n")
    assert head.startswith("POST /v1/disputes/du_1 HTTP/1.1")
    assert "Idempotency-Key: dp_1:evidence:1\r\n" in head
    assert body == "evidence[product_description]=A+secretsecret&submit=true"
    assert server.requests[1].startswith("GET /v1/disputes/du_1 HTTP/1.1")


@pytest.mark.parametrize("state", ["lost", "needs_response", "warning_closed", "brand_new"])
async def test_refused_evidence_is_the_present_state_with_a_failure(state: str) -> None:
    refused = answer(400, '{"error":{"type":"invalid_request_error","code":"dispute_closed","message":"secretsecret"}}')
    async with served(Server(in_turn(refused, a_dispute(state)))) as psp:
        result = await psp.submit_evidence(EVIDENCE, timeout_s=T)
    assert result.reference == "du_1"
    assert result.failure is not None
    assert (result.failure.code, result.failure.psp_code) == ("evidence_refused", "dispute_closed")
    assert "secretsecret" not in repr((result, EVIDENCE))


@pytest.mark.parametrize(
    ("replies", "outcome", "reason"),
    [
        ((MISSING,), DisputeOutcome.NOT_FOUND, None),
        ((answer(400, '{"error":{"type":"invalid_request_error"}}'),), DisputeOutcome.UNKNOWN, "unrecognised"),
        ((answer(400, '{"error":{"type":"idempotency_error"}}'),), DisputeOutcome.UNKNOWN, "key_reused"),
        ((answer(409, "no"),), DisputeOutcome.UNKNOWN, "in_flight"),
        ((answer(500, "no", "Idempotent-Replayed: true"),), DisputeOutcome.UNKNOWN, "server_error_replayed"),
        ((answer(200, "<html>"),), DisputeOutcome.UNKNOWN, "malformed"),
        ((answer(200, "{}"),), DisputeOutcome.UNKNOWN, "malformed"),
        ((a_dispute("under_review"), answer(500, "no")), DisputeOutcome.UNKNOWN, "server_error"),
    ],
)
async def test_evidence_without_an_answer_is_unknown(
    replies: tuple[bytes, ...], outcome: DisputeOutcome, reason: str | None
) -> None:
    async with served(Server(in_turn(*replies))) as psp:
        result = await psp.submit_evidence(EVIDENCE, timeout_s=T)
    assert (result.outcome, result.reason, result.failure) == (outcome, reason, None)


@pytest.mark.parametrize(
    ("reply", "outcome", "reason"),
    [
        (MISSING, DisputeOutcome.NOT_FOUND, None),
        (None, DisputeOutcome.UNKNOWN, "timeout"),
        (answer(500, "no"), DisputeOutcome.UNKNOWN, "server_error"),
        (answer(404, "no"), DisputeOutcome.UNKNOWN, "unrecognised"),
        (answer(200, "[]"), DisputeOutcome.UNKNOWN, "malformed"),
        (a_dispute("brand_new"), DisputeOutcome.UNKNOWN, "unrecognised"),
        (a_dispute("lost"), DisputeOutcome.LOST, None),
    ],
)
async def test_a_look_at_a_dispute(reply: bytes | None, outcome: DisputeOutcome, reason: str | None) -> None:
    async with served(Server(reply)) as psp:
        result = await psp.retrieve_dispute("du_1", timeout_s=timeout_for(reason))
    assert (result.outcome, result.reason) == (outcome, reason)

"""Payment intents, payment methods, charges and balance, through the official library."""

import base64
from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp


async def test_a_confirmed_card_payment_has_charge_fee_and_events(psp: "Psp") -> None:
    intent = await psp.pay(metadata={"payment": "pay_1"})
    charge: Any = intent.latest_charge
    assert (intent.status, intent.amount_received, intent.metadata["payment"]) == ("succeeded", 50_000, "pay_1")
    assert charge.payment_method_details.card.brand == "visa"
    assert charge.payment_method_details.card.country == "US"
    assert len(charge.payment_method_details.card.fingerprint) == 16
    assert (charge.outcome.risk_level, charge.payment_method_details.card.checks.cvc_check) == ("normal", "pass")
    # 2.9 % of 500.00 is 14.50, and 0.30 on top.
    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (1_480, 48_520)
    found = await psp.v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})
    assert found.latest_charge.id == charge.id  # type: ignore[union-attr]
    events = await psp.v1.events.list_async()
    assert [event.type for event in events.data] == [
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_intent.created",
    ]
    assert events.data[2].data.object["status"] == "requires_payment_method"
    request: Any = events.data[0].request
    assert request.idempotency_key
    (logged,) = (await psp.log())["charges"]
    assert (logged["payment_intent"], logged["charge"], logged["amount"]) == (intent.id, charge.id, 50_000)


@pytest.mark.parametrize(
    ("name", "code", "decline_code"),
    [
        ("chargeDeclined", "card_declined", "generic_decline"),
        ("chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("chargeDeclinedExpiredCard", "expired_card", None),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("chargeDeclinedProcessingError", "processing_error", None),
        ("chargeDeclinedFraudulent", "card_declined", "fraudulent"),
        ("chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
    ],
)
async def test_a_decline_is_a_402_with_the_intent_in_it(psp: "Psp", name: str, code: str, decline_code: str) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await psp.pay(f"pm_card_{name}")
    error: Any = caught.value.error
    assert (caught.value.http_status, error.code, error.decline_code) == (402, code, decline_code)
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_intent.last_payment_error.code == code
    charges = await psp.v1.charges.list_async({"payment_intent": error.payment_intent.id})
    assert [(charge.status, charge.paid, charge.failure_code) for charge in charges.data] == [("failed", False, code)]
    assert (await psp.log())["charges"] == []


async def test_a_declined_intent_takes_another_method_or_a_cancel(psp: "Psp") -> None:
    with pytest.raises(stripe.CardError) as caught:
        await psp.pay("pm_card_chargeDeclined")
    intent_id = caught.value.error.payment_intent.id  # type: ignore[union-attr]
    paid = await psp.v1.payment_intents.confirm_async(intent_id, {"payment_method": "pm_card_mastercard"})
    assert paid.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await psp.v1.payment_intents.cancel_async(intent_id)
    error: Any = refused.value.error
    assert (refused.value.http_status, error.code) == (400, "payment_intent_unexpected_state")
    assert error.payment_intent.status == "succeeded"


async def test_create_then_confirm_then_nothing_more(psp: "Psp") -> None:
    types: Any = {"amount": 700, "currency": "USD", "payment_method_types": ["card"]}
    intent = await psp.v1.payment_intents.create_async(types)
    assert (intent.status, intent.currency) == ("requires_payment_method", "usd")
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.confirm_async(intent.id)
    changed = await psp.v1.payment_intents.update_async(intent.id, {"metadata": {"a": "1", "b": "2"}})
    changed = await psp.v1.payment_intents.update_async(intent.id, {"metadata": {"a": ""}})
    assert changed.metadata.to_dict() == {"b": "2"}
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_upi_success"})
    paid = await psp.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert caught.value.code == "payment_intent_unexpected_state"


async def test_manual_capture_takes_a_part_and_releases_the_rest(psp: "Psp") -> None:
    held = await psp.pay(capture_method="manual")
    assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 50_000, 0)
    assert (await psp.log())["charges"] == []
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 50_001})
    taken = await psp.v1.payment_intents.capture_async(
        held.id, {"amount_to_capture": 20_000, "expand": ["latest_charge.balance_transaction"]}
    )
    charge: Any = taken.latest_charge
    assert (taken.status, taken.amount_received, taken.amount_capturable) == ("succeeded", 20_000, 0)
    assert (charge.amount_captured, charge.balance_transaction.amount) == (20_000, 20_000)
    log = await psp.log()
    assert [entry["amount"] for entry in log["charges"]] == [20_000]
    assert [entry["status"] for entry in log["authorizations"]] == ["authorized"]


async def test_cancel_releases_an_authorization(psp: "Psp") -> None:
    held = await psp.pay(capture_method="manual")
    gone = await psp.v1.payment_intents.cancel_async(held.id, {"cancellation_reason": "abandoned"})
    assert (gone.status, gone.cancellation_reason, gone.amount_capturable) == ("canceled", "abandoned", 0)
    log = await psp.log()
    assert ([entry["status"] for entry in log["authorizations"]], log["charges"]) == (["authorized", "voided"], [])
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.capture_async(held.id)


@pytest.mark.parametrize("method", ["pm_upi_success", "pm_netbanking_success", "pm_usBankAccount_success"])
async def test_processing_then_success(psp: "Psp", method: str) -> None:
    intent = await psp.pay(method)
    assert intent.status == "processing"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.payment_intents.cancel_async(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    await psp.control("POST", "/clock/advance", {"seconds": 2})
    assert (await psp.v1.payment_intents.retrieve_async(intent.id)).status == "succeeded"
    assert len((await psp.log())["charges"]) == 1


async def test_processing_then_failure_by_its_own_timer(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"processing_delay_s": 0})
    intent = await psp.pay("pm_upi_failure", payment_method_types=["upi"])
    assert intent.status == "processing"
    while intent.status == "processing":
        intent = await psp.v1.payment_intents.retrieve_async(intent.id)
    assert intent.status == "requires_payment_method"
    assert intent.last_payment_error
    assert intent.last_payment_error.code == "payment_intent_payment_attempt_failed"


async def test_processing_until_told(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"processing_delay_s": None})
    good, bad = await psp.pay("pm_upi_success"), await psp.pay("pm_upi_success")
    await psp.control("POST", "/clock/advance", {"seconds": 9999})
    assert (await psp.v1.payment_intents.retrieve_async(good.id)).status == "processing"
    steered = await psp.control("POST", f"/payment_intents/{good.id}/complete_processing")
    assert steered["status"] == "succeeded"
    steered = await psp.control("POST", f"/payment_intents/{bad.id}/fail_processing")
    assert steered["status"] == "requires_payment_method"
    await psp.control("POST", f"/payment_intents/{bad.id}/complete_processing", status=409)


async def test_three_d_secure_page_approves_and_fails(psp: "Psp") -> None:
    good, bad = await psp.pay("pm_card_threeDSecure2Required"), await psp.pay("pm_card_authenticationRequired")
    pages = []
    for intent, decision in ((good, "approve"), (bad, "fail")):
        assert intent.status == "requires_action"
        action: Any = intent.next_action
        url = action.redirect_to_url.url
        async with psp.session.get(url) as page:
            pages.append(await page.text())
            assert page.status == 200
            assert "Approve" in pages[-1]
            assert "₹500.00" in pages[-1]
        form = {"decision": decision, "client_secret": intent.client_secret}
        async with psp.session.post(url.partition("?")[0], data=form, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"].startswith(f"https://shop.example/back?payment_intent={intent.id}")
        async with psp.session.get(url) as page:
            assert "Already decided" in await page.text()
    assert (await psp.v1.payment_intents.retrieve_async(good.id)).status == "succeeded"
    failed = await psp.v1.payment_intents.retrieve_async(bad.id)
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error
    assert failed.last_payment_error.code == "payment_intent_authentication_failure"


async def test_three_d_secure_by_control_and_with_manual_capture(psp: "Psp") -> None:
    intent = await psp.pay("pm_card_threeDSecure2Required", capture_method="manual")
    steered = await psp.control("POST", f"/payment_intents/{intent.id}/authenticate")
    assert steered["status"] == "requires_capture"
    intent = await psp.pay("pm_card_threeDSecure2Required")
    steered = await psp.control("POST", f"/payment_intents/{intent.id}/fail_authentication")
    assert steered["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    with pytest.raises(stripe.CardError) as caught:
        await psp.pay("pm_card_threeDSecure2Required", off_session=True)
    assert caught.value.code == "authentication_required"


async def test_force_success_after_the_cancel(psp: "Psp") -> None:
    intent = await psp.pay("pm_card_threeDSecure2Required")
    await psp.v1.payment_intents.cancel_async(intent.id)
    await psp.control("POST", f"/payment_intents/{intent.id}/force_success")
    late = await psp.v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge.balance_transaction"]})
    assert (late.status, late.latest_charge.balance_transaction.amount) == ("succeeded", 50_000)  # type: ignore[union-attr]
    assert [entry["payment_intent"] for entry in (await psp.log())["charges"]] == [intent.id]
    await psp.control("POST", f"/payment_intents/{intent.id}/force_success", status=409)


async def test_tokens_work_once_unless_they_are_the_documented_ones(psp: "Psp") -> None:
    def data(token: str) -> Any:
        return {"payment_method_data": {"type": "card", "card": {"token": token}}}

    async def pay(token: str) -> str:
        params: Any = {"amount": 500, "currency": "usd", "confirm": True, "return_url": "https://x.example"}
        return (await psp.v1.payment_intents.create_async(params | data(token))).status

    assert [await pay("tok_visa"), await pay("tok_visa")] == ["succeeded", "succeeded"]
    minting: Any = {"card": {"test": "visa"}}
    minted = await psp.v1.tokens.create_async(minting)
    for token in (minted.id, "tok_visa_once"):
        assert await pay(token) == "succeeded"
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await pay(token)
        assert (caught.value.http_status, caught.value.code) == (400, "token_already_used")
    for _ in range(2):
        with pytest.raises(stripe.StripeError) as refused:
            await pay("tok_chargeDeclined_x")
    assert refused.value.code == "token_already_used"
    assert (await psp.v1.tokens.retrieve_async(minted.id)).used


async def test_payment_methods_work_for_one_intent(psp: "Psp") -> None:
    created: Any = {"type": "card", "card": {"token": "tok_amex"}}
    method = await psp.v1.payment_methods.create_async(created)
    assert method.card
    assert method.card.brand == "amex"
    for name in (method.id, "pm_card_visa_mine"):
        assert (await psp.pay(name)).status == "succeeded"
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await psp.pay(name)
        assert caught.value.code == "token_already_used"
    await psp.control("PATCH", "/account", {"enforce_single_use": False})
    assert (await psp.pay("pm_card_visa_mine")).status == "succeeded"


@pytest.mark.parametrize(
    ("params", "status", "code", "param"),
    [
        ({"amount": 49, "currency": "usd"}, 400, "amount_too_small", "amount"),
        ({"amount": 100_000_000, "currency": "usd"}, 400, "amount_too_large", "amount"),
        ({"amount": 0, "currency": "usd"}, 400, "parameter_invalid_integer", "amount"),
        ({"amount": "1.5", "currency": "usd"}, 400, "parameter_invalid_integer", "amount"),
        ({"amount": 500, "currency": "xxx"}, 400, None, "currency"),
        ({"amount": 500}, 400, "parameter_missing", "currency"),
        ({"currency": "usd"}, 400, "parameter_missing", "amount"),
        ({"amount": 500, "currency": "usd", "colour": "red"}, 400, "parameter_unknown", "colour"),
        ({"amount": 500, "currency": "usd", "capture_method": "x"}, 400, None, "capture_method"),
        ({"amount": 500, "currency": "usd", "description": ""}, 400, "parameter_invalid_empty", "description"),
        ({"amount": 500, "currency": "usd", "payment_method": "pm_no"}, 400, "resource_missing", "payment_method"),
        ({"amount": 500, "currency": "usd", "confirm": True}, 400, "parameter_missing", "payment_method"),
        (
            {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"},
            400,
            None,
            "return_url",
        ),
        (
            {
                "amount": 500,
                "currency": "usd",
                "payment_method_data": {"type": "card", "card": {"number": "4242424242424242"}},
            },
            402,
            None,
            None,
        ),
    ],
)
async def test_bad_parameters(psp: "Psp", params: Any, status: int, code: str | None, param: str | None) -> None:
    with pytest.raises(stripe.StripeError) as caught:
        await psp.v1.payment_intents.create_async(params)
    error: Any = caught.value
    assert (error.http_status, error.code, getattr(error, "param", None)) == (status, code, param)
    assert (await psp.v1.payment_intents.list_async()).data == []


async def test_currencies_have_their_own_floors(psp: "Psp") -> None:
    with pytest.raises(stripe.InvalidRequestError, match="¥50"):
        await psp.pay(amount=49, currency="jpy")
    assert (await psp.pay(amount=50, currency="jpy")).status == "succeeded"


async def test_who_may_ask_and_what_is_not_there(psp: "Psp") -> None:
    stranger = psp.stranger()
    intent = await psp.pay()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await stranger.v1.payment_intents.retrieve_async(intent.id)
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.AuthenticationError):
        await psp.stranger("sk_live_0123456789").v1.balance.retrieve_async()
    status, body, _ = await psp.raw("GET", "/v1/payment_intents", Authorization="")
    assert (status, body["error"]["type"]) == (401, "invalid_request_error")
    status, body, _ = await psp.raw("GET", "/v1/spaceships")
    assert (status, body["error"]["type"]) == (404, "invalid_request_error")
    basic = base64.b64encode(f"{psp.key}:".encode()).decode()
    assert (await psp.raw("GET", "/v1/balance", Authorization=f"Basic {basic}"))[0] == 200
    _, _, headers = await psp.raw("GET", "/v1/balance")
    assert headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    "text",
    [
        "a[b=1",
        "[]=1",
        "a=1&a[b]=2",
        "x" + "[a]" * 50 + "=1",
        "=",
        "%00%ff=%ff",
        "metadata[a][b]=1",
        "amount=500&currency=usd&expand[a]=x",
        "amount=500&currency=usd&payment_method_data[type][x]=card",
    ],
)
async def test_broken_forms_are_refused_politely(psp: "Psp", text: str) -> None:
    status, body, _ = await psp.raw("POST", "/v1/payment_intents", text)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    status, _, _ = await psp.raw("POST", "/v1/payment_intents", "{}", **{"Content-Type": "application/json"})
    assert status == 400


async def test_lists_page_both_ways_and_filter_by_time(psp: "Psp") -> None:
    made = []
    for _ in range(5):
        made.append((await psp.pay()).id)
        await psp.control("POST", "/clock/advance", {"seconds": 100})
    newest_first = made[::-1]
    first = await psp.v1.payment_intents.list_async({"limit": 2})
    assert ([item.id for item in first.data], first.has_more) == (newest_first[:2], True)
    assert [item.id async for item in first.auto_paging_iter()] == newest_first
    back = await psp.v1.payment_intents.list_async({"limit": 2, "ending_before": newest_first[4]})
    assert ([item.id for item in back.data], back.has_more) == (newest_first[2:4], True)
    moments = [item.created for item in (await psp.v1.payment_intents.list_async()).data]
    window = await psp.v1.payment_intents.list_async({"created": {"gte": moments[3], "lt": moments[1]}})
    assert [item.id for item in window.data] == newest_first[2:4]
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.list_async({"limit": 101})
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.list_async({"starting_after": "pi_no"})


async def test_expand_reaches_into_lists_and_refuses_nonsense(psp: "Psp") -> None:
    intent = await psp.pay()
    await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})
    paths = ["data.latest_charge.balance_transaction", "data.payment_method", "data.latest_charge.refunds"]
    listed = await psp.v1.payment_intents.list_async({"expand": paths})
    charge: Any = listed.data[0].latest_charge
    assert charge.balance_transaction.source == charge.id
    assert charge.refunds.data[0].amount == 100
    assert listed.data[0].payment_method.type == "card"  # type: ignore[union-attr]
    for path in ("amount", "nothing", "latest_charge.outcome.reason"):
        with pytest.raises(stripe.InvalidRequestError):
            await psp.v1.payment_intents.retrieve_async(intent.id, {"expand": [path]})


async def test_balance_moves_from_pending_to_available(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"fee": {"percent": "1.5", "fixed": 0}, "available_delay_s": 60})
    intent = await psp.pay(amount=50_033)
    transaction: Any = intent.latest_charge.balance_transaction  # type: ignore[union-attr]
    assert transaction.fee == 750  # 750.495 rounds down, and half would round up
    balance = await psp.v1.balance.retrieve_async()
    assert (balance.pending[0].amount, balance.available[0].amount) == (49_283, 0)
    await psp.control("POST", "/clock/advance", {"seconds": 61})
    balance = await psp.v1.balance.retrieve_async()
    assert (balance.pending[0].amount, balance.available[0].amount) == (0, 49_283)
    found = await psp.v1.balance_transactions.retrieve_async(transaction.id)
    assert (found.status, found.type) == ("available", "charge")

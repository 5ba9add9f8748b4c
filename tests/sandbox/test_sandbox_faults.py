"""Each fault on request: what the client sees, what was really done, and what a retry under the same key gets."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp


async def charged(psp: "Psp") -> int:
    """How many charges really happened."""
    return len((await psp.log())["charges"])


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("http_500", 500, stripe.APIError),
        ("http_500_uncached", 500, stripe.APIError),
        ("http_503", 503, stripe.APIError),
        ("rate_limit", 429, stripe.RateLimitError),
    ],
)
async def test_refusals_charge_nothing(psp: "Psp", kind: str, status: int, error: type[stripe.StripeError]) -> None:
    await psp.fault(kind)
    with pytest.raises(error) as caught:
        await psp.pay(key="k")
    assert (caught.value.http_status, await charged(psp)) == (status, 0)
    if kind == "http_500":
        with pytest.raises(stripe.APIError) as again:
            await psp.pay(key="k")
        assert again.value.headers
        assert again.value.headers["idempotent-replayed"] == "true"
        await psp.pay(key="another")
    else:
        await psp.pay(key="k")
    assert await charged(psp) == 1


async def test_a_500_after_the_charge_is_saved_for_ever(psp: "Psp") -> None:
    await psp.fault("http_500_after")
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            await psp.pay(key="k", metadata={"order": "1"})
        assert caught.value.http_status == 500
    assert await charged(psp) == 1
    (found,) = (await psp.v1.payment_intents.list_async()).data
    assert (found.status, found.metadata["order"]) == ("succeeded", "1")


@pytest.mark.parametrize(("kind", "done"), [("cut_before", 0), ("cut_after", 1)])
async def test_a_cut_connection(psp: "Psp", kind: str, done: int) -> None:
    fault = await psp.fault(kind)
    await psp.unanswered(psp.pay(key="k"))
    assert await charged(psp) == done
    again = await psp.pay(key="k")
    assert again.last_response
    assert ("idempotent-replayed" in again.last_response.headers) == bool(done)
    assert await charged(psp) == 1
    seen = await psp.control("GET", f"/faults/{fault}")
    assert (seen["hits"], seen["active"]) == (1, False)


@pytest.mark.parametrize(("kind", "done"), [("timeout_before", 0), ("timeout_after", 1)])
async def test_no_answer_until_the_client_hangs_up(psp: "Psp", kind: str, done: int) -> None:
    await psp.fault(kind)
    params: Any = {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"}
    params |= {"payment_method_types": ["card"]}
    impatient = psp.impatient().v1.payment_intents
    await psp.unanswered(impatient.create_async(params, {"idempotency_key": "k"}))
    assert await charged(psp) == done
    assert (await psp.v1.payment_intents.create_async(params, {"idempotency_key": "k"})).status == "succeeded"
    log = await psp.log()
    assert [entry["status"] for entry in log["requests"]] == [None, 200]
    assert [entry["replayed"] for entry in log["requests"]] == [False, bool(done)]
    assert (log["requests"][0]["fault"], len(log["charges"])) == (kind, 1)


@pytest.mark.parametrize(("kind", "done"), [("hold_before", 0), ("hold_after", 1)])
async def test_a_hold_ends_by_release_or_with_the_client(psp: "Psp", kind: str, done: int) -> None:
    fault = await psp.fault(kind, times=None)
    gone = asyncio.create_task(psp.pay(key="gone"))
    held = asyncio.create_task(psp.pay(key="held"))
    state = await psp.control("GET", f"/faults/{fault}?wait_hits=2&timeout_s=10")
    assert (state["hits"], state["waiting"], await charged(psp)) == (2, 2, 2 * done)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    while (await psp.control("GET", f"/faults/{fault}"))["waiting"] > 1:
        pass
    await psp.control("DELETE", f"/faults/{fault}")
    assert (await held).status == "succeeded"
    assert await charged(psp) == 1 + done
    # The key of the client that left is free again: executed now, or replayed.
    await psp.pay(key="gone")
    assert await charged(psp) == 2


async def test_waiting_for_a_hit_that_does_not_come(psp: "Psp") -> None:
    fault = await psp.fault("hold_before")
    await psp.control("GET", f"/faults/{fault}?wait_hits=1&timeout_s=0.05", status=408)


async def test_latency_delays_and_executes(psp: "Psp") -> None:
    await psp.fault("latency", "*", delay_s=0.15)
    started_at = time.monotonic()
    assert (await psp.pay()).status == "succeeded"
    assert time.monotonic() - started_at >= 0.15


async def test_a_broken_body_is_whole_under_its_key(psp: "Psp") -> None:
    await psp.fault("broken_body")
    with pytest.raises(stripe.APIError):
        await psp.pay(key="k")
    assert await charged(psp) == 1
    assert (await psp.pay(key="k")).status == "succeeded"
    assert await charged(psp) == 1


async def test_a_wrong_amount_that_is_real_and_one_that_is_only_said(psp: "Psp") -> None:
    await psp.fault("wrong_amount")
    intent = await psp.pay()
    found = await psp.v1.payment_intents.retrieve_async(intent.id)
    assert (intent.amount, found.amount_received, (await psp.log())["charges"][0]["amount"]) == (50_001, 50_001, 50_001)
    await psp.fault("wrong_amount", persist=False, delta=-100)
    intent = await psp.pay()
    found = await psp.v1.payment_intents.retrieve_async(intent.id)
    assert (intent.amount, intent.amount_received, found.amount) == (49_900, 49_900, 50_000)
    await psp.fault("wrong_amount", "payment_intents.retrieve", match={"id": intent.id})
    assert (await psp.v1.payment_intents.retrieve_async(intent.id)).amount == 50_001
    await psp.fault("wrong_amount", "refunds.create")
    assert (await psp.v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})).amount == 101


async def test_a_wrong_currency_and_an_unknown_status(psp: "Psp") -> None:
    await psp.fault("wrong_currency")
    intent = await psp.pay()
    assert (intent.currency, (await psp.log())["charges"][0]["currency"]) == ("usd", "usd")
    await psp.fault("unknown_status")
    intent = await psp.pay()
    assert intent.status == "requires_clairvoyance"
    await psp.fault("unknown_status", "payment_intents.list", status="odd")
    assert {item.status for item in (await psp.v1.payment_intents.list_async()).data} == {"odd"}
    assert (await psp.v1.payment_intents.retrieve_async(intent.id)).status == "succeeded"


async def test_faults_strike_whom_they_are_meant_for(psp: "Psp") -> None:
    mine, other = await psp.pay(metadata={"order": "mine"}), await psp.pay(metadata={"order": "other"})
    fault = await psp.fault("http_503", "*", times=None, match={"metadata": {"order": "mine"}})
    await psp.v1.payment_intents.retrieve_async(other.id)
    await psp.v1.refunds.create_async({"payment_intent": other.id})
    for attempt in (
        psp.v1.payment_intents.retrieve_async(mine.id),
        psp.v1.refunds.create_async({"payment_intent": mine.id}),
        psp.v1.charges.retrieve_async(mine.latest_charge.id),  # type: ignore[union-attr]
        psp.pay(metadata={"order": "mine"}),
    ):
        with pytest.raises(stripe.APIError):
            await attempt
    assert (await psp.control("GET", f"/faults/{fault}"))["hits"] == 4
    assert await psp.stranger().pay(metadata={"order": "mine"})
    assert (await psp.control("DELETE", "/faults"))["deleted"] == 1
    await psp.v1.payment_intents.retrieve_async(mine.id)


async def test_mistakes_in_control_calls_are_named(psp: "Psp") -> None:
    for body in ({"kind": "nonsense"}, {"kind": "latency"}, {"kind": "http_500", "operation": "payments.create"}, {}):
        answer = await psp.raw(
            "POST", "/_control/faults", str(body).replace("'", '"'), **{"Content-Type": "application/json"}
        )
        assert answer[0] in (400, 422)
        assert answer[1]["error"]["message"]
    await psp.control("PATCH", "/account", {"colour": "red"}, status=422)
    await psp.control("PATCH", "/account", {"fee": {"percent": -1}}, status=422)
    await psp.control("GET", "/faults/fault_no", status=404)
    await psp.control("GET", "/log?colour=red", status=400)
    assert (await psp.control("GET", "/account"))["fee"] == {"percent": "2.9", "fixed": 30}


async def test_the_log_filters(psp: "Psp") -> None:
    first, _ = await psp.pay(metadata={"order": "1"}), await psp.pay(metadata={"order": "2"})
    await psp.v1.refunds.create_async({"payment_intent": first.id}, {"idempotency_key": "r"})
    for query in ("?metadata[order]=1", f"?payment_intent={first.id}"):
        log = await psp.log(query)
        assert [entry["payment_intent"] for entry in log["charges"]] == [first.id]
        assert [entry["idempotency_key"] for entry in log["refunds"]] == ["r"]
        assert [entry["operation"] for entry in log["requests"]] == ["payment_intents.create", "refunds.create"]

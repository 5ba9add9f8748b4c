"""Payouts: what becomes of them by the account's name, events with its id, control calls, faults."""

from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.sandbox.conftest import of

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp

DAY_S = 86_400
DELAY_S = 50  # so long that only the clock of the account makes it pass


async def funded(psp: "Psp", account: str) -> str:
    """The account, with 100 dollars in its balance."""
    await psp.control("PATCH", "/account", {"payout_delay_s": DELAY_S})
    await psp.fund()
    await psp.send(account)
    return account


async def after(psp: "Psp", seconds: float, payout: stripe.Payout, account: str | None) -> stripe.Payout:
    """The payout so much later."""
    await psp.control("POST", "/clock/advance", {"seconds": seconds})
    return await psp.v1.payouts.retrieve_async(payout.id, {"expand": ["failure_balance_transaction"]}, of(account))


async def held(psp: "Psp", account: str | None) -> int:
    """What is available, in US cents."""
    return (await psp.v1.balance.retrieve_async({}, of(account))).available[0].amount


async def test_a_payout_arrives(psp: "Psp") -> None:
    account = await funded(psp, "acct_paysOut_1")
    payout = await psp.pay_out(account, 4_000, metadata={"payout": "po_1"}, expand=["balance_transaction"])
    line: Any = payout.balance_transaction
    assert (payout.status, payout.automatic, payout.method, payout.type) == (
        "pending",
        False,
        "standard",
        "bank_account",
    )
    assert (line.type, line.reporting_category, line.net, line.source) == ("payout", "payout", -4_000, payout.id)
    assert payout.arrival_date - payout.created in (DELAY_S, DELAY_S + 1)
    assert await held(psp, account) == 6_000
    assert (await after(psp, DELAY_S / 2, payout, account)).status == "in_transit"
    paid = await after(psp, DELAY_S / 2, payout, account)
    assert (paid.status, paid.trace_id and paid.trace_id.status) == ("paid", "supported")
    (entry,) = (await psp.log("?metadata[payout]=po_1"))["payouts"]
    assert (entry["payout"], entry["account"], entry["amount"], entry["status"]) == (
        payout.id,
        account,
        4_000,
        "paid",
    )


async def test_a_payout_fails(psp: "Psp") -> None:
    account = await funded(psp, "acct_payoutFails_1")
    payout = await psp.pay_out(account)
    assert (await after(psp, DELAY_S / 2, payout, account)).status == "in_transit"
    failed = await after(psp, DELAY_S / 2, payout, account)
    back: Any = failed.failure_balance_transaction
    assert (failed.status, failed.failure_code) == ("failed", "account_closed")
    assert (back.type, back.reporting_category, back.net) == ("payout_failure", "payout_reversal", 10_000)
    assert await held(psp, account) == 10_000
    log = await psp.log()
    assert (log["payouts"][0]["status"], log["payouts"][0]["failure_code"]) == ("failed", "account_closed")


async def test_a_payout_comes_back_days_later(psp: "Psp") -> None:
    account = await funded(psp, "acct_payoutReturned")
    await psp.control("PATCH", "/account", {"payout_return_delay_s": 3 * DAY_S})
    payout = await psp.pay_out(account)
    assert (await after(psp, DELAY_S, payout, account)).status == "paid"
    assert (await after(psp, 2 * DAY_S, payout, account)).status == "paid"
    failed = await after(psp, DAY_S, payout, account)
    assert (failed.status, failed.failure_code) == ("failed", "no_account")
    assert await held(psp, account) == 10_000


async def test_a_payout_stays_until_it_is_steered(psp: "Psp") -> None:
    account = await funded(psp, "acct_payoutStays_1")
    payout = await psp.pay_out(account)
    assert (await after(psp, DAY_S, payout, account)).status == "pending"
    for step, status in (("transit", "in_transit"), ("pay", "paid"), ("return", "failed")):
        assert (await psp.control("POST", f"/payouts/{payout.id}/{step}"))["status"] == status
    for step in ("transit", "pay", "fail", "return", "cancel"):
        await psp.control("POST", f"/payouts/{payout.id}/{step}", status=409)
    await psp.control("POST", f"/payouts/{payout.id}/explode", status=404)
    again = await psp.pay_out(account)
    assert (await psp.control("POST", f"/payouts/{again.id}/fail"))["failure_code"] == "account_closed"
    await psp.stranger().control("POST", f"/payouts/{again.id}/pay", status=404)


async def test_a_payout_waits_for_a_control_call_without_a_delay(psp: "Psp") -> None:
    account = await funded(psp, "acct_paysOut")
    await psp.control("PATCH", "/account", {"payout_delay_s": None})
    payout = await psp.pay_out(account)
    assert (await after(psp, DAY_S, payout, account)).status == "pending"
    assert (await psp.control("POST", f"/payouts/{payout.id}/pay"))["status"] == "paid"


async def test_payouts_that_are_refused(psp: "Psp") -> None:
    account = await funded(psp, "acct_payoutRefused_1")
    for replayed in (None, "true"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await psp.pay_out(account, key="k")
        assert (caught.value.http_status, caught.value.code) == (400, "payouts_not_allowed")
        assert (caught.value.headers or {}).get("idempotent-replayed") == replayed
    other = await funded(psp, "acct_paysOut")
    with pytest.raises(stripe.InvalidRequestError) as insufficient:
        await psp.pay_out(other, 10_001)
    assert insufficient.value.code == "balance_insufficient"
    assert (await psp.log())["payouts"] == []


async def test_a_payout_is_canceled_while_it_is_pending(psp: "Psp") -> None:
    account = await funded(psp, "acct_paysOut")
    payout = await psp.pay_out(account)
    options: Any = of(account)
    canceled = await psp.v1.payouts.cancel_async(payout.id, {"expand": ["failure_balance_transaction"]}, options)
    back: Any = canceled.failure_balance_transaction
    assert (canceled.status, back.type, back.net) == ("canceled", "payout_cancel", 10_000)
    assert await held(psp, account) == 10_000
    assert (await after(psp, DELAY_S, payout, account)).status == "canceled"
    late = await psp.pay_out(account)
    assert (await after(psp, DELAY_S / 2, late, account)).status == "in_transit"
    with pytest.raises(stripe.InvalidRequestError, match="cannot be canceled") as caught:
        await psp.v1.payouts.cancel_async(late.id, {}, options)
    assert caught.value.http_status == 400


async def test_payouts_are_found_and_updated(psp: "Psp") -> None:
    account = await funded(psp, "acct_paysOut")
    first, second = await psp.pay_out(account, 100), await psp.pay_out(account, 200, destination="ba_other")
    await psp.control("POST", f"/payouts/{first.id}/pay")

    async def listed(**params: Any) -> list[str]:
        wanted: Any = params
        return [item.id for item in (await psp.v1.payouts.list_async(wanted, of(account))).data]

    assert await listed() == [second.id, first.id]
    assert await listed(status="paid") == [first.id]
    assert await listed(destination="ba_other") == [second.id]
    assert await listed(arrival_date={"gte": first.arrival_date}) == [second.id, first.id]
    assert await listed(arrival_date={"lt": first.arrival_date}) == []
    assert await listed(created={"gte": first.created}, starting_after=second.id) == [first.id]
    changed = await psp.v1.payouts.update_async(first.id, {"metadata": {"a": "b"}}, of(account))
    assert changed.metadata
    assert changed.metadata.to_dict() == {"a": "b"}


async def test_events_name_their_account_and_come_in_order(hooked: "Psp", endpoint: "Endpoint") -> None:
    psp = hooked
    await psp.control("PATCH", "/account", {"webhook_events": [f"payout.{kind}" for kind in EVENTS]})
    account = await funded(psp, "acct_payoutReturned_1")
    payout = await psp.pay_out(account)
    for step in ("transit", "pay", "return"):
        await psp.control("POST", f"/payouts/{payout.id}/{step}")
    assert await endpoint.until(4) == ["payout.created", "payout.updated", "payout.paid", "payout.failed"]
    events: Any = endpoint.events
    assert {event.account for event in events} == {account}
    assert {event.data.object.id for event in events} == {payout.id}
    assert [event.data.object.status for event in events] == ["pending", "in_transit", "paid", "failed"]
    canceled = await psp.pay_out(account)
    await psp.v1.payouts.cancel_async(canceled.id, {}, of(account))
    assert (await endpoint.until(6))[4:] == ["payout.created", "payout.canceled"]
    own = await psp.pay_out(None, 100)
    event: Any = endpoint.events[6] if await endpoint.until(7) else None
    assert (event.data.object.id, event.to_dict().get("account")) == (own.id, None)
    # The event is the connected account's object; steering finds it from the platform.
    first = events[0].id
    assert (await psp.v1.events.retrieve_async(first, {}, of(account))).id == first
    await psp.control("POST", f"/events/{first}/resend")
    assert (await endpoint.until(8))[7] == "payout.created"


EVENTS = ("created", "updated", "paid", "failed", "canceled")


async def test_a_webhook_of_a_connected_account_can_be_lost(hooked: "Psp", endpoint: "Endpoint") -> None:
    account = await funded(hooked, "acct_paysOut")
    await hooked.control("POST", "/webhook_faults", {"kind": "lost", "event_type": "payout.paid"})
    payout = await hooked.pay_out(account)
    await hooked.control("POST", f"/payouts/{payout.id}/transit")
    await hooked.control("POST", f"/payouts/{payout.id}/pay")
    await hooked.control("POST", "/webhooks/flush")
    assert [kind for kind in endpoint.types if kind.startswith("payout")] == ["payout.created", "payout.updated"]
    assert (await hooked.control("GET", "/webhooks"))["data"][0]["state"] == "lost"


@pytest.mark.parametrize(("kind", "done"), [("timeout_before", 0), ("timeout_after", 1)])
async def test_no_answer_to_a_payout(psp: "Psp", kind: str, done: int) -> None:
    account = await funded(psp, "acct_paysOut")
    await psp.fault(kind, "payouts.create", match={"metadata": {"payout": "po_1"}})
    params: Any = {"amount": 100, "currency": "usd", "metadata": {"payout": "po_1"}}
    options: Any = {"idempotency_key": "k"} | of(account)
    await psp.unanswered(psp.impatient().v1.payouts.create_async(params, options))
    assert len((await psp.log("?metadata[payout]=po_1"))["payouts"]) == done
    await psp.v1.payouts.create_async(params, options)
    log = await psp.log("?metadata[payout]=po_1")
    assert (len(log["payouts"]), [entry["status"] for entry in log["requests"]]) == (1, [None, 200])
    assert [entry["account"] for entry in log["requests"]] == [account] * 2


async def test_faults_of_payouts(psp: "Psp") -> None:
    account = await funded(psp, "acct_paysOut")
    payout = await psp.pay_out(account, metadata={"payout": "po_1"})
    options: Any = of(account)
    await psp.fault("unknown_status", "payouts.retrieve", match={"metadata": {"payout": "po_1"}})
    assert (await psp.v1.payouts.retrieve_async(payout.id, {}, options)).status == "requires_clairvoyance"
    await psp.fault("http_503", "payouts.cancel", match={"id": account})
    with pytest.raises(stripe.APIError):
        await psp.v1.payouts.cancel_async(payout.id, {}, options)
    assert (await psp.v1.payouts.cancel_async(payout.id, {}, options)).status == "canceled"


async def test_the_platform_is_paid_out(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"payout_delay_s": DELAY_S})
    charge: Any = (await psp.fund(40_000)).latest_charge
    payout = await psp.control("POST", "/platform_payouts", {"currency": "usd"})
    assert (payout["amount"], payout["automatic"], payout["status"]) == (40_000, True, "pending")
    lines = (await psp.v1.balance_transactions.list_async({"payout": payout["id"]})).data
    assert [line.source for line in lines] == [payout["id"], charge.id]
    assert sum(line.net for line in lines) == 0
    assert await held(psp, None) == 0
    await psp.control("POST", "/platform_payouts", {"currency": "usd"}, status=409)
    await psp.fund(1_000)
    part = await psp.control("POST", "/platform_payouts", {"currency": "USD", "amount": 300})
    assert (part["amount"], await held(psp, None)) == (300, 700)
    own = await psp.pay_out(None, 200)
    assert (own.automatic, await held(psp, None)) == (False, 500)
    await psp.control("POST", "/clock/advance", {"seconds": DELAY_S})
    assert {item.status for item in (await psp.v1.payouts.list_async()).data} == {"paid"}

"""Transfers to connected accounts, and their reversals."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Endpoint, Psp


async def held(psp: "Psp", account: str | None = None) -> int:
    """What is available, in US cents."""
    options: Any = {"stripe_account": account} if account else {}
    return (await psp.v1.balance.retrieve_async({}, options)).available[0].amount


async def test_a_transfer_moves_money_at_once(psp: "Psp") -> None:
    await psp.fund()
    transfer = await psp.send(
        amount=30_000,
        metadata={"payout": "po_1"},
        transfer_group="g",
        description="March",
        expand=["balance_transaction", "destination", "destination_payment.balance_transaction"],
    )
    line: Any = transfer.balance_transaction
    payment: Any = transfer.destination_payment
    account: Any = transfer.destination
    assert (line.type, line.reporting_category, line.net, line.source, line.status) == (
        "transfer",
        "transfer",
        -30_000,
        transfer.id,
        "available",
    )
    assert (payment.balance_transaction.type, payment.balance_transaction.net) == ("payment", 30_000)
    assert (account.object, payment.source_transfer) == ("account", transfer.id)
    assert (transfer.amount_reversed, transfer.reversed, transfer.reversals.data) == (0, False, [])
    assert (await held(psp), await held(psp, "acct_paysOut")) == (70_000, 30_000)
    (entry,) = (await psp.log("?metadata[payout]=po_1"))["transfers"]
    assert (entry["transfer"], entry["destination"], entry["amount"]) == (transfer.id, "acct_paysOut", 30_000)


async def test_a_charge_that_bypasses_pending_is_available_at_once(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"available_delay_s": 100, "fee": {"percent": 0, "fixed": 0}})
    await psp.pay("pm_card_bypassPending", amount=500)
    await psp.pay("pm_card_visa", amount=300)
    assert await held(psp) == 500
    assert (await psp.v1.balance.retrieve_async()).pending[0].amount == 300


async def test_transfers_are_found_and_updated(psp: "Psp") -> None:
    await psp.fund()
    first = await psp.send("acct_paysOut_1", 100, transfer_group="a", metadata={"n": "1"})
    second = await psp.send("acct_paysOut_2", 200, transfer_group="b")
    third = await psp.send("acct_paysOut_1", 300, transfer_group="b")

    async def listed(**params: Any) -> list[str]:
        wanted: Any = params
        return [item.id for item in (await psp.v1.transfers.list_async(wanted)).data]

    assert await listed() == [third.id, second.id, first.id]
    assert await listed(destination="acct_paysOut_1") == [third.id, first.id]
    assert await listed(transfer_group="b") == [third.id, second.id]
    assert await listed(limit=1, starting_after=third.id) == [second.id]
    assert await listed(limit=2, ending_before=first.id) == [third.id, second.id]
    assert await listed(created={"gte": first.created, "lt": first.created + 100}) == [third.id, second.id, first.id]
    assert await listed(created={"lt": first.created}) == []
    changed = await psp.v1.transfers.update_async(first.id, {"metadata": {"m": "2"}})
    assert changed.metadata.to_dict() == {"n": "1", "m": "2"}
    assert (await psp.v1.transfers.retrieve_async(first.id)).metadata.to_dict() == {"n": "1", "m": "2"}


async def test_only_available_money_is_transferred(psp: "Psp") -> None:
    await psp.fund(10_000)
    await psp.control("PATCH", "/account", {"available_delay_s": 100})
    await psp.pay(amount=5_000, currency="usd")
    for replayed in (None, "true"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await psp.send(amount=10_001, key="k")
        assert (caught.value.http_status, caught.value.code) == (400, "balance_insufficient")
        assert (caught.value.headers or {}).get("idempotent-replayed") == replayed
    await psp.control("POST", "/clock/advance", {"seconds": 100})
    assert (await psp.send(amount=15_000)).amount == 15_000
    await psp.control("PATCH", "/account", {"check_available_balance": False})
    await psp.send(amount=1)
    assert await held(psp) == -1
    # A connected account is always checked.
    with pytest.raises(stripe.InvalidRequestError):
        await psp.pay_out("acct_paysOut", 15_002)


async def test_a_transfer_out_of_a_charge_waits_with_it(psp: "Psp") -> None:
    await psp.control("PATCH", "/account", {"available_delay_s": 100})
    intent = await psp.pay(amount=5_000, currency="usd")
    charge: Any = intent.latest_charge
    with pytest.raises(stripe.InvalidRequestError):
        await psp.send(amount=5_001, source_transaction=charge.id)
    transfer = await psp.send(amount=4_000, source_transaction=charge.id)
    assert transfer.source_transaction == charge.id
    assert await held(psp, "acct_paysOut") == 0
    await psp.control("POST", "/clock/advance", {"seconds": 100})
    assert await held(psp, "acct_paysOut") == 4_000


async def test_accounts_that_refuse(psp: "Psp") -> None:
    await psp.fund()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.send("acct_transferRefused_1")
    assert (caught.value.http_status, caught.value.code) == (400, "transfers_not_allowed")
    transfer = await psp.send("acct_reversalRefused_1")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await psp.v1.transfers.reversals.create_async(transfer.id)
    assert (refused.value.http_status, refused.value.code) == (400, "balance_insufficient")
    assert await held(psp) == 90_000
    assert len((await psp.log())["transfers"]) == 1


async def test_reversals_up_to_the_amount_and_no_further(psp: "Psp") -> None:
    await psp.fund()
    transfer = await psp.send(metadata={"payout": "po_1"})
    first = await psp.v1.transfers.reversals.create_async(
        transfer.id,
        {"amount": 4_000, "metadata": {"why": "returned"}, "expand": ["balance_transaction", "transfer"]},
    )
    line: Any = first.balance_transaction
    assert (line.type, line.reporting_category, line.net, line.source) == (
        "transfer_refund",
        "transfer_reversal",
        4_000,
        first.id,
    )
    with pytest.raises(stripe.InvalidRequestError, match="greater than unreversed amount") as caught:
        await psp.v1.transfers.reversals.create_async(transfer.id, {"amount": 6_001})
    assert caught.value.param == "amount"
    rest = await psp.v1.transfers.reversals.create_async(transfer.id)
    with pytest.raises(stripe.InvalidRequestError, match="already fully reversed"):
        await psp.v1.transfers.reversals.create_async(transfer.id)
    found = await psp.v1.transfers.retrieve_async(transfer.id)
    assert (found.amount_reversed, found.reversed) == (10_000, True)
    assert [item.id for item in found.reversals.data] == [rest.id, first.id]
    listed = await psp.v1.transfers.reversals.list_async(transfer.id, {"limit": 1})
    assert ([item.id for item in listed.data], listed.has_more) == ([rest.id], True)
    one = await psp.v1.transfers.reversals.retrieve_async(transfer.id, first.id)
    assert (one.amount, one.metadata and one.metadata.to_dict()) == (4_000, {"why": "returned"})
    other = await psp.send()
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.transfers.reversals.retrieve_async(other.id, first.id)
    assert (await held(psp), await held(psp, "acct_paysOut")) == (90_000, 10_000)
    log = await psp.log("?metadata[payout]=po_1")
    assert [entry["amount"] for entry in log["transfer_reversals"]] == [4_000, 6_000]
    assert log["transfers"][0]["amount_reversed"] == 10_000


async def test_a_reversal_needs_the_money(psp: "Psp") -> None:
    await psp.fund()
    transfer = await psp.send()
    await psp.pay_out("acct_paysOut", 7_000)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.transfers.reversals.create_async(transfer.id)
    assert caught.value.code == "balance_insufficient"
    assert (await psp.v1.transfers.reversals.create_async(transfer.id, {"amount": 3_000})).amount == 3_000


async def test_the_payment_of_a_transfer_is_not_refunded_by_itself(psp: "Psp") -> None:
    await psp.fund()
    transfer = await psp.send()
    wanted: Any = {"charge": transfer.destination_payment}
    with pytest.raises(stripe.InvalidRequestError, match="reverse"):
        await psp.v1.refunds.create_async(wanted, {"stripe_account": "acct_paysOut"})


async def test_events_of_a_transfer(hooked: "Psp", endpoint: "Endpoint") -> None:
    await hooked.fund()
    wanted = ["transfer.created", "transfer.updated", "transfer.reversed"]
    await hooked.control("PATCH", "/account", {"webhook_events": wanted})
    await hooked.control("POST", "/webhooks/flush")
    endpoint.events.clear()
    transfer = await hooked.send()
    await hooked.v1.transfers.update_async(transfer.id, {"metadata": {"a": "b"}})
    await hooked.v1.transfers.reversals.create_async(transfer.id)
    assert await endpoint.until(3) == wanted
    events: Any = endpoint.events
    assert [event.to_dict().get("account") for event in events] == [None] * 3
    assert (events[2].data.object.id, events[2].data.object.reversed) == (transfer.id, True)
    assert len(events[2].data.object.reversals.data) == 1


@pytest.mark.parametrize(("kind", "done"), [("timeout_before", 0), ("timeout_after", 1)])
async def test_no_answer_to_a_transfer(psp: "Psp", kind: str, done: int) -> None:
    await psp.fund()
    await psp.fault(kind, "transfers.create", match={"metadata": {"payout": "po_1"}})
    params: Any = {"amount": 100, "currency": "usd", "destination": "acct_paysOut", "metadata": {"payout": "po_1"}}
    await psp.send(metadata={"payout": "po_other"})
    await psp.unanswered(psp.impatient().v1.transfers.create_async(params, {"idempotency_key": "k"}))
    assert len((await psp.log("?metadata[payout]=po_1"))["transfers"]) == done
    await psp.v1.transfers.create_async(params, {"idempotency_key": "k"})
    log = await psp.log("?metadata[payout]=po_1")
    assert (len(log["transfers"]), [entry["replayed"] for entry in log["requests"]]) == (1, [False, bool(done)])


async def test_faults_of_transfers_and_reversals(psp: "Psp") -> None:
    await psp.fund()
    fault = await psp.fault("hold_after", "transfers.create")
    waiting = asyncio.create_task(psp.send(metadata={"payout": "po_1"}))
    await psp.control("GET", f"/faults/{fault}?wait_hits=1")
    assert len((await psp.log())["transfers"]) == 1
    await psp.control("POST", f"/faults/{fault}/release")
    transfer = await waiting
    for operation, attempt in (
        ("transfers.list", psp.v1.transfers.list_async),
        ("transfers.retrieve", lambda: psp.v1.transfers.retrieve_async(transfer.id)),
        ("transfer_reversals.create", lambda: psp.v1.transfers.reversals.create_async(transfer.id)),
        ("balance_transactions.list", psp.v1.balance_transactions.list_async),
    ):
        await psp.fault("http_500_uncached", operation)
        with pytest.raises(stripe.APIError):
            await attempt()
    # The metadata of the transfer counts for what is done to it.
    await psp.fault("http_500", "transfer_reversals.*", match={"metadata": {"payout": "po_1"}})
    with pytest.raises(stripe.APIError):
        await psp.v1.transfers.reversals.create_async(transfer.id)
    assert (await psp.log())["transfer_reversals"] == []
    await psp.fault("wrong_amount", "transfers.create", delta=5)
    assert (await psp.send(amount=100)).amount == 105

"""What a happy payment of one order, and a refund of it, may cost: read from histories, rows and the PSP's log."""

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from tests.support.shop import Shop

pytestmark = pytest.mark.parametrize("paysaga", ["cached"], indirect=True)
"""What production runs: without a cache a task may be evicted and run again."""

TABLES = {
    "payment": "id", "payment_order": "payment_id", "payment_order_transition": "payment_id", "charge": "payment_id",
    "ledger_transaction": "payment_id",
}  # fmt: skip


async def history_of(shop: Shop, workflow_id: str) -> WorkflowHistory:
    handle = shop.paysaga.temporal.get_workflow_handle(workflow_id)
    await handle.result()
    return await handle.fetch_history()


def kinds_in(history: WorkflowHistory) -> list[str]:
    """The events of a workflow that did all it had to do in its first task."""
    kinds = [EventType.Name(event.event_type) for event in history.events]
    assert kinds.count("EVENT_TYPE_WORKFLOW_TASK_COMPLETED") == 1, kinds
    # Billable: the start, and all local activities of a task together; all of these would add to it.
    costly = ("ACTIVITY_TASK_SCHEDULED", "TIMER_STARTED", "WORKFLOW_EXECUTION_SIGNALED", "UPSERT", "UPDATE_ACCEPTED")
    assert not [kind for kind in kinds if any(word in kind for word in costly)], kinds
    return kinds


async def commits_of(shop: Shop, payment_id: str) -> set[int]:
    """The transactions that wrote the rows of a payment; the append-only ones remember every one of them."""
    parts = [f"SELECT xmin::text::bigint AS xid FROM {table} WHERE {key} = $1" for table, key in TABLES.items()]
    parts.append(
        "SELECT xmin::text::bigint FROM outbox WHERE object_id IN (SELECT id FROM payment_order WHERE payment_id = $1)"
    )
    parts.append("SELECT xmin::text::bigint FROM idempotency_key WHERE object_id = $1")
    return {row["xid"] for row in await shop.paysaga.sql(" UNION ".join(parts), payment_id)}


async def test_a_happy_payment_costs_one_task_two_commits_and_one_call(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    kinds = kinds_in(await history_of(shop, f"payment:{payment['id']}"))
    assert len(kinds) <= 12, kinds
    assert len(await commits_of(shop, payment["id"])) <= 2
    version = await shop.paysaga.sql("SELECT version FROM payment WHERE id = $1", payment["id"])
    assert version[0]["version"] == 1, "written once after it was stored"
    assert len((await shop.paysaga.sandbox.log(checkout)).requests) == 1


async def test_an_authorised_payment_that_is_captured_costs_two_tasks_and_three_writes(shop: Shop) -> None:
    """Stored, authorised, asked for, captured and settled; one order of two is taken in part, the other let go."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout, capture="manual", orders=[("anna", "200.00"), ("bo", "300.00")])
    assert payment["status"] == "AUTHORIZED"
    part = {"payment_orders": [{"payment_order_id": f"{checkout}-1", "amount": "150.00"}]}
    captured = (await shop.post(f"/v1/payments/{payment['id']}/capture", part)).raise_for_status().json()
    assert [order["status"] for order in captured["payment_orders"]] == ["SUCCESS", "CANCELLED"]
    history = await history_of(shop, f"payment:{payment['id']}")
    kinds = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events]
    if kinds.count("MARKER_RECORDED") == 3 and "ACTIVITY_TASK_SCHEDULED" not in kinds:  # no webhook came in between
        assert kinds.count("WORKFLOW_TASK_COMPLETED") == 2, kinds
        assert len(kinds) <= 14, kinds
        version = await shop.paysaga.sql("SELECT version FROM payment WHERE id = $1", payment["id"])
        assert version[0]["version"] == 3, "written three times after it was stored"
    assert "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES" not in kinds, kinds
    log = await shop.paysaga.sandbox.log(checkout)
    assert (log.charged, log.sent("payment_intents.capture")) == ([15000], 1)


async def test_a_declined_payment_costs_one_task_two_commits_and_two_calls(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout, "pm_card_chargeDeclined")
    assert payment["status"] == "FAILED"
    kinds = kinds_in(await history_of(shop, f"payment:{payment['id']}"))
    assert len(await commits_of(shop, payment["id"])) <= 2
    if (
        kinds.count("EVENT_TYPE_MARKER_RECORDED") == 1
    ):  # the sandbox's webhook did not come between the void and the end
        assert len(kinds) <= 6, kinds
        assert len((await shop.paysaga.sandbox.log(checkout)).requests) == 2


async def test_a_refund_costs_one_task_two_commits_and_one_call(shop: Shop) -> None:
    """In full or in part: stored and ended in one statement each, so the order is written twice."""
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    query = "SELECT version FROM payment_order WHERE payment_id = $1"
    for number, amount in enumerate(["120.00", None], 1):
        refund = await shop.refunded(payment["id"], **({"amount": amount} if amount else {}))
        assert refund["status"] == "SUCCEEDED"
        assert len(kinds_in(await history_of(shop, f"refund:{refund['id']}"))) <= 7
        (order,) = await shop.paysaga.sql(query, payment["id"])
        assert order["version"] == 1 + 2 * number
        assert len((await shop.paysaga.sandbox.log(checkout)).requests) == 1 + number


async def test_the_token_and_the_email_are_in_no_history_and_not_in_clear_in_the_database(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_visa")
    text = (await history_of(shop, f"payment:{payment['id']}")).to_json()
    assert "pm_card_visa" not in text
    assert "buyer@example.com" not in text
    row = (await shop.paysaga.sql("SELECT token, buyer_email FROM payment WHERE id = $1", payment["id"]))[0]
    assert b"pm_card_visa" not in row["token"]
    assert b"buyer@example.com" not in row["buyer_email"]

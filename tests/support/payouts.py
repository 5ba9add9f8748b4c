"""Sellers with money to be paid out, and what became of it."""

import secrets
from datetime import UTC, datetime
from typing import Any

from db.ledger import posting as ledger
from db.ledger import wallet as wallets
from domain import ledger as books
from domain.ledger import Bucket, Kind, Posting, Transaction
from tests.support.sandbox import SandboxAccount
from tests.support.shop import Shop

RELEASE = "release"

QUICK = {"payout_poll_first_s": 0.3, "payout_poll_max_s": 1.0, "release_every_s": 3600.0}
"""Settings of a deployment whose payouts are looked at often, and released when a test says so."""

PSP = {
    "available_delay_s": 0,
    "payout_delay_s": 0.4,
    "payout_return_delay_s": None,
    "fee": {"percent": 1, "fixed": 0},
    "check_available_balance": False,
}
"""Of the sandbox: charged money can be moved at once and is always enough, a bank takes a moment."""

TRANSFER, PAY_OUT, REVERSAL = "transfers.create", "payouts.create", "transfer_reversals.create"

NOTHING: dict[str, list[Any]] = {"transfers": [], "transfer_reversals": [], "payouts": []}


async def with_account(shop: Shop, seller: str, account: str = "acct_paysOut", **payout: Any) -> str:
    """Give the seller an account of its own at the PSP, which behaves as its name says. Returns the account."""
    account = f"{account}_{secrets.token_hex(4)}"
    await shop.set_merchant(seller, payout={"account": account} | payout)
    return account


async def release(shop: Shop) -> None:
    """Everything that is due becomes available."""
    temporal, queue = shop.paysaga.temporal, shop.paysaga.name
    await temporal.execute_workflow(RELEASE, id=f"{queue}-release-{secrets.token_hex(4)}", task_queue=queue)


async def earn(shop: Shop, *amounts: str, seller: str = "anna", **fields: Any) -> list[dict[str, Any]]:
    """A payment for each amount, and its money in the seller's available balance. The sandbox has to let it go at once
    (`available_delay_s=0`)."""
    asked = [await shop.paid(shop.checkout(), orders=[(seller, amount)], **fields) for amount in amounts]
    paid = [await shop.until(payment["id"], "SUCCESS") for payment in asked]
    await release(shop)
    return paid


async def fund(shop: Shop, *sellers: str, amount: int, currency: str = "INR") -> None:
    """Money in the sellers' available balances without payments, in minor units: as somebody's adjustment. The PSP has
    nothing of it, so the sandbox must not compare (`check_available_balance=False`)."""
    adjustments = [
        Transaction(
            kind=Kind.ADJUSTMENT,
            source_id=f"test-{secrets.token_hex(8)}",
            postings=(
                Posting(account=books.ADJUSTMENTS, amount=amount, currency=currency),
                Posting(account=books.wallet(seller, Bucket.AVAILABLE), amount=-amount, currency=currency),
            ),
        )
        for seller in sellers
    ]

    async def book(connection: Any) -> None:
        for seller in sorted(sellers):
            await wallets.lock(connection, shop.tenant, seller, currency)
        booked = await ledger.post(connection, shop.tenant, adjustments, datetime.now(UTC))
        await wallets.apply(connection, shop.tenant, booked)

    await shop.paysaga.database.run(book)


async def request(shop: Shop, seller: str = "anna", **body: Any) -> dict[str, Any]:
    """Ask for a payout and expect to be taken on, without waiting for its end; the payout."""
    answer = await shop.post("/v1/payouts", {"seller_account": seller} | body, wait=0)
    assert answer.status_code in (201, 202), answer.text
    payout: dict[str, Any] = answer.json()
    return payout


async def until(shop: Shop, payout_id: str, *statuses: str, timeout_s: float = 90.0) -> dict[str, Any]:
    """The payout once it has one of the statuses. A call that finds no place at the PSP is made again, ever later."""
    return await shop.shown_once("payout", payout_id, statuses, f"/v1/payouts/{payout_id}", timeout_s=timeout_s)


async def at_the_psp(sandbox: SandboxAccount, payout_id: str) -> dict[str, list[dict[str, Any]]]:
    """What really happened: transfers, reversals and payouts that carry our id."""
    found: dict[str, list[dict[str, Any]]] = await sandbox.ground_truth(paysaga_payout=payout_id)
    return found


async def amounts(sandbox: SandboxAccount, payout_id: str) -> dict[str, list[int]]:
    """The same, as amounts in the PSP's minor units."""
    found = await at_the_psp(sandbox, payout_id)
    return {kind: [one["amount"] for one in found[kind]] for kind in NOTHING}


def went(amount: int, *, back: bool = False, bank: bool = True) -> dict[str, list[int]]:
    """What there is to be at the PSP of a payout: transferred, paid out (`bank`), taken back (`back`), each once."""
    return {
        "transfers": [amount],
        "transfer_reversals": [amount] if back else [],
        "payouts": [amount] if bank else [],
    }


async def fault(sandbox: SandboxAccount, of: str, operation: str, kind: str, **more: Any) -> str:
    """Plan a fault for one seller's account, or for one payout (a reversal names no account). Its id."""
    match = {"metadata": {"paysaga_payout": of}} if of.startswith("pt_") else {"id": of}
    return await sandbox.fault(operation, kind, match=match, **more)


async def failing(shop: Shop, seller: str = "anna", **body: Any) -> tuple[str, str]:
    """A payout on its way, to be failed by `steer_payout`: its id, and the PSP's name for it."""
    await with_account(shop, seller, "acct_payoutStays")
    payout_id = (await request(shop, seller, **body))["id"]
    return payout_id, (await until(shop, payout_id, "IN_TRANSIT"))["reference"]


async def cancel(shop: Shop, payout_id: str) -> int:
    """The status of the answer."""
    return (await shop.post(f"/v1/payouts/{payout_id}/cancel")).status_code


async def tasks(shop: Shop, payout_id: str) -> list[str]:
    """What a person is asked about it, now."""
    rows = await shop.paysaga.sql(
        "SELECT kind FROM operator_task WHERE object_id = $1 AND closed_at IS NULL", payout_id
    )
    return [row["kind"] for row in rows]


async def wallet(shop: Shop, seller: str = "anna", currency: str = "INR") -> dict[str, str]:
    balances = (await shop.get(f"/v1/wallets/{seller}")).raise_for_status().json()["balances"]
    found: dict[str, str] = next(balance for balance in balances if balance["currency"] == currency)
    return found

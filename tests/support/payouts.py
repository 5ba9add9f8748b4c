"""Sellers with money to be paid out, and what became of it."""

import secrets
from typing import Any

from tests.support.eventually import eventually
from tests.support.sandbox import SandboxAccount
from tests.support.shop import Shop

RELEASE = "release"


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
    paid = [await shop.paid(shop.checkout(), orders=[(seller, amount)], **fields) for amount in amounts]
    assert {payment["status"] for payment in paid} == {"SUCCESS"}, paid
    await release(shop)
    return paid


async def request(shop: Shop, seller: str = "anna", **body: Any) -> dict[str, Any]:
    """Ask for a payout and expect to be taken on; the payout."""
    answer = await shop.post("/v1/payouts", {"seller_account": seller} | body)
    assert answer.status_code in (201, 202), answer.text
    payout: dict[str, Any] = answer.json()
    return payout


async def until(shop: Shop, payout_id: str, *statuses: str, timeout_s: float = 30.0) -> dict[str, Any]:
    """The payout once it has one of the statuses."""
    last: dict[str, Any] = {}

    async def probe() -> dict[str, Any] | None:
        last.update((await shop.get(f"/v1/payouts/{payout_id}")).raise_for_status().json())
        return last if last["status"] in statuses else None

    return await eventually(probe, timeout_s=timeout_s, what=f"{payout_id} {statuses}, is {last.get('status')}")


async def at_the_psp(sandbox: SandboxAccount, payout_id: str) -> dict[str, list[dict[str, Any]]]:
    """What really happened: transfers, reversals and payouts that carry our id."""
    found: dict[str, list[dict[str, Any]]] = await sandbox.ground_truth(paysaga_payout=payout_id)
    return found


async def wallet(shop: Shop, seller: str = "anna", currency: str = "INR") -> dict[str, str]:
    balances = (await shop.get(f"/v1/wallets/{seller}")).raise_for_status().json()["balances"]
    found: dict[str, str] = next(balance for balance in balances if balance["currency"] == currency)
    return found

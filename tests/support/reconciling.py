"""Reconciling over HTTP: a run that is followed to its end, files, and a PSP whose books say something else."""

from typing import Any

from tests.support.shop import Answer, Shop

AT_ONCE: dict[str, Any] = {
    "reconcile_here_grace_s": 0.0,
    "reconcile_grace_s": 0.0,
    "reconcile_verify_s": 0.2,
    "reconcile_every_s": 2_592_000.0,
}
"""Settings under which nothing is still expected: what is missing is missing at once."""


async def ended(shop: Shop, run_id: str) -> dict[str, Any]:
    over, path = ("COMPLETED", "FAILED"), f"/v1/reconciliations/{run_id}"
    return await shop.shown_once("reconciliation_run", run_id, over, path, timeout_s=40)


async def reconciled(shop: Shop, **body: Any) -> dict[str, Any]:
    """Start a run, expect it to be taken on, and follow it to its end; the run."""
    answer = await shop.post("/v1/reconciliations", {"subject": "psp"} | body)
    assert answer.status_code == 202, answer.text
    return await ended(shop, answer.json()["id"])


async def today(shop: Shop) -> str:
    """The PSP's day: its clock may have been moved."""
    (line,) = (await shop.paysaga.sql("SELECT now() AT TIME ZONE 'UTC' AS now"))[:1]
    return str(line["now"].date())


async def upload(
    shop: Shop, content: bytes | str, *, kind: str = "psp", name: str = "november.csv", media_type: str | None = None
) -> Answer:
    media_type = media_type or ("text/csv" if kind == "psp" else "application/xml")
    return await shop.paysaga.http.post(
        "/v1/reconciliations/files",
        params={"kind": kind, "name": name},
        content=content,
        headers=shop.headers | {"Content-Type": media_type},
    )


async def lines(shop: Shop) -> dict[str, dict[str, Any]]:
    """What the PSP lists, by the id of ours that it carries: charge id → balance transaction."""
    found: dict[str, dict[str, Any]] = {}
    for row in await shop.paysaga.sql("SELECT id, fee ->> 'reference' AS txn FROM charge WHERE fee IS NOT NULL"):
        found[row["id"]] = await shop.paysaga.sandbox.stripe(f"/v1/balance_transactions/{row['txn']}")
    return found


async def falsify(shop: Shop, line_id: str, **change: Any) -> None:
    """Have the PSP's books say something else: amount, fee, currency, hidden."""
    await shop.paysaga.sandbox.control("PATCH", f"/balance_transactions/{line_id}", change)


async def plant(shop: Shop, amount: int, description: str, **fields: Any) -> dict[str, Any]:
    """A line for nothing."""
    body = {"type": "adjustment", "amount": amount, "currency": "inr", "description": description} | fields
    return await shop.paysaga.sandbox.control("POST", "/balance_transactions", body)

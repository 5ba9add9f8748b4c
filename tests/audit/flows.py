"""What can happen to a payment after its charge, made to happen: captures, refunds, disputes and reviews."""

from datetime import UTC, datetime
from typing import Any

from db import merchant, risk
from db.payment import capture, payment
from db.payment.record import Payment
from db.refund import creation
from db.refund.creation import NewRefund
from domain.ids import new_id
from domain.messages import Nudge
from domain.payment import Review, ReviewStep
from domain.risk import ReviewDecision, RuleSet
from runtime.wiring import payout_wait_policy, wait_policies
from runtime.workflow_client import WorkflowClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop


class Flows:
    """Of one shop; each is waited for until the rows say that it has happened."""

    def __init__(self, paysaga: Deployment, shop: Shop) -> None:
        self.paysaga, self.shop = paysaga, shop
        self._starter = WorkflowClient(
            paysaga.temporal,
            paysaga.name,
            wait_policies(paysaga.settings),
            payout_wait_policy=payout_wait_policy(paysaga.settings),
            task_timeout_s=10,
        )

    async def seller(self, name: str, **terms: Any) -> None:
        values: Any = {"seller_account": name, "name": name, "fee_percent": 3, "fee_fixed": 0} | terms
        await self.paysaga.database.run(lambda c: merchant.create(c, self.shop.tenant, values))

    async def _row(self, payment_id: str) -> Payment:
        row = await self.paysaga.database.read(lambda c: payment.get(c, payment_id))
        assert row is not None
        return row

    async def until(self, table: str, object_id: str, *statuses: str) -> None:
        async def probe() -> bool:
            (row,) = await self.paysaga.sql(f"SELECT status FROM {table} WHERE id = $1", object_id)
            return row["status"] in statuses

        await eventually(probe, what=f"{table} {object_id} {statuses}")

    # --- refunds ---

    async def refund(self, payment_id: str, *statuses: str, amount: int | None = None, seller: str = "") -> str:
        """Asked for by the shop; its id, once it has one of the statuses."""
        row = await self._row(payment_id)
        order_id = next((order.id for order in row.orders if order.seller_account == seller), None)
        new = NewRefund(new_id("re"), payment_id, order_id, amount, None, "test", 3600, 1)
        await self.paysaga.database.run(lambda c: creation.request(c, new, datetime.now(UTC)))
        await self._starter.start_refund(row, new.id, fresh=True)
        await self.until("refund", new.id, *statuses)
        return new.id

    async def refund_at_psp(self, payment_id: str, amount: int) -> str:
        """Made in the PSP's dashboard."""
        reference = await self.shop.reference(payment_id)
        http = self.paysaga.sandbox._http
        (await http.post("/v1/refunds", data={"payment_intent": reference, "amount": str(amount)})).raise_for_status()

        async def probe() -> str | None:
            rows = await self.paysaga.sql(
                "SELECT id FROM refund WHERE payment_id = $1 AND origin = 'psp' AND status = 'SUCCEEDED'", payment_id
            )
            return rows[0]["id"] if rows else None

        return await eventually(probe, what=f"the refund of {payment_id} at the PSP")

    # --- disputes ---

    async def dispute(self, payment_id: str, *statuses: str, **terms: Any) -> tuple[str, str]:
        """(its id, the PSP's own)."""
        path = f"/_control/payment_intents/{await self.shop.reference(payment_id)}/dispute"
        reference = (await self.paysaga.sandbox._call("POST", path, terms))["id"]

        async def probe() -> str | None:
            rows = await self.paysaga.sql("SELECT id FROM dispute WHERE reference = $1", reference)
            return rows[0]["id"] if rows else None

        dispute_id: str = await eventually(probe, what=f"a dispute of {payment_id}")
        await self.until("dispute", dispute_id, *statuses)
        return dispute_id, reference

    async def decide(self, dispute: tuple[str, str], step: str, *statuses: str) -> str:
        await self.paysaga.sandbox._call("POST", f"/_control/disputes/{dispute[1]}/{step}")
        await self.until("dispute", dispute[0], *statuses)
        return dispute[0]

    # --- captures, reviews ---

    async def capture(self, payment_id: str, amounts: dict[str, int]) -> None:
        """By seller, in minor units; an order that is left out is released."""
        row = await self._row(payment_id)
        wanted = {o.id: amounts[o.seller_account] for o in row.orders if o.seller_account in amounts}
        await self.paysaga.database.run(lambda c: capture.request(c, payment_id, wanted, "test", datetime.now(UTC)))
        await self._starter.tell(row, Nudge(reason="capture"))
        await self.shop.until(payment_id, "SUCCESS")

    async def rules(self, *rules: dict[str, Any]) -> None:
        rule_set = RuleSet.model_validate({"rules": rules})
        await self.paysaga.database.run(lambda c: risk.put_rules(c, self.shop.tenant, rule_set, "test"))

    async def review(self, payment_id: str, decision: str, *statuses: str) -> None:
        row = await self._row(payment_id)
        review = Review(decision=ReviewDecision(decision), by="olga")
        step = ReviewStep(payment_id=payment_id, review=review, at=datetime.now(UTC))
        await self.paysaga.database.run(lambda c: risk.review(c, step))
        await self._starter.tell(row, Nudge(reason="review"))
        await self.shop.until(payment_id, *statuses)

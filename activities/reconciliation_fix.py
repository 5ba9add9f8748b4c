"""Doing what is proposed about a discrepancy: booked here, or through the workflow that owns the matter. Never by
writing a status: the workflow asks the PSP itself, and a later look sees what became of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db.core.database import Database
from db.payment import lifecycle, payment
from db.payment.record import Payment
from db.payout import payout
from db.reconciliation import discrepancy as discrepancies
from db.reconciliation import fix as fixing
from domain.errors import Conflict
from domain.ids import payment_workflow_id
from domain.messages import Nudge
from domain.reconciliation.reconciliation import BOOKING_FIXES, BY_ITSELF, Decision, Fix, ResolveStep
from runtime.workflow_client import WorkflowClient

Refused = fixing.Refused
"""The proposed fix does not fit any more."""


class Fixer:
    """For the activities, and for the API and the CLI, which resolve with it."""

    def __init__(self, database: Database, workflow_client: WorkflowClient) -> None:
        self._database = database
        self._starter = workflow_client

    async def fix(self, row: Mapping[str, Any], at: datetime, *, by: str = BY_ITSELF, note: str | None = None) -> bool:
        """Do what is proposed: True where the money is booked by that, False where a workflow was asked. Twice is as
        once. Raises Refused, Unavailable."""
        if row["fix"] in BOOKING_FIXES:
            await self._database.run(lambda c: fixing.book(c, row["id"], at, by=by, note=note))
            return True
        told = await self._ask(row, at)
        told = told if by == BY_ITSELF else f"{told}, by {by}"
        await self._database.run(lambda c: discrepancies.asked(c, row["id"], told, at))
        return False

    async def resolve(self, step: ResolveStep, tenant_id: str | None = None) -> dict[str, Any]:
        """A person's decision: the discrepancy's row after it. What a workflow was asked for stays OPEN until it is
        there. `tenant_id`: whose it has to be; None for operators.

        Raises NotFound `discrepancy_not_found`; Conflict `discrepancy_closed`, `fix_refused`; Unprocessable
        `decision_not_allowed`, `note_required`; Unavailable.
        """
        if step.decision is not Decision.APPLY_FIX:
            return await self._database.run(lambda c: discrepancies.resolve(c, step, tenant_id))

        async def decide(connection: Any) -> dict[str, Any]:
            row = await discrepancies.check(connection, step, tenant_id)
            await discrepancies.audit(connection, row, step, None)
            return row

        row = await self._database.run(decide)
        try:
            await self.fix(row, step.at, by=step.by, note=step.note or None)
        except fixing.Refused as error:
            raise Conflict(f"The fix does not fit any more: {error}.", code="fix_refused") from error
        return await self._database.read(lambda c: discrepancies.get(c, step.discrepancy_id))

    async def _ask(self, row: Mapping[str, Any], at: datetime) -> str:
        """Tell whoever owns the matter. What was done, in words."""
        match Fix(row["fix"]):
            case Fix.ADVANCE_PAYMENT:
                return await self._advance_payment(row)
            case Fix.ADVANCE_REFUND:
                owner, refund_id = await self._database.run(lambda c: fixing.know_refund(c, row))
                if owner.open:
                    return await self._tell(owner)
                await self._starter.start_refund(owner, refund_id)
                return f"asked the workflow of {refund_id}"
            case Fix.ADVANCE_DISPUTE:
                owner, dispute_id = await self._database.run(lambda c: fixing.know_dispute(c, row, at))
                await self._starter.start_dispute(owner, dispute_id)
                return f"asked the workflow of {dispute_id}"
            case _:
                paid = await self._database.read(lambda c: payout.get(c, row["object_id"]))
                await self._starter.start_payout(paid)
                return f"asked the workflow of {paid.id}"

    async def _advance_payment(self, row: Mapping[str, Any]) -> str:
        owner, reference = await self._database.run(lambda c: fixing.name_charge(c, row))
        fresh = await self._database.read(lambda c: payment.get(c, owner.id))
        assert fresh is not None, "it was locked a moment ago"
        if fresh.open:
            return await self._tell(fresh)
        if not fresh.charge.booked:
            await self._starter.start_late_charge(fresh, fresh.charge.id, reference)
            return f"asked for the refund of {fresh.charge.id}: {fresh.id} had ended"
        return f"{fresh.id} is {fresh.status} and booked by now"

    async def _tell(self, owner: Payment) -> str:
        """In its first task a message would make a workflow run twice: that one is on its way anyhow."""
        running = await self._starter.is_running(payment_workflow_id(owner.id))
        if not running or lifecycle.listens(owner):
            await self._starter.tell(owner, Nudge(reason="reconciliation"))
        return f"asked the workflow of {owner.id}"

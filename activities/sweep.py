"""The sweeper: finds what no workflow takes care of and starts one. It never touches money itself."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio import activity

from activities.queues import Queue, on
from activities.reconciliation_alarm import alarm
from db import month
from db import webhook as inbox
from db.core.database import Connection, Database
from db.dispute.find import unfinished as unfinished_disputes
from db.dispute.record import Dispute
from db.hot import read
from db.payment import overdue as sweep
from db.payout import payout
from db.payout.record import Payout
from db.people import retention
from db.reconciliation import run as reconciliation
from db.refund.find import unfinished as unfinished_refunds
from db.refund.record import Refund
from domain.errors import PaysagaError
from domain.ids import (
    dispute_workflow_id,
    late_charge_workflow_id,
    payment_workflow_id,
    payout_workflow_id,
    reconciliation_workflow_id,
    refund_workflow_id,
)
from domain.messages import Nudge
from domain.sweep import SweepReport
from runtime.workflow_client import WorkflowClient
from services import webhook, workflow

T = TypeVar("T")

_PAGE = 200
_STUCK_S_MIN = 300.0
_BATCHES_MAX = 20


@dataclass(frozen=True)
class Retention:
    """The time for which payloads of the inbox, idempotency keys and events of the outbox are kept."""

    payloads: timedelta
    keys: timedelta
    events: timedelta


class SweepActivities:
    """`after_s`: how long a payment may be without progress before its workflow is looked for. `reconcile` starts the
    workflow of a stored reconciliation, from its row."""

    def __init__(
        self,
        database: Database,
        workflow_client: WorkflowClient,
        reconcile: Callable[[Mapping[str, Any]], Awaitable[object]],
        *,
        after_s: float,
        retention: Retention,
    ) -> None:
        self._database = database
        self._workflows = workflow_client
        self._reconcile = reconcile
        self._after_s = after_s
        self._retention = retention

    @activity.defn
    @on(Queue.OWN)
    async def sweep_payments(self) -> SweepReport:
        """Start again every open payment whose workflow is missing, failed or was terminated: it goes on from its rows.

        What is overdue although its workflow runs is nudged: by now it is in no first task that this could repeat.
        """
        restarted = await self._each(
            lambda c, after: sweep.without_progress(c, after_s=self._after_s, after_id=after, limit=_PAGE),
            lambda payment_id: payment_id,
            self._look_after,
        )
        stuck_s = max(10 * self._after_s, _STUCK_S_MIN)
        tasks = await self._database.run(lambda c: sweep.open_tasks_for_stuck(c, after_s=stuck_s))
        failing = await workflow.watch(self._database, self._workflows)
        return SweepReport(restarted=restarted, tasks=tasks + failing)

    async def _each(
        self,
        page: Callable[[Any, str], Awaitable[Sequence[T]]],
        id_of: Callable[[T], str],
        take_up: Callable[[T], Awaitable[bool]],
    ) -> int:
        """The number that was taken up, of all pages. `page` reads those after an id, at most _PAGE of them."""
        count, after_id = 0, ""
        while True:
            rows = await self._database.read(lambda c, after=after_id: page(c, after))  # type: ignore[misc]
            for row in rows:
                activity.heartbeat(id_of(row))
                try:
                    count += await take_up(row)
                except PaysagaError as error:  # one that cannot be helped now must not keep us from the others
                    activity.logger.warning("sweep: %s: %s", id_of(row), error)
            if len(rows) < _PAGE:
                return count
            after_id = id_of(rows[-1])

    async def _look_after(self, payment_id: str) -> bool:
        """True if its workflow had to be started again. One that runs is nudged: a signal to it may have been lost."""
        row = await read.payment(self._database, payment_id)
        if row is None or not row.open:
            return False
        if await self._workflows.is_running(payment_workflow_id(payment_id)):
            await self._workflows.tell(row, Nudge(reason="sweep"))
            return False
        return await self._workflows.start_payment(self._workflows.input_of(row), row.checkout_id, again=True)

    @activity.defn
    @on(Queue.OWN)
    async def sweep_refunds(self) -> SweepReport:
        """Take up the refunds of ended payments whose workflow was lost (a late charge's, or one that came back)."""
        refunds = await self._each(
            lambda c, after: unfinished_refunds(c, self._after_s, after, _PAGE), lambda row: row.id, self._refund
        )
        return SweepReport(refunds=refunds)

    async def _refund(self, row: Refund) -> bool:
        carers = (late_charge_workflow_id(row.charge_id), refund_workflow_id(row.id))
        for workflow_id in carers:
            if await self._workflows.is_running(workflow_id):
                return False
        owner = await read.payment(self._database, row.payment_id)
        assert owner is not None, "a refund has a payment"
        await self._workflows.start_refund(owner, row.id)
        return True

    @activity.defn
    @on(Queue.OWN)
    async def sweep_disputes(self) -> SweepReport:
        """Take up the disputes whose workflow was lost."""
        disputes = await self._each(
            lambda c, after: unfinished_disputes(c, self._after_s, after, _PAGE), lambda row: row.id, self._dispute
        )
        return SweepReport(disputes=disputes)

    async def _dispute(self, row: Dispute) -> bool:
        if await self._workflows.is_running(dispute_workflow_id(row.id)):
            return False
        owner = await read.payment(self._database, row.payment_id)
        assert owner is not None, "a dispute has a payment"
        await self._workflows.start_dispute(owner, row.id)
        return True

    @activity.defn
    @on(Queue.OWN)
    async def sweep_payouts(self) -> SweepReport:
        """Take up the payouts whose workflow was lost, or never started."""
        payouts = await self._each(
            lambda c, after: payout.unfinished(c, self._after_s, after, _PAGE), lambda row: row.id, self._payout
        )
        return SweepReport(payouts=payouts)

    async def _payout(self, row: Payout) -> bool:
        if await self._workflows.is_running(payout_workflow_id(row.id)):
            return False
        await self._workflows.start_payout(row)
        return True

    @activity.defn
    @on(Queue.OWN)
    async def sweep_reconciliations(self) -> SweepReport:
        """Take up the runs whose workflow was lost, or never started; and tell of what is overdue, whatever the runs
        are at: one that waits for the PSP for days must not keep it quiet."""
        tasks = await alarm(self._database, datetime.now(UTC))
        runs = await self._each(
            lambda c, after: reconciliation.unfinished(c, self._after_s, after, _PAGE),
            lambda row: str(row["id"]),
            self._run,
        )
        return SweepReport(reconciliations=runs, tasks=tasks)

    async def _run(self, row: Mapping[str, Any]) -> bool:
        if await self._is_reconciled(row):
            return False
        await self._reconcile(row)
        return True

    async def _is_reconciled(self, row: Mapping[str, Any]) -> bool:
        """A run that a schedule began is carried out by the workflow that its key names, one that was taken up or asked
        for by its own."""
        by_schedule, slash, _ = row["key"].rpartition("/")
        if slash and await self._workflows.is_running(by_schedule):
            return True
        return await self._workflows.is_running(reconciliation_workflow_id(row["id"]))

    @activity.defn
    @on(Queue.OWN)
    async def sweep_inbox(self) -> SweepReport:
        """Deliver again what was stored and not taken notice of; then drop what was kept for its time, and see to the
        months of the large tables."""
        told: Counter[str] = Counter()
        ids = await self._database.read(lambda c: inbox.undelivered(c, self._after_s, _PAGE))
        for inbox_id in ids:
            activity.heartbeat(inbox_id)
            try:
                recipient = await webhook.deliver_again(self._database, self._workflows, inbox_id)
            except Exception as error:  # noqa: BLE001 - whatever ails one event, it must not keep us from the others
                activity.logger.exception("sweep: event %s", inbox_id)
                await self._database.run(partial(inbox.count_attempt, inbox_id=inbox_id, error=error))
            else:
                told.update(() if recipient is None else [_COUNTED_AS[type(recipient)]])
        await self._drop(partial(retention.empty_payloads, older_than=self._retention.payloads))
        await self._drop(partial(retention.drop_keys, older_than=self._retention.keys))
        await self._turn_months()
        return SweepReport(**told)

    async def _turn_months(self) -> None:
        """Make partitions ahead, begin the month that has come, drop a month of old events. A table that somebody has
        locked is left to the next run."""
        try:
            while made := await self._database.run(month.make_one):
                activity.logger.info("sweep: made %s", made)
            begun = await self._database.run(month.begin)
            if begun is not None:
                activity.logger.info("sweep: month %s has begun", begun)
            if dropped := await self._database.run(
                partial(month.drop_oldest_events, older_than=self._retention.events)
            ):
                activity.logger.info("sweep: dropped %s", dropped)
        except PaysagaError as error:
            activity.logger.warning("sweep: months: %s", error)

    async def _drop(self, batch: Callable[[Connection], Awaitable[int]]) -> None:
        """Batches until there are no more, or there were many: the next run goes on."""
        for _ in range(_BATCHES_MAX):
            activity.heartbeat()
            if await self._database.run(batch) < retention.BATCH:
                return


_COUNTED_AS: Mapping[type[webhook.Recipient], str] = {
    webhook.ToPayment: "nudged",
    webhook.ToLateCharge: "late_charges",
    webhook.ToRefund: "refunds",
    webhook.ToDispute: "disputes",
    webhook.ToPayout: "payouts",
}
"""The number of the report in which an event's recipient is counted."""

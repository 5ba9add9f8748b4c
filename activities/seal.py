"""Sealing the ledger, a page at a time."""

from temporalio import activity

from activities.queues import Queue, on
from db.core.database import Database
from db.ledger import seal
from domain.seal import SealReport, SealStep

_PAGE = 5_000


class SealActivities:
    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    @on(Queue.OWN)
    async def seal_ledger(self, step: SealStep) -> SealReport:
        """Seal until nothing is left that can be sealed. Each page is a transaction of its own: what was sealed stays
        so when a later page fails. Raises Unavailable."""
        transactions = blocks = 0
        while True:
            sealed = await self._database.run(lambda c: seal.seal(c, step.at, _PAGE))
            transactions, blocks = transactions + sealed.transactions, blocks + sealed.blocks
            activity.heartbeat(transactions)
            if not sealed.more:
                head = str(sealed.head) if sealed.head else None
                return SealReport(transactions=transactions, blocks=blocks, head=head, held_up=sealed.held_up)

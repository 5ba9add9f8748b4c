"""The books of a payment, refund or dispute, as tables."""

from collections.abc import Sequence

from rich.console import RenderableType

from cli.pages import format as look
from db.core.database import Database
from db.ledger import posting as ledger
from db.ledger.posting import BookedTransaction, Wanted
from domain.ledger import Kind
from domain.money import to_major

_DISPUTE_MONEY = (Kind.DISPUTE_WITHDRAWN, Kind.DISPUTE_REINSTATED, Kind.DISPUTE_FEE)


async def booked(
    database: Database, tenant_id: str, payment_id: str, sources: set[str], *, dispute_of: str | None = None
) -> list[BookedTransaction]:
    """Transactions of a refund or dispute: booked under its id, or a reserve's. `dispute_of`: a PSP, whose own
    movements of the payment's disputes belong to it as well."""
    wanted = Wanted(payment_id=payment_id)
    page = await database.read(lambda c: ledger.page(c, tenant_id, wanted, limit=200))
    return [
        t
        for t in page
        if t.source_id.partition(":")[0] in sources or (dispute_of is not None and t.kind in _DISPUTE_MONEY)
    ]


def books_section(transactions: Sequence[BookedTransaction]) -> list[RenderableType]:
    """A section of a page; empty where nothing is booked."""
    return look.section("Ledger", books_table(transactions) if transactions else None)


def books_table(transactions: Sequence[BookedTransaction]) -> RenderableType:
    """Transactions, the oldest first, with their lines; `transactions` come newest first."""
    table = look.table("at", "transaction", "account", "debit", "credit")
    for t in reversed(transactions):
        first = (look.clock(t.at), t.kind)
        for posting in t.postings:
            amount = to_major(abs(posting.amount), posting.currency)
            table.add_row(*first, posting.account, *((amount, "") if posting.amount > 0 else ("", amount)))
            first = ("", "")
    return table

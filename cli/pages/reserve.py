"""Funds set aside for refunds and disputes, as tables."""

from collections.abc import Sequence

from rich.console import RenderableType

from cli.pages import format as look
from db.core.database import Database
from db.ledger import reserve
from db.ledger.reserve_record import Reserve
from domain.money import to_major


async def reserves_of(database: Database, source_ids: Sequence[str]) -> list[Reserve]:
    """The funds that were set aside for these refunds and disputes."""
    found = [await database.read(lambda c, i=i: reserve.of_source(c, i)) for i in source_ids]  # type: ignore[misc]
    return [part for parts in found for part in parts]


def reserves_table(held: Sequence[Reserve]) -> RenderableType | None:
    """A line for each; None for nothing."""
    if not held:
        return None
    table = look.table("for", "amount", "pending", "available", "owed", "status")
    for part in held:
        covered = (to_major(n, part.currency) for n in (part.pending, part.available, part.receivable))
        amount = look.amount(part.amount, part.currency)
        which = look.ids(part.source_id, f"of {part.seller_account}")
        table.add_row(which, amount, *covered, part.status.lower())
    return table

"""Corrections: what people have booked by deciding about discrepancies counts when the same break is judged again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Text, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.ledger import ledger_posting
from db.schema.reconciliation import discrepancy
from domain.ledger import BANK, psp_clearing
from domain.reconciliation.pair import Pair, fingerprints
from domain.reconciliation.reconciliation import DiscrepancyStatus, Subject


def among(column: ColumnElement[str], names: Iterable[str]) -> ColumnElement[bool]:
    """A condition with one parameter, however many names there are."""
    return column == any_(literal(list(names), ARRAY(Text)))


async def with_corrections(
    connection: AsyncConnection, run: dict[str, Any], pairs: Sequence[tuple[Pair, dict[str, Any]]]
) -> list[tuple[Pair, dict[str, Any]]]:
    """The pairs with what was booked by decisions about them, under whatever name they had then. Of several facts of
    one name the first has it."""
    # What has no second of its name comes from the bank.
    names = {name for pair, row in pairs if _first(pair, row) for name in fingerprints(pair)}
    booked = await _corrections(connection, run, names) if names else {}
    if not booked:
        return list(pairs)
    return [(_corrected(pair, booked) if _first(pair, row) else pair, row) for pair, row in pairs]


def _first(pair: Pair, row: dict[str, Any]) -> bool:
    return pair.duplicate_of is not None or (row.get("n") or 1) == 1


def _corrected(pair: Pair, booked: dict[str, Counter[str]]) -> Pair:
    main, fee = Counter[str](), Counter[str]()
    for name in fingerprints(pair):
        side = fee if name.startswith("fee:") else main
        for currency, amount in booked.get(name, {}).items():
            side[currency] += amount
    return replace(pair, corrected=main, fee_corrected=fee)


async def _corrections(
    connection: AsyncConnection, run: dict[str, Any], names: Iterable[str]
) -> dict[str, Counter[str]]:
    """Fingerprint → currency → what was booked on the other side's account by resolving it."""
    d, p = discrepancy.c, ledger_posting.c
    account = BANK if run["subject"] == Subject.BANK else psp_clearing(run["psp"])
    rows = await connection.execute(
        select(d.fingerprint, p.currency, p.amount)
        .join(ledger_posting, p.transaction_id == d.ledger_transaction_id)
        .where(
            d.psp == run["psp"],
            d.subject == run["subject"],
            d.status == DiscrepancyStatus.RESOLVED.value,
            p.account == account,
            among(d.fingerprint, names),
        )
    )
    booked: dict[str, Counter[str]] = {}
    for row in rows:
        booked.setdefault(row.fingerprint, Counter())[row.currency] += row.amount
    return booked

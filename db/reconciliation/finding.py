"""Findings of the matching, page by page: judged, kept as items of the run, and carried over to the discrepancies,
which outlive it. The same break found again is the same discrepancy; one that is gone is closed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core import outbox
from db.reconciliation.corrections import among, with_corrections
from db.schema.base import PLATFORM_TENANT
from db.schema.reconciliation import discrepancy, reconciliation_item
from db.schema.tenant import operator_task
from domain.ids import new_id
from domain.reconciliation.lines import PspLineKind
from domain.reconciliation.pair import Booked, Finding, Line, Pair, Terms, fingerprints
from domain.reconciliation.reconciliation import (
    BREAKS,
    BY_ITSELF,
    DiscrepancyStatus,
    LineClass,
    MatchedBy,
    Subject,
    discrepancy_event,
)
from domain.reconciliation.rules import judge

_OPEN = DiscrepancyStatus.OPEN.value
_SIDES = tuple(f"{side}_{what}" for side in ("there", "record", "ledger") for what in ("amount", "currency", "fee"))


@dataclass
class Tally:
    """The numbers of a matching. `closing_only`: it was to see what is gone, and writes nothing else."""

    closing_only: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    closed: int = 0


def pair_of(row: dict[str, Any], subject: Subject = Subject.PSP) -> Pair:
    """The pair of a row of the second pass, or of the bank's."""
    line = booked = fee = None
    if row["reference"] is not None:
        names = ("run_id", "line_no", "reference", "fee", "occurred_at", "source_reference", "charge_reference")
        line = Line(
            amount=row["there_amount"],
            currency=row["there_currency"],
            our_reference=row["our_reference"],
            parts=tuple(row.get("parts") or ()),
            alone=bool(row.get("alone")),
            **{name: row[name] for name in names},
        )
    if row["ledger_amount"] is not None:
        booked = Booked(row["ledger_amount"], row["ledger_currency"], row["ledger_at"])
    if row["fee_amount"] is not None:
        fee = Booked(row["fee_amount"], row["fee_currency"], row["fee_at"])
    same = ("kind", "key", "object_id", "payment_id", "payment_status", "record_amount", "record_currency")
    return Pair(
        subject=subject,
        tenant_id=row["tenant_id"] or PLATFORM_TENANT,
        line=line,
        booked=booked,
        fee=fee,
        how=MatchedBy(row["how"]) if row["how"] else None,
        record_status=row["record_status"],
        record_at=row["record_at"],
        duplicate_of=row["duplicate_of"],
        undone=bool(row.get("undone")),
        unrelated=bool(row.get("unrelated")),
        called=row.get("name"),
        alike=(row.get("entries") or 1, row.get("payouts") or 1),
        confirmed=bool(row.get("confirmed")),
        **{name: row[name] for name in same},
    )


async def record(
    connection: AsyncConnection,
    run: dict[str, Any],
    pairs: Sequence[tuple[Pair, dict[str, Any]]],
    terms: Terms,
    tally: Tally,
) -> None:
    """Judge a page of pairs and write what they are. Of the row, `line_no` or `part_no` is the run's own line."""
    found: list[tuple[Finding, Pair, int | None]] = []
    gone: list[str] = []
    for pair, row in await with_corrections(connection, run, pairs):
        findings = judge(pair, terms)
        if not findings:
            tally.counts[LineClass.MATCHED] += 1
        line_no = row["line_no"] if row["origin"] == 1 else row.get("part_no")
        found += [(finding, pair, line_no) for finding in findings]
        gone += _gone(pair, findings)
    await _close_named(connection, run, gone, terms.at, tally)
    if tally.closing_only:
        return
    for finding, _, _ in found:
        tally.counts[finding.cls] += 1
    numbers = await _carry_over(connection, run, found, terms.at, tally)
    items = [_item(run, finding, pair, line_no, numbers.get(finding.fingerprint)) for finding, pair, line_no in found]
    if items:
        await _copy(connection, items)


async def _copy(connection: AsyncConnection, items: list[dict[str, Any]]) -> None:
    """Write items by COPY: a line that only the PSP's names matched is an item as well, and there may be a million of
    them."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    records = [tuple(item.values()) for item in items]
    await driver.copy_records_to_table(reconciliation_item.name, records=records, columns=list(items[0]))


def _gone(pair: Pair, findings: Sequence[Finding]) -> list[str]:
    """The fingerprints under which this pair may have been broken before, and is not any more. A part's own break is
    one of its whole, once that is known."""
    if pair.duplicate_of is not None:
        return []
    broken = {f.fingerprint for f in findings if f.cls in BREAKS and not f.settled}
    fee_seen = pair.booked is not None or pair.kind == PspLineKind.FEE or pair.subject is Subject.BANK
    movement_fine = not any(not name.startswith("fee:") for name in broken)
    parts = {f"line:{name}" for name in pair.line.parts} if pair.line is not None else set()
    return [
        name
        for name in fingerprints(pair)
        if name not in broken and (name in parts or (fee_seen if name.startswith("fee:") else movement_fine))
    ]


# --- discrepancies ---


async def _carry_over(
    connection: AsyncConnection,
    run: dict[str, Any],
    found: Sequence[tuple[Finding, Pair, int | None]],
    at: datetime,
    tally: Tally,
) -> dict[str, str]:
    """Open what is new, bring what is open up to date. Fingerprint → the discrepancy's id. What a person has decided
    about, with a correction that sets it right or by accepting just this, is no news."""
    broken = {f.fingerprint: (f, pair) for f, pair, _ in found if f.cls in BREAKS}
    if not broken:
        return {}
    known = await _known(connection, run, broken)
    ids: dict[str, str] = {}
    new: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    for name, (finding, pair) in broken.items():
        values = _values(finding, pair)
        before = known.get(name) or known.get(_line_name(finding, pair))
        if finding.settled or (before is not None and _accepted(before, values)):
            ids |= {name: before["id"]} if before is not None else {}
        elif before is not None and before["status"] == _OPEN:
            again.append(_update(before, values, run))
            ids[name] = before["id"]
        else:
            new.append(values | _opening(run, at))
            ids[name] = new[-1]["id"]
    await _write(connection, new, again)
    await outbox.add(connection, [discrepancy_event("opened", row, at) for row in new])
    tally.opened += len(new)
    return ids


async def _known(
    connection: AsyncConnection, run: dict[str, Any], broken: dict[str, tuple[Finding, Pair]]
) -> dict[str, dict[str, Any]]:
    """Fingerprint → the open discrepancy, or else the latest one."""
    names = {*broken, *(_line_name(finding, pair) for finding, pair in broken.values())}
    d = discrepancy.c
    rows = await connection.execute(
        select(discrepancy)
        .where(d.psp == run["psp"], d.subject == run["subject"], among(d.fingerprint, names))
        .order_by(d.status == _OPEN, d.seq)
    )
    return {row["fingerprint"]: dict(row) for row in rows.mappings()}


def _line_name(finding: Finding, pair: Pair) -> str:
    """The other fingerprint of a break: what was nobody's when it was found first may have become somebody's."""
    own = finding.fingerprint.startswith(("fee:", "duplicate:")) or pair.line is None
    return finding.fingerprint if own or pair.line is None else f"line:{pair.line.reference}"


def _accepted(before: dict[str, Any], values: dict[str, Any]) -> bool:
    same = all(before[name] == values[name] for name in (*_SIDES, "differences"))
    return bool(before["status"] == DiscrepancyStatus.RESOLVED.value and same)


def _opening(run: dict[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "id": new_id("disc"),
        "psp": run["psp"],
        "subject": run["subject"],
        "status": _OPEN,
        "first_run_id": run["id"],
        "last_run_id": run["id"],
        "opened_at": at,
        "resolution": None,
        "resolved_by": None,
    }


def _update(before: dict[str, Any], values: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """A deadline that was set stays: to be found again does not put it off; only what is still expected is given its
    own. Evidence that is there stays as well."""
    kept: dict[str, Any] = {}
    if values["class"] != LineClass.TIMING and before["due_at"] is not None:
        kept["due_at"] = min(before["due_at"], values["due_at"] or before["due_at"])
    if values["line_no"] is None and before["line_no"] is not None:
        kept |= {name: before[name] for name in ("line_run_id", "line_no", "line_reference")}
    return values | kept | {"_id": before["id"], "last_run_id": run["id"]}


async def _write(connection: AsyncConnection, new: list[dict[str, Any]], again: list[dict[str, Any]]) -> None:
    if new:
        await connection.execute(insert(discrepancy), new)
    if again:
        names = [name for name in again[0] if name != "_id"]
        statement = (
            update(discrepancy)
            .where(discrepancy.c.id == bindparam("_id"), discrepancy.c.status == _OPEN)
            .values({discrepancy.c[name]: bindparam(f"new_{name}", type_=discrepancy.c[name].type) for name in names})
        )
        await connection.execute(
            statement, [{"_id": row["_id"]} | {f"new_{name}": row[name] for name in names} for row in again]
        )


def _seen(pair: Pair) -> dict[str, Any]:
    """The words of the three sides, as columns."""
    line, booked, fee = pair.line, pair.booked, pair.fee
    return {
        "tenant_id": pair.tenant_id,
        "kind": pair.kind,
        "how": pair.how.value if pair.how else None,
        "object_id": pair.object_id,
        "payment_id": pair.payment_id,
        "record_status": pair.record_status,
        "line_reference": line.reference if line else None,
        "occurred_at": line.occurred_at if line else _when(pair),
        "there_amount": line.amount if line else None,
        "there_currency": line.currency if line else None,
        "there_fee": line.fee if line else None,
        "record_amount": pair.record_amount,
        "record_currency": pair.record_currency,
        "record_fee": None,
        "ledger_amount": booked.amount if booked else None,
        "ledger_currency": booked.currency if booked else fee.currency if fee else None,
        "ledger_fee": -fee.amount if fee else None,
    }


def _when(pair: Pair) -> datetime | None:
    for booked in (pair.booked, pair.fee):
        if booked is not None:
            return booked.at
    return pair.record_at


def _values(finding: Finding, pair: Pair) -> dict[str, Any]:
    return _seen(pair) | {
        "fingerprint": finding.fingerprint,
        "class": finding.cls.value,
        "reason": finding.reason,
        "line_run_id": pair.line.run_id if pair.line else None,
        "line_no": pair.line.line_no if pair.line else None,
        "difference": finding.difference,
        "currency": finding.currency,
        "differences": dict(finding.differences),
        "due_at": finding.due_at,
        "fix": finding.fix.value if finding.fix else None,
    }


def _item(
    run: dict[str, Any], finding: Finding, pair: Pair, line_no: int | None, discrepancy_id: str | None
) -> dict[str, Any]:
    return _seen(pair) | {
        "run_id": run["id"],
        "line_no": line_no,
        "class": finding.cls.value,
        "reason": finding.reason,
        "due_at": finding.due_at,
        "discrepancy_id": discrepancy_id if finding.cls in BREAKS else None,
    }


# --- what is gone ---


async def _close_named(
    connection: AsyncConnection, run: dict[str, Any], names: Sequence[str], at: datetime, tally: Tally
) -> None:
    if not names:
        return
    d = discrepancy.c
    found = await connection.execute(
        select(d.id).where(
            d.psp == run["psp"],
            d.subject == run["subject"],
            d.status == _OPEN,
            among(d.fingerprint, names),
        )
    )
    await close(connection, run, list(found.scalars()), at, tally)


async def close(
    connection: AsyncConnection, run: dict[str, Any], ids: Sequence[str], at: datetime, tally: Tally
) -> None:
    """Close open discrepancies that are found matched, with their tasks and events; what they were stays on record."""
    if not ids:
        return
    d = discrepancy.c
    closed = await connection.execute(
        update(discrepancy)
        .where(d.id.in_(ids), d.status == _OPEN)
        .values(
            {
                d.status: DiscrepancyStatus.FIXED.value,
                d.resolution: func.coalesce(_asked(), "matched"),
                d.note: f"matched in {run['id']}",
                d.resolved_by: BY_ITSELF,
                d.resolved_at: at,
                d.last_run_id: run["id"],
                d.updated_at: func.now(),
            }
        )
        .returning(discrepancy)
    )
    rows = [dict(row) for row in closed.mappings()]
    tally.closed += len(rows)
    await outbox.add(connection, [discrepancy_event("resolved", row, at) for row in rows])
    await close_tasks(connection, [row["id"] for row in rows], BY_ITSELF, f"matched in {run['id']}")


def _asked() -> Any:
    """The fix that it was asked for; none: it came right without us."""
    return case((discrepancy.c.fix_asked_at.is_not(None), discrepancy.c.fix))


async def close_tasks(connection: AsyncConnection, ids: Iterable[str], by: str, resolution: str) -> None:
    """The operator's tasks about these discrepancies."""
    await connection.execute(
        update(operator_task)
        .where(operator_task.c.object_id.in_(list(ids)), operator_task.c.closed_at.is_(None))
        .values(closed_at=func.now(), closed_by=by, resolution=resolution)
    )


async def fixes(connection: AsyncConnection, run_id: str, tenants: Sequence[str] | None) -> int:
    """The number of open discrepancies of the run, and of these tenants (None: of all), with a proposed fix."""
    d = discrepancy.c
    theirs = [] if tenants is None else [d.tenant_id.in_(tenants)]
    count = await connection.scalar(
        select(func.count()).where(d.last_run_id == run_id, d.status == _OPEN, d.fix.is_not(None), *theirs)
    )
    return int(count or 0)

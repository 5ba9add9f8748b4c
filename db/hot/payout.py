"""The usual steps of a payout, each in one statement: the way to the bank when every answer is as it should be."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from db.core.database import Database
from db.core.statement import load
from db.hot.store import compact
from db.payout.lifecycle import Ready
from db.payout.record import Call, Payout
from domain import ledger as books
from domain.events import SCHEMA_VERSION, payout_event_data
from domain.ids import new_id, payout_key
from domain.ledger import Kind, Posting, account_kind
from domain.payout import BankWaitPolicy, BookPayoutStep, BookTransferStep, PayoutCall, PayoutState
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome
from domain.status import PayoutStatus

_READ = load(__package__, "payout_read.sql")
_READY = load(__package__, "payout_ready.sql")
_MOVE = load(__package__, "payout_move.sql")


@dataclass(frozen=True)
class _Step:
    """A step of the row, and what is written with it."""

    before: PayoutStatus
    after: PayoutStatus
    reason: str
    at: datetime
    call: PayoutCall | None = None
    kind: Kind | None = None
    postings: tuple[Posting, ...] = ()
    send_for_s: float | None = None
    """Of the next call, to the bank, which is marked as sent."""


async def read(database: Database, payout_id: str) -> tuple[Payout, datetime]:
    """A payout, with the time on the database's clock. Raises Unavailable."""
    row = await database.one(_READ, payout_id=payout_id)
    assert row is not None, "a payout stays"
    return as_payout(row), row["now"]


async def ready(database: Database, payout_id: str) -> Ready | None:
    """Mark the transfer of a new payout as sent. None: nothing was written, and the general path decides
    (`db.payout.lifecycle`). Raises Unavailable."""
    key = payout_key(payout_id, PayoutCall.TRANSFER, 1)
    row = await database.one(_READY, payout_id=payout_id, key=key)
    return None if row is None else _ready(row, PayoutCall.TRANSFER, key)


async def transferred(database: Database, ready: Ready, step: BookTransferStep, send_for_s: float) -> Ready | None:
    """Book a transfer that was made, and mark the payout to the bank as sent; else as `ready`."""
    if step.result.outcome is not TransferOutcome.DONE or ready.stopped is not None:
        return None
    row, reference = ready.row, step.result.reference
    moved = await _move(
        database,
        row,
        _Step(
            PayoutStatus.REQUESTED,
            PayoutStatus.TRANSFERRED,
            "transferred",
            step.at,
            PayoutCall.TRANSFER,
            Kind.PAYOUT_TRANSFER,
            books.payout_transfer(row.psp, row.amount, row.currency),
            send_for_s,
        ),
        outcome=TransferOutcome.DONE.value,
        answered=reference,
        transfer_reference=reference,
    )
    return None if moved is None else _ready(moved, PayoutCall.PAYOUT, payout_key(row.id, PayoutCall.PAYOUT, 1))


async def sent(database: Database, ready: Ready, step: BookPayoutStep) -> PayoutState | None:
    """Book that the payout is on its way to the seller's bank; else as `ready`."""
    result = step.result
    if result.outcome is not PayoutOutcome.PENDING or result.failure is not None:
        return None
    moved = await _move(
        database,
        ready.row,
        _Step(
            PayoutStatus.TRANSFERRED,
            PayoutStatus.IN_TRANSIT,
            "on its way to the seller's bank",
            step.at,
            PayoutCall.PAYOUT,
        ),
        **_seen(result),
        outcome=result.outcome.value,
        answered=result.reference,
        looks=True,
        next_check_at=step.next_check_at,
    )
    return None if moved is None else PayoutState(status=PayoutStatus.IN_TRANSIT)


async def paid(database: Database, row: Payout, step: BookPayoutStep, bank: BankWaitPolicy) -> PayoutState | None:
    """Book that it is at the seller's bank; else as `ready`."""
    result = step.result
    if result.outcome is not PayoutOutcome.PAID or row.status is not PayoutStatus.IN_TRANSIT:
        return None
    moved = await _move(
        database,
        row,
        _Step(
            PayoutStatus.IN_TRANSIT,
            PayoutStatus.PAID,
            "at the seller's bank",
            step.at,
            kind=Kind.PAYOUT_PAID,
            postings=books.payout_paid(row.amount, row.currency),
        ),
        **_seen(result),
        looks=True,
        next_check_at=bank.return_look(step.at, after=step.at),
    )
    return None if moved is None else PayoutState(status=PayoutStatus.PAID)


def as_payout(record: asyncpg.Record) -> Payout:
    """The payout of a row as the driver has it."""
    values = {name: record[name] for name in Payout.model_fields}
    for name in ("failure", "cancel_failure"):  # jsonb, which the driver leaves as text
        values[name] = None if values[name] is None else json.loads(values[name])
    return Payout(**values)


def _seen(result: PayoutResult) -> dict[str, Any]:
    return {
        "reference": result.reference,
        "arrival_at": result.arrival_at,
        "trace_id": result.trace_id,
        "asked_at": result.asked_at,
        "note": f"the PSP was asked: {result.outcome}",
    }


_ANSWER = {
    *("outcome", "answered", "transfer_reference", "reference", "arrival_at", "trace_id"),
    *("asked_at", "note", "next_check_at"),
}


async def _move(database: Database, row: Payout, step: _Step, **answer: Any) -> asyncpg.Record | None:
    """The row afterwards; None: it does not stand as it should, and nothing was written."""
    event = payout_event_data(
        payout_id=row.id,
        seller_account=row.seller_account,
        amount=row.amount,
        currency=row.currency,
        status=step.after,
        failure=None,
    )
    values = {
        **dict.fromkeys(_ANSWER),
        "looks": False,
        "payout_id": row.id,
        "before": step.before.value,
        "after": step.after.value,
        "key": payout_key(row.id, step.call, 1) if step.call else None,
        "reason": step.reason,
        "at": step.at,
        "event_id": new_id("evt"),
        "type": f"payout.{step.after.value.lower()}",
        "schema_version": SCHEMA_VERSION,
        "payload": compact(event),
        "transaction_id": new_id("lt"),
        "kind": step.kind.value if step.kind else None,
        "currency": row.currency,
        "accounts": [posting.account for posting in step.postings],
        "kinds": [account_kind(posting.account).value for posting in step.postings],
        "amounts": [posting.amount for posting in step.postings],
        "next_key": payout_key(row.id, PayoutCall.PAYOUT, 1) if step.send_for_s is not None else None,
        "send_for": timedelta(seconds=step.send_for_s or 0),
    }
    try:
        return await database.one(_MOVE, **values | answer)
    except asyncpg.IntegrityConstraintViolationError:
        return None  # such as a name of the PSP's that another payout has


def _ready(row: asyncpg.Record, call: PayoutCall, key: str) -> Ready:
    """The first attempt at a call, marked as sent."""
    attempt = Call(
        key=key, call=call, attempt=1, send_until=row["send_until"], sent_at=row["now"], outcome=None, reference=None,
        failure=None, created_at=row["now"],
    )  # fmt: skip
    return Ready(as_payout(row), attempt, row["now"], None)

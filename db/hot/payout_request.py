"""Making the payouts of several sellers in one statement, and counting those of a run that are not sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from db.core.database import Database
from db.core.statement import load
from db.hot.payout import as_payout
from db.hot.store import compact
from db.payout.record import Payout
from db.payout.request import NewPayout
from domain import ledger as books
from domain.events import SCHEMA_VERSION, payout_event_data
from domain.ids import new_id, payout_key
from domain.ledger import Bucket, account_kind
from domain.payout import PayoutCall
from domain.status import PayoutStatus

_REQUEST = load(__package__, "payout_request.sql")
_UNSENT = load(__package__, "payout_unsent.sql")
_HANGS = timedelta(minutes=1)


@dataclass(frozen=True)
class _Wanted:
    new: NewPayout
    available: int
    amount: int


async def request(database: Database, wanted: Sequence[tuple[NewPayout, int]], at: datetime) -> Mapping[str, Payout]:
    """Make these payouts of one run, each beside the balance of its wallet as it was read. Returns those that were
    made, by id; of the others nothing was written, and the general path decides (`db.payout.request`). Raises
    Unavailable."""
    payable = [
        _Wanted(new, available, new.payable(available, new.currency) if new.amount is None else new.amount)
        for new, available in wanted
    ]
    usual = [one for one in payable if 0 < one.amount <= one.available]
    if not usual:
        return {}
    try:
        made = await database.rows(_REQUEST, **_values(usual, at))
    except asyncpg.IntegrityConstraintViolationError:
        return {}
    return {row["id"]: as_payout(row) for row in made}


async def unsent(database: Database, run_id: str) -> int:
    """Payouts of a run that are not on their way to the bank yet. Those that hang for longer than a minute have a
    trouble of their own, and must not keep the others waiting. Raises Unavailable."""
    row = await database.one(_UNSENT, run_id=run_id, hangs=_HANGS)
    assert row is not None, "a count is a row"
    return int(row["unsent"])


def _values(wanted: Sequence[_Wanted], at: datetime) -> dict[str, Any]:
    news, one = [each.new for each in wanted], wanted[0].new
    return {
        **_lines(wanted),
        "payout_id": [new.id for new in news],
        "tenant_id": [new.tenant_id for new in news],
        "seller": [new.seller_account for new in news],
        "currency": [new.currency for new in news],
        "available": [each.available for each in wanted],
        "amount": [each.amount for each in wanted],
        "account": [books.wallet(new.seller_account, Bucket.AVAILABLE) for new in news],
        "key": [payout_key(new.id, PayoutCall.TRANSFER, 1) for new in news],
        "event_id": [new_id("evt") for _ in news],
        "payload": [_event(each) for each in wanted],
        "transaction_id": [new_id("lt") for _ in news],
        "psp": one.psp,
        "run_id": one.run_id,
        "business_date": one.business_date,
        "actor": one.actor,
        "send_for": timedelta(seconds=one.send_for_s),
        "schema_version": SCHEMA_VERSION,
        "at": at,
    }


def _lines(wanted: Sequence[_Wanted]) -> dict[str, Any]:
    lines = [
        (each.new.id, line)
        for each in wanted
        for line in books.payout(each.new.seller_account, each.amount, each.new.currency)
    ]
    return {
        "line_payout": [payout_id for payout_id, _ in lines],
        "line_account": [line.account for _, line in lines],
        "line_kind": [account_kind(line.account).value for _, line in lines],
        "line_amount": [line.amount for _, line in lines],
    }


def _event(wanted: _Wanted) -> str:
    new = wanted.new
    data = payout_event_data(
        payout_id=new.id,
        seller_account=new.seller_account,
        amount=wanted.amount,
        currency=new.currency,
        status=PayoutStatus.REQUESTED,
        failure=None,
    )
    return compact(data)

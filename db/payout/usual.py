"""The usual steps of a payout, each as one statement: the way to the bank when every answer is as it should be.

A statement decides nothing. It says how the payout has to stand (`_LOCKED`), and where it does not, it writes nothing
and returns None: then the steps of `db.payout.lifecycle` decide. Both leave the same rows.
"""

# ruff: noqa: S608 - what is put into the queries are constants of this file

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Interval, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from db.payout.lifecycle import Ready
from db.payout.record import Call, Payout
from db.payout.request import FIRST_LEFT, TAKEN, NewPayout
from domain import ledger as books
from domain.events import SCHEMA_VERSION, payout_event_data
from domain.ids import new_id, payout_key
from domain.ledger import Bucket, Kind, Posting, account_kind
from domain.payout import BankWaitPolicy, BookPayoutStep, BookTransferStep, PayoutCall, PayoutState
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome
from domain.status import PayoutStatus

# Nothing was unknown or cancelled, nobody is asked about it, and its seller is not stopped.
_LOCKED = """
    locked AS MATERIALIZED (
        SELECT p.* FROM payout p JOIN merchant m ON (m.tenant_id, m.seller_account) = (p.tenant_id, p.seller_account)
        WHERE p.id = :payout AND p.status = :before AND p.cancel_requested_at IS NULL AND p.unknown_count = 0
          AND p.ends_as IS NULL AND (m.status = 'ACTIVE' OR :after = 'PAID')
          AND NOT EXISTS (SELECT FROM operator_task k WHERE k.object_id = p.id AND k.closed_at IS NULL)
        FOR UPDATE OF p
    )
"""

_LINES = """
    opened AS (
        INSERT INTO ledger_account (tenant_id, name, currency, kind)
        SELECT posted.tenant_id, a.name, :currency, a.kind FROM posted, unnest(:accounts, :kinds) AS a (name, kind)
        WHERE NOT EXISTS (
            SELECT FROM ledger_account k WHERE (k.tenant_id, k.name, k.currency) = (posted.tenant_id, a.name, :currency)
        )
        ORDER BY a.name ON CONFLICT DO NOTHING
    ), lines AS (
        INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
        SELECT posted.tenant_id, posted.id, l.account, :currency, l.amount
        FROM posted, unnest(:accounts, :amounts) WITH ORDINALITY AS l (account, amount, no) ORDER BY l.no
        RETURNING seq, account
    )
"""

_WALLET = text("""
    SELECT m.payout_account, w.available, w.receivable, w.payable_from
    FROM merchant m JOIN wallet w ON (w.tenant_id, w.seller_account) = (m.tenant_id, m.seller_account)
    WHERE m.tenant_id = :tenant AND m.seller_account = :seller AND w.currency = :currency AND m.status = 'ACTIVE'
    FOR SHARE OF m FOR UPDATE OF w
""").bindparams(*(bindparam(name, type_=Text) for name in ("tenant", "seller", "currency")))

_REQUEST = text(f"""
    WITH made AS (
        INSERT INTO payout (id, tenant_id, seller_account, amount, currency, psp, destination, run_id, business_date,
                            status, next_check_at, actor)
        VALUES (:payout, :tenant, :seller, :amount, :currency, :psp, :destination, :run, :business_date,
                'REQUESTED', now(), :actor)
        ON CONFLICT DO NOTHING RETURNING *
    ), call AS (
        INSERT INTO payout_call (key, tenant_id, payout_id, call, attempt, send_until)
        SELECT :key, tenant_id, id, 'transfer', 1, now() + :send_for FROM made
    ), history AS (
        INSERT INTO payout_transition (tenant_id, payout_id, to_status, reason, at)
        SELECT tenant_id, id, 'REQUESTED', 'requested', :at FROM made
    ), event AS (
        INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
        SELECT :event, tenant_id, 'payout.requested', :schema_version, id, CAST(:payload AS jsonb), :at FROM made
    ), posted AS (
        INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)
        SELECT :transaction, tenant_id, 'payout', id, :at FROM made RETURNING id, tenant_id
    ), {_LINES}, {TAKEN.format(condition="EXISTS (SELECT FROM made)")}, next AS (
        UPDATE wallet w SET available = w.available - :amount, updated_at = now(),
            payable_from = coalesce({FIRST_LEFT}, (SELECT seq + 1 FROM lines WHERE lines.account = :account))
        FROM made WHERE w.tenant_id = :tenant AND w.seller_account = :seller AND w.currency = :currency
    )
    SELECT made.*, (SELECT sum(amount) FROM taken)::bigint AS taken FROM made
""").bindparams(
    *(
        bindparam(name, type_=Text)
        for name in (
            *("payout", "tenant", "seller", "currency", "psp", "destination", "run", "actor", "key", "event"),
            *("payload", "transaction", "account"),
        )
    ),
    *(bindparam(name, type_=BigInteger) for name in ("amount", "since")),
    *(bindparam(name, type_=ARRAY(Text)) for name in ("accounts", "kinds")),
    bindparam("amounts", type_=ARRAY(BigInteger)),
    bindparam("at", type_=DateTime(timezone=True)),
    bindparam("business_date", type_=Date),
    bindparam("send_for", type_=Interval),
    bindparam("schema_version", type_=Integer),
)

_READY = text(f"""
    WITH {_LOCKED}, sent AS (
        UPDATE payout_call c SET sent_at = coalesce(c.sent_at, now()) FROM locked
        WHERE c.key = :key AND clock_timestamp() < c.send_until AND NOT EXISTS (
            SELECT FROM payout_call later
            WHERE (later.payout_id, later.call) = (c.payout_id, c.call) AND later.attempt > c.attempt
        )
        RETURNING c.send_until
    )
    SELECT locked.*, clock_timestamp() AS now, sent.send_until FROM locked CROSS JOIN sent
""").bindparams(*(bindparam(name, type_=Text) for name in ("payout", "before", "after", "key")))

_MOVE = text(f"""
    WITH {_LOCKED}, moved AS (
        UPDATE payout p SET status = :after, failure = NULL, updated_at = now(),
            transfer_reference = coalesce(:transfer_reference, p.transfer_reference),
            reference = coalesce(:reference, p.reference), arrival_at = coalesce(:arrival_at, p.arrival_at),
            next_check_at = CASE WHEN :looks THEN :next_check_at ELSE p.next_check_at END
        FROM locked WHERE p.id = locked.id RETURNING p.*
    ), noted AS (
        UPDATE payout_call SET outcome = :outcome, reference = :answered, failure = NULL FROM locked WHERE key = :key
    ), read AS (
        UPDATE webhook_inbox w SET status = 'PROCESSED', note = :note, processed_at = now() FROM locked
        WHERE w.payout_id = locked.id AND w.status = 'RECEIVED' AND w.received_at < :asked_at
    ), history AS (
        INSERT INTO payout_transition (tenant_id, payout_id, from_status, to_status, reason, at)
        SELECT tenant_id, id, :before, :after, :reason, :at FROM locked
    ), event AS (
        INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
        SELECT :event, tenant_id, :type, :schema_version, id, CAST(:payload AS jsonb), :at FROM locked
    ), posted AS (
        INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, at)
        SELECT :transaction, tenant_id, :kind, id, :at FROM locked WHERE cardinality(:accounts) > 0
        RETURNING id, tenant_id
    ), {_LINES}, following AS (
        INSERT INTO payout_call (key, tenant_id, payout_id, call, attempt, send_until, sent_at)
        SELECT :next_key, tenant_id, id, 'payout', 1, now() + :send_for, now() FROM locked WHERE :next_key IS NOT NULL
        RETURNING send_until
    )
    SELECT moved.*, clock_timestamp() AS now, following.send_until FROM moved LEFT JOIN following ON true
""").bindparams(
    *(
        bindparam(name, type_=Text)
        for name in (
            *("payout", "before", "after", "transfer_reference", "reference", "outcome", "answered", "key", "note"),
            *("reason", "event", "type", "payload", "transaction", "kind", "currency", "next_key"),
        )
    ),
    *(bindparam(name, type_=DateTime(timezone=True)) for name in ("arrival_at", "next_check_at", "asked_at", "at")),
    *(bindparam(name, type_=ARRAY(Text)) for name in ("accounts", "kinds")),
    bindparam("amounts", type_=ARRAY(BigInteger)),
    bindparam("send_for", type_=Interval),
    bindparam("looks", type_=Boolean),
    bindparam("schema_version", type_=Integer),
)


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


async def request(connection: AsyncConnection, new: NewPayout, at: datetime) -> Payout | None:
    """Make the payout of a seller who owes nothing, as `db.payout.request.request`; None: that one decides."""
    seller = {"tenant": new.tenant_id, "seller": new.seller_account, "currency": new.currency}
    found = (await connection.execute(_WALLET, seller)).one_or_none()
    if found is None or found.payout_account is None or found.receivable:
        return None
    amount = new.payable(found.available, new.currency) if new.amount is None else new.amount
    if not 0 < amount <= found.available:
        return None
    event = payout_event_data(
        payout_id=new.id,
        seller_account=new.seller_account,
        amount=amount,
        currency=new.currency,
        status=PayoutStatus.REQUESTED,
        failure=None,
    )
    values = seller | _posted(books.payout(new.seller_account, amount, new.currency)) | _event(event)
    values |= {
        "payout": new.id,
        "amount": amount,
        "psp": new.psp,
        "destination": found.payout_account,
        "run": new.run_id,
        "business_date": new.business_date,
        "actor": new.actor,
        "key": payout_key(new.id, PayoutCall.TRANSFER, 1),
        "send_for": timedelta(seconds=new.send_for_s),
        "account": books.wallet(new.seller_account, Bucket.AVAILABLE),
        "since": found.payable_from,
        "at": at,
    }
    made = (await connection.execute(_REQUEST, values)).mappings().one_or_none()
    assert made is None or made["taken"] == amount, f"{new.id} pays {amount} and its items are not that"
    return None if made is None else Payout(**made)


async def ready(connection: AsyncConnection, payout_id: str) -> Ready | None:
    """Mark the transfer of a new payout as sent."""
    key = payout_key(payout_id, PayoutCall.TRANSFER, 1)
    status = PayoutStatus.REQUESTED.value
    values = {"payout": payout_id, "before": status, "after": status, "key": key}
    row = (await connection.execute(_READY, values)).mappings().one_or_none()
    return None if row is None else _ready(row, PayoutCall.TRANSFER, key)


async def transferred(
    connection: AsyncConnection, ready: Ready, step: BookTransferStep, send_for_s: float
) -> Ready | None:
    """Book a transfer that was made, and mark the payout to the bank as sent."""
    if step.result.outcome is not TransferOutcome.DONE or ready.stopped is not None:
        return None
    row, reference = ready.row, step.result.reference
    moved = await _move(
        connection,
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


async def sent(connection: AsyncConnection, ready: Ready, step: BookPayoutStep) -> PayoutState | None:
    """Book that the payout is on its way to the seller's bank."""
    result = step.result
    if result.outcome is not PayoutOutcome.PENDING or result.failure is not None or result.trace_id is not None:
        return None
    moved = await _move(
        connection,
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


async def paid(
    connection: AsyncConnection, row: Payout, step: BookPayoutStep, bank: BankWaitPolicy
) -> PayoutState | None:
    """Book that it is at the seller's bank."""
    result = step.result
    if result.outcome is not PayoutOutcome.PAID or row.status is not PayoutStatus.IN_TRANSIT or result.trace_id:
        return None
    postings = books.payout_paid(row.amount, row.currency)
    moved = await _move(
        connection,
        row,
        _Step(
            PayoutStatus.IN_TRANSIT,
            PayoutStatus.PAID,
            "at the seller's bank",
            step.at,
            kind=Kind.PAYOUT_PAID,
            postings=postings,
        ),
        **_seen(result),
        looks=True,
        next_check_at=bank.return_look(step.at, after=step.at),
    )
    return None if moved is None else PayoutState(status=PayoutStatus.PAID)


def _seen(result: PayoutResult) -> dict[str, Any]:
    return {
        "reference": result.reference,
        "arrival_at": result.arrival_at,
        "asked_at": result.asked_at,
        "note": f"the PSP was asked: {result.outcome}",
    }


_ANSWER = ("transfer_reference", "reference", "arrival_at", "next_check_at", "asked_at", "note", "outcome", "answered")


async def _move(connection: AsyncConnection, row: Payout, step: _Step, **answer: Any) -> Any:
    """The row afterwards; None: it does not stand as it should, and nothing was written."""
    event = payout_event_data(
        payout_id=row.id,
        seller_account=row.seller_account,
        amount=row.amount,
        currency=row.currency,
        status=step.after,
        failure=None,
    )
    values = dict.fromkeys(_ANSWER) | {
        "looks": False,
        "payout": row.id,
        "before": step.before.value,
        "after": step.after.value,
        "key": payout_key(row.id, step.call, 1) if step.call else None,
        "reason": step.reason,
        "at": step.at,
        "type": f"payout.{step.after.value.lower()}",
        "kind": step.kind.value if step.kind else None,
        "currency": row.currency,
        "next_key": payout_key(row.id, PayoutCall.PAYOUT, 1) if step.send_for_s is not None else None,
        "send_for": timedelta(seconds=step.send_for_s or 0),
    }
    values |= _posted(step.postings) | _event(event)
    return (await connection.execute(_MOVE, values | answer)).mappings().one_or_none()


def _posted(postings: tuple[Posting, ...]) -> dict[str, Any]:
    return {
        "transaction": new_id("lt"),
        "accounts": [posting.account for posting in postings],
        "kinds": [account_kind(posting.account).value for posting in postings],
        "amounts": [posting.amount for posting in postings],
    }


def _event(data: dict[str, Any]) -> dict[str, Any]:
    return {"event": new_id("evt"), "schema_version": SCHEMA_VERSION, "payload": json.dumps(data)}


def _ready(row: Any, call: PayoutCall, key: str) -> Ready:
    """The first attempt at a call, marked as sent."""
    made = Payout(**row)
    attempt = Call(
        key=key, call=call, attempt=1, send_until=row["send_until"], sent_at=row["now"], outcome=None, reference=None,
        failure=None, created_at=row["now"],
    )  # fmt: skip
    return Ready(made, attempt, row["now"], None)

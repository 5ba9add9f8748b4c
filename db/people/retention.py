"""Retention: payloads of the inbox and idempotency keys are cleared once their time is over."""

from datetime import timedelta

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema.dispute import dispute
from db.schema.messages import webhook_inbox
from db.schema.payment import payment
from db.schema.payout import payout
from db.schema.refund import refund
from db.schema.tenant import idempotency_key
from domain.status import DISPUTE_ENDED, PAYOUT_ENDED, TERMINAL, RefundStatus

BATCH = 500

_REFUND_ENDED = (RefundStatus.SUCCEEDED.value, RefundStatus.FAILED.value)


async def empty_payloads(connection: AsyncConnection, older_than: timedelta) -> int:
    """Empty a batch of payloads of events that somebody took notice of, and whose payment, dispute and payout have
    ended: the number. The rows stay, and with them the event's id, by which it is known when it is sent again."""
    open_payment = exists().where(
        payment.c.id == webhook_inbox.c.payment_id, payment.c.status.not_in([s.value for s in TERMINAL])
    )
    open_dispute = exists().where(
        dispute.c.payment_id == webhook_inbox.c.payment_id, dispute.c.status.not_in([s.value for s in DISPUTE_ENDED])
    )
    open_payout = exists().where(
        payout.c.id == webhook_inbox.c.payout_id, payout.c.status.not_in([s.value for s in PAYOUT_ENDED])
    )
    due = (
        select(webhook_inbox.c.id)
        .where(
            text("payload <> '{}'"),  # as the index has it
            webhook_inbox.c.received_at < func.now() - older_than,
            webhook_inbox.c.status.in_(("PROCESSED", "IGNORED")),
            ~open_payment,
            ~open_dispute,
            ~open_payout,
        )
        .order_by(webhook_inbox.c.received_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    emptied = await connection.execute(update(webhook_inbox).where(webhook_inbox.c.id.in_(due)).values(payload={}))
    return emptied.rowcount


async def drop_keys(connection: AsyncConnection, older_than: timedelta) -> int:
    """Delete a batch of idempotency keys of what has ended: the number."""
    object_id = idempotency_key.c.object_id
    still_open = (
        exists().where(payment.c.id == object_id, payment.c.status.not_in([s.value for s in TERMINAL])),
        exists().where(refund.c.id == object_id, refund.c.status.not_in(_REFUND_ENDED)),
        exists().where(payout.c.id == object_id, payout.c.status.not_in([s.value for s in PAYOUT_ENDED])),
    )
    due = (
        select(idempotency_key.c.tenant_id, idempotency_key.c.key)
        .where(idempotency_key.c.created_at < func.now() - older_than, *(~one for one in still_open))
        .order_by(idempotency_key.c.created_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    own = (idempotency_key.c.tenant_id == due.c.tenant_id, idempotency_key.c.key == due.c.key)
    return (await connection.execute(delete(idempotency_key).where(*own))).rowcount

"""Webhooks: verify an event, store it, decide who has to hear of it, and tell them; later the same for what nobody took
notice of.

An event only says that there is something to look at: the workflow that is told asks the PSP itself. It stays in the
inbox until a transaction has taken notice of it, so a message that is lost loses nothing: the sweeper delivers again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from db import dead_letter, task, webhook
from db.core.database import Connection, Database
from db.dead_letter import NewLetter
from db.dispute import booking as disputes
from db.dispute import find as find_dispute
from db.hot import payout_webhook as hot_payout
from db.hot import read
from db.hot import webhook as hot
from db.payment import payment
from db.payment.lifecycle import is_being_captured, is_held, is_needless, listens, noted
from db.payment.record import Payment
from db.payout import payout, trace
from db.payout.record import Payout
from db.refund import creation, find
from db.refund.record import Refund
from db.webhook import ATTEMPTS_MAX, StoredEvent
from domain.dead_letter import Source
from domain.errors import BadRequest, NotFound, Unavailable
from domain.messages import Nudge
from domain.psp import PspEvent, PspEventKind, WebhookRejected
from domain.status import PAYOUT_GIVEN_BACK, PayoutStatus, RefundStatus
from domain.unknown import PSP_ERROR

if TYPE_CHECKING:
    from runtime.wiring import Runtime
    from runtime.workflow_client import WorkflowClient

log = structlog.get_logger("paysaga.webhook")


# --- who has to hear of an event ---


@dataclass(frozen=True)
class ToPayment:
    """The payment's workflow waits: it asks the PSP now."""

    payment_id: str
    inbox_id: str


@dataclass(frozen=True)
class ToLateCharge:
    """The payment had ended unpaid, and the event says that it was paid: the charge is refunded."""

    payment_id: str
    charge_id: str
    reference: str


@dataclass(frozen=True)
class ToRefund:
    """A refund that has a workflow of its own: asked for, made at the PSP, or one whose money came back."""

    payment_id: str
    refund_id: str


@dataclass(frozen=True)
class ToDispute:
    payment_id: str
    dispute_id: str


@dataclass(frozen=True)
class ToPayout:
    row: Payout


Recipient = ToPayment | ToLateCharge | ToRefund | ToDispute | ToPayout


# --- from the PSP ---


async def receive(runtime: Runtime, psp: str, body: bytes, headers: dict[str, str]) -> None:
    """Take in what came over HTTP; returns when it is stored, also a duplicate, an unknown type or object, and what is
    another account's or of the other mode. What can never matter is not stored. `headers`: by their names in lower
    case.

    Raises NotFound `psp_not_found`; BadRequest `webhook_…` for what cannot be trusted; Unavailable where it cannot be
    stored, so that the PSP sends it again.
    """
    event = _verified(runtime, psp, body, headers)
    recipient = await _take_in(runtime.database, psp, event)
    try:
        await _tell(runtime.database, runtime.workflow_client, recipient)
    except Unavailable:
        log.warning("webhook_delivery_delayed", event_id=event.event_id)  # the sweeper delivers it


def _verified(runtime: Runtime, psp: str, body: bytes, headers: dict[str, str]) -> PspEvent:
    gateway = runtime.psps.get(psp)
    if gateway is None:
        raise NotFound("There is no such PSP.", code="psp_not_found")
    try:
        event = gateway.read_webhook(body, headers)
    except WebhookRejected as error:
        # Nothing is stored of what anybody on the internet may send; an operator who misses events looks here.
        log.warning("webhook_refused", psp=psp, code=error.code)
        raise BadRequest(str(error), code=error.code) from error
    return event if _is_storable(event) else PspEvent.model_validate(_storable(event.model_dump()))


def _is_storable(event: PspEvent) -> bool:
    """False where a value of the event may be one that PostgreSQL refuses. Nearly every event is as it should be, and
    this is much quicker than to go through its values."""
    try:
        return b"\\u0000" not in _as_json(event.model_dump()).encode()
    except ValueError:  # NaN, infinity, half a surrogate pair
        return False


_as_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _storable(value: Any) -> Any:
    """The value with a replacement character for what JSONB refuses: refused, a genuine event would come for ever."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float) and value - value != 0:  # NaN and infinity are no JSON
        return None
    if isinstance(value, dict):
        return {_storable(name): _storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


async def _take_in(database: Database, psp: str, event: PspEvent) -> Recipient | None:
    """Store the event, in one statement where that is enough: who has to hear of it."""
    if await hot.keep(database, psp, event) is not None:
        return None
    if await hot_payout.keep_unconcerned(database, psp, event):
        return None
    kept = await hot_payout.keep(database, psp, event)
    if kept is None:
        return await database.run(lambda c: store(c, psp, event))
    return ToPayout(kept.payout) if kept.is_waited_for else None


async def store(connection: Connection, psp: str, event: PspEvent) -> Recipient | None:
    """Keep the event once and decide, under the lock of what it is about, who has to hear of it; None: nobody."""
    if event.reference is not None and event.trace_id is not None:
        await trace.keep(connection, psp, [(event.reference, event.trace_id)])
    if event.kind is PspEventKind.PAYOUT:
        return await _store_payout(connection, psp, event)
    charge = await webhook.charge_of(connection, psp, event)
    owner = await payment.lock(connection, charge.payment_id) if charge else None
    if owner is not None and is_needless(owner, event):
        return None
    known = event.kind is not PspEventKind.OTHER and owner is not None
    # A refund or dispute names the PSP's charge alone, which may be ours though we do not know its name yet.
    early = owner is None and event.kind in (PspEventKind.REFUND, PspEventKind.DISPUTE) and event.charge_reference
    stored = await webhook.insert(
        connection,
        psp,
        event,
        tenant_id=owner.tenant_id if owner else None,
        payment_id=owner.id if owner else None,
        charge_id=charge.id if charge else None,
        concerned=known or bool(early),
    )
    if stored is None or owner is None or not known:
        return None
    if event.kind is PspEventKind.CHARGE and event.charge_id == owner.charge.id and owner.charge.reference is None:
        await webhook.name_charge(connection, owner.charge.id, event.reference)
    if is_held(owner, event):
        await webhook.processed(connection, stored.id, webhook.HELD)
        return None
    return await _recipient(connection, owner, stored)


async def _store_payout(connection: Connection, psp: str, event: PspEvent) -> Recipient | None:
    """Store an event about a payout. Its workflow looks at the PSP, whatever the event says, also days after it was
    paid."""
    payout_id = await webhook.payout_of(connection, psp, event)
    row = await payout.lock(connection, payout_id) if payout_id else None
    tenant_id = row.tenant_id if row else None
    stored = await webhook.insert(
        connection, psp, event, tenant_id=tenant_id, payout_id=payout_id, concerned=row is not None
    )
    if stored is None or row is None:
        return None
    if row.status in PAYOUT_GIVEN_BACK or (row.status is PayoutStatus.PAID and not event.payout_failed):
        await webhook.processed(connection, stored.id, webhook.PAYOUT_ENDED)
        return None
    if row.status in _PAYOUT_BUSY:
        return None  # its workflow is asking the PSP: a message now would make it ask twice
    return ToPayout(row)


_PAYOUT_BUSY = (PayoutStatus.REQUESTED, PayoutStatus.TRANSFERRED, PayoutStatus.RETURNING)


# --- deciding ---


async def _recipient(connection: Connection, owner: Payment, event: StoredEvent) -> Recipient | None:
    """The recipient of a stored event, by where its payment, whose lock is held, stands now."""
    if event.kind is PspEventKind.DISPUTE:
        return await _dispute(connection, owner, event)
    if event.kind is PspEventKind.REFUND:
        row = await webhook.refund_of(connection, owner.id, event)
        if row is None and event.refund_id is None:
            return await _refund_made_at_psp(connection, owner, event)
        came_back = event.refund_failed and row is not None and row.status is RefundStatus.SUCCEEDED
        if row is not None and (came_back or not row.undoes_charge):
            return await _refund(connection, owner, event, row, came_back=came_back)
    return await _payment(connection, owner, event)


async def _payment(connection: Connection, owner: Payment, event: StoredEvent) -> Recipient | None:
    """The recipient of an event about the payment's charge, or about a refund that is a part of the payment's saga."""
    if owner.open:
        await noted(connection, owner.id)
        # While it does not listen, or is about to be captured, its next step reads the event from the inbox.
        return ToPayment(owner.id, event.id) if listens(owner) and not is_being_captured(owner) else None
    if event.paid and not owner.charge.booked:
        reference = owner.charge.reference if event.refund_failed else event.reference
        return ToLateCharge(owner.id, owner.charge.id, reference) if reference is not None else None
    if event.refund_failed and any(row.undoes_charge for row in await find.unmade(connection, owner.id)):
        return None  # its reference may not be booked yet: the sweeper asks again
    if event.paid and event.reference != owner.charge.reference:
        detail = f"{event.reference} was paid as well, besides {owner.charge.reference}"
        await task.open_task(connection, owner.tenant_id, owner.id, "paid_twice", detail)
    await webhook.processed(connection, event.id, webhook.ENDED)
    return None


async def _dispute(connection: Connection, owner: Payment, event: StoredEvent) -> Recipient:
    """The dispute's workflow, which looks at the PSP, whatever the event says; one that is decided is looked at again,
    since a bank may decide anew."""
    assert event.reference is not None, "an event about a dispute names it"
    if event.amount is None or event.currency is None:  # a thin event, of a dispute that we know
        dispute_id = await find_dispute.named(connection, event.psp, event.reference)
    else:
        dispute_id = await disputes.opened(
            connection, owner, event.reference, event.amount, event.currency, event.received_at
        )
    await webhook.assign_dispute(connection, event.id, dispute_id)
    return ToDispute(owner.id, dispute_id)


async def _refund(
    connection: Connection, owner: Payment, event: StoredEvent, row: Refund, *, came_back: bool
) -> Recipient | None:
    """The refund's own workflow, if there is still anything to see to."""
    if row.status is RefundStatus.REQUESTED:
        return None  # its workflow is asking the PSP: a message now would make it ask twice
    if came_back or not row.ended:
        return ToRefund(owner.id, row.id)
    counted_as_not_made = row.failure is not None and row.failure.code == PSP_ERROR and row.reference is None
    if counted_as_not_made and not event.refund_failed:
        # It was made after all: ours has ended and its funds are released, so it is booked like one that the PSP made.
        return await _refund_made_at_psp(connection, owner, event)
    await webhook.processed(connection, event.id, webhook.REFUND_ENDED)
    return None


async def _refund_made_at_psp(connection: Connection, owner: Payment, event: StoredEvent) -> Recipient | None:
    """A refund made in the PSP's dashboard: of a settled payment it becomes our record; one that is under way settles
    first; what it does to a payment that ended otherwise, a person finds out."""
    if owner.open:
        return None  # the sweeper comes back to it
    if owner.captured and event.reference is not None and event.amount is not None and event.currency is not None:
        refund_id = await creation.made_at_psp(connection, owner, event.reference, event.amount, event.currency)
        return ToRefund(owner.id, refund_id)
    detail = f"{event.reference} was refunded at the PSP, and {owner.id} is {owner.status}."
    await task.open_task(connection, owner.tenant_id, owner.id, "refund_at_psp", detail)
    await webhook.processed(connection, event.id, "a person looks at it")
    return None


# --- telling ---


async def _tell(database: Database, workflow_client: WorkflowClient, recipient: Recipient | None) -> None:
    """Start or signal the recipient's workflow. Raises Unavailable."""
    if recipient is None:
        return
    if isinstance(recipient, ToPayout):
        await workflow_client.nudge_payout(recipient.row)
        return
    payment_id = recipient.payment_id
    row = await read.payment(database, payment_id)
    assert row is not None, "the event was stored with its payment"
    match recipient:
        case ToPayment(inbox_id=inbox_id):
            await workflow_client.tell(row, Nudge(reason="webhook", event_id=inbox_id))
        case ToLateCharge(charge_id=charge_id, reference=reference):
            await workflow_client.start_late_charge(row, charge_id, reference)
        case ToRefund(refund_id=refund_id):
            await workflow_client.start_refund(row, refund_id)
        case ToDispute(dispute_id=dispute_id):
            await workflow_client.start_dispute(row, dispute_id)


# --- once more ---


async def deliver_again(database: Database, workflow_client: WorkflowClient, inbox_id: str) -> Recipient | None:
    """Decide again for an event that nobody took notice of, and tell whoever has to hear of it: who that was. One that
    nobody could use after many tries is set aside as DEAD, a dead letter. Raises Unavailable."""
    recipient = await database.run(lambda c: _decide_again(c, inbox_id))
    await _tell(database, workflow_client, recipient)
    return recipient


async def _decide_again(connection: Connection, inbox_id: str) -> Recipient | None:
    event = await webhook.get(connection, inbox_id)
    if event.payout_id is not None:
        return await _payout_again(connection, event, event.payout_id)
    payment_id = event.payment_id or await _found_late(connection, event)
    if payment_id is None:
        return None
    owner = await payment.lock(connection, payment_id)
    event = await webhook.get(connection, inbox_id)
    if event.status != "RECEIVED":
        return None
    # What says that money moved is never given up while the payment may still hear of it.
    kept = (event.paid or event.aftermath) and owner.open
    attempts = min(event.attempts + 1, ATTEMPTS_MAX // 2) if kept else event.attempts + 1
    await webhook.count_attempt(connection, inbox_id, attempts=attempts)
    if attempts >= ATTEMPTS_MAX:
        await _give_up(connection, event, attempts, owner.tenant_id, owner.id)
        return None
    return await _recipient(connection, owner, event)


async def _found_late(connection: Connection, event: StoredEvent) -> str | None:
    """The payment of a refund or dispute that was told of before we knew the PSP's name for our charge. One whose
    charge stays unknown is somebody else's: it is kept, and ignored after a while."""
    owner = await webhook.charge_named(connection, event.psp, event.charge_reference)
    if owner is not None:
        await webhook.assign_charge(connection, event.id, owner)
        return owner.payment_id
    await webhook.count_attempt(connection, event.id)
    if event.attempts + 1 >= ATTEMPTS_MAX and not await webhook.has_unnamed_charge(connection, event.psp):
        await webhook.ignore(connection, event.id)
    return None


async def _payout_again(connection: Connection, event: StoredEvent, payout_id: str) -> Recipient | None:
    """The payout's workflow, which takes notice of the event when it has looked at the PSP. One whose payout has ended
    meanwhile, with its money back in the wallet, says nothing more."""
    row = await payout.lock(connection, payout_id)
    if row.status in PAYOUT_GIVEN_BACK:
        await webhook.processed(connection, event.id, webhook.PAYOUT_ENDED)
        return None
    await webhook.count_attempt(connection, event.id)
    if event.attempts + 1 >= ATTEMPTS_MAX:
        await _give_up(connection, event, event.attempts + 1, row.tenant_id, None)
        return None
    return ToPayout(row)


async def _give_up(
    connection: Connection, event: StoredEvent, attempts: int, tenant_id: str, payment_id: str | None
) -> None:
    """A dead letter, and a task that points to it."""
    await webhook.give_up(connection, event.id)
    failed = (event.note or "").startswith(webhook.FAILED)
    error_class, why = ("failed", event.note or "") if failed else ("unused", "nobody took notice of it")
    about = payment_id or event.payout_id
    error = f"{event.type} {event.event_id}: {why}"
    letter = NewLetter(tenant_id, Source.WEBHOOKS, event.id, about, error_class, error, attempts)
    await dead_letter.add(connection, letter)
    detail = f"{event.type} {event.event_id}, here {event.id}"
    object_id = None if payment_id else about
    await task.open_task(connection, tenant_id, payment_id, webhook.DEAD_TASK, detail, object_id=object_id)

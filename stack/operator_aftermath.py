"""What operators decide about a payment after its authorisation: capture, review, refund, dispute; and about sellers,
risk rules and tasks. Each is written to the audit log with the name of whoever did it.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api.card_data import require_text
from db import (
    capture,
    dispute,
    merchant,
    operator,
    payment,
    payout,
    progress,
    reconciliation_discrepancy,
    refund,
    risk,
    task,
    webhook,
)
from db.database import Database, LockTimeout
from db.dispute import NewEvidence
from db.records import Dispute, Payment, Refund
from db.refund import NewRefund
from domain.errors import PaysagaError, Unavailable
from domain.ids import new_id, payment_workflow_id, refund_workflow_id
from domain.money import MoneyError, parse_major, to_major
from domain.payment import Decision, Nudge, Resolution, Review, ReviewStep
from domain.psp import EVIDENCE_FIELDS
from domain.reconciliation import TASK_KIND, DiscrepancyStatus
from domain.risk import ReviewDecision, RuleSet
from domain.status import MerchantStatus, PayoutStatus, RefundStatus, Status
from stack.errors import StackError
from stack.operator import find_payment, hand_over, refund_carer
from stack.operator_hints import CLOSED_BY_HAND, hint
from workers.services import Services

_REFUND_PATIENCE_S = 8.0
_LOOK_S = 0.2
_EVIDENCE_LENGTH_MAX = 20_000


@contextmanager
def refusals(about: str) -> Iterator[None]:
    """What the rules refuse, as one sentence about the object."""
    try:
        yield
    except Unavailable as error:
        if not isinstance(error, LockTimeout):
            raise  # the database is not there: the caller says so
        raise StackError(f"{about}: {error.detail}") from error
    except PaysagaError as error:
        raise StackError(f"{about}: {error.detail}") from error
    except MoneyError as error:
        raise StackError(f"{about}: {error}") from error


async def _tell(services: Services, row: Payment, reason: str) -> None:
    """The mark is on the row: should Temporal be away, the workflow's next step or the sweeper acts on it."""
    if progress.listens(row):
        with contextlib.suppress(Unavailable):
            await services.starter.tell(row, Nudge(reason=reason))


def _order_named(row: Payment, name: str) -> str | None:
    """Our id of the payment's order that is called so."""
    return next((order.id for order in row.orders if name in (order.id, order.payment_order_id)), None)


def _amount(services: Services, row: Payment, text: str) -> int:
    """In minor units, and such that the PSP can move it by itself. Raises StackError."""
    with refusals(row.id):
        amount = parse_major(text, row.currency)
    refusal = services.psps[row.psp].check_part(amount, row.currency)
    if refusal is not None:
        raise StackError(f"{row.id}: {refusal.message}")
    return amount


# --- capture and review ---


async def capture_payment(services: Services, name: str, amount: str | None, parts: Sequence[str], by: str) -> str:
    """Take what was authorised, in full, or `amount` of its only order, or `parts` (`ORDER=AMOUNT`) of several."""
    row = await find_payment(services.database, name)
    amounts = _capture_amounts(services, row, amount, parts)

    async def mark(connection: Any) -> Payment:
        found = await capture.request(connection, row.id, amounts, by, datetime.now(UTC))
        detail = {"amounts": amounts or "in full"}
        await task.audit(connection, row.tenant_id, by, "payment.capture", row.id, detail)
        return found

    with refusals(row.id):
        found = await services.database.run(mark)
    await _tell(services, found, "capture")
    taken = row.amount if amounts is None else sum(amounts.values())
    rest = f", and {to_major(row.amount - taken, row.currency)} are released" if taken < row.amount else ""
    return f"{row.id} was {found.status}: {to_major(taken, row.currency)} {row.currency} are being captured{rest}."


def _capture_amounts(
    services: Services, row: Payment, amount: str | None, parts: Sequence[str]
) -> dict[str, int] | None:
    """Our order id → minor units; None for everything. Raises StackError."""
    if amount is None and not parts:
        return None
    if amount is not None and (parts or len(row.orders) > 1):
        raise StackError(f"{row.id} has {len(row.orders)} orders: say --part ORDER=AMOUNT for each, not --amount.")
    texts = {row.orders[0].id: amount} if amount is not None else {}
    for part in parts:
        name, _, text = part.partition("=")
        order_id = _order_named(row, name)
        if order_id is None or order_id in texts:
            raise StackError(f"{row.id}: {'no order' if order_id is None else 'twice the order'} {name or part!r}.")
        texts[order_id] = text
    amounts = {order_id: _amount(services, row, text) for order_id, text in texts.items()}
    for order_id, wanted in amounts.items():
        order = row.order(order_id)
        if wanted > order.amount:
            most = to_major(order.amount, order.currency)
            raise StackError(f"{row.id}: {texts[order_id]} is more than the {most} of {order.payment_order_id}.")
    if not sum(amounts.values()):
        raise StackError(f"{row.id}: nothing would be captured; `paysaga payments cancel` lets all of it go.")
    return amounts


async def review_payment(services: Services, name: str, decision: ReviewDecision, by: str, note: str) -> str:
    """The first decision counts; the workflow acts on it."""
    row = await find_payment(services.database, name)
    step = ReviewStep(payment_id=row.id, review=Review(decision=decision, by=by, note=note), at=datetime.now(UTC))
    with refusals(row.id):
        require_text(note)
        found = await services.database.run(lambda c: risk.review(c, step))
    await _tell(services, found, "review")
    if decision is ReviewDecision.APPROVE:
        return f"{row.id} was IN_REVIEW: approved, it goes on."
    return f"{row.id} was IN_REVIEW: rejected, it ends as FAILED; what was reserved is let go."


# --- refunds ---


async def find_refund(database: Database, refund_id: str) -> Refund:
    found = await database.read(lambda c: operator.find_refund(c, refund_id)) if refund_id.isprintable() else None
    if found is None:
        raise StackError(f"There is no refund {refund_id}: `paysaga refunds list` shows them.")
    return found


async def create_refund(
    services: Services, name: str, order: str | None, amount: str | None, reason: str | None, by: str
) -> str:
    """Give money back, of the order that `name` or `order` names; the seller's funds are set aside first."""
    row = await find_payment(services.database, name)
    named = _order_named(row, order) if order else _order_named(row, name)
    if order and named is None:
        raise StackError(f"{row.id} has no order {order}.")
    wanted = _amount(services, row, amount) if amount is not None else None
    if wanted == 0:
        raise StackError(f"{row.id}: an amount is above zero.")
    new = NewRefund(new_id("re"), row.id, named, wanted, reason, by, services.send_for_s)

    async def work(connection: Any) -> Refund:
        made = await refund.request(connection, new, datetime.now(UTC))
        detail = {"payment": row.id, "amount": to_major(made.amount, made.currency), "currency": made.currency}
        await task.audit(connection, row.tenant_id, by, "refund.create", made.id, detail)
        return made

    with refusals(row.id):
        made = await services.database.run(work)
    with contextlib.suppress(Unavailable):  # it is stored: the sweeper starts it
        await services.starter.start_refund(row, made.id, fresh=True)
    made = await _refund_outcome(services, made)
    why = f" ({made.failure.message})" if made.failure and made.status is not RefundStatus.SUCCEEDED else ""
    return f"{made.id} of {to_major(made.amount, made.currency)} {made.currency} is {made.status}{why}."


async def _refund_outcome(services: Services, made: Refund) -> Refund:
    """The refund once the PSP has said something, or as it is when the wait is over."""
    refund_id = made.id
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REFUND_PATIENCE_S):
            while made.status is RefundStatus.REQUESTED:
                await asyncio.sleep(_LOOK_S)
                made = await services.database.read(lambda c: refund.get(c, refund_id))
    return made


async def resolve_refund(services: Services, refund_id: str, resolution: Resolution) -> str:
    """Decide about a refund that NEEDS_ATTENTION, or that failed and has to be made all the same."""
    if resolution.decision not in (Decision.RETRY, Decision.REFERENCE, Decision.ACCEPT):
        raise StackError("About a refund one decides `retry`, `reference` or `accept`.")
    if resolution.decision is Decision.REFERENCE and not resolution.reference:
        raise StackError("The decision `reference` needs the PSP's refund: --reference re_…")
    row = await find_refund(services.database, refund_id)
    if row.ended or row.status in (RefundStatus.REQUESTED, RefundStatus.PENDING):
        raise StackError(f"{row.id} is {row.status}: {_nothing_to_decide(row)}.")
    if resolution.decision is Decision.ACCEPT and (row.undoes_charge or row.reference is None):
        raise StackError(f"{row.id} was not made by the PSP, or has to be made in full: `retry` or `reference`.")
    owner = await services.database.read(lambda c: payment.get(c, row.payment_id))
    assert owner is not None, "a refund has a payment"
    if owner.open:
        workflow_id = payment_workflow_id(owner.id)
    else:
        workflow_id = await refund_carer(services, row)
        if not await services.starter.is_running(workflow_id):  # it was lost: it goes on from its rows
            await services.starter.start_refund(owner, row.id)
    if resolution.decision is Decision.REFERENCE and workflow_id != refund_workflow_id(row.id):
        await _require_first(services, row)
    otherwise = f"{row.id} is {row.status} and no workflow waits for a decision about it: try `paysaga sweep`."
    return f"{row.id}: {await hand_over(services, workflow_id, resolution, about=row.id, otherwise=otherwise)}."


async def _require_first(services: Services, row: Refund) -> None:
    """A reference goes to the oldest refund of the payment that waits, so another one has to wait for its turn."""
    unmade = await services.database.read(lambda c: refund.unmade(c, row.payment_id))
    waiting = [r.id for r in unmade if r.status in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)]
    if waiting and waiting[0] != row.id:
        raise StackError(
            f"{row.id}: decide about the older {waiting[0]} first, a reference would be taken for its own."
        )


def _nothing_to_decide(row: Refund) -> str:
    if row.status is RefundStatus.SUCCEEDED:
        return "the buyer has the money"
    if row.status is RefundStatus.FAILED:
        return "its funds are the seller's again, and `paysaga refunds create` makes a new one"
    return "the PSP is asked for it, and its word is waited for"


# --- disputes ---


async def find_dispute(database: Database, name: str) -> Dispute:
    found = await database.read(lambda c: operator.find_dispute(c, name)) if name.isprintable() else None
    if found is None:
        raise StackError(f"There is no dispute {name}: `paysaga disputes list` shows them.")
    return found


async def submit_evidence(services: Services, dispute_id: str, fields: Sequence[str], by: str) -> str:
    """Store it encrypted, and have the dispute's workflow submit it: the bank takes it once."""
    row = await find_dispute(services.database, dispute_id)
    texts = _evidence(fields)
    evidence_id = new_id("dpe")
    plain = json.dumps(texts, ensure_ascii=False)
    sealed = services.keyring.encrypt(plain, bound_to=f"{evidence_id}:fields")
    new = NewEvidence(evidence_id, sealed, sorted(texts), by)
    with refusals(row.id):
        await services.database.run(lambda c: dispute.store_evidence(c, row.id, new, datetime.now(UTC)))
    owner = await services.database.read(lambda c: payment.get(c, row.payment_id))
    assert owner is not None, "a dispute has a payment"
    with contextlib.suppress(Unavailable):  # it is stored: the workflow finds it at its next look
        await services.starter.start_dispute(owner, row.id)
    return f"{row.id} was {row.status}: {evidence_id} ({', '.join(sorted(texts))}) is being submitted."


def _evidence(fields: Sequence[str]) -> dict[str, str]:
    """`name=text`, each once. Raises StackError."""
    texts: dict[str, str] = {}
    for field in fields:
        name, _, text = field.partition("=")
        if name not in EVIDENCE_FIELDS:
            raise StackError(f"There is no field {name!r}. There are: {', '.join(EVIDENCE_FIELDS)}.")
        if name in texts or not 1 <= len(text) <= _EVIDENCE_LENGTH_MAX:
            raise StackError(f"Say each field once, with 1 to {_EVIDENCE_LENGTH_MAX} characters: --field {name}=text")
        with refusals(name):
            require_text(text)
        texts[name] = text
    return texts


# --- merchants ---


async def find_merchant(database: Database, name: str, tenant: str | None) -> dict[str, Any]:
    found = await database.read(lambda c: operator.find_merchants(c, name, tenant)) if name.isprintable() else []
    if not found:
        raise StackError(f"There is no merchant {name}: `paysaga merchants list` shows them.")
    if len(found) > 1:
        tenants = ", ".join(f"{row['id']} ({row['tenant_id']})" for row in found)
        raise StackError(f"Several tenants have a merchant {name}: {tenants}. Say --tenant, or its own id.")
    return found[0]


async def set_merchant_status(
    database: Database, name: str, tenant: str | None, status: MerchantStatus, by: str
) -> str:
    row = await find_merchant(database, name, tenant)
    seller = row["seller_account"]
    if row["status"] == status:
        return f"{seller} of {row['tenant_id']} is {status} already."

    async def work(connection: Any) -> None:
        await merchant.change(connection, row["tenant_id"], seller, {"status": status.value})
        detail = {"status": status.value, "seller_account": seller}
        await task.audit(connection, row["tenant_id"], by, "merchant.change", row["id"], detail)

    with refusals(seller):
        await database.run(work)
    return f"{seller} of {row['tenant_id']} was {row['status']} and is {status}: {_MEANS[status]}."


_MEANS = {
    MerchantStatus.ACTIVE: "whatever waits goes on",
    MerchantStatus.FROZEN: "no new orders and no captures; what is charged already is refunded, and refunds and "
    "disputes go on",
    MerchantStatus.CLOSED: "for ever; refunds are made from what is left in its wallet",
}


# --- risk rules ---


async def set_rules(database: Database, tenant: str, path: Path, by: str) -> str:
    """Replace a tenant's rules by those of a JSON file, as a new version. Raises StackError that says what is wrong."""
    rules = _rules_of(path)

    async def work(connection: Any) -> int | None:
        if not await operator.is_tenant(connection, tenant):
            return None
        row = await risk.put_rules(connection, tenant, rules, by)
        await task.audit(connection, tenant, by, "risk.rules", tenant, {"version": row["version"]})
        return int(row["version"])

    version = await database.run(work)
    if version is None:
        raise StackError(f"There is no tenant {tenant}: `paysaga keys list` names them.")
    count = len(rules.rules)
    what = f"{count} rule{'s' if count != 1 else ''}" if count else "no rules: every payment is allowed"
    return f"{tenant} has version {version} of its rules, for payments from now on: {what}."


def _rules_of(path: Path) -> RuleSet:
    try:
        text = path.read_text(encoding="utf-8")
        with refusals(str(path)):
            require_text(text)
        return RuleSet.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except ValidationError as error:
        wrong = "\n".join(f"  {_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise StackError(f"{path} is no set of rules, and nothing was changed:\n{wrong}") from error


def _place(location: Sequence[int | str]) -> str:
    """`rules[2].above`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "the file"


# --- tasks ---


async def close_task(database: Database, task_id: str, by: str, note: str) -> str:
    """Close what nothing closes by itself: a person has seen to it, and says how."""
    found = await database.read(lambda c: task.find(c, task_id)) if task_id.isprintable() else None
    if found is None:
        raise StackError(f"There is no task {task_id}: `paysaga tasks` lists what is open.")
    if found["closed_at"] is not None:
        return f"{task_id} was closed already, by {found['closed_by']}: {found['resolution']}."
    if found["kind"] not in CLOSED_BY_HAND and not await _left_behind(database, found):
        raise StackError(f"A task {found['kind']} is closed by what it asks for: {hint(found)}.")
    with refusals(task_id):
        require_text(note)
        closed = await database.run(lambda c: task.close_one(c, task_id, by=by, resolution=note))
    return f"{task_id} ({found['kind']}) is closed." if closed else f"{task_id} was closed already."


async def _left_behind(database: Database, found: dict[str, Any]) -> bool:
    """A question that answered itself: the refund was made after all, or the payment is not stuck any more."""
    if found["kind"].startswith("payout_"):
        return await _payout_goes_on(database, found["object_id"])
    if found["kind"] == TASK_KIND:
        return await _settled(database, found["object_id"])
    if found["payment_id"] is None:
        return True
    if found["kind"] == "refund_failed":
        return not await database.read(lambda c: refund.unmade(c, found["payment_id"]))
    row = await database.read(lambda c: payment.get(c, found["payment_id"]))
    return found["kind"] == "stuck" and row is not None and row.status is not Status.EXECUTING


async def _settled(database: Database, discrepancy_id: str) -> bool:
    row = await database.read(lambda c: reconciliation_discrepancy.find(c, None, discrepancy_id))
    return row is None or row["status"] != DiscrepancyStatus.OPEN


async def _payout_goes_on(database: Database, payout_id: str) -> bool:
    """It needs nobody any more, and somebody looks at it again."""
    row = await database.read(lambda c: payout.find(c, None, payout_id))
    if row is None or row.ended:
        return True
    looked_at = row.next_check_at is not None and row.next_check_at > datetime.now(UTC)
    return row.status is not PayoutStatus.NEEDS_ATTENTION and looked_at


async def replay_webhook(database: Database, inbox_id: str, by: str) -> str:
    """A dead event goes back to where the sweeper finds it."""
    if not inbox_id.isprintable() or not await database.run(lambda c: webhook.replay(c, inbox_id, by)):
        raise StackError(f"There is no dead event {inbox_id}: `paysaga webhooks dead` lists them.")
    return f"{inbox_id} is delivered again at the next sweep: `paysaga sweep` does it now."

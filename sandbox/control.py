"""The control API, `/_control`: settings, faults, steering, and the log of what really happened.

Same bearer key as the API under test, JSON in and out. `README.md` describes it for those who write tests.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from sandbox import dispute_flow, disputes, ground_truth, payment_flow, payouts, refunds
from sandbox.accounts import Account, Fee, Settings
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.faults import Fault, FaultSpec, Registry, WebhookFaultSpec
from sandbox.routes import OPERATIONS
from sandbox.state import Sandbox
from sandbox.wire import public

router = APIRouter(prefix="/_control")

INTENT_STEPS: dict[str, Callable[[Context, Doc], None]] = {
    "authenticate": payment_flow.authenticate,
    "fail_authentication": payment_flow.fail_authentication,
    "complete_processing": payment_flow.complete_processing,
    "fail_processing": payment_flow.fail_processing,
    "force_success": payment_flow.force_success,
    "expire": payment_flow.expire,
}
REFUND_STEPS: dict[str, Callable[[Context, Doc], None]] = {"succeed": refunds.succeed, "fail": refunds.fail}


# Dependencies are coroutines so that they run on the event loop's thread, the only one that may touch the store.
async def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


async def _account(request: Request) -> Account:
    return (await _sandbox(request)).accounts.authenticate(request.headers.get("authorization"))


Here = Annotated[Sandbox, Depends(_sandbox)]
Caller = Annotated[Account, Depends(_account)]


# --- the account -----------------------------------------------------------------------------------------------


class FeePatch(BaseModel):
    """The parts of the fee to change."""

    model_config = ConfigDict(extra="forbid")

    percent: float | str | None = None
    fixed: int | None = None


def _account_view(account: Account) -> Doc:
    settings = account.settings.model_dump(mode="json")
    return {"id": account.id, "key": account.key, "now": account.time, **settings}


@router.get("/account")
async def read_account(account: Caller) -> Doc:
    """The account's settings and clock."""
    return _account_view(account)


@router.patch("/account")
async def change_account(patch: dict[str, Any], sandbox: Here, account: Caller) -> Doc:
    """Change some settings; the others stay."""
    if isinstance(patch.get("fee"), dict):
        parts = FeePatch.model_validate(patch["fee"]).model_dump(exclude_none=True)
        patch["fee"] = Fee.model_validate(account.settings.fee.model_dump() | parts)
    account.settings = Settings.model_validate(account.settings.model_dump() | patch)
    sandbox.accounts.save(account)
    sandbox.wake()
    return _account_view(account)


class Advance(BaseModel):
    """A move of the account's clock, forward."""

    seconds: float


@router.post("/clock/advance")
async def advance_clock(body: Advance, sandbox: Here, account: Caller) -> Doc:
    """Move the account's clock: new stamps, key expiry, available_on, and every timer that becomes due fires."""
    account.clock_offset_s += body.seconds
    sandbox.accounts.save(account)
    sandbox.timers.advance(account, body.seconds)
    sandbox.wake()
    return _account_view(account)


# --- faults ----------------------------------------------------------------------------------------------------


def _fault(registry: Registry, account: Account, fault_id: str) -> Fault:
    fault = registry.get(account.id, fault_id)
    if fault is None:
        raise ApiError(404, f"No such fault: {fault_id}")
    return fault


@router.post("/faults", status_code=201)
async def add_fault(spec: FaultSpec, sandbox: Here, account: Caller) -> Doc:
    """Ask for misbehaviour in answering requests."""
    if not any(fnmatchcase(operation, spec.operation) for operation in OPERATIONS):
        raise ApiError(400, f"No operation matches {spec.operation}. There are: {', '.join(sorted(OPERATIONS))}")
    return sandbox.faults.add(account.id, spec).view()


@router.get("/faults")
async def list_faults(sandbox: Here, account: Caller) -> Doc:
    """All faults, used-up ones too."""
    return {"data": [fault.view() for fault in sandbox.faults.of(account.id)]}


@router.get("/faults/{fault_id}")
async def read_fault(
    fault_id: str,
    sandbox: Here,
    account: Caller,
    wait_hits: int = 0,
    timeout_s: Annotated[float, Query(ge=0, le=300)] = 10,
) -> Doc:
    """One fault, after it has struck `wait_hits` times; 408 when that takes longer than `timeout_s`."""
    fault = _fault(sandbox.faults, account, fault_id)
    if not await fault.until_hits(wait_hits, timeout_s):
        raise ApiError(408, f"{fault_id} has struck {fault.hits} times, not {wait_hits}", fault=fault.view())
    return fault.view()


@router.post("/faults/{fault_id}/release")
async def release_fault(fault_id: str, sandbox: Here, account: Caller) -> Doc:
    """Let go what a hold holds at this moment."""
    fault = _fault(sandbox.faults, account, fault_id)
    return {"released": fault.release()} | fault.view()


@router.delete("/faults/{fault_id}")
async def delete_fault(fault_id: str, sandbox: Here, account: Caller) -> Doc:
    """Remove one fault; what it holds goes on."""
    _fault(sandbox.faults, account, fault_id)
    return {"deleted": sandbox.faults.delete(account.id, fault_id)}


@router.delete("/faults")
async def delete_faults(sandbox: Here, account: Caller) -> Doc:
    """Remove all faults; what they hold goes on."""
    return {"deleted": sandbox.faults.delete(account.id)}


@router.post("/webhook_faults", status_code=201)
async def add_webhook_fault(spec: WebhookFaultSpec, sandbox: Here, account: Caller) -> Doc:
    """Ask for misbehaviour in the delivery of the events that happen from now on."""
    return sandbox.webhook_faults.add(account.id, spec).view()


@router.get("/webhook_faults")
async def list_webhook_faults(sandbox: Here, account: Caller) -> Doc:
    """All webhook faults, used-up ones too."""
    return {"data": [fault.view() for fault in sandbox.webhook_faults.of(account.id)]}


@router.delete("/webhook_faults")
async def delete_webhook_faults(sandbox: Here, account: Caller) -> Doc:
    """Remove all webhook faults; what was already queued stays as it is."""
    return {"deleted": sandbox.webhook_faults.delete(account.id)}


@router.delete("/webhook_faults/{fault_id}")
async def delete_webhook_fault(fault_id: str, sandbox: Here, account: Caller) -> Doc:
    """Remove one webhook fault."""
    _fault(sandbox.webhook_faults, account, fault_id)
    return {"deleted": sandbox.webhook_faults.delete(account.id, fault_id)}


# --- webhooks --------------------------------------------------------------------------------------------------


@router.post("/events/{event_id}/resend")
async def resend_event(event_id: str, sandbox: Here, account: Caller) -> Doc:
    """Deliver an event again, lost ones too; webhook faults do not apply."""
    event = sandbox.context_of(account, "events", event_id).load("events", event_id)
    sandbox.courier.resend(account, event_id)
    return event


@router.post("/webhooks/flush")
async def flush_webhooks(sandbox: Here, account: Caller, timeout_s: float = 10) -> Doc:
    """Attempt every pending delivery now; how many arrived and how many are still pending."""
    return dict(await sandbox.courier.flush(account, timeout_s))


@router.get("/webhooks")
async def list_deliveries(sandbox: Here, account: Caller, limit: int = 100) -> Doc:
    """Deliveries, newest first: state (pending, delivered, lost, failed), attempts, last HTTP status."""
    return {"data": sandbox.courier.view(account, limit)}


# --- steering --------------------------------------------------------------------------------------------------


def _steer(sandbox: Sandbox, account: Account, kind: str, object_id: str, step: Callable[[Context, Doc], None]) -> Doc:
    ctx = sandbox.context_of(account, kind, object_id)
    with sandbox.store.transaction():
        document = ctx.load(kind, object_id)
        step(ctx, document)
    sandbox.wake()
    return public(document)


@router.post("/payment_intents/{intent_id}/dispute")
async def dispute_intent(
    intent_id: str, sandbox: Here, account: Caller, terms: dispute_flow.Terms | None = None
) -> Doc:
    """The buyer's bank opens a dispute, or an inquiry, about the intent's charge."""
    ctx = sandbox.context_of(account, "payment_intents", intent_id)
    with sandbox.store.transaction():
        intent = ctx.load("payment_intents", intent_id)
        dispute = dispute_flow.open_on_intent(ctx, intent, terms or dispute_flow.Terms())
    sandbox.wake()
    return disputes.view(ctx, dispute)


@router.post("/payment_intents/{intent_id}/{step}")
async def steer_intent(intent_id: str, step: str, sandbox: Here, account: Caller) -> Doc:
    """Do one of authenticate, fail_authentication, complete_processing, fail_processing, force_success, expire."""
    if step not in INTENT_STEPS:
        raise ApiError(404, f"No such step: {step}. There are: {', '.join(INTENT_STEPS)}")
    return _steer(sandbox, account, "payment_intents", intent_id, INTENT_STEPS[step])


@router.post("/refunds/{refund_id}/{step}")
async def steer_refund(refund_id: str, step: str, sandbox: Here, account: Caller) -> Doc:
    """Let a refund succeed or fail."""
    if step not in REFUND_STEPS:
        raise ApiError(404, f"No such step: {step}. There are: {', '.join(REFUND_STEPS)}")
    return _steer(sandbox, account, "refunds", refund_id, REFUND_STEPS[step])


@router.post("/disputes/{dispute_id}/{step}")
async def steer_dispute(dispute_id: str, step: str, sandbox: Here, account: Caller) -> Doc:
    """Do one of win, lose, escalate, close_inquiry, reinstate."""
    if step not in dispute_flow.STEPS:
        raise ApiError(404, f"No such step: {step}. There are: {', '.join(dispute_flow.STEPS)}")
    return _steer(sandbox, account, "disputes", dispute_id, dispute_flow.STEPS[step])


@router.post("/payouts/{payout_id}/{step}")
async def steer_payout(payout_id: str, step: str, sandbox: Here, account: Caller) -> Doc:
    """Do one of transit, pay, trace, fail, return, cancel to a payout of the platform or of a connected account."""
    if step not in payouts.STEPS:
        raise ApiError(404, f"No such step: {step}. There are: {', '.join(payouts.STEPS)}")
    return _steer(sandbox, account, "payouts", payout_id, payouts.STEPS[step])


class PlatformPayout(BaseModel):
    """A payout by schedule to the platform's bank; everything available unless `amount` is given."""

    model_config = ConfigDict(extra="forbid")

    currency: str
    amount: int | None = Field(None, ge=1)


@router.post("/platform_payouts")
async def pay_platform(body: PlatformPayout, sandbox: Here, account: Caller) -> Doc:
    """An automatic payout of the platform's available balance to its bank."""
    ctx = sandbox.context(account, base_url=sandbox.public_url)
    with sandbox.store.transaction():
        payout = payouts.create_automatic(ctx, body.currency.lower(), body.amount)
    sandbox.wake()
    return payout


# --- the ground truth ------------------------------------------------------------------------------------------


@router.get("/log")
async def read_log(request: Request, sandbox: Here, account: Caller) -> Doc:
    """Everything that really happened and every request; filtered by metadata or payment intent."""
    wanted = {}
    for name, value in request.query_params.items():
        if name.startswith("metadata[") and name.endswith("]"):
            wanted[name[len("metadata[") : -1]] = value
        elif name != "payment_intent":
            raise ApiError(400, f"Unknown filter: {name}. Use metadata[key] and payment_intent.")
    return ground_truth.read(sandbox.context(account), wanted, request.query_params.get("payment_intent"))

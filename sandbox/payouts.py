"""The operations of `/v1/payouts` and what becomes of a payout on its way to a bank."""

import hashlib
import secrets
from collections.abc import Callable

from sandbox import balance, bank, connected, currencies, events
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import new_id
from sandbox.wire import Table, currency, merged, metadata, one_of, positive, public, text

CREATE: Table = {
    "amount": positive,
    "currency": currency,
    "description": text,
    "destination": text,
    "metadata": metadata,
    "method": one_of("standard", "instant"),
    "payout_method": text,
    "source_type": one_of("bank_account", "card", "fpx"),
    "statement_descriptor": text,
}
UPDATE: Table = {"metadata": metadata}

# What an account's payouts come to by themselves; None leaves them pending until a control call.
COURSES = {"payoutFails": "fail", "payoutStays": None}
FAILURES = {
    "account_closed": "The bank account has been closed.",
    "no_account": "The bank account details on file are probably incorrect. No bank account could be located with "
    "those details.",
}


def create(ctx: Context, params: Doc) -> Doc:
    """`POST /v1/payouts`: from the account's available balance to its bank."""
    currencies.known(params["currency"])
    if params["currency"] in currencies.PAID_OUT_WHOLE and params["amount"] % 100:
        text = f"Payouts in {params['currency']} must be an amount evenly divisible by 100."
        raise ApiError(400, text, param="amount")
    if connected.behaviour_of(ctx.account.connected) == "payoutRefused":
        text = "Payouts are not allowed for this account: it has requirements that are past due."
        raise ApiError(400, text, code="payouts_not_allowed", executed=True)
    balance.require(ctx, params["amount"], params["currency"])
    return public(_start(ctx, params, automatic=False))


def create_automatic(ctx: Context, code: str, amount: int | None) -> Doc:
    """Pay the available balance, or a part of it, to the account's own bank, as a payout schedule does.

    A payout of all of it takes along, and names by `GET /v1/balance_transactions?payout=`, every line that was
    available and that no earlier one had taken.
    """
    currencies.known(code)
    everything = balance.available(ctx, code)
    wanted = everything if amount is None else amount
    if wanted < 1 or (wanted > everything and ctx.account.settings.check_available_balance):
        raise ApiError(409, f"There is nothing to pay out: {everything} {code} are available, not {amount or 'more'}.")
    payout = _start(ctx, {"amount": wanted, "currency": code}, automatic=True)
    lines, values = "id = ?", [payout["balance_transaction"]]
    if wanted == everything:
        lines = "account = ? AND true_currency = ? AND available_on <= ? AND payout IS NULL"
        values = [ctx.account.id, code, ctx.account.now]
    ctx.store.db.execute(f"UPDATE balance_transactions SET payout = ? WHERE {lines}", (payout["id"], *values))  # noqa: S608
    return public(payout)


def update(ctx: Context, payout_id: str, params: Doc) -> Doc:
    """`POST /v1/payouts/{id}`: metadata only."""
    payout = ctx.load("payouts", payout_id)
    if "metadata" in params:
        before = payout["metadata"]
        payout["metadata"] = merged(before, params["metadata"])
        _keep(ctx, payout, "payout.updated", {"metadata": before})
    return public(payout)


def cancel_by_owner(ctx: Context, payout_id: str, _params: Doc) -> Doc:
    """`POST /v1/payouts/{id}/cancel`, while it is pending."""
    payout = ctx.load("payouts", payout_id)
    if payout["status"] != "pending":
        text = f"Payout {payout['id']} cannot be canceled: its status is {payout['status']}, not pending."
        raise ApiError(400, text, executed=True)
    cancel(ctx, payout)
    return public(payout)


def transit(ctx: Context, payout: Doc) -> None:
    """The payout is handed to the bank. Raises ApiError if it is not pending."""
    _must_be(payout, ("pending",), "sent")
    payout["status"] = "in_transit"
    _keep(ctx, payout, "payout.updated", {"status": "pending"})


def pay(ctx: Context, payout: Doc) -> None:
    """The payout arrives at the bank. Raises ApiError if it has ended."""
    _must_be(payout, ("pending", "in_transit"), "paid")
    before = payout["status"]
    settings = ctx.account.settings
    payout |= {"status": "paid", "_trace": secrets.token_hex(8).upper() if settings.trace_supported else None}
    if settings.trace_delay_s == 0:
        payout["trace_id"] = _trace_id(payout)
    elif settings.trace_delay_s is not None:
        ctx.set_timer(settings.trace_delay_s, "payout.trace", payout["id"])
    if not ctx.account.connected:
        bank.book_payout(ctx, payout, credit=True)
    _keep(ctx, payout, "payout.paid", {"status": before})
    delay_s = settings.payout_return_delay_s
    if connected.behaviour_of(ctx.account.connected) == "payoutReturned" and delay_s is not None:
        ctx.set_timer(delay_s, "payout.return", payout["id"])


def trace(ctx: Context, payout: Doc) -> None:
    """The bank's own reference of the payout is told, or that it has none. Raises ApiError before it was paid, and if
    it was told."""
    before = payout["trace_id"]
    if "_trace" not in payout or before["status"] != "pending":
        raise ApiError(409, f"{payout['id']} cannot be traced: it is {payout['status']}, its trace {before['status']}.")
    payout["trace_id"] = _trace_id(payout)
    _keep(ctx, payout, "payout.updated", {"trace_id": before})


def _trace_id(payout: Doc) -> Doc:
    value = payout["_trace"]
    return {"status": "supported" if value else "unsupported", "value": value}


def fail(ctx: Context, payout: Doc) -> None:
    """The bank refuses the payout. Raises ApiError if it has ended."""
    _must_be(payout, ("pending", "in_transit"), "failed")
    _come_back(ctx, payout, "account_closed")


def come_back(ctx: Context, payout: Doc) -> None:
    """The bank sends back a payout that had arrived. Raises ApiError if it is not paid."""
    _must_be(payout, ("paid",), "returned")
    if not ctx.account.connected:
        bank.book_payout(ctx, payout, credit=False)
    _come_back(ctx, payout, "no_account")


def cancel(ctx: Context, payout: Doc) -> None:
    """Nothing is sent, the money stays. Raises ApiError if it is not pending."""
    _must_be(payout, ("pending",), "canceled")
    _book_back(ctx, payout, "payout_cancel")
    payout["status"] = "canceled"
    _keep(ctx, payout, "payout.canceled", {"status": "pending"})


STEPS: dict[str, Callable[[Context, Doc], None]] = {
    "transit": transit,
    "pay": pay,
    "trace": trace,
    "fail": fail,
    "return": come_back,
    "cancel": cancel,
}


def _start(ctx: Context, params: Doc, *, automatic: bool) -> Doc:
    """Take the money out of the balance and set the payout on its way."""
    account, settings = ctx.account, ctx.account.settings
    delay_s = settings.payout_delay_s
    payout: Doc = {
        "id": new_id("po"),
        "object": "payout",
        "amount": params["amount"],
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": int(account.time + (delay_s or 0)),
        "automatic": automatic,
        "balance_transaction": None,
        "created": account.now,
        "currency": params["currency"],
        "description": "STRIPE PAYOUT" if automatic else params.get("description"),
        "destination": params.get("destination") or _bank_account(ctx, params["currency"]),
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": merged({}, params.get("metadata")),
        "method": params.get("method", "standard"),
        "original_payout": None,
        "payout_method": params.get("payout_method"),
        "reconciliation_status": "completed" if automatic else "not_applicable",
        "reversed_by": None,
        "source_type": params.get("source_type", "card"),
        "statement_descriptor": params.get("statement_descriptor"),
        "status": "pending",
        "trace_id": {"status": "pending", "value": None},
        "type": "bank_account",
    }
    booked = balance.book(ctx, "payout", -payout["amount"], payout["currency"], payout["id"], available_on=account.now)
    payout["balance_transaction"] = booked["id"]
    ctx.insert("payouts", payout)
    _log(ctx, payout)
    events.emit(ctx, "payout.created", payout)
    course = COURSES.get(connected.behaviour_of(account.connected), "pay")
    if course and delay_s is not None:
        ctx.set_timer(delay_s / 2, "payout.transit", payout["id"])
        ctx.set_timer(delay_s, f"payout.{course}", payout["id"])
    return payout


def _bank_account(ctx: Context, code: str) -> str:
    """The account's only bank account in this currency."""
    return f"ba_{hashlib.sha256(f'{ctx.account.id}/{code}'.encode()).hexdigest()[:24]}"


def _come_back(ctx: Context, payout: Doc, code: str) -> None:
    before = payout["status"]
    _book_back(ctx, payout, "payout_failure")
    payout |= {"status": "failed", "failure_code": code, "failure_message": FAILURES[code]}
    _keep(ctx, payout, "payout.failed", {"status": before})


def _book_back(ctx: Context, payout: Doc, kind: str) -> None:
    booked = balance.book(ctx, kind, payout["amount"], payout["currency"], payout["id"], available_on=ctx.account.now)
    payout["failure_balance_transaction"] = booked["id"]


def _must_be(payout: Doc, statuses: tuple[str, ...], verb: str) -> None:
    if payout["status"] not in statuses:
        text = f"{payout['id']} cannot be {verb}: its status is {payout['status']}, not {' or '.join(statuses)}."
        raise ApiError(409, text)


def _keep(ctx: Context, payout: Doc, event: str, previous: Doc) -> None:
    ctx.store.update("payouts", payout)
    events.emit(ctx, event, payout, previous)


def _log(ctx: Context, payout: Doc) -> None:
    entry = {
        "payout": payout["id"],
        "account": ctx.account.connected,
        "amount": payout["amount"],
        "currency": payout["currency"],
        "automatic": payout["automatic"],
        "status": payout["status"],
        "failure_code": None,
        "metadata": payout["metadata"],
        "at": ctx.account.time,
        "idempotency_key": ctx.idempotency_key,
    }
    ctx.write_log("payout", entry, None)

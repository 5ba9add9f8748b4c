"""The steps of a dispute: opened, answered, decided, escalated, and given back after all.

Every step changes the dispute in place, stores it and emits Stripe's events, inside the caller's transaction. An
inquiry is a dispute that has taken no money yet; its statuses begin with `warning_`.
"""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sandbox import balance, currencies, events
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import new_id

# Evidence by what it holds: short text, long text, and ids of uploaded files (which the sandbox does not look at).
SHORT_TEXTS = (
    "billing_address", "customer_email_address", "customer_name", "customer_purchase_ip", "duplicate_charge_id",
    "service_date", "shipping_address", "shipping_carrier", "shipping_date", "shipping_tracking_number",
)  # fmt: skip
LONG_TEXTS = (
    "access_activity_log", "cancellation_policy_disclosure", "cancellation_rebuttal", "duplicate_charge_explanation",
    "product_description", "refund_policy_disclosure", "refund_refusal_explanation", "uncategorized_text",
)  # fmt: skip
FILES = (
    "cancellation_policy", "customer_communication", "customer_signature", "duplicate_charge_documentation", "receipt",
    "refund_policy", "service_documentation", "shipping_documentation", "uncategorized_file",
)  # fmt: skip
EVIDENCE_LENGTH_MAX = 150_000

Reason = Literal[
    "bank_cannot_process", "check_returned", "credit_not_processed", "customer_initiated", "debit_not_authorized",
    "duplicate", "fraudulent", "general", "incorrect_account_details", "insufficient_funds", "noncompliant",
    "product_not_received", "product_unacceptable", "subscription_canceled", "unrecognized",
]  # fmt: skip
# Visa's codes for the reasons that have one.
NETWORK_CODES = {
    "credit_not_processed": "13.6", "duplicate": "12.6.1", "fraudulent": "10.4", "product_not_received": "13.1",
    "product_unacceptable": "13.3", "subscription_canceled": "13.2",
}  # fmt: skip

OPEN_INQUIRY = ("warning_needs_response", "warning_under_review")
OPEN_DISPUTE = ("needs_response", "under_review")
UNDER_REVIEW = {"needs_response": "under_review", "warning_needs_response": "warning_under_review"}
# What the words in `uncategorized_text` lead to (https://docs.stripe.com/testing#disputes), by the status they meet.
VERDICTS = {
    "under_review": {"winning_evidence": "win", "losing_evidence": "lose"},
    "warning_under_review": {
        "winning_evidence": "close_inquiry",
        "losing_evidence": "close_inquiry",
        "escalate_inquiry_evidence": "escalate",
    },
}


class Terms(BaseModel):
    """The terms of a dispute; whatever is left out comes from the charge."""

    model_config = ConfigDict(extra="forbid")

    amount: int | None = Field(None, ge=1)
    currency: str | None = None
    reason: Reason | None = None
    inquiry: bool | None = None
    evidence_due_s: float = Field(604_800, gt=0)


def open_on(ctx: Context, charge: Doc, terms: Terms) -> Doc:
    """The buyer's bank disputes a charge, a refunded one too. Raises ApiError if no money was taken."""
    if not charge["captured"]:
        raise ApiError(409, f"{charge['id']} cannot be disputed: no money was taken.")
    # A card that is disputed by itself keeps its own course when a control call opens the dispute.
    course = charge.get("_dispute_course") or "fraudulent"
    inquiry = course == "inquiry" if terms.inquiry is None else terms.inquiry
    reason = terms.reason or ("general" if course == "inquiry" else course)
    dispute = _build(ctx, charge, terms, reason, inquiry=inquiry)
    if not inquiry:
        _withdraw(ctx, dispute)
    ctx.insert("disputes", dispute)
    charge["disputed"] = True
    ctx.store.update("charges", charge)
    _log(ctx, dispute)
    ctx.set_timer(terms.evidence_due_s, "dispute.overdue", dispute["id"])
    events.emit(ctx, "charge.dispute.created", dispute)
    if not inquiry:
        events.emit(ctx, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def open_by_card(ctx: Context, charge: Doc) -> None:
    """Open the dispute of a `createDispute` card, soon after its charge."""
    open_on(ctx, charge, Terms())


def open_on_intent(ctx: Context, intent: Doc, terms: Terms) -> Doc:
    """Dispute the charge with which an intent succeeded. Raises ApiError if there is none."""
    if not intent["latest_charge"]:
        raise ApiError(409, f"{intent['id']} cannot be disputed: it has no charge.")
    return open_on(ctx, ctx.load("charges", intent["latest_charge"]), terms)


def respond(ctx: Context, dispute: Doc, evidence: Doc, *, submit: bool) -> Doc:
    """Stage evidence and, with `submit`, hand it in; answers what was there before, as an event tells it.

    Raises ApiError when the dispute takes no evidence any more. The caller stores the dispute.
    """
    _refuse_evidence(ctx, dispute)
    details = dispute["evidence_details"]
    before: Doc = {"evidence": {name: dispute["evidence"][name] for name in evidence}}
    dispute["evidence"] |= evidence
    given = [value for value in dispute["evidence"].values() if value]
    if sum(len(value) for value in given if isinstance(value, str)) > EVIDENCE_LENGTH_MAX:
        message = f"The combined length of all evidence is limited to {EVIDENCE_LENGTH_MAX} characters."
        raise ApiError(400, message, param="evidence")
    if submit and not given:
        raise ApiError(400, "There is no evidence to submit.", code="parameter_missing", param="evidence")
    before |= {"status": dispute["status"], "evidence_details": dict(details)}
    details["has_evidence"] = bool(given)
    if submit:
        details |= {"submission_count": details["submission_count"] + 1, "submission_method": "manual"}
        dispute["status"] = UNDER_REVIEW[dispute["status"]]
        _await_verdict(ctx, dispute)
    return before


def win(ctx: Context, dispute: Doc) -> None:
    """The bank decides for the shop: the money comes back. Raises ApiError if nothing is to be decided."""
    _must_be(dispute, OPEN_DISPUTE, "won")
    dispute |= {"status": "won", "is_charge_refundable": True}
    _give_back(ctx, dispute)
    _keep(ctx, dispute, "charge.dispute.closed")
    events.emit(ctx, "charge.dispute.funds_reinstated", dispute)


def lose(ctx: Context, dispute: Doc) -> None:
    """The bank decides for the buyer, or the shop gives in. Raises ApiError if nothing is to be decided."""
    _must_be(dispute, OPEN_DISPUTE, "lost")
    dispute["status"] = "lost"
    _keep(ctx, dispute, "charge.dispute.closed")


def overdue(ctx: Context, dispute: Doc) -> None:
    """Nobody answered in time: lost. An inquiry stays as it is, for the bank to escalate or to close."""
    # An escalated inquiry has a later date by now than this timer knows.
    if dispute["status"] == "needs_response" and dispute["evidence_details"]["due_by"] <= ctx.account.now:
        lose(ctx, dispute)


def escalate(ctx: Context, dispute: Doc) -> None:
    """An inquiry becomes a real dispute: the money goes, an answer is due anew. Raises ApiError if it is none."""
    _must_be(dispute, OPEN_INQUIRY, "escalated")
    before = {"status": dispute["status"], "is_charge_refundable": True}
    due_s = dispute["_evidence_due_s"]
    dispute |= {"status": "needs_response", "is_charge_refundable": False}
    dispute["evidence_details"]["due_by"] = int(ctx.account.time + due_s)
    _case(dispute)["case_type"] = "chargeback"
    _withdraw(ctx, dispute)
    ctx.set_timer(due_s, "dispute.overdue", dispute["id"])
    _keep(ctx, dispute, "charge.dispute.updated", before)
    events.emit(ctx, "charge.dispute.funds_withdrawn", dispute)


def close_inquiry(ctx: Context, dispute: Doc) -> None:
    """An inquiry ends without a dispute. Raises ApiError if it is none."""
    _must_be(dispute, OPEN_INQUIRY, "closed")
    dispute["status"] = "warning_closed"
    _keep(ctx, dispute, "charge.dispute.closed")


def reinstate(ctx: Context, dispute: Doc) -> None:
    """The bank changes its mind after the dispute was lost: the money comes back. Raises ApiError if it was not."""
    _must_be(dispute, ("lost",), "reinstated")
    dispute |= {"status": "won", "is_charge_refundable": True}
    _give_back(ctx, dispute)
    _keep(ctx, dispute, "charge.dispute.funds_reinstated")
    events.emit(ctx, "charge.dispute.updated", dispute, {"status": "lost", "is_charge_refundable": False})


STEPS: dict[str, Callable[[Context, Doc], None]] = {
    "win": win,
    "lose": lose,
    "escalate": escalate,
    "close_inquiry": close_inquiry,
    "reinstate": reinstate,
}


def fee_kept(dispute: Doc) -> int:
    """The cost of the dispute beside its amount, as things stand."""
    return sum(int(transaction["fee"]) for transaction in dispute["balance_transactions"])


def _build(ctx: Context, charge: Doc, terms: Terms, reason: str, *, inquiry: bool) -> Doc:
    """A dispute or an inquiry; nothing is stored or booked yet."""
    currency = (terms.currency or charge["currency"]).lower()
    if currency not in currencies.SUPPORTED:
        raise ApiError(400, f"Invalid currency: {currency}")
    kind, code = charge["payment_method_details"]["type"], NETWORK_CODES.get(reason)
    used = charge["payment_method_details"][kind]
    network = {"brand": used.get("brand"), "network": used.get("network")} if kind == "card" else {}
    case = {**network, "case_type": "inquiry" if inquiry else "chargeback", "network_reason_code": code}
    return {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": terms.amount or charge["amount_captured"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": ctx.account.now,
        "currency": currency,
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(sorted(SHORT_TEXTS + LONG_TEXTS + FILES)) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": int(ctx.account.time + terms.evidence_due_s),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "network_reason_code": code,
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {kind: case, "type": kind},
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
        "_evidence_due_s": terms.evidence_due_s,
    }


def _case(dispute: Doc) -> Doc:
    details: Doc = dispute["payment_method_details"]
    case: Doc = details[details["type"]]
    return case


def _withdraw(ctx: Context, dispute: Doc) -> None:
    fee = ctx.account.settings.dispute_fee
    _book(ctx, dispute, -dispute["amount"], fee, "dispute")


def _give_back(ctx: Context, dispute: Doc) -> None:
    # The fee that was taken then, not the one that is set now.
    fee = -fee_kept(dispute) if ctx.account.settings.dispute_fee_returned else 0
    _book(ctx, dispute, dispute["amount"], fee, "dispute_reversal")


def _book(ctx: Context, dispute: Doc, amount: int, fee: int, category: str) -> None:
    transaction = balance.book(
        ctx, "adjustment", amount, dispute["currency"], dispute["id"], fee=fee, category=category
    )
    dispute["balance_transactions"].append(transaction)


def _refuse_evidence(ctx: Context, dispute: Doc) -> None:
    """Raise what answers evidence that comes too late."""
    status = dispute["status"]
    if status in UNDER_REVIEW.values():
        text = "Evidence for this dispute has already been submitted and is under review."
    elif status not in UNDER_REVIEW:
        text = f"This dispute is already closed: its status is {status}, and it takes no evidence any more."
    elif dispute["evidence_details"]["due_by"] < ctx.account.now:
        text = "The due date for submitting evidence for this dispute has passed."
    else:
        return
    raise ApiError(400, text, param="evidence", executed=True)


def _await_verdict(ctx: Context, dispute: Doc) -> None:
    """Evidence with one of Stripe's test words is decided by itself; all other waits for a control call."""
    verdict = VERDICTS[dispute["status"]].get(dispute["evidence"]["uncategorized_text"])
    delay_s = ctx.account.settings.processing_delay_s
    if verdict and delay_s is not None:
        ctx.set_timer(delay_s, f"dispute.{verdict}", dispute["id"])


def _must_be(dispute: Doc, statuses: tuple[str, ...], verb: str) -> None:
    if dispute["status"] not in statuses:
        wanted = " or ".join(statuses)
        raise ApiError(409, f"{dispute['id']} cannot be {verb}: its status is {dispute['status']}, not {wanted}.")


def _keep(ctx: Context, dispute: Doc, event: str, previous: Doc | None = None) -> None:
    ctx.store.update("disputes", dispute)
    events.emit(ctx, event, dispute, previous)


def _log(ctx: Context, dispute: Doc) -> None:
    intent = ctx.load("payment_intents", dispute["payment_intent"])
    entry = {
        "dispute": dispute["id"],
        "charge": dispute["charge"],
        "payment_intent": dispute["payment_intent"],
        "amount": dispute["amount"],
        "currency": dispute["currency"],
        "status": dispute["status"],
        "fee": fee_kept(dispute),
        "reason": dispute["reason"],
        "metadata": intent["metadata"],
        "at": ctx.account.time,
    }
    ctx.write_log("dispute", entry, dispute["payment_intent"])

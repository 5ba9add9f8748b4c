"""From rows to the shapes of the contract."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from api.schemas import (
    AccountBalanceOut,
    AttemptOut,
    AvailableOn,
    Balance,
    BalanceSide,
    BalanceTotal,
    BuyerOut,
    DisputeDetail,
    DisputeOut,
    EvidenceOut,
    FailureOut,
    FeeOut,
    HistoryDispute,
    HistoryEntry,
    HistoryPayment,
    HistoryPayout,
    HistoryRefund,
    LedgerTransactionOut,
    MerchantOut,
    NextActionOut,
    PaymentOrderOut,
    PaymentOut,
    PayoutDetail,
    PayoutItemOut,
    PayoutOut,
    PayoutScheduleOut,
    PayoutTermsOut,
    PayoutTransitionOut,
    PostingOut,
    RefundOut,
    ReviewOut,
    RiskDecisionOut,
    StatementBalances,
    StatementLineOut,
    TaskOut,
    TransitionOut,
)
from db import payout_schedule
from db.records import Dispute, Order, Payment, Payout, Refund
from domain.money import to_major
from domain.payout import WEEKDAYS, PayoutSchedule
from domain.psp import Failure
from domain.statement import AccountBalance, Balances, Line, Total, words


def failure_out(failure: Failure | None) -> FailureOut | None:
    return FailureOut(**failure.model_dump()) if failure else None


def order_out(row: Payment, order: Order) -> PaymentOrderOut:
    return PaymentOrderOut(
        id=order.id,
        payment_id=row.id,
        payment_order_id=order.payment_order_id,
        seller_account=order.seller_account,
        amount=to_major(order.amount, order.currency),
        currency=order.currency,
        status=order.status,
        wallet_updated=order.wallet_updated,
        ledger_updated=order.ledger_updated,
        next_action=_action(row) if order.open else None,
        failure=failure_out(order.failure),
        captured_amount=to_major(order.captured_amount, order.currency),
        refundable_amount=to_major(order.refundable, order.currency),
        refund_status=order.refund_status,
        dispute_status=order.dispute_status,
        created_at=order.created_at,
    )


def payment_out(row: Payment) -> PaymentOut:
    failure = next((order.failure for order in row.orders if order.failure), None)
    return PaymentOut(
        id=row.id,
        status=row.status,
        is_payment_done=row.is_payment_done,
        checkout_id=row.checkout_id,
        buyer=BuyerOut(id=row.buyer_id),
        amount=to_major(row.amount, row.currency),
        currency=row.currency,
        next_action=_action(row),
        failure=failure_out(failure),
        cancel_requested=row.cancel_requested_at is not None,
        metadata=row.metadata,
        payment_orders=[order_out(row, order) for order in row.orders],
        created_at=row.created_at,
    )


def _action(row: Payment) -> NextActionOut | None:
    return NextActionOut(**row.next_action) if row.next_action else None


def merchant_out(row: dict[str, Any]) -> MerchantOut:
    return MerchantOut(
        id=row["id"],
        seller_account=row["seller_account"],
        name=row["name"],
        status=row["status"],
        fee=FeeOut(percent=_plain(row["fee_percent"]), fixed=_plain(row["fee_fixed"])),
        psp_fee_payer=row["psp_fee_payer"],
        dispute_fee_payer=row["dispute_fee_payer"],
        platform_fee_on_refund=row["platform_fee_on_refund"],
        allow_negative_balance=row["allow_negative_balance"],
        country=row["country"],
        payout=PayoutTermsOut(account=row["payout_account"], **_schedule(payout_schedule.of(row))),
        created_at=row["created_at"],
    )


def schedule_out(row: dict[str, Any], next_payout_on: date | None) -> PayoutScheduleOut:
    """`row`: the merchant's."""
    return PayoutScheduleOut(
        seller_account=row["seller_account"], next_payout_on=next_payout_on, **_schedule(payout_schedule.of(row))
    )


def _schedule(schedule: PayoutSchedule) -> dict[str, Any]:
    return {
        "interval": schedule.interval.value,
        "weekdays": [WEEKDAYS[day] for day in schedule.weekdays],
        "monthdays": list(schedule.monthdays),
        "minimum": {currency: to_major(amount, currency) for currency, amount in sorted(schedule.minimum.items())},
        "delay_days": schedule.delay_days,
    }


def _plain(value: Any) -> str:
    """`2.9000` as `2.9`, `100` as `100`."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def balance_out(row: dict[str, Any], days: Sequence[dict[str, Any]]) -> Balance:
    """`days`: of `db.release.next_of_seller`, in all currencies."""
    currency = row["currency"]
    of_currency = [day for day in days if day["currency"] == currency]
    return Balance(
        currency=currency,
        pending=to_major(row["pending"], currency),
        available=to_major(row["available"], currency),
        reserved=to_major(row["reserved"], currency),
        owed=to_major(row["receivable"], currency),
        available_on=[AvailableOn(date=d["day"], amount=to_major(d["amount"], currency)) for d in of_currency],
    )


def ledger_out(row: dict[str, Any]) -> LedgerTransactionOut:
    return LedgerTransactionOut(
        id=row["id"],
        kind=row["kind"],
        source_id=row["source_id"],
        payment_id=row["payment_id"],
        payment_order_id=row["order_id"],
        corrects=row["corrects"],
        at=row["at"],
        postings=[_posting(line) for line in row["postings"]],
    )


def _posting(line: dict[str, Any]) -> PostingOut:
    amount = to_major(abs(line["amount"]), line["currency"])
    side = {"debit": amount} if line["amount"] > 0 else {"credit": amount}
    return PostingOut(account=line["account"], currency=line["currency"], **side)


def account_out(row: AccountBalance) -> AccountBalanceOut:
    return AccountBalanceOut(account=row.account, kind=row.kind, **side_out(row).model_dump())


def side_out(row: AccountBalance) -> BalanceSide:
    """The balance on its side; one of zero is on none."""
    sides = {"debit": row.debit, "credit": row.credit}
    amounts = {side: to_major(amount, row.currency) for side, amount in sides.items() if amount}
    return BalanceSide(currency=row.currency, **amounts)


def total_out(total: Total) -> BalanceTotal:
    sides = {"debit": to_major(total.debit, total.currency), "credit": to_major(total.credit, total.currency)}
    return BalanceTotal(currency=total.currency, **sides)


def statement_balances(of: Balances, currency: str) -> StatementBalances:
    return StatementBalances(**{n: to_major(getattr(of, n), currency) for n in StatementBalances.model_fields})


def statement_line(line: Line, currency: str) -> StatementLineOut:
    amounts = {n: statement_balances(getattr(line, n), currency) for n in ("change", "balance")}
    return StatementLineOut.model_validate(
        {n: getattr(line, n) for n in StatementLineOut.model_fields if n not in amounts} | amounts
    )


_HISTORY: dict[str, type[HistoryPayment] | type[HistoryRefund] | type[HistoryDispute] | type[HistoryPayout]] = {
    "payment": HistoryPayment,
    "refund": HistoryRefund,
    "dispute": HistoryDispute,
    "payout": HistoryPayout,
}


def history_out(row: dict[str, Any]) -> HistoryEntry:
    """`row`: of `db.history.page`. What the buyer has to do next is shown with the payment alone."""
    entry = _HISTORY[row["type"]]
    fields = {name: row[name] for name in entry.model_fields if name in row}
    for name in {"amount", "captured_amount", "refundable_amount"} & fields.keys():
        fields[name] = to_major(fields[name], row["currency"])
    return entry.model_validate(fields | ({"next_action": None} if entry is HistoryPayment else {}))


def attempt_out(row: dict[str, Any]) -> AttemptOut:
    return AttemptOut(
        attempt=row["attempt"],
        psp=row["psp"],
        reference=row["reference"],
        outcome=row["outcome"],
        unknown_answers=row["unknown_count"],
        send_until=row["send_until"],
        last_answer=row["last_answer"],
        last_answer_at=row["last_answer_at"],
    )


def refund_out(row: Refund, names: Mapping[str, str]) -> RefundOut:
    """`names`: our order ids → the client's."""
    return RefundOut.model_validate(
        {
            "id": row.id,
            "payment_id": row.payment_id,
            "payment_order_id": names[row.order_id] if row.order_id else None,
            "origin": row.origin,
            "reason": row.reason,
            "amount": to_major(row.amount, row.currency),
            "currency": row.currency,
            "status": row.status,
            "attempt": row.attempt,
            "reference": row.reference,
            "failure": failure_out(row.failure),
            "created_at": row.created_at,
        }
    )


def dispute_out(row: Dispute) -> DisputeOut:
    return DisputeOut(**_dispute(row))


def dispute_detail(row: Dispute, evidence: Sequence[dict[str, Any]]) -> DisputeDetail:
    return DisputeDetail(**_dispute(row), evidence=[_evidence(piece) for piece in evidence])


def _dispute(row: Dispute) -> dict[str, Any]:
    return {
        "id": row.id,
        "payment_id": row.payment_id,
        "amount": to_major(row.amount, row.currency),
        "currency": row.currency,
        "category": row.category,
        "status": row.status,
        "evidence_due_at": row.evidence_due_at,
        "fee": to_major(row.fee, row.currency),
        "reference": row.reference,
        "created_at": row.created_at,
        "closed_at": row.closed_at,
    }


def _evidence(row: dict[str, Any]) -> EvidenceOut:
    failure = Failure.model_validate(row["failure"]) if row["failure"] else None
    return EvidenceOut(
        id=row["id"],
        fields=row["field_names"],
        status=row["status"],
        failure=failure_out(failure),
        created_at=row["created_at"],
        submitted_at=row["submitted_at"],
    )


def payout_out(row: Payout) -> PayoutOut:
    return PayoutOut(**_payout(row))


def payout_detail(row: Payout, transitions: Sequence[dict[str, Any]]) -> PayoutDetail:
    steps = [PayoutTransitionOut(**{n: t[n] for n in PayoutTransitionOut.model_fields}) for t in transitions]
    return PayoutDetail(**_payout(row), transitions=steps)


def _payout(row: Payout) -> dict[str, Any]:
    return {
        "id": row.id,
        "seller_account": row.seller_account,
        "amount": to_major(row.amount, row.currency),
        "currency": row.currency,
        "status": row.status,
        "account": row.destination,
        "business_date": row.business_date,
        "reference": row.reference,
        "arrival_at": row.arrival_at,
        "failure": failure_out(row.failure),
        "cancel_requested": row.cancel_requested,
        "created_at": row.created_at,
    }


def payout_item(row: dict[str, Any]) -> PayoutItemOut:
    """`row`: of `db.payout.items`."""
    amount, whole, currency = row["amount"], row["posting_amount"], row["currency"]
    return PayoutItemOut(
        description=words(row["kind"]),
        kind=row["kind"],
        transaction_id=row["transaction_id"],
        payment_id=row["payment_id"],
        order_id=row["order_id"],
        payment_order_id=row["payment_order_id"],
        amount=to_major(amount, currency),
        part_of=to_major(whole, currency) if amount != whole else None,
        returned=row["released"],
        at=row["at"],
    )


def risk_out(row: dict[str, Any]) -> RiskDecisionOut:
    return RiskDecisionOut(
        rules_version=row["version"], **{n: row[n] for n in RiskDecisionOut.model_fields if n in row}
    )


def review_out(row: dict[str, Any]) -> ReviewOut:
    return ReviewOut(
        payment_id=row["payment_id"],
        amount=to_major(row["amount"], row["currency"]),
        currency=row["currency"],
        stage=row["stage"],
        reasons=row["reasons"],
        deadline_at=row["deadline_at"],
    )


def task_out(row: dict[str, Any]) -> TaskOut:
    return TaskOut(id=row["id"], kind=row["kind"], detail=row["detail"], opened_at=row["opened_at"])


def transition_out(row: dict[str, Any], names: dict[str, str]) -> TransitionOut:
    """`names`: our order ids → the client's."""
    return TransitionOut(
        payment_order_id=names[row["order_id"]],
        from_status=row["from_status"],
        to_status=row["to_status"],
        reason=row["reason"],
        actor=row["actor"],
        at=row["at"],
    )

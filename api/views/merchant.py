"""Merchant: TODO docstring."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from api.schemas.merchant import AvailableOn, Balance, FeeOut, MerchantOut, PayoutTermsOut
from api.schemas.payout import PayoutScheduleOut
from db.payout import schedule as payout_schedule
from domain.money import to_major
from domain.payout import WEEKDAYS, PayoutSchedule


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

"""When a seller is paid without asking: the merchant's payout columns, read and written."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_log, merchant
from domain.payout import PayoutSchedule
from domain.status import MerchantStatus


def of(row: Mapping[str, Any]) -> PayoutSchedule:
    """The schedule in a merchant's row."""
    return PayoutSchedule(
        interval=row["payout_interval"],
        weekdays=tuple(row["payout_weekdays"]),
        monthdays=tuple(row["payout_monthdays"]),
        minimum=row["payout_minimum"],
        delay_days=row["payout_delay_days"],
    )


def can_be_paid(row: Mapping[str, Any]) -> bool:
    """Whether a run would look at this merchant at all."""
    return row["status"] == MerchantStatus.ACTIVE and row["payout_account"] is not None


def columns(schedule: PayoutSchedule) -> dict[str, Any]:
    """What a schedule is in a merchant's row."""
    return {
        "payout_interval": schedule.interval.value,
        "payout_weekdays": list(schedule.weekdays),
        "payout_monthdays": list(schedule.monthdays),
        "payout_minimum": dict(schedule.minimum),
        "payout_delay_days": schedule.delay_days,
    }


async def put(
    connection: AsyncConnection, tenant_id: str, seller_account: str, schedule: PayoutSchedule, by: str
) -> dict[str, Any]:
    """Replace a seller's schedule, with an entry in the audit log; the merchant's row. Raises NotFound."""
    row = await merchant.change(connection, tenant_id, seller_account, columns(schedule))
    detail = {"seller_account": seller_account} | schedule.model_dump(mode="json")
    await audit_log.record(connection, tenant_id, by, "payout.schedule", row["id"], detail)
    return row

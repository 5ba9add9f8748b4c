"""A payout schedule as it is typed: the options, and the schedule that they make of the one of before."""

from dataclasses import dataclass

from pydantic import ValidationError

from cli import documents
from cli.hints import schedule_words
from cli.pages.page import Page, said
from cli.refusals import refusals
from config.settings import Settings
from db.core.database import Database
from domain.money import MoneyError, parse_major
from domain.payout import WEEKDAYS, Interval, PayoutSchedule
from embedded.errors import StackError
from services import merchant as merchants
from services import payout as payouts
from services.command import Caller


@dataclass(frozen=True)
class ScheduleOptions:
    """As it is typed; what is not said stays as it is."""

    daily: bool
    weekly: str | None
    monthly: str | None
    manual: bool
    minimum: tuple[str, ...]
    delay_days: int | None


async def set_schedule(
    settings: Settings, database: Database, by: str, seller: str, tenant: str | None, options: ScheduleOptions
) -> Page:
    """Change a seller's schedule; the sentence that says how it is now. Raises StackError for what is none."""
    caller = Caller(by)
    before = await merchants.find(database, caller, seller, tenant)
    schedule = _changed(before.schedule, options)
    with refusals(seller):
        row = await payouts.set_schedule(database, caller, before.id, schedule)
    day = payouts.next_payout_on(row, zone=settings.business_zone, run_at=settings.payout_run_at)
    following = f"; next on {day}" if day else ""
    account = "" if row.payout_account else " It has no account at the PSP to be paid to."
    words = f"{row.seller_account} of {row.tenant_id} is paid {schedule_words(schedule)}{following}.{account}"
    return said(words, lambda: documents.schedule(settings, row))


def _changed(schedule: PayoutSchedule, options: ScheduleOptions) -> PayoutSchedule:
    """Raises StackError."""
    chosen = [
        (Interval.DAILY, options.daily, (), ()),
        (Interval.WEEKLY, options.weekly is not None, _weekdays(options.weekly or ""), ()),
        (Interval.MONTHLY, options.monthly is not None, (), _monthdays(options.monthly or "")),
        (Interval.MANUAL, options.manual, (), ()),
    ]
    said = [(interval, weekdays, monthdays) for interval, wanted, weekdays, monthdays in chosen if wanted]
    if len(said) > 1:
        raise StackError("Say one of --daily, --weekly DAYS, --monthly DAYS and --manual.")
    if not said and not options.minimum and options.delay_days is None:
        raise StackError("Say --daily, --weekly DAYS, --monthly DAYS or --manual, or what else is to change.")
    interval, weekdays, monthdays = said[0] if said else (schedule.interval, schedule.weekdays, schedule.monthdays)
    minimum = dict(schedule.minimum) | dict(map(_minimum, options.minimum))
    try:
        return PayoutSchedule(
            interval=interval,
            weekdays=weekdays,
            monthdays=monthdays,
            minimum={currency: amount for currency, amount in minimum.items() if amount},
            delay_days=schedule.delay_days if options.delay_days is None else options.delay_days,
        )
    except ValidationError as error:
        raise StackError(f"That is no schedule: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from error


def _weekdays(text: str) -> tuple[int, ...]:
    """`mon,thursday`: enough of each name to know it."""
    days = set()
    for name in filter(None, (part.strip().lower() for part in text.split(","))):
        meant = [number for number, day in enumerate(WEEKDAYS) if day.startswith(name)]
        if len(meant) != 1:
            raise StackError(f"{name!r} is no day of the week: --weekly {','.join(WEEKDAYS[:2])}")
        days.add(meant[0])
    return tuple(sorted(days))


def _monthdays(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise StackError(f"{text!r} are no days of the month: --monthly 1,15")
    return tuple(sorted({int(part) for part in parts}))


def _minimum(text: str) -> tuple[str, int]:
    """`INR=100.00`"""
    currency, _, amount = text.partition("=")
    try:
        return currency, parse_major(amount, currency)
    except MoneyError as error:
        raise StackError(f"--minimum {text}: {error}") from error

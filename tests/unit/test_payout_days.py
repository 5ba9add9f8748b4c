"""When a seller is due: days of the week and of the month, and the next one from any day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.payout import BankWaitPolicy, Interval, PayoutSchedule, due_monthdays, is_due, next_due, next_run_day

MONDAY = date(2026, 11, 23)


def schedule(interval: Interval, **days: Any) -> PayoutSchedule:
    return PayoutSchedule(interval=interval, **days)


@pytest.mark.parametrize(
    ("of", "from_day", "due"),
    [
        (schedule(Interval.MANUAL), MONDAY, None),
        (schedule(Interval.DAILY), MONDAY, MONDAY),
        (schedule(Interval.WEEKLY, weekdays=(0,)), MONDAY, MONDAY),
        (schedule(Interval.WEEKLY, weekdays=(6,)), MONDAY, date(2026, 11, 29)),
        (schedule(Interval.WEEKLY, weekdays=(0,)), MONDAY + timedelta(1), date(2026, 11, 30)),
        (schedule(Interval.WEEKLY, weekdays=(0, 3)), MONDAY + timedelta(1), date(2026, 11, 26)),
        (schedule(Interval.MONTHLY, monthdays=(1,)), date(2026, 11, 1), date(2026, 11, 1)),
        (schedule(Interval.MONTHLY, monthdays=(1,)), date(2026, 12, 2), date(2027, 1, 1)),
        (schedule(Interval.MONTHLY, monthdays=(31,)), date(2026, 11, 2), date(2026, 11, 30)),
        (schedule(Interval.MONTHLY, monthdays=(31,)), date(2026, 12, 1), date(2026, 12, 31)),
        (schedule(Interval.MONTHLY, monthdays=(29,)), date(2027, 2, 1), date(2027, 2, 28)),
        (schedule(Interval.MONTHLY, monthdays=(29,)), date(2028, 2, 1), date(2028, 2, 29)),
        (schedule(Interval.MONTHLY, monthdays=(30,)), date(2028, 2, 1), date(2028, 2, 29)),
        (schedule(Interval.MONTHLY, monthdays=(30, 31)), date(2027, 1, 31), date(2027, 1, 31)),
        (schedule(Interval.MONTHLY, monthdays=(30,)), date(2027, 1, 31), date(2027, 2, 28)),
        (schedule(Interval.MONTHLY, monthdays=(5, 20)), date(2026, 11, 6), date(2026, 11, 20)),
    ],
)
def test_the_next_day_on_which_a_seller_is_due(of: PayoutSchedule, from_day: date, due: date | None) -> None:
    assert next_due(of, from_day) == due


days = st.dates(min_value=date(2020, 1, 1), max_value=date(2040, 1, 1))


@given(days, st.sets(st.integers(1, 31), min_size=1))
def test_each_month_has_its_days_and_none_is_skipped(from_day: date, monthdays: set[int]) -> None:
    of = schedule(Interval.MONTHLY, monthdays=tuple(sorted(monthdays)))
    due = next_due(of, from_day)
    assert due is not None
    assert is_due(of, due)
    assert not any(is_due(of, from_day + timedelta(n)) for n in range((due - from_day).days))


@given(st.integers(2020, 2040), st.integers(1, 12), st.integers(1, 31))
def test_a_day_of_the_month_means_one_day_of_each_month(year: int, month: int, monthday: int) -> None:
    first = date(year, month, 1)
    of_month = [day for n in range(31) if (day := first + timedelta(n)).month == month]
    assert sum(monthday in due_monthdays(day) for day in of_month) == 1


@pytest.mark.parametrize(
    ("now", "zone", "run_at", "day"),
    [
        ("2026-11-23T01:59:59", "UTC", "02:00", MONDAY),
        ("2026-11-23T02:00:00", "UTC", "02:00", MONDAY + timedelta(1)),
        ("2026-11-22T20:29:00", "Asia/Kolkata", "02:00", MONDAY),
        ("2026-11-22T20:30:00", "Asia/Kolkata", "02:00", MONDAY + timedelta(1)),
        ("2026-11-23T04:00:00", "America/New_York", "02:00", MONDAY),
        ("2026-12-31T23:30:00", "Europe/Berlin", "02:00", date(2027, 1, 1)),
    ],
)
def test_the_next_run_is_where_the_business_is(now: str, zone: str, run_at: str, day: date) -> None:
    assert next_run_day(datetime.fromisoformat(now).replace(tzinfo=UTC), zone, run_at) == day


@pytest.mark.parametrize(("after", "look"), [(0, 2), (2, 5), (4, 5), (5, 10), (10, None), (30, None)])
def test_what_was_paid_is_looked_at_again_and_not_for_ever(after: int, look: int | None) -> None:
    paid_at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    bank = BankWaitPolicy(return_look_days=(5, 2, 10))
    found = bank.return_look(paid_at, after=paid_at + timedelta(days=after))
    assert found == (paid_at + timedelta(days=look) if look else None)

"""A daily run on a day whose clocks leave its hour out: it is made as much later, once."""

from datetime import date, datetime

import pytest

from config.settings import Settings
from workers.schedules import jobs, left_out

TODAY = date(2026, 1, 1)


@pytest.mark.parametrize(
    ("zone", "at", "first"),
    [
        ("Europe/Berlin", "02:30", "2026-03-29T03:30"),
        ("America/New_York", "02:00", "2026-03-08T03:00"),
        ("Africa/Cairo", "00:15", "2026-04-24T01:15"),  # its clocks leave out midnight
        ("Australia/Lord_Howe", "02:10", "2026-10-04T02:40"),  # and here they go on by half an hour
    ],
)
def test_the_hour_that_is_left_out(zone: str, at: str, first: str) -> None:
    found = left_out(zone, at, TODAY)
    assert found[0].replace(tzinfo=None) == datetime.fromisoformat(first)
    assert [moment.year for moment in found] == [2026, 2027, 2028]


@pytest.mark.parametrize(("zone", "at"), [("UTC", "02:30"), ("Europe/Berlin", "04:00"), ("Asia/Kolkata", "02:30")])
def test_an_hour_that_is_always_there(zone: str, at: str) -> None:
    assert left_out(zone, at, TODAY) == []


def test_the_schedules_have_the_other_moment_as_well() -> None:
    settings = Settings(business_zone="Europe/Berlin", payout_run_at="02:30", reconcile_at="02:00")
    for job in jobs(settings):
        if job.name in ("payout-run", "reconcile-day"):
            usual, *others = job.timing.spec.calendars
            assert (usual.hour[0].start, list(usual.month)) == (2, [usual.month[0]])
            assert {calendar.hour[0].start for calendar in others} == {3}
            assert {calendar.month[0].start for calendar in others} == {3}

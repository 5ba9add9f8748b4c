"""Working days: Saturdays and Sundays do not count; a bank's holidays are not known here."""

from datetime import datetime, timedelta

_SATURDAY = 5


def working_days_after(moment: datetime, days: int) -> datetime:
    """The same time of day, so many working days later; `days` 0 is the moment itself."""
    while days > 0:
        moment += timedelta(days=1)
        days -= moment.weekday() < _SATURDAY
    return moment

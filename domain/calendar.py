"""Calendar: TODO docstring."""

from datetime import datetime, timedelta

_SATURDAY = 5


def working_days_after(moment: datetime, days: int) -> datetime:
    """Saturdays and Sundays do not count; a bank's holidays are not known here."""
    while days > 0:
        moment += timedelta(days=1)
        days -= moment.weekday() < _SATURDAY
    return moment

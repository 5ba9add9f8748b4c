"""Working days, where Saturdays and Sundays do not count and a bank's holidays are not known; and time zones."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_SATURDAY = 5


def working_days_after(moment: datetime, days: int) -> datetime:
    """The same time of day, so many working days later; `days` 0 is the moment itself."""
    while days > 0:
        moment += timedelta(days=1)
        days -= moment.weekday() < _SATURDAY
    return moment


def known_zone(name: str) -> bool:
    """True for the name of a time zone, such as Europe/Berlin."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    return True

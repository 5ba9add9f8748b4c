"""Trying a PSP call again: which answers call for it, and how long to wait before."""

import random
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.waiting import Backoff

SHORT = timedelta(seconds=10)
"""Gaps below it are the activity's own retries, which cost no history. A longer one is waited for in the workflow,
where messages are heard and people can see what it waits for."""

_GAPS = Backoff(first_s=0.5, max_s=60)
_GAPS_AT_FIRST = Backoff(first_s=0.5, max_s=15)
_AT_FIRST = 40
"""So many tries take about eight minutes: somebody may be waiting for the answer at a screen."""

_GAPS_WITHOUT_A_PLACE = Backoff(first_s=0.25, max_s=5)
"""After `busy`: nothing was sent, and a place among our own calls is soon free again. With the gaps of a PSP that
does not answer, whoever came late to a crowd would wait a minute long after the crowd is gone."""


def retry_delay(attempt: int, reason: str = "") -> timedelta:
    """Exponential backoff with jitter, half of it by chance: Temporal's own retries have none."""
    patient = _GAPS if attempt > _AT_FIRST else _GAPS_AT_FIRST
    gaps = _GAPS_WITHOUT_A_PLACE if reason == "busy" else patient
    return gaps.nth(attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def try_again(reason: str, delay: timedelta | None = None) -> ApplicationError:
    """An outcome that is not known yet. Benign: it is the retry policy's daily work, not an alarm. `delay`: the time
    until the next attempt, where that was told elsewhere already."""
    return ApplicationError(
        f"the PSP's answer is unknown: {reason}",
        type="PspUnknown",
        next_retry_delay=delay if delay is not None else retry_delay(activity.info().attempt, reason),
        category=ApplicationErrorCategory.BENIGN,
    )

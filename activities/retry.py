"""Trying a PSP call again: which answers call for it, and how long to wait before."""

import random
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.waiting import Backoff

CACHED_ERROR = "server_error_replayed"
"""Under this key the PSP answers the same 5xx for ever: only looking the object up can tell what happened."""

DEAD_KEYS = (CACHED_ERROR, "key_reused")
"""Sending again under such a key tells nothing new."""

UNKNOWN_PATIENCE = timedelta(minutes=10)
"""So long a charge under a dead key is looked up, in case the PSP's list lags, before a person is asked."""

_GAPS = Backoff(first_s=0.5, max_s=60)

_GAPS_WITHOUT_A_PLACE = Backoff(first_s=0.25, max_s=5)
"""After `busy`: nothing was sent, and a place among our own calls is soon free again. With the gaps of a PSP that
does not answer, whoever came late to a crowd would wait a minute long after the crowd is gone."""


def retry_delay(attempt: int, reason: str = "") -> timedelta:
    """Exponential backoff with jitter, half of it by chance: Temporal's own retries have none."""
    gaps = _GAPS_WITHOUT_A_PLACE if reason == "busy" else _GAPS
    return gaps.nth(attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def try_again(reason: str) -> ApplicationError:
    """An outcome that is not known yet. Benign: it is the retry policy's daily work, not an alarm."""
    return ApplicationError(
        f"the PSP's answer is unknown: {reason}",
        type="PspUnknown",
        next_retry_delay=retry_delay(activity.info().attempt, reason),
        category=ApplicationErrorCategory.BENIGN,
    )

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

_GAPS = Backoff(first_s=0.5, max_s=60)


def retry_delay(attempt: int) -> timedelta:
    """Exponential backoff with jitter, half of it by chance: Temporal's own retries have none."""
    return _GAPS.nth(attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def try_again(reason: str) -> ApplicationError:
    """An outcome that is not known yet. Benign: it is the retry policy's daily work, not an alarm."""
    return ApplicationError(
        f"the PSP's answer is unknown: {reason}",
        type="PspUnknown",
        next_retry_delay=retry_delay(activity.info().attempt),
        category=ApplicationErrorCategory.BENIGN,
    )

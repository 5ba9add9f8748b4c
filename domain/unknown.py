"""Answers that are not known: their causes in words, and when a request under a dead key counts as not carried out.

A key is dead once the PSP repeats an old answer under it, a stored 5xx above all: sending again tells nothing new, and
nothing that was sent under it can still execute. What was made is at the PSP and can be looked up; what is not there
was not made, but for the time by which the PSP's lists may lag.
"""

from datetime import datetime, timedelta

from domain.model import Failure
from domain.payout import PayoutCall

CACHED_ERROR = "server_error_replayed"
"""Under this key the PSP answers the same 5xx for ever: only looking the object up can tell what happened."""

DEAD_KEYS = (CACHED_ERROR, "key_reused")
"""Sending again under such a key tells nothing new."""

PSP_ERROR = "psp_error"
"""Code of the failure of what ended because its key was dead and the PSP had nothing of it."""

TO_DO = "It is asked again by itself. A nudge asks now; a cancel ends it as soon as it is certain what the PSP did."
"""Whatever a person can do about a payment that waits for an answer."""

TO_DO_ABOUT_A_REFUND = "It is asked for again by itself; nothing has to be done."

TASK_KIND = "psp_unanswered"
"""A person is told that the PSP gives no answer that can be trusted; nothing has to be decided."""


def to_do_about_a_payout(call: PayoutCall) -> str:
    """Whatever a person can do about a payout that waits for the answer to this call."""
    if call is PayoutCall.REVERSAL:
        return "It is asked again by itself; nothing has to be done."
    return "It is asked again by itself. A cancel ends it as soon as it is certain what the PSP did."


def counts_as_not_made(reason: str, waited: timedelta, patience: timedelta, *, cancelled: bool = False) -> bool:
    """Whether what was sent under a dead key, and was looked for just now in vain, counts as not made.

    `waited`: since the first answer that showed the key to be dead; `patience` covers a list that lags. Who wants it
    undone (`cancelled`) need not wait for that: what turns up afterwards is given back like any late charge. Under a
    key that was used for something else (`key_reused`) an earlier request may still be under way: then it is waited.
    """
    return waited >= patience or (cancelled and reason == CACHED_ERROR)


def not_made(what: str) -> Failure:
    """The failure of a `what` (charge, refund) that counts as not made."""
    return Failure(code=PSP_ERROR, message=f"The PSP failed with an error that it repeats, and has made no {what}.")


_IN_WORDS = {
    "timeout": "the PSP did not answer in time",
    "connection": "the PSP could not be reached, or cut the connection",
    "server_error": "the PSP answered with a server error (5xx)",
    CACHED_ERROR: "the PSP answered with a server error (5xx) and repeats it, stored under the idempotency key; "
    "it is looked up, and is not there so far",
    "key_reused": "the PSP says that the idempotency key was used for another request; it is looked up, and is not "
    "there so far",
    "rate_limited": "the PSP takes no more requests at the moment (429)",
    "in_flight": "the PSP is still at work on an earlier request under the key",
    "breaker_open": "the PSP failed too often: calls to it are held back for some seconds",
    "busy": "too many calls to the PSP are under way here",
    "credentials": "the PSP refuses our API key, or what it may do",
    "malformed": "the PSP's answer could not be read",
    "unrecognised": "the PSP's answer is none that is known here",
    "incomplete": "the PSP lists more than could be looked through",
    "another_charge": "the PSP's object belongs to another charge",
    "amount_mismatch": "the PSP names another amount than was asked for",
}


def in_words(reason: str | None) -> str:
    """The cause of an unknown answer as a clause; `reason` as in ChargeResult."""
    words = _IN_WORDS.get(reason or "")
    if words is not None:
        return words
    return "an attempt ended without an answer" + (f" ({reason})" if reason else "")


def waiting_for(reason: str | None, tries: int, next_at: datetime | None = None) -> str:
    """`the PSP did not answer in time; 3 tries so far, the next by 2026-11-29 10:12:05 UTC`."""
    count = f"{tries} {'try' if tries == 1 else 'tries'} so far"
    following = f", the next by {next_at:%Y-%m-%d %H:%M:%S} UTC" if next_at is not None else ""
    return f"{in_words(reason)}; {count}{following}"

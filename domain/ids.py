"""Our own ids: a prefix that names the noun, then 26 characters that sort by time (a ULID).

Some prefixes are also a PSP's. At Stripe `po_` is a payout, `ch_` a charge, `re_` a refund and `dp_` a dispute, with
other characters behind them; ours are a payment order, a charge attempt, a refund and a dispute. What a person reads
says whose an id is; `is_ours` tells them apart.
"""

import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_ULID = re.compile(f"[{_ALPHABET}]{{26}}")

PREFIXES = (
    "pay", "po", "ch", "re", "mer", "evt", "task", "key", "lt", "dp", "pt", "poi", "rec", "disc", "whk", "lp",
    "rsv", "dpe", "prun", "sf", "dl", "dlr",
    "whe", "whd",
    "ntf", "ntc", "sup",
)  # fmt: skip
"""Ours alone: a client's own ids must not start with one of these and an underscore."""

CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What a client may call its orders, checkouts, buyers and sellers: safe in a URL and in a PSP's metadata."""


def new_id(prefix: str) -> str:
    """A new id, such as `pay_01kabc…`: 48 bits of milliseconds, 80 bits of chance."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_id(prefix: str, text: str) -> bool:
    """True for an id of ours with this prefix; False for a PSP's, even where it begins alike."""
    return text.startswith(f"{prefix}_") and _ULID.fullmatch(text[len(prefix) + 1 :]) is not None


def is_ours(text: str) -> bool:
    """True for an id of ours, whatever its noun."""
    prefix = text.partition("_")[0]
    return prefix in PREFIXES and is_id(prefix, text)


def is_client_id(text: str) -> bool:
    """True for a client's id: the right characters, and none that could be taken for ours."""
    return CLIENT_ID.fullmatch(text) is not None and not text.startswith(tuple(f"{p}_" for p in PREFIXES))


def payment_workflow_id(payment_id: str) -> str:
    """The id of a payment's workflow; the same for every start of it, so that there is one at a time."""
    return f"payment:{payment_id}"


def late_charge_workflow_id(charge_id: str) -> str:
    """The id of the workflow that undoes a late charge."""
    return f"late_charge:{charge_id}"


def refund_workflow_id(refund_id: str) -> str:
    """The id of a refund's workflow."""
    return f"refund:{refund_id}"


def charge_key(payment_id: str, attempt: int) -> str:
    """The PSP's idempotency key of a payment's n-th charge attempt: derived from stored ids alone."""
    return f"{payment_id}:charge:{attempt}"


def void_key(charge_id: str) -> str:
    """The PSP's idempotency key of voiding a charge; the adapter varies it where the PSP would replay a refusal."""
    return f"{charge_id}:void"


def dispute_workflow_id(dispute_id: str) -> str:
    """The id of a dispute's workflow."""
    return f"dispute:{dispute_id}"


def capture_key(charge_id: str) -> str:
    """The PSP's idempotency key of capturing a charge: an authorisation is captured once."""
    return f"{charge_id}:capture"


def evidence_key(evidence_id: str) -> str:
    """The PSP's idempotency key of submitting one piece of evidence."""
    return f"{evidence_id}:evidence"


def refund_key(refund_id: str, attempt: int) -> str:
    """The PSP's idempotency key of a refund's n-th request (a new one only after the last was refused or failed)."""
    return f"{refund_id}:refund:{attempt}"


def payout_workflow_id(payout_id: str) -> str:
    """The id of a payout's workflow."""
    return f"payout:{payout_id}"


def payout_key(payout_id: str, call: str, attempt: int) -> str:
    """The PSP's idempotency key of the n-th attempt at one of a payout's calls: transfer, payout or reversal."""
    return f"{payout_id}:{call}:{attempt}"


def payout_cancel_key(payout_id: str) -> str:
    """The PSP's idempotency key of cancelling a payout that the bank has not got yet."""
    return f"{payout_id}:cancel"


def reconciliation_workflow_id(run_id: str) -> str:
    """The id of a reconciliation's workflow."""
    return f"reconciliation:{run_id}"

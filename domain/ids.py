"""Our own ids: a prefix that names the noun, then 26 characters that sort by time (a ULID)."""

import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_ULID = re.compile(f"[{_ALPHABET}]{{26}}")

PREFIXES = (
    "pay", "po", "ch", "re", "mer", "evt", "task", "key", "lt", "dp", "pt", "poi", "rec", "disc", "whk", "lp",
    "rsv", "dpe", "prun", "sf",
)  # fmt: skip
"""Ours alone: a client's own ids must not start with one of these and an underscore."""

CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What a client may call its orders, checkouts, buyers and sellers: safe in a URL and in a PSP's metadata."""


def new_id(prefix: str) -> str:
    """`pay_01kabc…`: 48 bits of milliseconds, 80 bits of chance."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_id(prefix: str, text: str) -> bool:
    return text.startswith(f"{prefix}_") and _ULID.fullmatch(text[len(prefix) + 1 :]) is not None


def is_client_id(text: str) -> bool:
    """A client's id: the right characters, and not one that could be taken for ours."""
    return CLIENT_ID.fullmatch(text) is not None and not text.startswith(tuple(f"{p}_" for p in PREFIXES))


def payment_workflow_id(payment_id: str) -> str:
    return f"payment:{payment_id}"


def late_charge_workflow_id(charge_id: str) -> str:
    return f"late_charge:{charge_id}"


def refund_workflow_id(refund_id: str) -> str:
    return f"refund:{refund_id}"


def charge_key(payment_id: str, attempt: int) -> str:
    """The PSP's idempotency key of a payment's n-th charge attempt: derived from stored ids alone."""
    return f"{payment_id}:charge:{attempt}"


def void_key(charge_id: str) -> str:
    """The PSP's idempotency key of voiding a charge; the adapter varies it where the PSP would replay a refusal."""
    return f"{charge_id}:void"


def dispute_workflow_id(dispute_id: str) -> str:
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
    return f"payout:{payout_id}"


def payout_key(payout_id: str, call: str, attempt: int) -> str:
    """The PSP's idempotency key of the n-th attempt at one of a payout's calls: transfer, payout or reversal."""
    return f"{payout_id}:{call}:{attempt}"


def payout_cancel_key(payout_id: str) -> str:
    """The PSP's idempotency key of cancelling a payout that the bank has not got yet."""
    return f"{payout_id}:cancel"


def reconciliation_workflow_id(run_id: str) -> str:
    return f"reconciliation:{run_id}"

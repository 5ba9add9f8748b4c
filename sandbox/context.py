"""The context of one unit of work: whose account, which request, and where to write."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sandbox.accounts import AnyAccount, Connected
from sandbox.errors import Doc, not_found
from sandbox.store import Store, dumps

# Sent where the request names none; the official library of the day sends this one.
API_VERSION = "2026-10-28.endive"

NOUNS = {
    "payment_intents": "payment_intent", "charges": "charge", "payment_methods": "PaymentMethod", "tokens": "token",
    "refunds": "refund", "disputes": "dispute", "balance_transactions": "balance transaction", "events": "event",
    "transfers": "transfer", "transfer_reversals": "transfer reversal", "payouts": "payout",
}  # fmt: skip


@dataclass(slots=True)
class Context:
    """The argument of every operation, timer and control call. `enqueue` takes an event to the webhook queue."""

    store: Store
    account: AnyAccount
    enqueue: Callable[[AnyAccount, Doc], int]
    base_url: str = ""
    request_id: str | None = None
    idempotency_key: str | None = None
    api_version: str = API_VERSION

    def within(self, connected: str) -> "Context":
        """The same unit of work in a connected account of the same platform."""
        return replace(self, account=Connected(self.account.platform, connected))

    def insert(self, kind: str, document: Doc) -> None:
        """Store a new object of this account."""
        self.store.insert(kind, self.account.id, document)

    def find(self, kind: str, object_id: str) -> Doc | None:
        """An object of this account, or None."""
        return self.store.get(kind, self.account.id, object_id)

    def find_anywhere(self, kind: str, object_id: str) -> Doc | None:
        """An object of the platform or of any of its connected accounts, or None."""
        owner = self.store.owner(kind, object_id)
        platform = self.account.platform.id
        return self.store.get(kind, owner, object_id) if owner and owner.partition("/")[0] == platform else None

    def load(self, kind: str, object_id: str, param: str = "id") -> Doc:
        """An object of this account; `resource_missing` if there is none. `param` names where the id came from."""
        document = self.find(kind, object_id)
        if document is None:
            # The status is 404 for the object in the path and 400 for one that a parameter names.
            raise not_found(NOUNS[kind], object_id, _missing_param(kind, param), 404 if param == "id" else 400)
        return document

    def write_log(self, kind: str, entry: Doc, payment_intent: str | None) -> None:
        """Append to the ground truth of the platform (`GET /_control/log`)."""
        self.store.db.execute(
            "INSERT INTO log (account, kind, payment_intent, doc) VALUES (?, ?, ?, ?)",
            (self.account.platform.id, kind, payment_intent, dumps(entry)),
        )

    def set_timer(self, delay_s: float, action: str, target: str) -> None:
        """Have `action` happen to an object later, also across a restart."""
        # Due times are the machine's; advancing the account's clock moves them closer (control.py).
        due_at = self.account.time - self.account.clock_offset_s + delay_s
        values: tuple[Any, ...] = (self.account.id, due_at, action, target)
        self.store.db.execute("INSERT INTO timers (account, due_at, action, target) VALUES (?, ?, ?, ?)", values)


def _missing_param(kind: str, param: str) -> str:
    if param != "id":
        return param
    return "intent" if kind == "payment_intents" else "id"

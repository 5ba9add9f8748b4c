"""Idempotency keys as Stripe documents them (https://docs.stripe.com/api/idempotent_requests).

The stored answer and the objects it speaks of are one SQLite transaction. Whether a key is in use is known in
memory only, so that no crash can leave one in use for ever.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass

from sandbox.accounts import AnyAccount
from sandbox.errors import ApiError, Doc
from sandbox.store import Store, dumps

KEY_LENGTH_MAX = 255
GRACE_STEPS, GRACE_STEP_S = 5, 0.01


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer stored under a key."""

    status: int
    body: str
    request_id: str
    payment_intent: str | None


class Keys:
    """The keys of all accounts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # The request that uses a key, by (account, key).
        self._in_use: dict[tuple[str, str], str] = {}

    async def acquire(self, account: AnyAccount, key: str, request_id: str) -> None:
        """Mark a key as in use until `release`. Raises the 409 if it already is."""
        if len(key) > KEY_LENGTH_MAX:
            raise ApiError(400, f"Idempotency key can only be up to {KEY_LENGTH_MAX} characters long")
        # A client that gave up and tries again at once may overtake the news that its first connection is closed.
        for _ in range(GRACE_STEPS):
            if (account.id, key) not in self._in_use:
                break
            await asyncio.sleep(GRACE_STEP_S)
        else:
            text = (
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted this twice, and the other request is still going through): {key}. If you keep running into "
                "this error, please wait before trying again."
            )
            raise ApiError(409, text, kind="idempotency_error", code="idempotency_key_in_use")
        self._in_use[account.id, key] = request_id

    def release(self, account: AnyAccount, key: str, request_id: str) -> None:
        """The request has no more to do under this key; harmless when a later one uses it by now."""
        if self._in_use.get((account.id, key)) == request_id:
            del self._in_use[account.id, key]

    def find(self, account: AnyAccount, key: str, route: str, params: Doc) -> Saved | None:
        """The answer stored under a key that has not expired. Raises the 400 if it was used for something else."""
        row = self._store.db.execute(
            "SELECT created, route, params_hash, status, body, request_id, payment_intent FROM idempotency_keys "
            "WHERE account = ? AND key = ?",
            (account.id, key),
        ).fetchone()
        if row is None or row[0] + account.settings.key_life_s <= account.time:
            return None
        if row[1] != route:
            text = (
                "Keys for idempotent requests can only be used for the same endpoint they were first used for "
                f"('{route}' vs '{row[1]}')."
            )
        elif row[2] != _hash(params):
            text = "Keys for idempotent requests can only be used with the same parameters they were first used with."
        else:
            return Saved(*row[3:])
        text += f" Try using a key other than '{key}' if you meant to execute a different request."
        raise ApiError(400, text, kind="idempotency_error")

    def save(self, account: AnyAccount, key: str, route: str, params: Doc, answer: Saved) -> None:
        """Store an answer in the caller's transaction; an expired one under the same key is replaced."""
        self._store.db.execute(
            "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                account.id,
                key,
                account.time,
                route,
                _hash(params),
                answer.status,
                answer.body,
                answer.request_id,
                answer.payment_intent,
            ),
        )


def _hash(params: Doc) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def saved(status: int, body: Doc, request_id: str, payment_intent: str | None) -> Saved:
    """An answer in the form in which it is stored."""
    return Saved(status, dumps(body), request_id, payment_intent)

"""Everything the sandbox must not forget, in one SQLite file.

One JSON-document table per kind of object. Calls are synchronous on purpose: all of them run on the event
loop's thread, so a transaction that contains no `await` is atomic without any further lock. WAL with
synchronous=NORMAL survives a killed process (not a power cut), which is what the crash tests ask for.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.errors import Doc

KINDS = (
    "payment_intents", "charges", "payment_methods", "tokens", "refunds", "disputes", "balance_transactions", "events",
    "transfers", "transfer_reversals", "payouts", "bank_entries",
)  # fmt: skip
PREFIXES = {
    "pi": "payment_intents", "ch": "charges", "pm": "payment_methods", "tok": "tokens",
    "re": "refunds", "dp": "disputes", "txn": "balance_transactions", "evt": "events",
    "tr": "transfers", "trr": "transfer_reversals", "po": "payouts", "py": "charges", "pyr": "refunds",
}  # fmt: skip
COMPARISONS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

OBJECT_TABLE = """
CREATE TABLE IF NOT EXISTS {kind} (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
    created INTEGER NOT NULL, payment_intent TEXT, doc TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS {kind}_by_time ON {kind} (account, created, seq);
DROP INDEX IF EXISTS {kind}_by_account;
CREATE INDEX IF NOT EXISTS {kind}_by_intent ON {kind} (payment_intent) WHERE payment_intent IS NOT NULL;
"""

# What a balance transaction is filtered by, and what it really did to the balance whatever it is made to report
# (planting.py); `payout` is the automatic payout that took it along.
LINE_COLUMNS = {
    "payout": "TEXT",
    "true_net": "GENERATED ALWAYS AS (coalesce(json_extract(doc, '$._net'), json_extract(doc, '$.net'))) VIRTUAL",
    "true_currency": "GENERATED ALWAYS AS "
    "(coalesce(json_extract(doc, '$._currency'), json_extract(doc, '$.currency'))) VIRTUAL",
    "available_on": "GENERATED ALWAYS AS (json_extract(doc, '$.available_on')) VIRTUAL",
    "type": "GENERATED ALWAYS AS (json_extract(doc, '$.type')) VIRTUAL",
    "currency": "GENERATED ALWAYS AS (json_extract(doc, '$.currency')) VIRTUAL",
    "source": "GENERATED ALWAYS AS (json_extract(doc, '$.source')) VIRTUAL",
    "hidden": "GENERATED ALWAYS AS (coalesce(json_extract(doc, '$._hidden'), 0)) VIRTUAL",
}
LINE_INDEXES = """
CREATE INDEX IF NOT EXISTS lines_by_money ON balance_transactions (account, true_currency, available_on, true_net);
CREATE INDEX IF NOT EXISTS lines_by_type ON balance_transactions (account, type, created, seq);
CREATE INDEX IF NOT EXISTS lines_by_currency ON balance_transactions (account, currency, created, seq);
CREATE INDEX IF NOT EXISTS lines_by_source ON balance_transactions (account, source, created, seq);
CREATE INDEX IF NOT EXISTS lines_by_payout ON balance_transactions (account, payout, created, seq);
CREATE INDEX IF NOT EXISTS reversals_by_transfer ON transfer_reversals (json_extract(doc, '$.transfer'));
"""

OTHER_TABLES = """
CREATE TABLE IF NOT EXISTS accounts (key TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS connected_accounts (
    platform TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (platform, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency_keys (
    account TEXT NOT NULL, key TEXT NOT NULL, created REAL NOT NULL, route TEXT NOT NULL, params_hash TEXT NOT NULL,
    status INTEGER NOT NULL, body TEXT NOT NULL, request_id TEXT NOT NULL, payment_intent TEXT,
    PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used_names (
    account TEXT NOT NULL, name TEXT NOT NULL, used_by TEXT NOT NULL, PRIMARY KEY (account, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, kind TEXT NOT NULL, payment_intent TEXT,
    doc TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS log_by_account ON log (account, kind, seq);
CREATE INDEX IF NOT EXISTS log_by_intent ON log (payment_intent) WHERE payment_intent IS NOT NULL;
CREATE TABLE IF NOT EXISTS timers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, due_at REAL NOT NULL, action TEXT NOT NULL,
    target TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS timers_by_due ON timers (due_at);
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, event TEXT NOT NULL, lane TEXT NOT NULL,
    waits_for TEXT, bad_signature INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_status INTEGER, last_attempt_at REAL);
CREATE INDEX IF NOT EXISTS deliveries_by_due ON deliveries (state, due_at);
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
"""


def new_id(prefix: str) -> str:
    """A fresh id in Stripe's shape: `pi_` and 24 characters."""
    return f"{prefix}_{secrets.token_hex(12)}"


# One encoder for all: json.dumps with options builds a new one on every call.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dumps(document: Any) -> str:
    """Compact JSON, as stored and as sent."""
    return _encode(document)


class Store:
    """The open database file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "temp_store=MEMORY"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(OTHER_TABLES + "".join(OBJECT_TABLE.format(kind=kind) for kind in KINDS))
        known = {row[1] for row in self.db.execute("PRAGMA table_xinfo(balance_transactions)")}
        for name, definition in LINE_COLUMNS.items():
            if name not in known:
                self.db.execute(f"ALTER TABLE balance_transactions ADD COLUMN {name} {definition}")
        self.db.executescript(LINE_INDEXES)

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Must not contain an `await`."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def insert(self, kind: str, account: str, document: Doc) -> None:
        """Add an object; its `payment_intent` field, where it has one, becomes searchable."""
        row = (document["id"], account, document["created"], document.get("payment_intent"), dumps(document))
        self.db.execute(
            f"INSERT INTO {kind} (id, account, created, payment_intent, doc) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            row,
        )

    def update(self, kind: str, document: Doc) -> None:
        """Replace an object's document."""
        self.db.execute(f"UPDATE {kind} SET doc = ? WHERE id = ?", (dumps(document), document["id"]))  # noqa: S608

    def get(self, kind: str, account: str, object_id: str) -> Doc | None:
        """One object of this account, or None: another account's object does not exist."""
        query = f"SELECT doc FROM {kind} WHERE id = ? AND account = ?"  # noqa: S608
        row = self.db.execute(query, (object_id, account)).fetchone()
        return json.loads(row[0]) if row else None

    def owner(self, kind: str, object_id: str) -> str | None:
        """The account that has this object, or None."""
        row = self.db.execute(f"SELECT account FROM {kind} WHERE id = ?", (object_id,)).fetchone()  # noqa: S608
        return row[0] if row else None

    def page(
        self,
        kind: str,
        account: str,
        *,
        limit: int = 10,
        after: str | None = None,
        before: str | None = None,
        ranges: dict[str, dict[str, int]] | None = None,
        equal: dict[str, str] | None = None,
        among: dict[str, list[str]] | None = None,
    ) -> tuple[list[Doc], bool]:
        """Newest first, as Stripe lists, and whether more follow in the direction of travel.

        `ranges`, `equal` and `among` compare top-level fields of the document. Lines that are hidden do not appear.
        """
        where, values = ["account = ?"], [account]
        for field, value in (equal or {}).items():
            where.append(f"{_column(kind, field)} = ?")
            values.append(value)
        for field, options in (among or {}).items():
            where.append(f"{_column(kind, field)} IN ({', '.join('?' * len(options))})")
            values += options
        for field, bounds in (ranges or {}).items():
            # Behind a cursor, the cursor is the tighter bound on the index; the plus keeps SQLite from taking this one.
            column = _column(kind, field) if not (after or before) else f"+{_column(kind, field)}"
            where += [f"{column} {COMPARISONS[comparison]} {bound:d}" for comparison, bound in bounds.items()]
        for object_id, sign in ((after, "<"), (before, ">")):
            if object_id:
                created, seq = self.db.execute(
                    f"SELECT created, seq FROM {kind} WHERE id = ?",  # noqa: S608
                    (object_id,),
                ).fetchone()
                where.append(f"(created, seq) {sign} ({created:d}, {seq:d})")
        if kind == "balance_transactions":
            where.append("NOT hidden")
        order = "ASC" if before else "DESC"
        query = (
            f"SELECT doc FROM {kind} WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY created {order}, seq {order} LIMIT {limit + 1:d}"
        )
        found = [json.loads(row[0]) for row in self.db.execute(query, values)]
        page = found[:limit]
        return (page[::-1] if before else page), len(found) > limit

    def find_by_intent(self, kind: str, payment_intent: str) -> list[Doc]:
        """All objects of this kind that belong to a payment intent, oldest first."""
        query = f"SELECT doc FROM {kind} WHERE payment_intent = ? ORDER BY seq"  # noqa: S608
        return [json.loads(row[0]) for row in self.db.execute(query, (payment_intent,))]


def _column(kind: str, field: str) -> str:
    """The expression that compares a top-level field of a document: in a column of its own if it has one."""
    columns = {"payment_intent", "created"} | (LINE_COLUMNS.keys() if kind == "balance_transactions" else set())
    return field if field in columns else f"json_extract(doc, '$.{field}')"

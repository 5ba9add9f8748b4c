"""`python -m examples.accounting`: the books of Paysaga as files, made of events alone.

    python -m examples.accounting --url nats://user:password@127.0.0.1:4222 --folder books

writes `books/{tenant}/{day}.jsonl`, a line for each posting by the day (in UTC) of its transaction, and
`books/{tenant}/trial-balance.csv`, their sums: what `paysaga ledger trial-balance --csv` shows of what is sealed. It
goes on until it is stopped; `--once`: until it has read everything. It needs no access to Paysaga's database: it
consumes `ledger.sealed` by `examples/consumer`, so each transaction counts once, whatever is killed or repeated.

A file is always whole, and written anew when something is added to its day. The seal runs every hour, so the files are
as much behind.
"""

import argparse
import asyncio
import csv
import io
import json
import logging
import sqlite3
from decimal import Decimal
from pathlib import Path

from examples.consumer.consumer import Event, Inbox, Source, run

COLUMNS = ("account", "currency", "debit", "credit")

TABLES = """
CREATE TABLE IF NOT EXISTS line (
    tenant TEXT NOT NULL, day TEXT NOT NULL, at TEXT NOT NULL, id TEXT NOT NULL, no INTEGER NOT NULL,
    text TEXT NOT NULL, PRIMARY KEY (tenant, day, at, id, no)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS balance (
    tenant TEXT NOT NULL, account TEXT NOT NULL, currency TEXT NOT NULL, amount TEXT NOT NULL,
    PRIMARY KEY (tenant, currency, account)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS to_write (tenant TEXT NOT NULL, day TEXT NOT NULL, PRIMARY KEY (tenant, day)) WITHOUT ROWID;
"""


def handle(database: sqlite3.Connection, event: Event) -> None:
    """Keep the postings of a part of the ledger, and note which files are to be written for it."""
    if event["type"] != "com.paysaga.ledger.sealed.v1":
        return
    tenant = event["tenantid"]
    for booked in event["data"]["transactions"]:
        day = booked["at"][:10]
        head = {name: booked[name] for name in booked if name != "postings"}
        for no, posting in enumerate(booked["postings"]):
            values = (tenant, day, booked["at"], booked["id"], no, json.dumps(head | posting))
            database.execute("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?)", values)
            _add(database, tenant, posting["account"], posting["currency"], Decimal(posting["amount"]))
        database.execute("INSERT OR IGNORE INTO to_write VALUES (?, ?)", (tenant, day))


def _add(database: sqlite3.Connection, tenant: str, account: str, currency: str, amount: Decimal) -> None:
    key = (tenant, account, currency)
    known = database.execute(
        "SELECT amount FROM balance WHERE tenant = ? AND account = ? AND currency = ?", key
    ).fetchone()
    total = amount + Decimal(known[0]) if known else amount
    database.execute("INSERT OR REPLACE INTO balance VALUES (?, ?, ?, ?)", (*key, str(total)))


def write(database: sqlite3.Connection, folder: Path) -> None:
    """Write the files of all days to which something was added. A day is crossed off after its file is there, so one
    that was killed in between writes it again."""
    days = database.execute("SELECT tenant, day FROM to_write").fetchall()
    for tenant, day in days:
        lines = database.execute(
            "SELECT text FROM line WHERE tenant = ? AND day = ? ORDER BY at, id, no", (tenant, day)
        )
        _replace(folder / tenant / f"{day}.jsonl", "".join(f"{line}\n" for (line,) in lines))
    for tenant in sorted({tenant for tenant, _ in days}):
        _replace(folder / tenant / "trial-balance.csv", _trial_balance(database, tenant))
    database.executemany("DELETE FROM to_write WHERE tenant = ? AND day = ?", days)


def _trial_balance(database: sqlite3.Connection, tenant: str) -> str:
    query = "SELECT account, currency, amount FROM balance WHERE tenant = ? ORDER BY currency, account"
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for account, currency, amount in database.execute(query, (tenant,)):
        total = Decimal(amount)
        table.writerow((account, currency, total if total > 0 else "", -total if total < 0 else ""))
    return file.getvalue()


def _replace(path: Path, text: str) -> None:
    """In one step: a reader of the file sees it whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def main() -> None:
    words = argparse.ArgumentParser(prog="python -m examples.accounting", description="The books as files.")
    words.add_argument("--url", required=True, help="nats://…, kafka://… or amqp://…")
    words.add_argument(
        "--folder", type=Path, required=True, help="where the files go, beside the state of this program"
    )
    words.add_argument("--name", default="accounting", help="under which the broker remembers how far it has read")
    words.add_argument("--once", action="store_true", help="end when there is nothing more to read")
    given = words.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.folder.mkdir(parents=True, exist_ok=True)
    inbox = Inbox(given.folder / "state.db", TABLES, handle)
    source = Source(given.url, given.name, "ledger")
    try:
        asyncio.run(run(source, inbox, idle=lambda: write(inbox.database, given.folder), once=given.once))
        write(inbox.database, given.folder)
    finally:
        inbox.close()


if __name__ == "__main__":
    main()

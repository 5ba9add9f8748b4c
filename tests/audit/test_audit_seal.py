"""The seal of the ledger: what is sealed cannot be changed unseen, whoever changes it and however it was written."""

import asyncio
import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db.core.database import FEW, Database
from db.core.snapshot import in_snapshot
from db.ledger import posting as ledger
from db.ledger import seal
from db.ledger.seal import Sealed
from db.ledger.verify import Verified
from db.ledger.verify import verify as verify_seal
from domain.ledger import Kind, Posting, Transaction
from domain.seal import GENESIS, Head
from embedded.stack import settings_environment
from tests.audit.command import Said, paysaga_command
from tests.audit.copies import Copy
from tests.support.databases import drop_database

CHANGE_A_FEE = (
    "UPDATE ledger_posting SET amount = -1 WHERE account = 'platform_fees' AND transaction_id ="
    " (SELECT id FROM ledger_transaction WHERE kind = 'capture' AND payment_id = :'paid')"
)


def environment(copy: Copy) -> dict[str, str]:
    url = {"PAYSAGA_DATABASE_URL": copy.stack.postgres.url(copy.name, "paysaga")}
    return {**os.environ, **settings_environment(copy.stack.settings), **url}


async def run(copy: Copy, *arguments: str) -> Said:
    return await paysaga_command(environment(copy), *arguments)


async def seal_all(database: Database, limit: int = 10_000) -> Sealed:
    return await database.run(lambda c: seal.seal(c, datetime.now(UTC), limit))


async def verify(database: Database, head: Head | None = None) -> Verified:
    return await in_snapshot(database, lambda c: verify_seal(c, expected=head))


def correction(amount: int = 5) -> Transaction:
    """Something to post, on accounts that are there: who opens one waits for whoever else is opening it."""
    lines = (
        Posting(account="platform_fees", currency="INR", amount=amount),
        Posting(account="psp_clearing:stripe", currency="INR", amount=-amount),
    )
    return Transaction(kind=Kind.ADJUSTMENT, source_id=f"adj_{secrets.token_hex(8)}", postings=lines)


async def post(database: Database, *, wait_s: float = 0.0) -> None:
    async def work(connection: Any) -> None:
        await ledger.post(connection, "acme", [correction()], datetime.now(UTC))
        await asyncio.sleep(wait_s)

    await database.run(work)


# --- what a change looks like ---


async def test_the_audit_names_the_posting_that_was_changed(copy: Copy) -> None:
    sale = await one(
        copy,
        "SELECT t.id, t.source_id, p.seq FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id"
        " WHERE t.kind = 'capture' AND t.payment_id = $1 AND p.account = 'platform_fees'",
        copy.names["paid"],
    )
    assert (await run(copy, "audit")).code == 0
    await copy.damage(CHANGE_A_FEE)
    said = await run(copy, "audit")
    assert said.code == 1
    changed = f"posting {sale['seq']} to platform_fees is -1 INR now, and was changed after it was sealed"
    assert f"{sale['id']} (acme): capture of {sale['source_id']}: {changed}" in " ".join(said.out.split())
    document = json.loads((await run(copy, "audit", "--json")).out)
    (found,) = [i for i in document["invariants"] if i["code"] == "I13"]
    assert [finding["object_id"] for finding in found["findings"]] == [sale["id"]]
    assert copy.names["head"] in found["note"]


async def test_a_change_that_balances_is_seen_by_the_seal_alone(copy: Copy) -> None:
    """The sums, the wallet and the order all agree with what was forged: only the hash does not."""
    await copy.damage(
        "UPDATE ledger_posting SET amount = amount + 1 WHERE account = 'psp_fees' AND amount > 0"
        " AND transaction_id = (SELECT id FROM ledger_transaction WHERE kind = 'psp_fee' AND payment_id = :'paid');"
        " UPDATE ledger_posting SET amount = amount - 1 WHERE account LIKE 'psp_clearing:%'"
        " AND transaction_id = (SELECT id FROM ledger_transaction WHERE kind = 'psp_fee' AND payment_id = :'paid');"
        " UPDATE ledger_balance SET amount = amount + CASE account WHEN 'psp_fees' THEN 1 ELSE -1 END"
        " WHERE (account = 'psp_fees' OR account LIKE 'psp_clearing:%') AND tenant_id = 'acme' AND currency = 'INR';"
        " UPDATE charge SET fee = fee || jsonb_build_object('amount', (fee->>'amount')::int + 1)"
        " WHERE payment_id = :'paid'"
    )
    document = json.loads((await run(copy, "audit", "--json")).out)
    assert {i["code"]: i["violations"] for i in document["invariants"] if i["violations"]} == {"I13": 2}


async def test_more_is_counted_than_named(copy: Copy) -> None:
    await copy.damage("UPDATE ledger_transaction SET tenant_id = 'nobody'")
    whole = await verify(copy.database)
    few = await in_snapshot(copy.database, lambda c: verify_seal(c, broken_max=3))
    assert few.violations == whole.violations == whole.transactions
    assert [len(few.broken), len(whole.broken)] == [3, min(100, whole.violations)]


async def one(copy: Copy, query: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(copy.stack.postgres.url(copy.name))
    try:
        return await connection.fetchrow(query, *arguments)
    finally:
        await connection.close()


# --- the head ---


async def test_a_chain_that_was_written_anew_is_whole_and_leads_elsewhere(copy: Copy) -> None:
    """Whoever owns the database can do this, so the head is kept where that person is not."""
    written_down = copy.names["head"]
    assert (await run(copy, "audit", "--head", written_down)).code == 0
    assert (await run(copy, "ledger", "verify", "--head", written_down)).code == 0
    await copy.damage(f"{CHANGE_A_FEE}; DELETE FROM ledger_seal_row; DELETE FROM ledger_seal")
    await seal_all(copy.database)
    anew = await run(copy, "ledger", "verify")
    assert (anew.code, anew.err) == (0, "")
    for command in (("ledger", "verify"), ("audit",)):
        said = await run(copy, *command, "--head", written_down)
        assert said.code == 1
        assert f"block {written_down.partition(':')[0]}" in said.out
        assert "when it was written down" in said.out


async def test_a_chain_that_was_cut_off_is_missed_by_its_head(copy: Copy) -> None:
    head = Head.parse(copy.names["head"])
    await copy.damage(
        f"DELETE FROM ledger_seal_row WHERE seal_no = {head.no}; DELETE FROM ledger_seal WHERE no = {head.no}"
    )
    assert (await verify(copy.database)).violations == 0
    found = await verify(copy.database, head)
    assert [(b.object_id, b.problem) for b in found.broken] == [
        (f"block {head.no}", "was the head of the chain when it was written down, and is not there")
    ]


async def test_an_older_head_is_still_on_the_way(copy: Copy) -> None:
    older = Head.parse(copy.names["head"])
    await post(copy.database)
    newer = (await seal_all(copy.database)).head
    assert newer is not None
    assert newer.no > older.no
    assert (await verify(copy.database, older)).violations == 0


@pytest.mark.parametrize("head", ["", "7", "7:abc", f"0:{'a' * 64}", f"x:{'a' * 64}"])
async def test_what_is_no_head_is_said_so(copy: Copy, head: str) -> None:
    said = await run(copy, "ledger", "verify", "--head", head)
    assert said.code == 2
    assert "NO:HASH" in said.err


# --- the bytes ---


def field(value: object) -> str:
    return "-" if value is None else f"{len(str(value))}:{value}"


def sha(tag: str, values: Sequence[object]) -> bytes:
    return hashlib.sha256((tag + "".join(field(value) for value in values)).encode()).digest()


async def test_the_documented_bytes_make_the_hashes(copy: Copy) -> None:
    """Somebody who has the rows and the description of `db.seal` comes to the same head, without our code."""
    connection = await asyncpg.connect(copy.stack.postgres.url(copy.name))
    blocks = await connection.fetch("SELECT no, hash FROM ledger_seal ORDER BY no")
    rows = await connection.fetch(
        "SELECT r.seal_no, t.* FROM ledger_seal_row r JOIN ledger_transaction t ON t.id = r.transaction_id"
        " ORDER BY r.seal_no, t.seq"
    )
    lines = await connection.fetch("SELECT * FROM ledger_posting ORDER BY seq")
    await connection.close()
    hashes: dict[int, bytes] = {}
    for row in rows:
        micros = round(row["at"].timestamp() * 1_000_000)
        names = ("id", "seq", "tenant_id", "kind", "source_id", "payment_id", "order_id", "corrects")
        whole = sha("t1", [*(row[name] for name in names), micros])
        for line in (line for line in lines if line["transaction_id"] == row["id"]):
            whole += sha("p1", [line[name] for name in ("seq", "tenant_id", "account", "currency", "amount")])
        hashes[row["seal_no"]] = hashes.get(row["seal_no"], b"") + hashlib.sha256(whole).digest()
    previous = GENESIS
    assert len(blocks) > 3
    for block in blocks:
        previous = hashlib.sha256(previous + block["no"].to_bytes(8, "big") + hashes[block["no"]]).digest()
        assert previous == block["hash"], block["no"]
    assert copy.names["head"] == f"{blocks[-1]['no']}:{previous.hex()}"


# --- sealing ---


async def test_what_is_posted_after_the_last_seal_waits_and_is_no_violation(copy: Copy) -> None:
    before = await verify(copy.database)
    assert before.waiting > 0
    said = await run(copy, "audit")
    assert said.code == 0
    assert f"{before.waiting} transactions wait for the next one, the oldest since" in said.out
    assert copy.names["head"] in said.out
    sealed = await run(copy, "ledger", "seal")
    assert f"{before.waiting} transactions sealed in 1 block." in sealed.out
    head = Head.parse(re.findall(r"^\d+:[0-9a-f]{64}$", sealed.out, re.MULTILINE)[0])
    after = await verify(copy.database, head)
    assert (after.waiting, after.violations, after.head) == (0, 0, head)
    assert after.transactions == before.transactions + before.waiting
    again = await run(copy, "ledger", "seal")
    assert "Nothing was left to seal." in again.out
    assert str(head) in again.out
    assert "all as they were sealed" in (await run(copy, "ledger", "verify")).out


async def test_two_who_seal_at_once_make_one_chain(copy: Copy) -> None:
    await copy.damage("DELETE FROM ledger_seal_row; DELETE FROM ledger_seal")
    made = await asyncio.gather(*(seal_all(copy.database, limit=15) for _ in range(6)))
    assert sum(one.transactions for one in made) == 90
    assert len({one.head for one in made}) == 6
    found = await verify(copy.database)
    assert (found.violations, found.blocks, found.transactions) == (0, 6, 90)


async def test_a_number_that_commits_late_is_waited_for_and_sealed_in_its_place(copy: Copy) -> None:
    """Its transaction took its number before others that are committed already."""
    await seal_all(copy.database)
    last = (await verify(copy.database)).head
    async with copy.database.engine.connect() as late:
        await late.begin()
        await ledger.post(late, "acme", [correction()], datetime.now(UTC))
        for _ in range(3):
            await post(copy.database)
        held_up = await seal_all(copy.database)
        assert (held_up.held_up, held_up.transactions, held_up.head) == (1, 0, last)
        assert "1 writer has not ended" in (await run(copy, "ledger", "seal")).out
        waiting = asyncio.create_task(seal_all(copy.database))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await late.commit()
    assert ((await waiting).held_up, (await waiting).transactions) == (0, 4)
    found = await verify(copy.database)
    assert (found.violations, found.waiting) == (0, 0)


async def test_a_number_that_is_rolled_back_leaves_a_gap_and_holds_nothing_up(copy: Copy) -> None:
    await seal_all(copy.database)
    async with copy.database.engine.connect() as undone:
        await undone.begin()
        await ledger.post(undone, "acme", [correction()], datetime.now(UTC))
        await post(copy.database)
        await undone.rollback()
    assert (await seal_all(copy.database)).transactions == 1
    assert (await verify(copy.database)).violations == 0


async def test_who_only_reads_holds_nothing_up(copy: Copy) -> None:
    async with copy.database.engine.connect() as reader:
        await reader.begin()
        await reader.exec_driver_sql("SELECT count(*) FROM ledger_transaction")
        await reader.exec_driver_sql("UPDATE merchant SET name = 'x' WHERE seller_account = 'anna'")
        assert (await seal_all(copy.database)).transactions > 0
        await reader.rollback()


async def test_nothing_is_left_out_while_others_post(copy: Copy) -> None:
    """Writers that take their numbers in one order and commit in another, all the while."""
    stop = asyncio.Event()

    async def write(number: int) -> int:
        posted = 0
        while not stop.is_set():
            await post(copy.database, wait_s=0.002 * ((number * 7 + posted) % 9))
            posted += 1
        return posted

    writers = [asyncio.create_task(write(number)) for number in range(5)]
    before = (await seal_all(copy.database)).transactions
    sealed = 0
    for _ in range(12):
        await asyncio.sleep(0.1)
        sealed += (await seal_all(copy.database, limit=40)).transactions
    stop.set()
    posted = sum(await asyncio.gather(*writers))
    while (last := await seal_all(copy.database, limit=1000)).more or last.transactions:
        sealed += last.transactions
    found = await verify(copy.database)
    assert sealed > 0
    assert (found.violations, found.waiting) == (0, 0)
    everything = await one(copy, "SELECT count(*) AS n FROM ledger_transaction")
    assert found.transactions == everything["n"]
    assert posted <= sealed + before


async def test_the_application_cannot_change_a_seal(copy: Copy) -> None:
    connection = await asyncpg.connect(copy.stack.postgres.url(copy.name, "paysaga"))
    try:
        for table in ("ledger_seal", "ledger_seal_row"):
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}", f"UPDATE {table} SET {_set(table)}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
    finally:
        await connection.close()
    owner = await asyncpg.connect(copy.stack.postgres.url(copy.name))
    try:
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute("DELETE FROM ledger_seal_row")
    finally:
        await owner.close()


def _set(table: str) -> str:
    return "transactions = 0" if table == "ledger_seal" else "seq = 0"


async def test_a_restored_dump_is_verified_and_sealed_on(copy: Copy, tmp_path: Path) -> None:
    """Into another cluster, where transaction ids start again: those of the rows are far above those to come."""
    await copy.damage("UPDATE ledger_transaction SET xact = xact + 1000000000")
    dump, restored = tmp_path / "ledger.sql", f"restored{secrets.token_hex(4)}"
    postgres = copy.stack.postgres
    await postgres._command("pg_dump", "-d", copy.name, "-f", str(dump))
    await postgres.create_database(restored)
    try:
        await postgres._command("psql", "-X", "-q", "-d", restored, "-v", "ON_ERROR_STOP=1", "-f", str(dump))
        database = Database(postgres.url(restored, "paysaga"), pool_size=FEW, timeout_s=20)
        found = await verify(database, Head.parse(copy.names["head"]))
        assert (found.violations, str(found.head)) == (0, copy.names["head"])
        for _ in range(3):
            await post(database)
        assert (await seal_all(database)).transactions == found.waiting + 3
        after = await verify(database, Head.parse(copy.names["head"]))
        assert (after.violations, after.waiting) == (0, 0)
        await database.close()
    finally:
        await drop_database(postgres, restored)

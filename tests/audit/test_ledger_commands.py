"""`paysaga ledger …`: balances and statements as finance reads them, on the terminal and as CSV."""

import csv
import io
import re
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from db.ledger.statement import Period, whole_statement
from domain.statement import Closing, Entry, Line, Turnover
from tests.audit.copies import Copy
from tests.audit.test_audit_seal import run


async def test_balances_are_plain_numbers_on_their_own_side(copy: Copy) -> None:
    said = await run(copy, "ledger", "balance", "--tenant", "acme")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"wallet:fay:available +acme +liability +[0-9.]+ INR", said.out)
    assert re.search(r"payout_in_transit +acme +liability +600\.00 INR", said.out)
    one = await run(copy, "ledger", "balance", "payout_float", "--at", "2099-01-01")
    assert re.search(r"payout_float +acme +asset +400\.00 INR", one.out)
    past = await run(copy, "ledger", "balance", "payout_float", "--at", "2020-01-01T12:00:00+02:00")
    assert "before 2020-01-01 10:00:00 UTC" in past.out
    assert re.search(r"payout_float +acme +asset +0\.00 INR", past.out)
    unknown = await run(copy, "ledger", "balance", "nothing")
    assert (unknown.code, unknown.err) == (
        1,
        "paysaga: There is no account nothing: `paysaga ledger trial-balance` shows them.\n",
    )


async def test_both_sides_of_the_trial_balance_are_equal(copy: Copy, tmp_path: Path) -> None:
    said = await run(copy, "ledger", "trial-balance", "--tenant", "acme")
    found = re.search(r"both sides are equal +([0-9.]+) +([0-9.]+)", said.out)
    assert found is not None, said.out
    assert found[1] == found[2]
    file = tmp_path / "books.csv"
    written = await run(copy, "ledger", "trial-balance", "--tenant", "acme", "--csv", str(file))
    assert written.code == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    for side in ("debit", "credit"):
        assert sum(round(float(row[side]) * 100) for row in rows if row[side]) == round(float(found[1]) * 100)
    await copy.damage("UPDATE ledger_balance SET amount = amount + 1 WHERE account = 'payout_float'")
    assert "the sides differ" in (await run(copy, "ledger", "trial-balance")).out


async def test_the_postings_of_an_account_are_its_balance(copy: Copy) -> None:
    said = await run(copy, "ledger", "transactions", "--tenant", "acme", "--account", "payout_float")
    assert (said.code, said.err) == (0, "")
    rows = [row for row in csv.DictReader(io.StringIO(said.out)) if row["account"] == "payout_float"]
    debit, credit = (sum(round(float(row[side] or 0) * 100) for row in rows) for side in ("debit", "credit"))
    assert debit - credit == 400_00
    past = await run(copy, "ledger", "transactions", "--to", "2020-01-01")
    assert len(past.out.splitlines()) == 1, "the columns alone"


async def test_a_statement_of_a_seller_who_owed_us(copy: Copy, tmp_path: Path) -> None:
    said = await run(copy, "ledger", "statement", "gil", "--from", "2026-01-01")
    assert said.code == 0, said.err
    words = [
        "opening balance", "sale", "set aside for a refund", "refunded to the buyer", "sale", "became available",
        "kept back for what was owed", "payout", "closing balance",
    ]  # fmt: skip
    pattern = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(.*?) {2,}", re.MULTILINE)
    assert [found[1] for found in pattern.finditer(said.out)] == words
    assert copy.names["pt_debtor"] in said.out
    file = tmp_path / "gil.csv"
    assert (await run(copy, "ledger", "statement", "gil", "--from", "2026-01-01", "--csv", str(file))).code == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["description"] for row in rows] == [*words[:-1], "totals", words[-1]]
    for part in ("pending", "available", "reserved", "owed", "total"):
        moved = sum(round(float(row[part]) * 100) for row in rows[1:-2])
        assert moved == round(float(rows[-1][f"balance_{part}"]) * 100) == 0
    for part in ("gross", "fee", "net"):
        assert sum(round(float(row[part]) * 100) for row in rows[1:-2]) == round(float(rows[-2][part]) * 100)
    assert re.search(rf"totals +{rows[-2]['gross']} +{rows[-2]['fee']} +{rows[-2]['net']}", said.out), said.out
    by_wallet = await run(copy, "ledger", "statement", "gil", "--from", "2026-01-01", "--wallet")
    assert re.search(r"pending +available +reserved +owed +balance", by_wallet.out)
    piped = await run(copy, "ledger", "statement", "gil", "--from", "2026-01-01", "--csv", "-")
    assert [row["description"] for row in csv.DictReader(io.StringIO(piped.out))][-2:] == ["totals", words[-1]]


WALLETS = "SELECT tenant_id, seller_account, currency, pending + available + reserved - receivable AS total FROM wallet"
KEPT = """
    SELECT tenant_id, currency, -sum(amount) AS fee FROM ledger_posting p
    WHERE account IN ('platform_fees', 'psp_fees') AND EXISTS (
        SELECT FROM ledger_posting w WHERE w.transaction_id = p.transaction_id AND w.account ~ '^(wallet|receivable):'
    ) GROUP BY 1, 2 HAVING sum(amount) <> 0
"""


async def test_statements_add_up_to_the_books(copy: Copy) -> None:
    """Net is what the sellers' wallets hold, and fees are what the books have on the accounts of fees."""
    since, until = datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
    fees: dict[tuple[str, str], int] = {}
    for wallet in (await copy.database.read(lambda c: c.execute(text(WALLETS)))).all():
        entries: list[Entry] = []
        period = Period(wallet.tenant_id, wallet.seller_account, wallet.currency, since, until)
        await whole_statement(copy.database, period, entries.append)
        turnover = sum((entry.turnover for entry in entries if isinstance(entry, Line)), Turnover())
        assert isinstance(entries[-1], Closing)
        assert entries[-1].turnover == turnover
        assert turnover.net == turnover.gross - turnover.fee == wallet.total, period
        whose = (wallet.tenant_id, wallet.currency)
        fees[whose] = fees.get(whose, 0) + turnover.fee
    kept = {(row.tenant_id, row.currency): row.fee for row in await copy.database.read(lambda c: c.execute(text(KEPT)))}
    assert {whose: fee for whose, fee in fees.items() if fee} == kept != {}


async def test_what_cannot_be_stated_is_one_sentence(copy: Copy) -> None:
    for arguments, sentence in (
        (("nobody", "--from", "2026-01-01"), "There is no merchant nobody"),
        (("anna", "--from", "2026-01-01"), "Several tenants have a merchant anna"),
        (("gil", "--from", "2026-01-01", "--currency", "XXQ"), "is not an ISO 4217 currency code"),
        (("gil", "--from", "2026-01-01", "--csv", "/nowhere/x.csv"), "/nowhere/x.csv cannot be written"),
    ):
        said = await run(copy, "ledger", "statement", *arguments)
        assert said.code == 1
        assert sentence in said.err
    for wrong in (("gil", "--from", "then"), ("gil",), ("gil", "--from", "2026-01-02", "--to", "2026-01-01")):
        assert (await run(copy, "ledger", "statement", *wrong)).code == 2

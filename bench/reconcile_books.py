"""The books that `bench.reconcile` matches: N paid orders in PostgreSQL, the PSP's settlement file about them, and the
discrepancies that are planted between the two, each known by its class and its name."""

# ruff: noqa: S608 - the queries are put together from constants of this file

import csv
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from domain.reconciliation.reconciliation import LineClass

DAY = datetime(2026, 1, 15, tzinfo=UTC)
WINDOW = (DAY, DAY + timedelta(days=1))
AT = WINDOW[1]
"""When the run is: what was booked before noon is missing by then, what came later is still expected."""
LISTING_GRACE_S = 43_200.0
BOOKING_GRACE_S = 3_600.0

AMOUNT, PLATFORM_FEE, FEE = 50_000, 1_500, 1_250
"""Of each order, in paise."""


@dataclass(frozen=True)
class Planted:
    """Numbers of orders, by what is wrong with them. `extra`: lines that belong to no order, by when they occurred."""

    orders: int
    unlisted: frozenset[int]
    amount: frozenset[int]
    currency: frozenset[int]
    fee_other: frozenset[int]
    fee_unbooked: frozenset[int]
    twice: frozenset[int]
    again: frozenset[int]
    status: frozenset[int]
    extra: tuple[float, ...]
    expected: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def plant(orders: int, breaks: int) -> Planted:
    """`breaks` discrepancies, as many of each class; the same ones every time."""
    chance = random.Random(orders)  # noqa: S311 - a repeatable choice
    each = breaks // 8
    noon = int(orders * LISTING_GRACE_S / 86_400)
    early = chance.sample(range(1, noon), 6 * each)
    late = chance.sample(range(noon + 1, orders), each - each // 2)
    pick = [frozenset(early[i * each : (i + 1) * each]) for i in range(6)]
    half = each // 2
    fees, doubles = sorted(pick[3]), sorted(pick[4])
    planted = Planted(
        orders=orders,
        unlisted=pick[0] | frozenset(late),
        amount=pick[1],
        currency=pick[2],
        fee_other=frozenset(fees[:half]),
        fee_unbooked=frozenset(fees[half:]),
        twice=frozenset(doubles[:half]),
        again=frozenset(doubles[half:]),
        status=pick[5],
        # Those of the last hour may still be on their way here.
        extra=(
            *(chance.uniform(0, 80_000) for _ in range(each)),
            *(chance.uniform(86_400 - BOOKING_GRACE_S + 60, 86_399) for _ in range(half)),
        ),
    )
    return Planted(**{**planted.__dict__, "expected": frozenset(_expected(planted, pick[0], frozenset(late), each))})


def _expected(planted: Planted, early: frozenset[int], late: frozenset[int], each: int) -> Iterator[tuple[str, str]]:
    """(class, our object or the line)."""
    by_class: Mapping[LineClass, Iterator[str]] = {
        LineClass.MISSING_AT_PSP: (charge_id(n) for n in early),
        LineClass.AMOUNT: (charge_id(n) for n in planted.amount),
        LineClass.CURRENCY: (charge_id(n) for n in planted.currency),
        LineClass.FEE: (charge_id(n) for n in planted.fee_other | planted.fee_unbooked),
        LineClass.STATUS: (charge_id(n) for n in planted.status),
    }
    for cls, names in by_class.items():
        yield from ((cls, name) for name in names)
    yield from ((LineClass.TIMING, charge_id(n)) for n in late)
    yield from ((LineClass.DUPLICATE, txn(n)) for n in planted.twice)
    yield from ((LineClass.DUPLICATE, again(n)) for n in planted.again)
    for i in range(len(planted.extra)):
        yield (LineClass.MISSING_HERE if i < each else LineClass.TIMING), extra(i)


def charge_id(n: int) -> str:
    return f"ch_{n:026x}"


def txn(n: int) -> str:
    return f"txn_{n * 2_654_435_761 % 2**32:08x}{n:08x}"


def again(n: int) -> str:
    return f"txn_again_{n:08x}"


def extra(i: int) -> str:
    return f"txn_extra_{i:08x}"


# --- ours ---

_NUMBERED = "generate_series($1::int, $2::int) AS n"
_TXN = "'txn_' || lpad(to_hex(n::bigint * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(n), 8, '0')"


def _id(prefix: str) -> str:
    return f"'{prefix}_' || lpad(to_hex(n), 26, '0')"


_AT = "$3::timestamptz + n * $4::float8 * interval '1 second'"

_LOAD = (
    f"""
    INSERT INTO payment (id, tenant_id, buyer_id, amount, currency, status, psp, method, token, on_partial_failure,
                         metadata, is_payment_done, created_at, updated_at)
    SELECT {_id("pay")}, 'bench', 'buyer', {AMOUNT}, 'INR', CASE WHEN n = ANY ($5::int[]) THEN 'EXECUTING'
           ELSE 'SUCCESS' END, 'stripe', 'card', '\\x00', 'compensate_all', '{{}}', true, {_AT}, {_AT} FROM {_NUMBERED}
    """,
    f"""
    INSERT INTO payment_order (id, tenant_id, payment_id, position, payment_order_id, seller_account, amount, currency,
                               platform_fee, captured_amount, captured_fee, status, wallet_updated, ledger_updated)
    SELECT {_id("po")}, 'bench', {_id("pay")}, 0, 'order-' || n, 'anna', {AMOUNT}, 'INR', {PLATFORM_FEE},
           CASE WHEN n = ANY ($5::int[]) THEN 0 ELSE {AMOUNT} END, 0,
           CASE WHEN n = ANY ($5::int[]) THEN 'EXECUTING' ELSE 'SUCCESS' END, true, true
    FROM {_NUMBERED} WHERE $3::timestamptz IS NOT NULL AND $4::float8 IS NOT NULL
    """,
    f"""
    INSERT INTO charge (id, tenant_id, payment_id, attempt, psp, key, amount, currency, send_until, outcome, reference,
                        received_amount, received_currency, fee, booked, last_answer_at)
    SELECT {_id("ch")}, 'bench', {_id("pay")}, 1, 'stripe', 'pay_' || n || ':charge:1', {AMOUNT}, 'INR', {_AT},
           CASE WHEN open THEN NULL ELSE 'SUCCEEDED' END, 'pi_' || lpad(to_hex(n), 24, '0'),
           CASE WHEN NOT open THEN {AMOUNT} END, CASE WHEN NOT open THEN 'INR' END,
           CASE WHEN NOT open THEN jsonb_build_object('reference', {_TXN}, 'amount', {FEE}, 'currency', 'INR') END,
           NOT open, {_AT}
    FROM (SELECT n, n = ANY ($5::int[]) AS open FROM {_NUMBERED}) numbered
    """,
    f"""
    INSERT INTO ledger_transaction (id, tenant_id, kind, source_id, payment_id, order_id, at, xact)
    SELECT {_id("lt")}, 'bench', 'capture', {_id("po")}, {_id("pay")}, {_id("po")}, {_AT} + interval '2 seconds', 0
    FROM {_NUMBERED} WHERE NOT n = ANY ($5::int[])
    UNION ALL
    SELECT 'lt_f' || lpad(to_hex(n), 25, '0'), 'bench', 'psp_fee', 'stripe:' || {_TXN}, {_id("pay")}, NULL,
           {_AT} + interval '2 seconds', 0
    FROM {_NUMBERED} WHERE NOT n = ANY ($5::int[]) AND NOT n = ANY ($6::int[])
    """,
    f"""
    INSERT INTO ledger_posting (tenant_id, transaction_id, account, currency, amount)
    SELECT 'bench', {_id("lt")}, p.account, 'INR', p.amount FROM {_NUMBERED}
    CROSS JOIN (VALUES ('psp_clearing:stripe', {AMOUNT}), ('wallet:anna:pending', {PLATFORM_FEE - AMOUNT}),
                       ('platform_fees', {-PLATFORM_FEE})) AS p(account, amount)
    WHERE NOT n = ANY ($5::int[]) AND $3::timestamptz IS NOT NULL AND $4::float8 IS NOT NULL
    UNION ALL
    SELECT 'bench', 'lt_f' || lpad(to_hex(n), 25, '0'), p.account, 'INR', p.amount FROM {_NUMBERED}
    CROSS JOIN (VALUES ('psp_fees', {FEE}), ('psp_clearing:stripe', {-FEE})) AS p(account, amount)
    WHERE NOT n = ANY ($5::int[]) AND NOT n = ANY ($6::int[])
    """,
)

_BATCH = 50_000


async def load(owner_url: str, planted: Planted) -> None:
    """As the schema's owner, with the triggers off: these are the books after a day, not the day."""
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("INSERT INTO tenant (id, name) VALUES ('bench', 'bench')")
        await connection.execute("INSERT INTO merchant (id, tenant_id, seller_account) VALUES ('mer', 'bench', 'anna')")
        gap_s = 86_400 / (planted.orders + 1)
        status, unbooked = sorted(planted.status), sorted(planted.fee_unbooked)
        for first in range(1, planted.orders + 1, _BATCH):
            last = min(first + _BATCH - 1, planted.orders)
            for statement in _LOAD:
                values: list[Any] = [first, last, DAY, gap_s, status, unbooked]
                await connection.execute(statement, *values[: 6 if "$6" in statement else 5])
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


# --- the PSP's ---

COLUMNS = (
    "balance_transaction_id", "created_utc", "available_on_utc", "currency", "gross", "fee", "net",
    "reporting_category", "source_id", "charge_id", "payment_intent_id", "payment_metadata[paysaga_charge]",
)  # fmt: skip


def write_file(path: Path, planted: Planted, *, named: bool = True) -> int:
    """The settlement file; how many lines it has. Unless `named`, without the column that has our ids, as the report is
    when nobody asks for it."""
    lines = 0
    columns = len(COLUMNS) - (not named)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS[:columns])
        for row in _rows(planted):
            writer.writerow(row[:columns])
            lines += 1
    return lines


def _rows(planted: Planted) -> Iterator[tuple[str, ...]]:
    gap_s = 86_400 / (planted.orders + 1)
    for n in range(1, planted.orders + 1):
        if n in planted.unlisted:
            continue
        amount = AMOUNT - 1_000 if n in planted.amount else AMOUNT
        fee = FEE + 100 if n in planted.fee_other else FEE
        currency = "usd" if n in planted.currency else "inr"
        row = _row(txn(n), n * gap_s, currency, amount, fee, f"pi_{n:024x}", charge_id(n))
        yield row
        if n in planted.twice:
            yield row
        if n in planted.again:
            yield _row(again(n), n * gap_s + 1, currency, amount, 0, f"pi_{n:024x}", charge_id(n))
    for i, at_s in enumerate(planted.extra):
        yield _row(extra(i), at_s, "inr", 77_700, 0, f"pi_extra_{i}", f"ch_{2**100 + i:026x}")


def _row(name: str, at_s: float, currency: str, amount: int, fee: int, intent: str, ours: str) -> tuple[str, ...]:
    moment = (DAY + timedelta(seconds=at_s)).strftime("%Y-%m-%d %H:%M:%S")
    money = (f"{n // 100}.{n % 100:02d}" for n in (amount, fee, amount - fee))
    return (name, moment, moment, currency, *money, "charge", f"ch_3{intent[3:]}", f"ch_3{intent[3:]}", intent, ours)

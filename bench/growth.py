"""`python -m bench.growth`: the cost of a payment as the books grow. One busy merchant beside a thousand; twenty
thousand payments one after the other; and a database with a million of them beside an empty one, in alternating rounds.

`PAYSAGA_BENCH_PAYMENTS` (20000) and `PAYSAGA_BENCH_STORED` (1000000) make it another size. JSON at the end; it takes
twenty minutes.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
from pydantic import BaseModel

from bench.costs import Processes
from bench.growth_books import multiply
from bench.host import Host
from bench.leaving import leave_after
from bench.options import Lane, Options
from bench.plan import Opening
from bench.results import SUBJECTS, Cell, Line
from bench.rounds import Rounds
from bench.stage import Stage
from bench.summary import lines_of
from db.audit.audit import audit_database
from db.core.database import Database
from embedded.display import QuietDisplay
from embedded.stack import DATABASE

_PAYMENTS = int(os.environ.get("PAYSAGA_BENCH_PAYMENTS", "20000"))
_STORED = int(os.environ.get("PAYSAGA_BENCH_STORED", "1000000"))
_SELLERS = 1_000
_AT_ONCE = 10
_ROUNDS = 5
_ROUND_S = 8.0
_PART_S = 40.0
_AUDIT_TIMEOUT_S = 300.0
_OPTIONS = Options(
    seconds=_ROUND_S,
    rounds=_ROUNDS,
    concurrency=(_AT_ONCE,),
    psp="cheap",
    psp_s=0.05,
    subjects=("http",),
    counted=0,
    shapes=(),
)
_LANE = Lane("http", "one", _AT_ONCE)


class Part(BaseModel):
    """Some of the twenty thousand. `memory_mb`: resident, at their end."""

    payments: int
    line: Line
    memory_mb: dict[str, float]


class Report(BaseModel):
    """`stored`: payments in the larger database. `audit`: findings before rows were copied."""

    merchants: dict[str, Line] = {}
    parts: list[Part] = []
    stored: int = 0
    sizes: dict[str, Line] = {}
    audit: list[str] = []


@asynccontextmanager
async def paid_to(stage: Stage, sellers: list[str], name: str) -> AsyncIterator[Rounds]:
    """Rounds of payments to these sellers."""
    opening = Opening(
        subject="http",
        api_url=stage.stack.api_url,
        database_url=stage.stack.postgres.url(DATABASE),
        psp_key="",
        psp_s=0,
        sellers=sellers,
    )
    environment = {**os.environ, **stage.stack.environment()}
    async with Host.started(opening, environment, stage.stack.home.log(f"load-{name}")) as host:
        await host.opened()
        processes = Processes({**stage.processes.pids, "http": host.pid}, stage.processes.trees)
        yield Rounds(replace(stage, hosts={"http": host}, processes=processes), QuietDisplay())


def line_of(cells: Sequence[Cell]) -> Line:
    """The medians of some rounds."""
    (line,) = lines_of({(SUBJECTS, _LANE): cells})
    return line


async def alternating(rounds: dict[str, Rounds]) -> dict[str, Line]:
    """The medians of each, measured in turn, forwards and backwards."""
    cells: dict[str, list[Cell]] = {name: [] for name in rounds}
    for number in range(_ROUNDS):
        for name in list(rounds) if number % 2 else list(reversed(rounds)):
            cells[name].append(await rounds[name].cell(_LANE, number))
    return {name: line_of(found) for name, found in cells.items()}


async def grown(spread: Rounds, say: Any) -> list[Part]:
    """Payments until there are as many as were asked for, in parts."""
    longer = Rounds(replace(spread.stage, options=replace(_OPTIONS, seconds=_PART_S)), QuietDisplay())
    parts: list[Part] = []
    made = 0
    while made < _PAYMENTS:
        cell = await longer.cell(_LANE, len(parts))
        made += cell.sent
        memory = {name: round(used, 1) for name, used in spread.stage.processes.memory_mb().items()}
        parts.append(Part(payments=made, line=line_of([cell]), memory_mb=memory))
        say(f"{made:,} payments: {cell.per_s:.0f} a second, {memory}")
    return parts


async def measure(say: Any) -> Report:
    report = Report()
    async with Stage.started(_OPTIONS, QuietDisplay()) as empty, Stage.started(_OPTIONS, QuietDisplay()) as full:
        sellers = [f"one-of-many-{number}" for number in range(_SELLERS)]
        for seller in sellers:
            await full.books.add_seller(seller)
        say("two stacks are up")
        async with paid_to(full, sellers, "many") as many, paid_to(full, sellers[:1], "one") as one:
            await alternating({"warm": many})
            report.merchants = await alternating({"a thousand": many, "one": one})
            say(", ".join(f"{name}: {line.per_s} a second" for name, line in report.merchants.items()))
            report.parts = await grown(many, say)
        database = Database(full.stack.postgres.url(DATABASE), pool_size=1, timeout_s=_AUDIT_TIMEOUT_S)
        report.audit = [str(finding) for finding in await audit_database(database)]
        await database.close()
        owner = await asyncpg.connect(full.stack.postgres.url(DATABASE))
        made = await owner.fetchval("SELECT count(*) FROM payment")
        await multiply(owner, -(-_STORED // made) - 1)
        report.stored = await owner.fetchval("SELECT count(*) FROM payment")
        await owner.close()
        say(f"{report.stored:,} payments are stored")
        rounds = {"empty": Rounds(empty, QuietDisplay()), "full": Rounds(full, QuietDisplay())}
        await alternating(rounds)  # both are warm then
        report.sizes = await alternating(rounds)
    return report


def main() -> int:
    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    report = asyncio.run(measure(say))
    sys.stdout.write(report.model_dump_json() + "\n")
    return 1 if report.audit else 0


if __name__ == "__main__":
    leave_after(main)

"""A day of the demo: checkouts of every kind at a PSP that has a bad one, its end with payouts, and its reconciliation
against books of the PSP in which something is wrong."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.text import Text

from config.settings import Settings
from demo.day.checkouts import Day, day_table, send_day
from demo.day.findings import findings
from demo.day.payouts import PayoutDay, end_the_day, open_sellers, payouts_table
from demo.day.plants import Plant, Planter, hold_unseen
from demo.day.reconciliation import Reconciled, Reconciler, differences, miscounted, unfinished, window_since
from demo.shop import Psp, Shop
from domain.reconciliation.reconciliation import ReconciliationReport, Subject
from runtime.wiring import Runtime, open_runtime

DAY_SETTINGS = {
    "reconcile_grace_s": 15.0,
    "reconcile_here_grace_s": 1.0,
    "reconcile_verify_s": 1.0,
    "payout_poll_first_s": 2.0,
}
"""What takes days in earnest and must be seen within a minute: when something is missing, when it is looked for."""


@dataclass(frozen=True)
class DayContext:
    """The stack of the day, the day's size, and the file for the report of its reconciliation."""

    console: Console
    settings: Settings
    shop: Shop
    psp: Psp
    checkouts: int
    report: Path


async def tell_day(context: DayContext) -> list[str]:
    """Show the day; a sentence for each thing that ended otherwise than it should."""
    began = datetime.now(UTC)
    async with open_runtime(context.settings, application="demo") as runtime:
        await open_sellers(context.shop)
        held = await hold_unseen(context.shop, context.psp)
        day = await _send(context)
        context.console.print(day_table(day))
        if day.wrong:
            return day.wrong
        planter = Planter(context.shop, context.psp, day, held)
        plants = await planter.charges()
        payouts = await _pay_out(context, runtime)
        context.console.print("", _title("The reconciliation, against books in which something is wrong"), sep="\n")
        with context.console.status("Planting …"):
            plants += await _plant(planter, payouts)
        with context.console.status("Reconciling …"):
            reconciler = Reconciler(runtime, window_since(began))
            done = await _reconcile(context, reconciler, planter, plants, payouts)
        context.console.print(findings(done))
        return payouts.wrong + done.wrong


# --- the checkouts ---


async def _send(context: DayContext) -> Day:
    context.console.print("", _title(f"A day of {context.checkouts} checkouts"), sep="\n")
    with _progress(context.console) as bar:
        line = bar.add_task("checkouts", total=context.checkouts)
        return await send_day(
            context.shop, context.psp, context.checkouts, lambda done: bar.update(line, completed=done)
        )


async def _pay_out(context: DayContext, runtime: Runtime) -> PayoutDay:
    context.console.print("", _title("Two days later: the PSP's money is available, sellers are paid"), sep="\n")
    with context.console.status("Release, payout run …"):
        payouts = await end_the_day(runtime, context.shop, context.psp)
    context.console.print(
        payouts_table(payouts),
        "",
        Text(
            f" {payouts.released} orders were released, and who is due on {payouts.business_date} was paid. The PSP "
            "has paid our own bank, too, without a word to us.",
            "dim",
        ),
        sep="\n",
    )
    return payouts


# --- the reconciliation ---


async def _plant(planter: Planter, payouts: PayoutDay) -> list[Plant]:
    """Plant what can only be planted now. Then the charge that the PSP does not list must be old enough to be
    missing."""
    parts = await asyncio.gather(planter.strangers(payouts.to_our_bank), planter.unread_fee())
    age_s = time.monotonic() - planter.day.paid("Card").ended_s
    await asyncio.sleep(max(0.0, DAY_SETTINGS["reconcile_grace_s"] + 1 - age_s))
    # Last: what happened and is not known here would be noticed before long.
    return [*parts[0], parts[1], *await planter.lost()]


async def _reconcile(
    context: DayContext, reconciler: Reconciler, planter: Planter, plants: list[Plant], payouts: PayoutDay
) -> Reconciled:
    """A dry run first; the bank's statement and the PSP's file come when everything is booked."""
    done = Reconciled()
    now, line = await planter.just_made()
    done.plants = [*plants, now]
    dry = await reconciler.run(apply=False)
    done.runs.append(("PSP, dry run", dry))
    done.wrong += differences(done.plants, await reconciler.rows()) + miscounted(done.plants, dry)
    await planter.show(line)
    fixing = await reconciler.run(apply=True)
    done.runs.append(("PSP, what is safe is fixed", fixing))
    done.plants += await planter.bank(payouts.to_our_bank)
    done.runs.append(("Bank statement, camt.053", await _bank(context, reconciler)))
    await reconciler.decide(done.plants)
    done.runs.append(("PSP, its itemized file", await _file(context, reconciler)))
    done.rows = await reconciler.rows()
    await reconciler.report(fixing.run_id, context.report)
    done.wrong += [w for w in differences(done.plants, done.rows) if w not in done.wrong]
    done.wrong += unfinished(done.plants, done.rows)
    done.wrong += [f"{title}: {report.failure}" for title, report in done.runs if report.failure]
    if done.runs[-1][1].opened:
        done.wrong.append("the PSP's file tells something else than its API")
    return done


async def _bank(context: DayContext, reconciler: Reconciler) -> ReconciliationReport:
    begin, end = (int(moment.timestamp()) for moment in reconciler.window)
    statement = await context.psp.file("/bank/statement", **{"from": begin, "to": end})
    return await reconciler.run(
        apply=True, subject=Subject.BANK, file_id=await reconciler.file(Subject.BANK, "statement.xml", statement)
    )


async def _file(context: DayContext, reconciler: Reconciler) -> ReconciliationReport:
    begin, end = (int(moment.timestamp()) for moment in reconciler.window)
    report = await context.psp.file("/reports/itemized", interval_start=begin, interval_end=end)
    return await reconciler.run(apply=False, file_id=await reconciler.file(Subject.PSP, "itemized.csv", report))


# --- what a person sees ---


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def _title(text: str) -> Rule:
    return Rule(Text(f"{text} ", "bold cyan"), align="left", style="cyan dim", characters="─")

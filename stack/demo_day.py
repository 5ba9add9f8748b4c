"""A day of the demo: checkouts of every kind at a PSP that has a bad one, its end with payouts, and its reconciliation
against books of the PSP in which something is wrong."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.text import Text

from config.settings import Settings
from domain.reconciliation import ReconciliationReport, Subject
from stack.demo_day_checkouts import Day, day_table, send_day
from stack.demo_day_payouts import PayoutDay, end_the_day, open_sellers, payouts_table
from stack.demo_day_plants import Plant, Planter
from stack.demo_day_reconciliation import (
    Reconciled,
    Reconciler,
    differences,
    reconciliation_table,
    unfinished,
    window_since,
)
from stack.demo_shop import Psp, Shop
from workers.services import Services, open_services

DAY_SETTINGS = {
    "reconcile_grace_s": 15.0,
    "reconcile_here_grace_s": 1.0,
    "reconcile_verify_s": 1.0,
    "payout_poll_first_s": 2.0,
}
"""What takes days in earnest and must be seen within a minute: when something is missing, when it is looked for."""


@dataclass(frozen=True)
class DayStage:
    """Where the day happens, and how large it is."""

    console: Console
    settings: Settings
    shop: Shop
    psp: Psp
    checkouts: int


async def tell_day(stage: DayStage) -> list[str]:
    """Show the day; a sentence for each thing that ended otherwise than it should."""
    began = datetime.now(UTC)
    async with open_services(stage.settings, application="demo") as services:
        day = await _send(stage)
        stage.console.print(day_table(day))
        if day.wrong:
            return day.wrong
        sent_s = time.monotonic()
        planter = Planter(stage.shop, stage.psp, day)
        held = await planter.hold()
        plants = await planter.charges()
        payouts = await _pay_out(stage, services)
        reconciler = Reconciler(services, window_since(began))
        with stage.console.status("Planting …"):
            plants += [
                *await planter.strangers(payouts.to_our_bank),
                await planter.unread_fee(),
                *await planter.lost(held),
            ]
            await asyncio.sleep(max(0.0, DAY_SETTINGS["reconcile_grace_s"] + 1 - (time.monotonic() - sent_s)))
        return payouts.wrong + await _reconcile(stage, reconciler, planter, plants, payouts)


# --- the checkouts ---


async def _send(stage: DayStage) -> Day:
    await open_sellers(stage.shop)
    stage.console.print("", _title(f"A day of {stage.checkouts} checkouts"), sep="\n")
    with _progress(stage.console) as bar:
        line = bar.add_task("checkouts", total=stage.checkouts)
        return await send_day(stage.shop, stage.psp, stage.checkouts, lambda done: bar.update(line, completed=done))


async def _pay_out(stage: DayStage, services: Services) -> PayoutDay:
    stage.console.print("", _title("Two days later: the PSP's money is available, sellers are paid"), sep="\n")
    with stage.console.status("Release, payout run …"):
        payouts = await end_the_day(services, stage.shop, stage.psp)
    stage.console.print(
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


async def _reconcile(
    stage: DayStage, reconciler: Reconciler, planter: Planter, plants: list[Plant], payouts: PayoutDay
) -> list[str]:
    """A dry run first; the bank's statement and the PSP's file come when everything is booked."""
    stage.console.print("", _title("The reconciliation, against books in which something is wrong"), sep="\n")
    done = Reconciled()
    with stage.console.status("Reconciling …"):
        now, line = await planter.just_made()
        done.plants = [*plants, now]
        done.runs.append(("PSP, dry run", await reconciler.run(apply=False)))
        done.wrong += differences(done.plants, await reconciler.rows())
        await planter.show(line)
        done.runs.append(("PSP, what is safe is fixed", await reconciler.run(apply=True)))
        bank = await planter.bank(payouts.to_our_bank)
        done.plants += bank
        done.runs.append(("Bank statement, camt.053", await _bank(stage, reconciler)))
        await reconciler.decide(done.plants)
        done.runs.append(("PSP, its itemized file", await _file(stage, reconciler)))
        done.rows = await reconciler.rows()
    done.wrong += [w for w in differences(done.plants, done.rows) if w not in done.wrong]
    done.wrong += unfinished(done.plants, done.rows)
    done.wrong += [f"{title}: {report.failure}" for title, report in done.runs if report.failure]
    if done.runs[-1][1].opened:
        done.wrong.append("the PSP's file tells something else than its API")
    stage.console.print(reconciliation_table(done))
    return done.wrong


async def _bank(stage: DayStage, reconciler: Reconciler) -> ReconciliationReport:
    begin, end = (int(moment.timestamp()) for moment in reconciler.window)
    statement = await stage.psp.file("/bank/statement", **{"from": begin, "to": end})
    return await reconciler.run(
        apply=True, subject=Subject.BANK, file_id=await reconciler.file(Subject.BANK, "statement.xml", statement)
    )


async def _file(stage: DayStage, reconciler: Reconciler) -> ReconciliationReport:
    begin, end = (int(moment.timestamp()) for moment in reconciler.window)
    report = await stage.psp.file("/reports/itemized", interval_start=begin, interval_end=end)
    return await reconciler.run(apply=False, file_id=await reconciler.file(Subject.PSP, "itemized.csv", report))


# --- what a person sees ---


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def _title(text: str) -> Rule:
    return Rule(Text(f"{text} ", "bold cyan"), align="left", style="cyan dim", characters="─")

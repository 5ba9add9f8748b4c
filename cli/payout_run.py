"""A payout run that a person starts, with a bar from its first seller to the PSP's answers."""

from datetime import date

from rich.console import Console
from rich.progress import Progress as Bar

from cli import documents
from cli.pages.page import Page, said
from cli.progress import progress
from domain.status import PayoutStatus
from runtime.wiring import Runtime
from services import payout_run
from services.command import Caller
from services.payout_run import Progress, Statuses


async def run_payouts(runtime: Runtime, console: Console, day: date | None, by: str) -> Page:
    """Run the payouts of a date, today's if none is given, and follow them; the sentence that says what was made."""
    run = await payout_run.start(runtime, Caller(by), day)
    console.print(f"{run.workflow_id} runs; it goes on also if you leave with Ctrl-C.", style="dim")
    with progress(console) as bar:
        report, statuses = await payout_run.follow(runtime, run, _bars(bar, run.day))
    made = sum(statuses.values())
    now = f"{report.payouts} payout{'s' if report.payouts != 1 else ''} made now" if report.payouts else "none made now"
    words = f"{report.run_id} of {run.day}: {now}, {made} in all{_counted(statuses)}."
    numbers = {"id": report.run_id, "business_date": run.day, "made_now": report.payouts, "statuses": dict(statuses)}
    return said(words, lambda: documents.plain("payout_run", **numbers))


def _bars(bar: Bar, day: date) -> Progress:
    making = bar.add_task(f"payouts of {day}", total=None, note="")
    sending = bar.add_task("sent to the PSP", total=None, note="", visible=False)

    def show_making(statuses: Statuses, due: int) -> None:
        made = sum(statuses.values())
        bar.update(making, completed=made, total=max(made + due, 1), note=_counted(statuses).strip(": "))

    def show_made(statuses: Statuses) -> None:
        made = sum(statuses.values())
        bar.update(making, completed=made or 1, total=made or 1, note="" if made else "nobody is due")

    def show_sending(statuses: Statuses, waiting: int) -> None:
        made = sum(statuses.values())
        note = _counted(statuses).strip(": ")
        bar.update(sending, completed=made - waiting, total=made, note=note, visible=True)

    return Progress(show_making, show_made, show_sending)


def _counted(statuses: Statuses) -> str:
    """`: 10 PAID, 2 FAILED`; nothing of nothing."""
    counts = ", ".join(f"{statuses[status]} {status}" for status in PayoutStatus if statuses.get(status))
    return f": {counts}" if counts else ""

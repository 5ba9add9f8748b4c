"""`python -m demo`: the stories and the day, with an exit code that says whether all ended as they should."""

import asyncio
from typing import Annotated

import typer

from cli.command_line import console, settings
from cli.main import leave
from demo.run import DemoPlan, run_demo

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    attach: Annotated[
        bool, typer.Option("--attach", help="The stories alone, in the stack that runs here instead of one of its own.")
    ] = False,
    stories_only: Annotated[bool, typer.Option("--stories-only", help="Without the day.")] = False,
    day_only: Annotated[bool, typer.Option("--day-only", help="Without the stories.")] = False,
    checkouts: Annotated[int, typer.Option(min=60, max=2000, help="Of the day.", show_default=True)] = 200,
) -> None:
    """Tell what can happen to a checkout: stories, each with its outcome and its ledger; then a day of 200 checkouts
    at a PSP that fails, with payouts and a reconciliation that has something to find.

    Exit code 1 if something ends otherwise than it should.
    """
    if day_only and (attach or stories_only):
        raise typer.BadParameter("The day needs a stack of its own: it moves the PSP's clock and falsifies its books.")
    plan = DemoPlan(stories=not day_only, checkouts=None if stories_only else checkouts)
    try:
        as_told = asyncio.run(run_demo(console(), plan, attach=settings() if attach else None))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if not as_told:
        raise typer.Exit(1)


if __name__ == "__main__":
    leave(app, "paysaga demo")

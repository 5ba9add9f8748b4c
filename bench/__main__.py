"""`python -m bench`: throughput, latency and cost of payments, with the reference lines measured in the same run."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from bench.results import Report
from bench.run import Options, measure
from bench.table import WIDTH, report_page
from embedded.display import TerminalDisplay
from embedded.errors import StackError

_CONCURRENCY_MAX = 400
"""As many payments as one API process takes on at once by default."""


def _concurrency(text: str) -> tuple[int, ...]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not 1 <= found[0] <= found[-1] <= _CONCURRENCY_MAX:
        raise typer.BadParameter(f"numbers from 1 to {_CONCURRENCY_MAX} with commas, such as 1,10,50")
    return tuple(found)


def bench(
    seconds: Annotated[float, typer.Option(min=0.5, max=120, help="How long each load is measured.")] = 8.0,
    concurrency: Annotated[str, typer.Option(help="Payments at once, with commas.")] = "1,10,50",
    psp_ms: Annotated[float, typer.Option(min=0, max=2000, help="How long the PSP takes for each call.")] = 50.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the JSON there instead of on the last line.")
    ] = None,
) -> None:
    """Measure a stack of its own on this machine; exit code 1 if a cent is not where it has to be."""
    options = Options(seconds=seconds, concurrency=_concurrency(concurrency), psp_s=psp_ms / 1000)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(Text.assemble(("Paysaga", "bold"), " measures itself. First, a stack of its own:"))
    try:
        report = asyncio.run(measure(options, TerminalDisplay(console)))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    console.print("", report_page(report), sep="\n")
    _write(report, json_file)
    if not report.money.passed:
        raise typer.Exit(1)


def _write(report: Report, json_file: Path | None) -> None:
    text = report.model_dump_json() + "\n"
    if json_file is None:
        sys.stdout.write(text)
    else:
        json_file.write_text(text)


def main() -> NoReturn:
    """Leaves with `os._exit`: a short process that used the Temporal client may abort in its own exit."""
    code = 1
    try:
        typer.run(bench)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except StackError as problem:
        sys.stderr.write(f"bench: {problem}\n")
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - a bug: shown in full, but the process still leaves below
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

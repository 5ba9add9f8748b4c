"""`python -m bench`: throughput, latency and cost of payments, beside the floor and the other ways to make one."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from bench.options import Options, PspKind
from bench.plan import SubjectName
from bench.plot import plot
from bench.results import Report
from bench.run import measure
from bench.subjects.registry import TITLES, missing
from bench.table import WIDTH, report_page
from embedded.display import TerminalDisplay
from embedded.errors import StackError

_CONCURRENCY_MAX = 400
"""As many payments as one API process takes on at once by default."""
_ALL = ",".join(TITLES)


def _concurrency(text: str) -> tuple[int, ...]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not 1 <= found[0] <= found[-1] <= _CONCURRENCY_MAX:
        raise typer.BadParameter(f"numbers from 1 to {_CONCURRENCY_MAX} with commas, such as 1,10,20")
    return tuple(found)


def _subjects(text: str) -> tuple[SubjectName, ...]:
    wanted = set(text.split(","))
    if wanted - set(TITLES):
        raise typer.BadParameter(f"some of {_ALL}")
    return tuple(name for name in TITLES if name in wanted)


def bench(
    seconds: Annotated[float, typer.Option(min=0.2, max=120, help="How long each load of a round is measured.")] = 1.6,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Alternating rounds; the figures are medians.")] = 4,
    concurrency: Annotated[str, typer.Option(help="Payments at once, with commas.")] = "1,10,20",
    psp: Annotated[
        PspKind, typer.Option(help="`cheap` takes 0.3 ms of the processor, `sandbox` ten times that.")
    ] = "cheap",
    psp_ms: Annotated[float, typer.Option(min=0, max=2000, help="How long the PSP takes for each call.")] = 50.0,
    subjects: Annotated[str, typer.Option(help="What is measured, with commas.")] = _ALL,
    shapes: Annotated[bool, typer.Option(help="Also the other kinds of requests through HTTP.")] = True,
    counted: Annotated[
        int, typer.Option(min=1, max=500, help="Requests of each kind that are looked at closely.")
    ] = 30,
    processes: Annotated[int, typer.Option(min=1, max=64, help="That serve the API.")] = 1,
    temporal: Annotated[
        str | None, typer.Option(help="The address of a Temporal server on this machine, instead of the stack's own.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the JSON there instead of on the last line.")
    ] = None,
    svg_file: Annotated[Path | None, typer.Option("--svg", help="Draw the rates there.")] = None,
) -> None:
    """Measure a stack of its own on this machine; exit code 1 if a cent is not where it has to be."""
    wanted = _subjects(subjects)
    left_out = {name: package for name in wanted if (package := missing(name)) is not None}
    options = Options(
        seconds=seconds,
        rounds=rounds,
        concurrency=_concurrency(concurrency),
        psp=psp,
        psp_s=psp_ms / 1000,
        counted=counted,
        subjects=tuple(name for name in wanted if name not in left_out),
        processes=processes,
        temporal=temporal,
    )
    if not shapes:
        options = replace(options, shapes=())
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(Text.assemble(("Paysaga", "bold"), " measures itself. First, a stack of its own:"))
    try:
        report = asyncio.run(measure(options, {str(name): p for name, p in left_out.items()}, TerminalDisplay(console)))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    console.print("", report_page(report), sep="\n")
    if svg_file is not None:
        svg_file.write_text(plot(report))
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

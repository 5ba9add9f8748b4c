"""The `paysaga` command.

A module that adds a command (demo, audit, payments, keys …) writes a plain typed function and is registered at the end
of this file. It finds a running stack with `embedded.running.adopt_running_stack()` and reports a problem outside the
program by raising `StackError`.

What needs the `embedded` extra is imported by the command that uses it: containers run `api`, `worker`, `migrate` and
`seed` without it.
"""

import asyncio
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from cli.commands.register import register
from cli.hints import WHERE_TO_LOOK
from config.settings import DEVELOPMENT_API_KEY, Settings
from domain.errors import PaysagaError
from embedded.errors import StackError

app = typer.Typer(
    name="paysaga",
    help="A payment system that you run yourself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Arguments after the command's name go to the module as they are: `paysaga sandbox --port 9000`.
_PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def run(
    checkout: Annotated[bool, typer.Option(help="Send a first checkout once everything is up.")] = True,
) -> None:
    """Start everything on this machine, send a first checkout, and stay until Ctrl-C."""
    from embedded.run import run_stack

    asyncio.run(run_stack(Settings(), _console(), first_checkout=checkout))


@app.command()
def status() -> None:
    """Show the stack that runs in PAYSAGA_HOME; exit code 1 if none does."""
    from embedded.status import show_status

    if not show_status(Settings(), _console()):
        raise typer.Exit(1)


@app.command(context_settings=_PASS_ON)
def migrate(context: typer.Context) -> None:
    """Bring the database schema up to date, as its owner (PAYSAGA_DATABASE_OWNER_URL)."""
    _become("db", "migrate", *context.args)


@app.command(context_settings=_PASS_ON)
def seed(context: typer.Context) -> None:
    """Write the development key and the demo merchants (never into a real database)."""
    _become("db", "seed", DEVELOPMENT_API_KEY, *context.args)


@app.command(context_settings=_PASS_ON)
def api(context: typer.Context) -> None:
    """Serve the HTTP API."""
    _become("api", *context.args)


@app.command(context_settings=_PASS_ON)
def worker(context: typer.Context) -> None:
    """Run a Temporal worker; beside a running stack it is one more."""
    _become("workers", *context.args)


@app.command(context_settings=_PASS_ON)
def sandbox(context: typer.Context) -> None:
    """Serve the Stripe-compatible sandbox PSP (`paysaga sandbox --help` lists its flags)."""
    settings = Settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    address = ("--host", settings.sandbox_host, "--port", str(settings.sandbox_port))
    data = ("--data", str(settings.home / "sandbox.sqlite"))
    _become("sandbox", *address, *data, *context.args)  # of two equal flags the later one counts


@app.command(context_settings=_PASS_ON)
def demo(context: typer.Context) -> None:
    """Tell what can happen to a checkout, and play a day (`paysaga demo --help` lists its flags)."""
    _flush()
    os.execv(sys.executable, [sys.executable, "-m", "demo", *context.args])  # noqa: S606 - no shell, our own interpreter


def _console() -> Console:
    """As wide as the terminal; a log file gets lines that no link has to be folded for."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process with `python -m module`, so that signals and exit codes are the module's own."""
    if "PAYSAGA_DATABASE_URL" not in os.environ:
        from embedded.running import adopt_running_stack

        adopt_running_stack()
    _flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell, our own interpreter


def main() -> NoReturn:
    """Entry point."""
    leave(app)


def leave(app: typer.Typer) -> NoReturn:
    """Run a program's commands, say a problem in one sentence, and end the process with its exit code.

    It ends with `os._exit`: a short process that used the Temporal client may abort in its own exit.
    """
    code = 1
    try:
        app()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except StackError as problem:
        _complain(str(problem))
    except PaysagaError as problem:
        _complain(problem.detail + WHERE_TO_LOOK.get(problem.code, ""))
    except ValidationError as invalid:
        for error in invalid.errors():
            name = "_".join(str(part) for part in error["loc"]).upper()
            _complain(f"PAYSAGA_{name} is not usable: {error['msg']}.")
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - a bug: shown in full, but the process still leaves below
        sys.excepthook(*sys.exc_info())
    _flush()
    os._exit(code)


def _complain(sentence: str) -> None:
    sys.stderr.write(f"paysaga: {sentence}\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the reader of our pipe is gone
            continue


# Commands of other modules are registered here.
register(app)

if __name__ == "__main__":
    main()

"""The `paysaga` command.

The commands here start processes; those of operators and of finance are listed in `cli/commands/register.py`. A problem
outside the program is reported by raising `StackError`.

Whatever a command needs is imported when it is called: `--help` starts at once, and containers run `api`, `worker`,
`migrate` and `seed` without the `embedded` extra.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from cli.commands.register import OPERATORS
from cli.nouns import LateGroup
from domain.errors import PaysagaError
from embedded.errors import StackError
from runtime import collector


class _Paysaga(LateGroup):
    later = OPERATORS


app = typer.Typer(
    cls=_Paysaga,
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
    from cli.command_line import console
    from config.settings import Settings
    from embedded.run import run_stack

    asyncio.run(run_stack(Settings(), console(), first_checkout=checkout))


@app.command()
def migrate() -> None:
    """Bring the database schema up to date, as its owner (PAYSAGA_DATABASE_OWNER_URL)."""
    _become("db", "migrate")


@app.command()
def seed() -> None:
    """Write the development key and the demo merchants (never into a real database)."""
    from config.settings import DEVELOPMENT_API_KEY

    _become("db", "seed", DEVELOPMENT_API_KEY)


@app.command()
def api() -> None:
    """Serve the HTTP API."""
    _become("api")


@app.command()
def worker() -> None:
    """Run a Temporal worker; beside a running stack it is one more."""
    _become("workers")


@app.command(context_settings=_PASS_ON)
def sandbox(context: typer.Context) -> None:
    """Serve the Stripe-compatible sandbox PSP (`paysaga sandbox --help` lists its flags)."""
    from config.settings import Settings

    settings = Settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    address = ("--host", settings.sandbox_host, "--port", str(settings.sandbox_port))
    data = ("--data", str(settings.home / "sandbox.sqlite"))
    os.environ["SANDBOX_PROGRAM"] = "paysaga sandbox"
    _become("sandbox", *address, *data, *context.args)  # of two equal flags the later one counts


@app.command(context_settings=_PASS_ON)
def demo(context: typer.Context) -> None:
    """Tell what can happen to a checkout, and play a day (`paysaga demo --help` lists its flags)."""
    _flush()
    os.execv(sys.executable, [sys.executable, "-m", "demo", *context.args])  # noqa: S606 - no shell, our own interpreter


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process with `python -m module`, so that signals and exit codes are the module's own."""
    if not os.environ.get("PAYSAGA_DATABASE_URL"):
        from embedded.running import adopt_running_stack

        adopt_running_stack()
    _flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell, our own interpreter


def main() -> NoReturn:
    """Entry point."""
    leave(app)


def leave(app: typer.Typer, name: str | None = None) -> NoReturn:
    """Run a program's commands, say a problem in one sentence, and end the process with its exit code. `name`: as the
    program is typed, for its help.

    It ends with `os._exit`: a short process that used the Temporal client may abort in its own exit.
    """
    collector.begin()
    code = 1
    try:
        app(prog_name=name)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:  # noqa: BLE001 - the process leaves below, whatever it is
        sentences = list(_sentences(error))
        for sentence in sentences:
            _complain(sentence)
        if not sentences:  # a bug: shown in full
            sys.excepthook(*sys.exc_info())
    _flush()
    os._exit(code)


def _sentences(error: BaseException) -> Iterator[str]:
    """The problem as a person reads it; nothing of a bug."""
    if isinstance(error, StackError):
        yield str(error)
    elif isinstance(error, PaysagaError):
        from cli.hints import WHERE_TO_LOOK

        yield error.detail + WHERE_TO_LOOK.get(error.code, "")
    elif isinstance(error, OSError) and error.filename is not None:
        yield f"{error.filename}: {error.strerror}."
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        yield f"The output cannot be written: {error.strerror}."
    elif "pydantic" in sys.modules and isinstance(error, sys.modules["pydantic"].ValidationError):
        from config.settings import unusable

        yield from unusable(error)


def _complain(sentence: str) -> None:
    from cli.pages.safe import safe

    sys.stderr.write(f"paysaga: {safe(sentence)}\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # the reader of our pipe is gone, or it was closed before we began
            stream.flush()


if __name__ == "__main__":
    main()

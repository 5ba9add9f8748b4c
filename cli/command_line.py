"""Common to all commands: where they print, which stack they speak to, and the arguments that recur."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType

from config.settings import Settings

if TYPE_CHECKING:
    from db.core.database import Database
    from runtime.wiring import Runtime


def console() -> Console:
    """As wide as the terminal; a file or a pipe gets lines that no id has to be folded for."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def settings() -> Settings:
    """Of the stack that runs here, unless the environment names another one."""
    if "PAYSAGA_DATABASE_URL" in os.environ:
        return Settings()
    from embedded.running import adopt_running_stack

    return adopt_running_stack()


def login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def show(page: Callable[["Database"], Awaitable[RenderableType]]) -> None:
    """Print a page that is read from the database alone: it can be read while Temporal is down."""
    from cli.connection import database_of

    async def read() -> RenderableType:
        async with database_of(settings()) as database:
            return await page(database)

    console().print(asyncio.run(read()), crop=False)  # what is wider than the terminal is a command to copy


def change(work: Callable[["Database"], Awaitable[str]]) -> None:
    """Do something that needs the database alone, and print the sentence that says what was done."""
    from cli.connection import database_of

    async def run() -> str:
        async with database_of(settings()) as database:
            return await work(database)

    console().print(asyncio.run(run()), markup=False, soft_wrap=True)


def steer(work: Callable[["Runtime"], Awaitable[str]]) -> None:
    """Do something that workflows have to hear of, and print the sentence that says what was done."""
    from cli.connection import runtime_of

    async def run() -> str:
        async with runtime_of(settings()) as runtime:
            return await work(runtime)

    console().print(asyncio.run(run()), markup=False, soft_wrap=True)


def _name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise typer.BadParameter("a name is needed")
    return value.strip()


PaymentName = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Our pay_… or po_…, the client's payment_order_id or checkout_id, or the PSP's pi_…"
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        help="Your name, for the audit log; left out: your login.",
        callback=_name,
        default_factory=login,
        show_default=False,
    ),
]
Note = Annotated[str, typer.Option(help="Why, for the audit log.")]
Tenant = Annotated[str | None, typer.Option(help="Only those of this tenant.")]
OpenOnly = Annotated[bool, typer.Option("--open", help="Only what has not ended.")]
Limit = Annotated[int, typer.Option(min=1, max=1000)]

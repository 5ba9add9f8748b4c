"""Common to all commands: where they print, which stack they speak to, and the arguments that recur."""

import asyncio
import getpass
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console, Group, RenderableType
from rich.text import Text

from cli.nouns import as_json
from cli.pages.layout import whole
from cli.pages.page import Document, Page, as_line, as_text
from cli.pages.safe import safe

if TYPE_CHECKING:
    from config.settings import Settings
    from db.core.database import Database
    from runtime.wiring import Runtime

_WIDE = 160
"""Of a file or a pipe, unless COLUMNS says otherwise."""
_NARROW = 20
"""Of whatever says that it is narrower."""


class _Terminal(Console):
    """A console on which a plain text is a text, wherever on a page it stands."""

    def render_str(self, text: str, **style: Any) -> Text:
        return super().render_str(safe(text), **style)


def console() -> Console:
    """As wide as the terminal; a file or a pipe gets long lines. Beside a JSON document it is the other stream."""
    width = max(_NARROW, shutil.get_terminal_size((_WIDE, 24)).columns)
    return _Terminal(highlight=False, markup=False, emoji=False, width=width, stderr=as_json())


def settings() -> "Settings":
    """Of the stack that runs here, unless the environment names another one."""
    if os.environ.get("PAYSAGA_DATABASE_URL"):
        from config.settings import Settings

        return Settings()
    from embedded.running import adopt_running_stack

    return adopt_running_stack()


def login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def show(page_of: Callable[["Database"], Awaitable[Page | None]], *, timeout_s: float = 3.0) -> None:
    """Print a page that is read from the database alone, or the sentence about what was changed there: it is done while
    Temporal is down. `timeout_s` bounds each statement. None: it was written to a file, or straight to the terminal."""
    from cli.connection import database_of

    async def run() -> Document | RenderableType | None:
        async with database_of(settings(), timeout_s=timeout_s) as database:
            return await _asked_for(await page_of(database))

    put(asyncio.run(run()))


def tell(page_of: Callable[[], Awaitable[Page]]) -> None:
    """Print a page for which neither the database nor Temporal is asked."""

    async def run() -> Document | RenderableType | None:
        return await _asked_for(await page_of())

    put(asyncio.run(run()))


def steer(work: Callable[["Runtime"], Awaitable[Page]]) -> None:
    """Do something that workflows have to hear of, and print the sentence that says what was done."""
    from cli.connection import runtime_of

    async def run() -> Document | RenderableType | None:
        async with runtime_of(settings()) as runtime:
            return await _asked_for(await work(runtime))

    put(asyncio.run(run()))


async def _asked_for(page: Page | None) -> Document | RenderableType | None:
    """The document, while the database is there to read more of it, or what people are shown."""
    if page is None:
        return None
    return await page.document() if as_json() else page.shown


def put(made: Document | RenderableType | None) -> None:
    """Print a page or a document. What is wider than the terminal is left to it to fold, so that nothing is lost."""
    if isinstance(made, BaseModel | Mapping):
        sys.stdout.write(as_text(made) + "\n")
    elif made is not None:
        console().print(Group(made), crop=False)  # a text by itself would forget that it is to be whole


def say(line: str) -> None:
    """Print a line at once, also into a pipe: for what goes on until Ctrl-C. With `--json` it is a line of JSON."""
    if as_json():
        sys.stdout.write(as_line(line) + "\n")
        sys.stdout.flush()
    else:
        console().print(whole(line), crop=False)


def _name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise typer.BadParameter("a name is needed")
    from domain.card_data import has_card_data

    if len(value) > _NAME_MAX or has_card_data(value):
        raise typer.BadParameter(f"a name has no card data in it, and at most {_NAME_MAX} characters")
    return value.strip()


_NAME_MAX = 200


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

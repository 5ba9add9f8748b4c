"""The commands about API keys. What one of them needs is imported when it is called."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import (
    By,
    change,
    console,
    settings,
    show,
)

if TYPE_CHECKING:
    from db.core.database import Database

keys = typer.Typer(help="API keys of tenants.", no_args_is_help=True)


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="Whose key; a new name is a new tenant.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    by: By,
    scope: Annotated[list[str] | None, typer.Option(help="Repeat for several; left out: all.")] = None,
) -> None:
    """Make an API key and print its secret, once."""
    from cli.connection import database_of
    from services import api_key
    from services.command import Caller

    async def create() -> tuple[str, str]:
        async with database_of(settings()) as database:
            return await api_key.create(database, Caller(by), tenant, name, frozenset(scope or ()))

    key_id, secret = asyncio.run(create())
    out = console()
    out.print(f"{key_id} for {tenant}. Its secret is shown now and never again:", markup=False)
    out.print(secret, style="bold green", markup=False, soft_wrap=True)


@keys.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="key_…")], by: By) -> None:
    """Take an API key back."""
    from services import api_key
    from services.command import Caller

    async def revoke(database: "Database") -> str:
        revoked = await api_key.revoke(database, Caller(by), key_id)
        return f"{key_id} is revoked." if revoked else f"{key_id} was revoked already."

    change(revoke)


@keys.command("list")
def keys_list() -> None:
    """All API keys, without their secrets."""
    from cli.pages.key import keys_page

    show(keys_page)

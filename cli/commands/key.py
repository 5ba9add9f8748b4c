"""The commands about API keys. What one of them needs is imported when it is called."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, show
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

keys = Noun(no_args_is_help=True)


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="Whose key; a new name is a new tenant.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    by: By,
    role: Annotated[
        str | None, typer.Option(help="checkout, merchant, operator, finance or admin; or name scopes.")
    ] = None,
    seller: Annotated[str | None, typer.Option(help="The one seller whose objects a merchant's key reaches.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; without a role left out: all but histories:read.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="It expires after so many; left out: never.")] = None,
) -> None:
    """Make an API key and print its secret, once."""
    from cli import documents
    from cli.pages.key import created
    from cli.pages.page import Page
    from services import api_key
    from services.command import Caller

    async def create(database: "Database") -> Page:
        life = timedelta(days=days) if days is not None else None
        key_id, secret = await api_key.create(
            database, Caller(by), tenant, name, frozenset(scope or ()), life=life, role=role, seller_account=seller
        )
        made = {
            "id": key_id,
            "tenant_id": tenant,
            "name": name,
            "role": role,
            "seller_account": seller,
            "secret": secret,
        }
        return Page(created(key_id, tenant, secret), lambda: documents.plain("api_key", **made))

    show(create)


@keys.command("rotate")
def keys_rotate(
    by: By,
    key_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="key_…; left out: the keys of PAYSAGA_ENCRYPTION_KEYS.")
    ] = None,
    hours: Annotated[int, typer.Option(help="The old API key goes on for so long.")] = 24,
) -> None:
    """Make an API key with the name, role and scopes of another, which ends soon; without an ID encrypt everything
    again that is stored under older encryption keys."""
    if key_id is None:
        _rotate_ring()
    else:
        _rotate_api_key(key_id, by, hours)


def _rotate_ring() -> None:
    from cli import documents
    from cli.command_line import settings
    from cli.connection import keyring_of
    from cli.pages.key import ring_rotated
    from cli.pages.page import Page
    from services import keyring

    async def rotate(database: "Database") -> Page:
        made = await keyring.rotate(database, keyring_of(settings()))
        members = {"current": made.current, "rotated": made.done, "in_use": made.in_use, "left": made.left}
        return Page(ring_rotated(made), lambda: documents.plain("keyring", **members))

    show(rotate)


def _rotate_api_key(key_id: str, by: str, hours: int) -> None:
    from cli import documents
    from cli.pages.key import rotated
    from cli.pages.page import Page
    from services import api_key
    from services.command import Caller

    async def rotate(database: "Database") -> Page:
        new, secret = await api_key.rotate(database, Caller(by), key_id, timedelta(hours=hours))
        made = {"id": new, "replaces": key_id, "overlap_hours": hours, "secret": secret}
        return Page(rotated(new, key_id, hours, secret), lambda: documents.plain("api_key", **made))

    show(rotate)


@keys.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="key_…")], by: By) -> None:
    """Take an API key back."""
    from cli import documents
    from cli.pages.page import said
    from services import api_key
    from services.command import Caller

    async def revoke(database: "Database") -> "Page":
        revoked = await api_key.revoke(database, Caller(by), key_id)
        words = f"{key_id} is revoked." if revoked else f"{key_id} was revoked already."
        return said(words, lambda: documents.plain("api_key", id=key_id, revoked_now=revoked))

    show(revoke)


@keys.command("list")
def keys_list() -> None:
    """All API keys, without their secrets."""
    from cli.pages.key import keys_page

    show(keys_page)

"""`paysaga forget`: forget a buyer."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, settings, show

if TYPE_CHECKING:
    from db.core.database import Database


def forget(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The shop's id of the buyer, or an e-mail address.")],
    tenant: Annotated[str, typer.Option(help="Whose buyer.")],
    by: By,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; left out: show what would go.")] = False,
) -> None:
    """Forget a buyer: the key of what is stored about the person is destroyed, and payments lose the name. The books
    stay as they are. There is no way back."""
    from cli import documents
    from cli.connection import keyring_of
    from cli.pages.page import Page
    from cli.pages.person import forgotten
    from services import person as people
    from services.command import Caller

    async def work(database: "Database") -> Page:
        ring = keyring_of(settings())
        if yes:
            found = await people.forget(database, ring, Caller(by), tenant, person)
        else:
            found = await people.look(database, ring, tenant, person)
        people_of = [
            {"buyer_id": None if yes else one.buyer_id, "name": one.name, "rows": dict(one.rows)} for one in found
        ]
        return Page(forgotten(found), lambda: documents.plain("forgotten", dry_run=not yes, people=people_of))

    show(work)

"""The commands about the people who log in. What one of them needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, show
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from services.password import PasswordHasher

operators = Noun(no_args_is_help=True)
OperatorName = Annotated[str, typer.Argument(metavar="NAME", help="As it is typed to log in.")]


def _hasher() -> "PasswordHasher":
    from cli.command_line import settings
    from services.password import PasswordHasher

    return PasswordHasher(settings().login_scrypt_n)


@operators.command("add")
def operators_add(
    name: OperatorName,
    tenant: Annotated[str, typer.Option(help="Whose data they work with.")],
    role: Annotated[str, typer.Option(help="operator, finance or admin.")],
    by: By,
) -> None:
    """Let a person log in, and print a one-time password for their first login, once."""
    from cli.pages.operator import with_password
    from services import operator
    from services.command import Caller

    async def add(database: "Database") -> "Page":
        password = await operator.add(database, _hasher(), Caller(by), name, tenant, role)
        return with_password(f"{name} may log in to {tenant} as {role}.", name, password)

    show(add)


@operators.command("reset")
def operators_reset(name: OperatorName, by: By) -> None:
    """Forget a person's password and second factor, end their sessions, and print a new one-time password."""
    from cli.pages.operator import with_password
    from services import operator
    from services.command import Caller

    async def reset(database: "Database") -> "Page":
        password = await operator.reset(database, _hasher(), Caller(by), name)
        return with_password(f"{name} begins again; their sessions have ended.", name, password)

    show(reset)


@operators.command("disable")
def operators_disable(name: OperatorName, by: By) -> None:
    """Shut a person out; their sessions end at once. `paysaga operators reset NAME` lets them in again."""
    from cli import documents
    from cli.pages.page import said
    from services import operator
    from services.command import Caller

    async def disable(database: "Database") -> "Page":
        disabled = await operator.disable(database, Caller(by), name)
        words = f"{name} is disabled." if disabled else f"{name} was disabled already."
        return said(words, lambda: documents.plain("operator", name=name, disabled_now=disabled))

    show(disable)


@operators.command("list")
def operators_list() -> None:
    """The people who may log in, and when they last did."""
    from cli.pages.operator import operators_page

    show(operators_page)

"""`paysaga disputes …`: see disputes, and submit evidence."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, OpenOnly, show, steer
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from runtime.wiring import Runtime

disputes = Noun(no_args_is_help=True)
DisputeId = Annotated[str, typer.Argument(metavar="ID", help="Our own id, dp_…, or the PSP's own.")]


@disputes.command("list")
def disputes_list(open_only: OpenOnly = False, limit: Limit = 20) -> None:
    """Disputes; the one whose evidence is due first comes first."""
    from cli.pages.dispute_list import disputes_page

    show(lambda database: disputes_page(database, open_only=open_only, limit=limit))


@disputes.command("show")
def disputes_show(name: DisputeId) -> None:
    """The deadline, the evidence, the movements of money, and what is set aside."""
    from cli.pages.dispute import dispute_page

    show(lambda database: dispute_page(database, name))


@disputes.command("evidence")
def disputes_evidence(
    name: DisputeId,
    field: Annotated[list[str], typer.Option(metavar="NAME=TEXT", help="Repeat for several.")],
    by: By,
) -> None:
    """Submit evidence to the buyer's bank, which takes it once: so all of it at once. It is stored encrypted."""
    from cli.connection import person
    from cli.pages.dispute import submitted
    from cli.refusals import refusals
    from embedded.errors import StackError
    from services.dispute import find, submit_evidence

    async def work(runtime: "Runtime") -> "Page":
        row = await find(runtime.database, person(by), name)
        pairs = [(key, text) for key, _, text in (one.partition("=") for one in field)]
        if len(dict(pairs)) < len(pairs):
            raise StackError(f"{row.id}: Say each field once, with all of its text.")
        with refusals(row.id):
            return submitted(runtime.database, await submit_evidence(runtime, person(by), row.id, dict(pairs)))

    steer(work)

"""Dispute: TODO docstring."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, show, steer

if TYPE_CHECKING:
    pass

from cli.commands.refund import OpenOnly

disputes = typer.Typer(help="See disputes, and submit evidence.", no_args_is_help=True)
DisputeId = Annotated[str, typer.Argument(metavar="ID", help="dp_…, or the PSP's own id of it.")]


# --- disputes ---


@disputes.command("list")
def disputes_list(open_only: OpenOnly = False, limit: Limit = 20) -> None:
    """Disputes; the one whose evidence is due first comes first."""
    from cli.pages.dispute import disputes_page

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
    from cli.operator_dispute import submit_evidence

    steer(lambda runtime: submit_evidence(runtime, name, field, by))

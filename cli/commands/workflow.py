"""The command about Temporal's workflows. What it needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, steer

if TYPE_CHECKING:
    from runtime.wiring import Runtime

workflows = typer.Typer(help="Workflows of Temporal whose task keeps failing.")


@workflows.callback()
def workflows_of_temporal() -> None:
    """Workflows of Temporal whose task keeps failing."""


@workflows.command("restart")
def workflows_restart(
    workflow_id: Annotated[str, typer.Argument(metavar="ID", help="payment:pay_…, refund:re_…, payout:pt_… …")],
    by: By,
) -> None:
    """End a workflow whose task keeps failing, and start it again from its rows."""
    from cli.connection import person
    from cli.refusals import refusals
    from services.workflow import restart

    async def work(runtime: "Runtime") -> str:
        with refusals(workflow_id):
            done = await restart(runtime, person(by), workflow_id)
        return f"{workflow_id} was ended" + (
            " and started again from its rows." if done.started else "; the sweeper or its schedule starts it again."
        )

    steer(work)

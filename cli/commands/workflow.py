"""The command about Temporal's workflows. What it needs is imported when it is called."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, steer
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from runtime.wiring import Runtime

workflows = Noun()


@workflows.callback()
def workflows_of_temporal() -> None:
    """Workflows of Temporal whose task keeps failing."""


@workflows.command("restart")
def workflows_restart(
    workflow_id: Annotated[str, typer.Argument(metavar="ID", help="payment:pay_…, refund:re_…, payout:pt_… …")],
    by: By,
) -> None:
    """End a workflow whose task keeps failing, and start it again from its rows."""
    from cli import documents
    from cli.connection import person
    from cli.pages.page import said
    from cli.refusals import refusals
    from services.workflow import restart

    async def work(runtime: "Runtime") -> "Page":
        with refusals(workflow_id):
            done = await restart(runtime, person(by), workflow_id)
        then = " and started again from its rows." if done.started else "; the sweeper or its schedule starts it again."
        document = {"id": workflow_id, "started": done.started}
        return said(f"{workflow_id} was ended{then}", lambda: documents.plain("workflow", **document))

    steer(work)

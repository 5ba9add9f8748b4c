"""The command that has the sweeper look now. What it needs is imported when it is called."""

from typing import TYPE_CHECKING

from cli.command_line import steer

if TYPE_CHECKING:
    from cli.pages.page import Page
    from runtime.wiring import Runtime


def sweep() -> None:
    """Look now for payments without a workflow and for webhooks that nobody has read."""
    from cli import documents
    from cli.pages.page import said
    from services.sweep import sweep_now

    async def look(runtime: "Runtime") -> "Page":
        report = await sweep_now(runtime)
        if report is None:
            words = "The sweep was asked for, and has not ended yet: see the Temporal UI."
            return said(words, lambda: documents.plain("sweep", ended=False))
        words = (
            f"Swept: {report.restarted} started again, {report.nudged} nudged, "
            f"{report.late_charges} late charges, {report.refunds} refunds, {report.disputes} disputes, "
            f"{report.payouts} payouts, {report.reconciliations} reconciliations, {report.tasks} tasks opened."
        )
        return said(words, lambda: documents.plain("sweep", ended=True, **report.model_dump()))

    steer(look)

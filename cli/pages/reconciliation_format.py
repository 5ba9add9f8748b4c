"""States and deadlines, as the pages of reconciliation show them."""

from datetime import datetime

from cli.pages import format as look
from domain.reconciliation.discrepancy import Discrepancy
from services.reconciliation.report_page import moment


def status_text(text: str) -> look.Words:
    styles = {"COMPLETED": "green", "RESOLVED": "green", "FIXED": "green", "OPEN": "bold magenta", "FAILED": "red"}
    return look.text((text, styles.get(text, "cyan")))


def due_text(row: Discrepancy, now: datetime) -> look.Words:
    """The words beside a deadline; none of a break that nobody has to look at."""
    if row.due_at is None:
        return look.text("")
    if row.due_at <= now:
        return look.text((f"since {moment(row.due_at)}", "red"))
    return look.text((f"{moment(row.due_at)} ", "dim"), look.left(row.due_at))

"""Tables, states and deadlines, as the pages of reconciliation show them."""

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from cli.pages import format as look
from domain.reconciliation.discrepancy import Discrepancy
from services.reconciliation.report_page import moment


def table_of(*columns: str, right: Sequence[str] = ()) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", no_wrap=column in right, overflow="fold"
        )
    return made


def status_text(text: str) -> Text:
    styles = {"COMPLETED": "green", "RESOLVED": "green", "FIXED": "green", "OPEN": "bold magenta", "FAILED": "red"}
    return Text(text, styles.get(text, "cyan"))


def due_text(row: Discrepancy, now: datetime) -> Text:
    if row.due_at is None:
        return Text("")
    if row.due_at <= now:
        return Text(f"due since {moment(row.due_at)}", "red")
    return Text.assemble((f"due {moment(row.due_at)} ", "dim"), look.left(row.due_at))

"""Risk: TODO docstring."""

import json

from rich.console import Group, RenderableType
from rich.text import Text

from cli.pages import format as look
from db import lookup as operator
from db import risk
from db.core.database import Database
from domain.risk import RuleSet
from embedded.errors import StackError

# --- reviews and tasks ---


async def reviews_page(database: Database, *, tenant: str | None, limit: int) -> RenderableType:
    """The oldest first."""
    rows = await database.read(lambda c: risk.waiting(c, tenant, limit))
    if not rows:
        return Text("No payment waits for a decision.", "green")
    table = look.table("payment", "amount", "because", "deadline (UTC)")
    for row in rows:
        amount = look.amount(row["amount"], row["currency"])
        deadline = Text.assemble(look.time(row["deadline_at"]), "\n", look.left(row["deadline_at"]))
        name = look.ids(row["payment_id"], f"of {row['tenant_id']}")
        table.add_row(name, amount, "\n".join(row["reasons"]), deadline)
    return Group(table, Text("Decide with `paysaga payments review ID --approve` or `--reject`.", "dim"))


# --- risk rules ---


async def rules_of(database: Database, tenant: str) -> tuple[str, str]:
    """(whose version it is, the rules as JSON that `paysaga risk set` takes)."""
    row = await database.read(lambda c: risk.rules(c, tenant))
    if row is None and not await database.read(lambda c: operator.is_tenant(c, tenant)):
        raise StackError(f"There is no tenant {tenant}: `paysaga keys list` names them.")
    rules = row["rules"] if row else RuleSet()
    written = json.dumps(rules.model_dump(mode="json", exclude_none=True), indent=2, ensure_ascii=False)
    if row is None:
        return f"{tenant} has no rules: every payment is allowed.", written
    return f"{tenant}: version {row['version']}, by {row['actor']} at {look.time(row['created_at'])}.", written

"""Risk rules, what they said of payments, and the payments that wait for a person."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page, as_text
from cli.refusals import refusals
from db import risk
from db import tenant as tenants
from db.core.database import Database
from db.risk import Judgement, OpenReview, RuleSetVersion
from domain.card_data import require_text
from domain.errors import NotFound
from domain.risk import RuleSet
from embedded.errors import StackError


async def reviews_page(database: Database, *, tenant: str | None, limit: int) -> Page:
    """The oldest first."""
    rows = await database.read(lambda c: risk.waiting(c, tenant, limit))
    return Page(_waiting(rows), lambda: documents.reviews(rows))


def _waiting(rows: Sequence[OpenReview]) -> RenderableType:
    if not rows:
        return look.text(("No payment waits for a decision.", "green"))
    table = look.table("payment", "amount", "because", "deadline (UTC)")
    for row in rows:
        amount = look.amount(row.amount, row.currency)
        deadline = look.text(look.time(row.deadline_at), "\n", look.left(row.deadline_at))
        name = look.ids(row.payment_id, f"of {row.tenant_id}")
        table.add_row(name, amount, "\n".join(row.reasons), deadline)
    first = f"`paysaga payments review {rows[0].payment_id}"
    return Group(table, look.typed(f"Decide about the first with {first} --approve` or\n{first} --reject`."))


def judgements_table(judgements: Sequence[Judgement]) -> RenderableType:
    """The word of the rules on a payment at each stage, and a person's decision on a review."""
    table = look.table("at", "stage", "because", "decided")
    for j in judgements:
        decided = f"{j.review} by {j.reviewed_by}" if j.review else ""
        note = f": {j.review_note}" if j.review_note else ""
        why = "; ".join(j.reasons) or f"no rule of version {j.version} applies"
        table.add_row(look.time(j.at), look.text(j.stage, "\n", look.status(j.verdict)), why, decided + note)
    return table


# --- risk rules ---


async def rules_of(database: Database, tenant: str) -> tuple[str, str, RuleSetVersion | None]:
    """(whose version it is, the rules as JSON that `paysaga risk set` takes, the version)."""
    row = await database.read(lambda c: risk.rules(c, tenant))
    if row is None and not await database.read(lambda c: tenants.exists(c, tenant)):
        raise NotFound(f"There is no tenant {tenant}.", code="tenant_not_found")
    rules = row.rules if row else RuleSet()
    written = as_text(rules.model_dump(mode="json", exclude_none=True))
    if row is None:
        return f"{tenant} has no rules: every payment is allowed.", written, None
    return f"{tenant}: version {row.version}, by {row.actor} at {look.time(row.created_at)}.", written, row


def read_rules(path: Path) -> RuleSet:
    """The rules of a JSON file. Raises StackError that says all that is wrong, in the API's words."""
    try:
        text = path.read_text(encoding="utf-8")
        with refusals(str(path)):
            require_text(text)
        return RuleSet.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except ValidationError as error:
        wrong = "\n".join(f"  {'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
        raise StackError(f"{path} is no set of rules, and nothing was changed:\n{wrong}") from error


def replaced(tenant: str, written: RuleSetVersion) -> str:
    """The sentence after `paysaga risk set`."""
    count = len(written.rules.rules)
    what = f"{count} rule{'s' if count != 1 else ''}" if count else "no rules: every payment is allowed"
    return f"{tenant} has version {written.version} of its rules, for payments from now on: {what}."

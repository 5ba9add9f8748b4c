"""Lies in the books: lines that report something else than happened, and lines about nothing.

A planted line or a changed one is what lists, retrieval and reports show. The balance keeps the truth: planted and
doubled lines count nothing in it, a changed or hidden line what it counted before.
"""

from pydantic import BaseModel, ConfigDict, Field

from sandbox import balance
from sandbox.context import Context
from sandbox.errors import Doc
from sandbox.store import new_id


class Line(BaseModel):
    """A balance transaction for nothing; amounts are minor units, `fee` is what is subtracted."""

    model_config = ConfigDict(extra="forbid")

    type: str
    amount: int
    currency: str
    fee: int = 0
    description: str | None = None
    source: str | None = None
    created: int | None = None
    reporting_category: str | None = None


class Change(BaseModel):
    """A change of what a line reports; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    amount: int | None = None
    fee: int | None = None
    currency: str | None = None
    hidden: bool | None = None
    created: int | None = Field(None, ge=0)


def plant(ctx: Context, line: Line) -> Doc:
    """Add a line that no movement of money stands behind."""
    currency = line.currency.lower()
    planted = balance.book(
        ctx,
        line.type,
        line.amount,
        currency,
        line.source,
        fee=line.fee,
        category=line.reporting_category,
        available_on=ctx.account.now if line.created is None else line.created,
        description=line.description,
    )
    planted["_net"] = 0
    return change(ctx, planted, Change(created=line.created))


def duplicate(ctx: Context, line: Doc) -> Doc:
    """A second line, with an id of its own, for what happened once."""
    double = line | {"id": new_id("txn"), "_net": 0, "_currency": line.get("_currency", line["currency"])}
    ctx.insert("balance_transactions", double)
    return double


def change(ctx: Context, line: Doc, wanted: Change) -> Doc:
    """Have a line report something else; the first change keeps the truth for the balance."""
    line = {"_net": line["net"], "_currency": line["currency"]} | line
    said = wanted.model_dump(exclude_none=True, exclude={"hidden"})
    line |= said
    line["currency"] = line["currency"].lower()
    line["net"] = line["amount"] - line["fee"]
    for detail in line["fee_details"]:
        detail |= {"amount": line["fee"], "currency": line["currency"]}
    if wanted.hidden is not None:
        line["_hidden"] = int(wanted.hidden)
    ctx.store.update("balance_transactions", line)
    ctx.store.db.execute("UPDATE balance_transactions SET created = ? WHERE id = ?", (line["created"], line["id"]))
    return line

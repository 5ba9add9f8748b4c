"""Merchants: finding one, adding one, changing its terms and status."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from db import audit_log, merchant
from db.core.database import Connection, Database
from db.merchant import Merchant, MerchantTerms, NewMerchant
from domain.errors import Conflict, NotFound
from domain.ids import CLIENT_ID
from domain.money import to_major
from services import access
from services.command import Caller


@dataclass(frozen=True)
class Changed:
    """A merchant before and after a command; the two are equal where it changed nothing."""

    before: Merchant
    after: Merchant


async def find(database: Database, caller: Caller, name: str, tenant_id: str | None = None) -> Merchant:
    """The merchant called `name`: our id of it, or the tenant's own. A person may say whose, with `tenant_id`.

    Raises NotFound `merchant_not_found`, also for what is no id at all; Conflict `merchant_ambiguous` where several
    tenants have one of this name.
    """
    whose = caller.tenant_id or tenant_id
    rows = await database.read(lambda c: merchant.find(c, name, whose)) if CLIENT_ID.fullmatch(name) else []
    found = [row for row in rows if access.reaches_seller(caller, row.seller_account)]
    if not found:
        said = f"There is no merchant {name}."
        raise NotFound(said if caller.tenant_id is None else "There is no such merchant.", code="merchant_not_found")
    if len(found) > 1:
        tenants = ", ".join(f"{row.id} ({row.tenant_id})" for row in found)
        detail = f"Several tenants have a merchant {name}: {tenants}. Say --tenant, or its own id."
        raise Conflict(detail, code="merchant_ambiguous")
    return found[0]


async def page(database: Database, caller: Caller, *, after: str | None, limit: int) -> list[Merchant]:
    """The sellers of the caller's tenant, in the order in which they were added; a merchant sees itself."""
    if caller.seller_account is not None:
        return [await find(database, caller, caller.seller_account)] if after is None else []
    tenant_id = access.whole_tenant(caller)
    return await database.read(lambda c: merchant.page(c, tenant_id, after=after, limit=limit))


async def create(database: Database, caller: Caller, new: NewMerchant) -> Merchant:
    """Add a seller to the caller's tenant. Raises Conflict `merchant_exists`."""
    tenant_id = access.whole_tenant(caller)

    async def work(connection: Connection) -> Merchant:
        row = await merchant.create(connection, tenant_id, new)
        await audit_log.record(connection, tenant_id, caller.actor, "merchant.create", row.id, _said(new))
        return row

    return await database.run(work)


async def change(
    database: Database,
    caller: Caller,
    name: str,
    terms: MerchantTerms,
    *,
    tenant_id: str | None = None,
    action: str = "merchant.change",
) -> Changed:
    """Change what `terms` say; where all of it is so already, nothing is written. `action`: its name in the audit log.

    Raises NotFound `merchant_not_found`; Conflict `merchant_closed`, `merchant_ambiguous`.
    """
    found = await find(database, caller, name, tenant_id)

    async def work(connection: Connection) -> Changed:
        before = await merchant.lock(connection, found.tenant_id, found.seller_account)
        if all(getattr(before, column) == value for column, value in terms.items()):
            return Changed(before, before)
        after = await merchant.change(connection, before.tenant_id, before.seller_account, terms)
        detail = {"seller_account": after.seller_account, **_said(terms)}
        await audit_log.record(connection, after.tenant_id, caller.actor, action, after.id, detail)
        return Changed(before, after)

    return await database.run(work)


def _said(terms: MerchantTerms) -> dict[str, Any]:
    """The terms as the audit log keeps them: what people read there is money, not minor units."""
    said = {name: str(value) if isinstance(value, Decimal) else value for name, value in terms.items()}
    if "payout_minimum" in terms:
        said["payout_minimum"] = {c: to_major(amount, c) for c, amount in terms["payout_minimum"].items()}
    return said

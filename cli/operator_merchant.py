"""Operator merchant: TODO docstring."""

from typing import Any

from cli.refusals import refusals
from db import audit_log, merchant
from db import lookup as operator
from db.core.database import Database
from domain.status import MerchantStatus
from embedded.errors import StackError

# --- merchants ---


async def find_merchant(database: Database, name: str, tenant: str | None) -> dict[str, Any]:
    found = await database.read(lambda c: operator.find_merchants(c, name, tenant)) if name.isprintable() else []
    if not found:
        raise StackError(f"There is no merchant {name}: `paysaga merchants list` shows them.")
    if len(found) > 1:
        tenants = ", ".join(f"{row['id']} ({row['tenant_id']})" for row in found)
        raise StackError(f"Several tenants have a merchant {name}: {tenants}. Say --tenant, or its own id.")
    return found[0]


async def set_merchant_status(
    database: Database, name: str, tenant: str | None, status: MerchantStatus, by: str
) -> str:
    row = await find_merchant(database, name, tenant)
    seller = row["seller_account"]
    if row["status"] == status:
        return f"{seller} of {row['tenant_id']} is {status} already."

    async def work(connection: Any) -> None:
        await merchant.change(connection, row["tenant_id"], seller, {"status": status.value})
        detail = {"status": status.value, "seller_account": seller}
        await audit_log.record(connection, row["tenant_id"], by, "merchant.change", row["id"], detail)

    with refusals(seller):
        await database.run(work)
    return f"{seller} of {row['tenant_id']} was {row['status']} and is {status}: {_MEANS[status]}."


_MEANS = {
    MerchantStatus.ACTIVE: "whatever waits goes on",
    MerchantStatus.FROZEN: "no new orders and no captures; what is charged already is refunded, and refunds and "
    "disputes go on",
    MerchantStatus.CLOSED: "for ever; refunds are made from what is left in its wallet",
}

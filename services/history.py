"""The history of a buyer or a seller."""

from db import history
from db.core.database import Database
from db.history import Entry, Filters, Role
from services import access
from services.command import Caller


async def page(
    database: Database,
    caller: Caller,
    user_id: str,
    *,
    role: Role,
    filters: Filters,
    before: int | None,
    limit: int,
) -> list[Entry]:
    """Entries of a buyer or seller of the caller's tenant, newest first; `before` is the sequence number that a page
    ended with. A merchant has its seller's; another seller's is empty, as a stranger's is.

    Raises Forbidden `role_not_allowed` for a merchant that asks for a buyer's.
    """
    tenant_id = caller.tenant_id
    assert tenant_id is not None, "a history is asked for with a tenant's key"
    if role == "buyer" and caller.seller_account is not None:
        raise access.refused("a buyer's history is the shop's: ask with role=seller")
    if role == "seller" and not access.reaches_seller(caller, user_id):
        return []
    rows = await database.read(
        lambda c: history.page(c, tenant_id, user_id, role=role, filters=filters, before=before, limit=limit)
    )
    return [access.entry(caller, row) for row in rows]

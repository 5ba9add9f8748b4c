"""Operator key: TODO docstring."""

from typing import Any

from db import api_key, audit_log
from db import lookup as operator
from db.core.database import Database
from embedded.errors import StackError

# --- API keys ---


async def create_key(database: Database, tenant: str, name: str, scopes: frozenset[str], by: str) -> tuple[str, str]:
    """(id, secret). The secret is nowhere else: it is stored as its hash alone."""
    secret = api_key.new_secret()

    async def work(connection: Any) -> str:
        key_id = await api_key.create(connection, tenant, name, secret, scopes or api_key.SCOPES)
        detail = {"name": name, "scopes": sorted(scopes or api_key.SCOPES)}
        await audit_log.record(connection, tenant, by, "api_key.create", key_id, detail)
        return key_id

    try:
        return await database.run(work), secret
    except ValueError as error:
        raise StackError(f"{error}. There are: {', '.join(sorted(api_key.SCOPES))}.") from error


async def revoke_key(database: Database, key_id: str, by: str) -> str:
    """Processes that have just seen it accept it for some seconds more."""

    async def work(connection: Any) -> bool | None:
        tenant = await operator.tenant_of_key(connection, key_id)
        if tenant is None:
            return None
        revoked = await api_key.revoke(connection, key_id)
        if revoked:
            await audit_log.record(connection, tenant, by, "api_key.revoke", key_id, {})
        return revoked

    revoked = await database.run(work)
    if revoked is None:
        raise StackError(f"There is no API key {key_id}: `paysaga keys list` shows them.")
    return f"{key_id} is revoked." if revoked else f"{key_id} was revoked already."

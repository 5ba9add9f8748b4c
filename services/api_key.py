"""API keys: making one, taking one back."""

from db import api_key, audit_log
from db.core.database import Connection, Database
from domain.errors import NotFound, Unprocessable
from domain.limits import KeyName
from services.command import Caller, check


async def create(
    database: Database, caller: Caller, tenant_id: str, name: str, scopes: frozenset[str]
) -> tuple[str, str]:
    """(id, secret) of a new key; without `scopes` it may do everything. A new tenant's name makes the tenant.

    The secret is nowhere else: it is stored as its hash alone. Raises Unprocessable `scope_unknown`, `field_invalid`,
    `text_invalid`, `card_data_forbidden`.
    """
    check(KeyName, name, "name")
    unknown = scopes - api_key.SCOPES
    if unknown:
        detail = f"unknown scope: {', '.join(sorted(unknown))}. There are: {', '.join(sorted(api_key.SCOPES))}."
        raise Unprocessable(detail, code="scope_unknown")
    granted = scopes or api_key.SCOPES
    secret = api_key.new_secret()

    async def work(connection: Connection) -> str:
        key_id = await api_key.create(connection, tenant_id, name, secret, granted)
        detail = {"name": name, "scopes": sorted(granted)}
        await audit_log.record(connection, tenant_id, caller.actor, "api_key.create", key_id, detail)
        return key_id

    return await database.run(work), secret


async def revoke(database: Database, caller: Caller, key_id: str) -> bool:
    """Take a key back; processes that have just seen it accept it for some seconds more. False: it was revoked already.
    Raises NotFound `api_key_not_found`."""

    async def work(connection: Connection) -> bool:
        tenant_id = await api_key.tenant_of(connection, key_id)
        if tenant_id is None:
            raise NotFound(f"There is no API key {key_id}.", code="api_key_not_found")
        revoked = await api_key.revoke(connection, key_id)
        if revoked:
            await audit_log.record(connection, tenant_id, caller.actor, "api_key.revoke", key_id, {})
        return revoked

    if not key_id.isprintable():
        raise NotFound("There is no such API key.", code="api_key_not_found")
    return await database.run(work)

"""API keys: making one, replacing one, taking one back."""

from datetime import timedelta

from db import api_key, audit_log, merchant
from db.core.database import Connection, Database
from domain.access import EVERY_SCOPE, MERCHANT, ROLES, TENANT_SCOPES
from domain.errors import NotFound, Unprocessable
from domain.limits import KeyName, OrderName
from services.command import Caller, check

_LIFE_MAX = timedelta(days=3660)
_OVERLAP_MAX = timedelta(days=90)


async def create(
    database: Database,
    caller: Caller,
    tenant_id: str,
    name: str,
    scopes: frozenset[str],
    *,
    life: timedelta | None = None,
    role: str | None = None,
    seller_account: str | None = None,
) -> tuple[str, str]:
    """(id, secret) of a new key. It may do what its `role` or its `scopes` say, and everything with what its tenant
    has without either; a merchant's reaches its one seller's objects alone. Without `life` it does not expire. A new
    tenant's name makes the tenant.

    The secret is nowhere else: it is stored as its hash alone. Raises Unprocessable `scope_unknown`, `role_unknown`,
    `role_and_scopes`, `seller_required`, `merchant_unknown`, `life_invalid`, `field_invalid`, `text_invalid`,
    `card_data_forbidden`.
    """
    check(KeyName, name, "name")
    if life is not None and not timedelta(minutes=1) <= life <= _LIFE_MAX:
        raise Unprocessable("A key lives for a minute to ten years.", code="life_invalid")
    _check_grant(role, scopes, seller_account)
    granted = scopes or TENANT_SCOPES
    secret = api_key.new_secret()

    async def work(connection: Connection) -> str:
        seller = await _seller(connection, tenant_id, seller_account) if seller_account is not None else None
        key_id = await api_key.create(
            connection, tenant_id, name, secret, granted, life=life, role=role, seller_account=seller
        )
        may = {"scopes": sorted(granted)} if role is None else {"role": role, "seller_account": seller}
        detail = {"name": name, **may, "life_s": life.total_seconds() if life else None}
        await audit_log.record(connection, tenant_id, caller.actor, "api_key.create", key_id, detail)
        return key_id

    return await database.run(work), secret


async def _seller(connection: Connection, tenant_id: str, name: str) -> str:
    """The tenant's own id of its seller, by that or ours. Raises Unprocessable `merchant_unknown`."""
    found = await merchant.find(connection, name, tenant_id)
    if not found:
        raise Unprocessable(f"{tenant_id} has no seller {name}.", code="merchant_unknown")
    return found[0].seller_account


def _check_grant(role: str | None, scopes: frozenset[str], seller_account: str | None) -> None:
    """Raises Unprocessable."""
    unknown = scopes - EVERY_SCOPE
    if unknown:
        detail = f"unknown scope: {', '.join(sorted(unknown))}. There are: {', '.join(sorted(EVERY_SCOPE))}."
        raise Unprocessable(detail, code="scope_unknown")
    if role is not None and role not in ROLES:
        raise Unprocessable(f"unknown role: {role}. There are: {', '.join(ROLES)}.", code="role_unknown")
    if role is not None and scopes:
        raise Unprocessable("A key has a role or scopes, not both.", code="role_and_scopes")
    if (role == MERCHANT) != (seller_account is not None):
        raise Unprocessable("A key of the role merchant names its seller, and no other does.", code="seller_required")
    if seller_account is not None:
        check(OrderName, seller_account, "seller_account")


async def rotate(database: Database, caller: Caller, key_id: str, overlap: timedelta) -> tuple[str, str]:
    """(id, secret) of a new key with the name, role and scopes of another, which goes on for `overlap`: time to hand
    out the new one. Where the old one was to expire, the new one lives as long as it did from its making.

    Raises NotFound `api_key_not_found` for a key that is not there, or was revoked or has expired; Unprocessable
    `overlap_invalid`.
    """
    if not timedelta(0) <= overlap <= _OVERLAP_MAX:
        raise Unprocessable("Two keys overlap for 90 days at most.", code="overlap_invalid")
    secret = api_key.new_secret()

    async def work(connection: Connection) -> str:
        old = await api_key.active(connection, key_id)
        if old is None:
            raise NotFound(f"There is no API key {key_id} that could be replaced.", code="api_key_not_found")
        life = old.expires_at - old.created_at if old.expires_at is not None else None
        new = await api_key.create(
            connection,
            old.tenant_id,
            old.name,
            secret,
            frozenset(old.scopes),
            life=life,
            role=old.role,
            seller_account=old.seller_account,
        )
        await api_key.expire(connection, key_id, overlap)
        detail = {"new": new, "overlap_s": overlap.total_seconds()}
        await audit_log.record(connection, old.tenant_id, caller.actor, "api_key.rotate", key_id, detail)
        return new

    if not key_id.isprintable():
        raise NotFound("There is no such API key.", code="api_key_not_found")
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

"""Tenants: the sites that their buyers may be sent back to."""

from collections.abc import Sequence
from dataclasses import dataclass

from db import audit_log, tenant
from db.core.database import Connection, Database
from domain.errors import NotFound, Unprocessable
from domain.return_url import ReturnUrlError, is_origin, origin_of
from services.command import Caller, check

_SITES_MAX = 100


@dataclass(frozen=True)
class Sites:
    """A tenant's sites after a command; `changed` False: they were so before."""

    origins: Sequence[str]
    changed: bool


async def allow_return_url(database: Database, caller: Caller, tenant_id: str, site: str) -> Sites:
    """Let a tenant's payments name URLs of a site: scheme, host and port (`https://shop.example`).

    Raises NotFound `tenant_not_found`; Unprocessable `return_url_invalid`, `too_many_sites`, `text_invalid`.
    """
    return await _change(database, caller, tenant_id, site, allow=True)


async def forbid_return_url(database: Database, caller: Caller, tenant_id: str, site: str) -> Sites:
    """Let no new payment name URLs of a site; those that were made keep theirs. Raises as `allow_return_url`."""
    return await _change(database, caller, tenant_id, site, allow=False)


async def _change(database: Database, caller: Caller, tenant_id: str, site: str, *, allow: bool) -> Sites:
    check(str, tenant_id, "tenant")
    origin = _origin(site)

    async def work(connection: Connection) -> Sites:
        before = await tenant.return_origins(connection, tenant_id, lock=True)
        if before is None:
            raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
        if (origin in before) is allow:
            return Sites(before, changed=False)
        after = [*before, origin] if allow else [one for one in before if one != origin]
        if len(after) > _SITES_MAX:
            raise Unprocessable(f"A tenant has {_SITES_MAX} sites at most.", code="too_many_sites")
        await tenant.set_return_origins(connection, tenant_id, after)
        action = "tenant.allow_return_url" if allow else "tenant.forbid_return_url"
        await audit_log.record(connection, tenant_id, caller.actor, action, tenant_id, {"site": origin})
        return Sites(after, changed=True)

    return await database.run(work)


def _origin(site: str) -> str:
    try:
        if is_origin(site):
            return origin_of(site)
        detail = f"Say the site alone: {origin_of(site)}"
    except ReturnUrlError as error:
        raise Unprocessable(str(error), code="return_url_invalid") from error
    raise Unprocessable(detail, code="return_url_invalid")

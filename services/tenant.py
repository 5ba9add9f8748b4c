"""Tenants: the sites that their buyers may be sent back to, and those whose pages may call with a client token."""

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
    return await _change(database, caller, tenant_id, _site(site), _RETURN, allow=True)


async def forbid_return_url(database: Database, caller: Caller, tenant_id: str, site: str) -> Sites:
    """Let no new payment name URLs of a site; those that were made keep theirs. Raises as `allow_return_url`."""
    return await _change(database, caller, tenant_id, _site(site), _RETURN, allow=False)


async def allow_origin(database: Database, caller: Caller, tenant_id: str, site: str) -> Sites:
    """Let a tenant's pages on a site call with the client tokens of its payments.

    Raises NotFound `tenant_not_found`; Unprocessable `origin_invalid`, `too_many_sites`, `text_invalid`.
    """
    return await _change(database, caller, tenant_id, _origin(site), _PAGES, allow=True)


async def forbid_origin(database: Database, caller: Caller, tenant_id: str, site: str) -> Sites:
    """Let a tenant's pages on a site call no more; API processes that have just let one go on for some seconds. Raises
    as `allow_origin`."""
    return await _change(database, caller, tenant_id, _origin(site), _PAGES, allow=False)


@dataclass(frozen=True)
class _List:
    """One of a tenant's lists, and the name of what is allowed by it in the audit log."""

    sites: tenant.Sites
    name: str


_RETURN = _List("return_origins", "return_url")
_PAGES = _List("page_origins", "origin")


async def _change(database: Database, caller: Caller, tenant_id: str, origin: str, of: _List, *, allow: bool) -> Sites:
    check(str, tenant_id, "tenant")

    async def work(connection: Connection) -> Sites:
        before = await tenant.origins(connection, tenant_id, of.sites, lock=True)
        if before is None:
            raise NotFound(f"There is no tenant {tenant_id}.", code="tenant_not_found")
        if (origin in before) is allow:
            return Sites(before, changed=False)
        after = [*before, origin] if allow else [one for one in before if one != origin]
        if len(after) > _SITES_MAX:
            raise Unprocessable(f"A tenant has {_SITES_MAX} sites at most.", code="too_many_sites")
        await tenant.set_origins(connection, tenant_id, of.sites, after)
        action = f"tenant.{'allow' if allow else 'forbid'}_{of.name}"
        await audit_log.record(connection, tenant_id, caller.actor, action, tenant_id, {"site": origin})
        return Sites(after, changed=True)

    return await database.run(work)


def _site(text: str) -> str:
    try:
        if is_origin(text):
            return origin_of(text)
        detail = f"Say the site alone: {origin_of(text)}"
    except ReturnUrlError as error:
        raise Unprocessable(str(error), code="return_url_invalid") from error
    raise Unprocessable(detail, code="return_url_invalid")


def _origin(text: str) -> str:
    """As a browser names the page that calls."""
    try:
        if is_origin(text):
            return origin_of(text)
    except ReturnUrlError:
        pass
    detail = "An origin is such as https://shop.example: https (or http://localhost, to try it), host and port alone."
    raise Unprocessable(detail, code="origin_invalid")

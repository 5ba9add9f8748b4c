"""The reader of a run's report and log: an API key's tenant, or whoever has a signed link to the one page."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, Security
from fastapi.security import SecurityScopes

from api.access import bearer, principal, tenant_of
from api.context import RuntimeOf
from api.page import page
from api.strict import StrictRoute
from domain.errors import PaysagaError
from domain.ids import CLIENT_ID
from services.signed_link import SignedLink


@dataclass(frozen=True)
class Reader:
    """`tenant_id`: whose view it is (None: an operator's); `link`: to what is read, as long as it may be."""

    tenant_id: str | None
    link: SignedLink


async def reader(
    request: Request,
    scopes: SecurityScopes,
    runtime: RuntimeOf,
    _: Annotated[object, Depends(bearer)],
    tenant: Annotated[str | None, Query(include_in_schema=False)] = None,
    expires: Annotated[str, Query(include_in_schema=False)] = "",
    signature: Annotated[str | None, Query(include_in_schema=False)] = None,
) -> Reader:
    """Raises what `principal` raises; of a link Forbidden `link_invalid`, `link_expired`."""
    path = request.url.path
    if signature is None:
        who = await principal(request, scopes, None)
        return Reader(tenant_of(who), SignedLink.from_now(path, tenant_of(who)))
    moment = int(expires) if expires.isascii() and expires.isdigit() and len(expires) <= _DIGITS_MAX else 0
    link = SignedLink(path, tenant, moment)
    link.require(runtime.keyring, signature)
    return Reader(tenant, link)


_DIGITS_MAX = 12

ReportReader = Annotated[Reader, Security(reader, scopes=["reconciliation:read"])]


# --- refusals ---


class PageRoute(StrictRoute):
    """A route that a person opens in a browser: a refusal is a page there, with the remedy. Programs, which do not ask
    for HTML, get the same problem+json as everywhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except PaysagaError as error:
                if "text/html" not in request.headers.get("accept", ""):
                    raise
                return page(_TITLES.get(error.code, "That does not work"), _refusal(error, request), error.status)

        return shown


_TITLES = {
    "api_key_missing": "This page needs a link of its own",
    "link_expired": "This link has expired",
    "link_invalid": "This link does not work",
}


def _refusal(error: PaysagaError, request: Request) -> str:
    if error.code not in _TITLES:
        return f"<p>{escape(error.detail)}</p>"
    why = "A browser has no API key." if error.code == "api_key_missing" else escape(error.detail)
    run_id = str(request.path_params.get("reconciliation_id", ""))
    command = f"paysaga reconcile report {run_id if CLIENT_ID.fullmatch(run_id) else 'ID'}"
    return f"<p>{why} Whoever runs Paysaga gets a new link, good for a day, from <code>{command}</code></p>"

"""`/v1/webhook_endpoints`: the address of the account's settings, as Stripe describes endpoints.

There is one for the account's own events and one (`connect`) for those of its connected accounts, at the same address
and with the same secret. Until the second is made, the first gets the events of both.
"""

import re

from sandbox.accounts import Account
from sandbox.context import Context
from sandbox.errors import ApiError, Doc, not_found
from sandbox.wire import Table, boolean, clearable, metadata, text, words

CREATE: Table = {
    "url": text, "enabled_events": words, "connect": boolean, "api_version": text, "description": clearable,
    "metadata": metadata,
}  # fmt: skip
UPDATE: Table = {
    "url": text, "enabled_events": words, "disabled": boolean, "description": clearable, "metadata": metadata,
}  # fmt: skip
_TYPE = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_]+)+")


def create(ctx: Context, _id: str, params: Doc) -> Doc:
    """Send the account's events, or with `connect` its connected accounts', to the URL."""
    account = ctx.account.platform
    settings, there_are = account.settings, {endpoint["id"] for endpoint in _endpoints(account)}
    made = _connect_id(account) if params.get("connect") else _own_id(account)
    if made in there_are:
        raise ApiError(400, f"The sandbox has one endpoint for these events: update {made}.")
    if there_are and settings.webhook_url != params["url"]:
        raise ApiError(400, f"The sandbox sends all events to one URL: {settings.webhook_url}.", param="url")
    if not there_are:
        settings.webhook_url, settings.webhook_events = params["url"], []
    _subscribe(account, made, params["enabled_events"])
    _save(ctx, account)
    return retrieve(ctx, made, {}) | {"secret": settings.webhook_secret}


def update(ctx: Context, endpoint_id: str, params: Doc) -> Doc:
    """Change the types, or the URL of both."""
    retrieve(ctx, endpoint_id, {})
    account = ctx.account.platform
    if params.get("disabled"):
        raise ApiError(400, "The sandbox cannot disable an endpoint.", param="disabled")
    account.settings.webhook_url = params.get("url", account.settings.webhook_url)
    if "enabled_events" in params:
        _subscribe(account, endpoint_id, params["enabled_events"])
    _save(ctx, account)
    return retrieve(ctx, endpoint_id, {})


def retrieve(ctx: Context, endpoint_id: str, _params: Doc) -> Doc:
    """`GET /v1/webhook_endpoints/{id}`."""
    found = next((one for one in _endpoints(ctx.account.platform) if one["id"] == endpoint_id), None)
    if found is None:
        raise not_found("webhook endpoint", endpoint_id, "id")
    return found


def list_all(ctx: Context, _id: str, _params: Doc) -> Doc:
    """All there are, on one page."""
    found = _endpoints(ctx.account.platform)
    return {"object": "list", "data": found, "has_more": False, "url": "/v1/webhook_endpoints"}


def _own_id(account: Account) -> str:
    return f"we_{account.id.removeprefix('acct_')}"


def _connect_id(account: Account) -> str:
    return f"{_own_id(account)}connect"


def _subscribe(account: Account, endpoint_id: str, types: list[str]) -> None:
    for kind in types:
        if not _TYPE.fullmatch(kind):
            raise ApiError(400, f"Invalid enabled_events: {kind[:80]!r} is no type of event", param="enabled_events")
    if endpoint_id == _connect_id(account):
        account.settings.webhook_seller_events = types
    else:
        account.settings.webhook_events = types


def _save(ctx: Context, account: Account) -> None:
    ctx.store.db.execute("UPDATE accounts SET doc = ? WHERE key = ?", (account.model_dump_json(), account.key))


def _endpoints(account: Account) -> list[Doc]:
    settings = account.settings
    if not settings.webhook_url:
        return []
    own = [_view(account, _own_id(account), settings.webhook_events, None)] if settings.webhook_events else []
    of_sellers = settings.webhook_seller_events
    if of_sellers is None:
        return own
    return [*own, _view(account, _connect_id(account), of_sellers, "ca_sandbox")]


def _view(account: Account, endpoint_id: str, types: list[str], application: str | None) -> Doc:
    return {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": application,
        "created": 0,
        "description": None,
        "enabled_events": types,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": account.settings.webhook_url,
    }

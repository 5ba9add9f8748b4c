"""Connected accounts: sellers under a platform. Test names come into being on first use; others are created.

A known name plus `_` and a suffix (`acct_payoutFails_42`) behaves as the name.
"""

import json
import re
from typing import Literal

from sandbox.accounts import Account, AnyAccount, Connected
from sandbox.context import Context
from sandbox.errors import ApiError, Doc
from sandbox.store import Store, dumps, new_id
from sandbox.wire import Table, anything, currency, hashed, merged, metadata, text

Behaviour = Literal[
    "paysOut", "payoutFails", "payoutReturned", "payoutStays", "payoutRefused", "transferRefused", "reversalRefused"
]  # fmt: skip
NAME = re.compile(
    r"acct_(paysOut|payoutFails|payoutReturned|payoutStays|payoutRefused|transferRefused|reversalRefused)"
    r"(_[A-Za-z0-9_]{1,100})?"
)

CREATE: Table = {
    "type": text,
    "country": text,
    "email": text,
    "default_currency": currency,
    "business_type": text,
    "metadata": metadata,
} | dict.fromkeys(
    (
        "account_token", "business_profile", "capabilities", "company", "controller", "documents", "external_account",
        "groups", "individual", "settings", "tos_acceptance",
    ),
    anything,
)  # fmt: skip


def create(ctx: Context, params: Doc) -> Doc:
    """`POST /v1/accounts`: an account that can be paid at once; nobody has to onboard."""
    document = _build(ctx.account.platform, new_id("acct")[:21], params)
    _keep(ctx.store, ctx.account.platform, document)
    return document


def retrieve(ctx: Context, account_id: str, _params: Doc) -> Doc:
    """`GET /v1/accounts/{id}`."""
    platform = ctx.account.platform
    document = find(ctx.store, platform, account_id)
    if document is None:
        raise _no_access(platform, account_id)
    return document


def select(store: Store, platform: Account, name: str | None) -> AnyAccount:
    """The account that a `Stripe-Account` header chooses. Raises the 403 for an unknown one."""
    if not name or name == platform.id:
        return platform
    if find(store, platform, name) is None:
        raise _no_access(platform, name)
    return Connected(platform, name)


def find(store: Store, platform: Account, name: str) -> Doc | None:
    """A connected account's object; a test name is created here. None if the platform has no such account."""
    row = store.db.execute(
        "SELECT doc FROM connected_accounts WHERE platform = ? AND id = ?", (platform.id, name)
    ).fetchone()
    if row:
        document: Doc = json.loads(row[0])
        return document
    if not NAME.fullmatch(name):
        return None
    document = _build(platform, name, {})
    _keep(store, platform, document)
    return document


def behaviour_of(name: str | None) -> Behaviour:
    """The behaviour of an account towards its money; created ones and the platform itself pay out."""
    match = NAME.fullmatch(name or "")
    behaviour: Behaviour = match[1] if match else "paysOut"  # type: ignore[assignment]  # the expression lists them
    return behaviour


def _keep(store: Store, platform: Account, document: Doc) -> None:
    store.db.execute("INSERT INTO connected_accounts VALUES (?, ?, ?)", (platform.id, document["id"], dumps(document)))


def _build(platform: Account, name: str, params: Doc) -> Doc:
    behaviour = behaviour_of(name)
    asked = params.get("capabilities")
    capabilities = dict.fromkeys(asked if isinstance(asked, dict) else ("card_payments", "transfers"), "active")
    if behaviour == "transferRefused":
        capabilities["transfers"] = "inactive"
    return {
        "id": name,
        "object": "account",
        "business_profile": {"name": None, "url": None, "mcc": None} | _hash(params, "business_profile"),
        "business_type": params.get("business_type"),
        "capabilities": capabilities,
        "charges_enabled": True,
        "controller": {"type": "application", "is_controller": True} | _hash(params, "controller"),
        "country": params.get("country", "US"),
        "created": platform.now,
        "default_currency": params.get("default_currency", "usd"),
        "details_submitted": True,
        "email": params.get("email"),
        "external_accounts": {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": f"/v1/accounts/{name}/external_accounts",
        },
        "metadata": merged({}, params.get("metadata")),
        "payouts_enabled": behaviour != "payoutRefused",
        "requirements": {"currently_due": [], "disabled_reason": None, "past_due": [], "pending_verification": []},
        # Money stays until the platform pays it out: nothing is paid automatically from a connected account.
        "settings": _SETTINGS | _hash(params, "settings"),
        "type": params.get("type", "express"),
    }


_SETTINGS: Doc = {
    "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
    "card_payments": {
        "statement_descriptor_prefix": None,
        "statement_descriptor_prefix_kana": None,
        "statement_descriptor_prefix_kanji": None,
    },
    "dashboard": {"display_name": None, "timezone": "Etc/UTC"},
    "payments": {
        "statement_descriptor": None,
        "statement_descriptor_kana": None,
        "statement_descriptor_kanji": None,
    },
    "payouts": {
        "debit_negative_balances": False,
        "schedule": {"delay_days": 2, "interval": "manual"},
        "statement_descriptor": None,
    },
}


def _hash(params: Doc, name: str) -> Doc:
    return hashed(name, params[name]) if name in params else {}


def _no_access(platform: Account, name: str) -> ApiError:
    key = platform.key
    text = (
        f"The provided key '{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:]}' does not have access to account '{name}' "
        "(or that account does not exist). Application access may have been revoked."
    )
    return ApiError(403, text, code="account_invalid")

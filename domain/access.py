"""Access: the scopes there are, the roles they make, and the principal that a request is made by."""

from dataclasses import dataclass

SCOPES: dict[str, str] = {
    "audit:read": "show who did what: the audit log",
    "payments:read": "show payments, explanations and history",
    "payments:write": "create, confirm, capture and cancel payments",
    "refunds:write": "give money back",
    "disputes:read": "show disputes",
    "disputes:write": "submit evidence",
    "reviews:write": "decide about payments in review, and those that need attention",
    "risk:read": "show the risk rules and the payments in review",
    "risk:write": "change the risk rules",
    "merchants:read": "show sellers",
    "merchants:write": "add, change, freeze and close sellers",
    "payouts:read": "show payouts",
    "payouts:write": "pay sellers out, and cancel that",
    "ledger:read": "show the ledger and the sellers' wallets",
    "reconciliation:read": "show reconciliations and discrepancies",
    "reconciliation:write": "reconcile, upload settlement files, and decide about discrepancies",
}

"""By name, with what each lets its holder do."""

EVERY_SCOPE = frozenset(SCOPES)

ROLES: dict[str, frozenset[str]] = {
    "checkout": frozenset({"payments:read", "payments:write", "refunds:write"}),
    "merchant": frozenset({"payments:read", "disputes:read", "merchants:read", "payouts:read", "ledger:read"}),
    "operator": frozenset(
        {
            "payments:read",
            "payments:write",
            "refunds:write",
            "disputes:read",
            "disputes:write",
            "reviews:write",
            "risk:read",
            "merchants:read",
            "merchants:write",
            "payouts:read",
            "ledger:read",
            "reconciliation:read",
            "audit:read",
        }
    ),
    "finance": frozenset(
        {
            "payments:read",
            "disputes:read",
            "merchants:read",
            "payouts:read",
            "payouts:write",
            "ledger:read",
            "reconciliation:read",
            "reconciliation:write",
            "audit:read",
        }
    ),
    "admin": EVERY_SCOPE,
}
"""By name, with the scopes of each. A merchant reaches its own seller's objects alone."""

CHECKOUT_PAGE = "client_token"
"""The actor of what a checkout page did: the token itself is written nowhere, and the row's object is its payment."""


@dataclass(frozen=True)
class Principal:
    """The owner of a request, as the credential proves it. `actor`: what the audit log and transitions name (an API
    key's id, a person's name, `client_token`); `life_s`: seconds for which the credential is good, None: until it is
    revoked. `payment_id`: the one payment that a checkout page may read and confirm; its scopes are none, so that
    whatever else asks for one is refused."""

    actor: str
    tenant_id: str
    scopes: frozenset[str]
    life_s: float | None = None
    payment_id: str | None = None

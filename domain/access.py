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
    "webhooks:read": "show webhook endpoints, and what was sent to them",
    "webhooks:write": "add and change webhook endpoints, and send events again",
    "dead_letters:read": "show what was given up",
    "dead_letters:write": "try again, or discard, what was given up",
    "notifications:read": "show what was told to buyers and sellers, without their addresses",
    "notifications:write": "say what is told to whom, and lift suppressions",
    "histories:read": "decrypt what Temporal keeps, of every tenant",
}
"""By name, with what each lets its holder do."""

EVERY_SCOPE = frozenset(SCOPES)
TENANT_SCOPES = EVERY_SCOPE - {"histories:read"}
"""Those that reach the objects of one tenant: what a key may do that is made without naming a role or scopes."""

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
            "webhooks:read",
            "dead_letters:read",
            "dead_letters:write",
            "notifications:read",
            "histories:read",
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

MERCHANT = "merchant"


def granted(role: str | None, scopes: frozenset[str] | None, seller_account: str | None) -> frozenset[str]:
    """The scopes of a credential: those of its role, or the ones among them that it names; without a role those that it
    names. A name that is no scope of ours grants nothing.

    Raises ValueError for a role that does not exist, for a merchant's credential without a seller, and for a seller in
    any other.
    """
    if role is not None and role not in ROLES:
        raise ValueError(f"there is no role {role}")
    if (role == MERCHANT) != (seller_account is not None):
        raise ValueError("a credential of the role merchant names its seller, and no other does")
    most = EVERY_SCOPE if role is None else ROLES[role]
    if scopes is None:
        return most if role is not None else frozenset()
    return most & scopes


@dataclass(frozen=True)
class Principal:
    """The owner of a request, as the credential proves it. `actor`: what the audit log and transitions name (an API
    key's id, a person's name, `jwt:` and a token's subject, `client_token`); `life_s`: seconds for which the credential
    is good, None: until it is revoked. `seller_account`: of the one seller whose objects it reaches, None: the whole
    tenant's. `payment_id`: the one payment that a checkout page may read and confirm; its scopes are none, so that
    whatever else asks for one is refused."""

    actor: str
    tenant_id: str
    scopes: frozenset[str]
    life_s: float | None = None
    payment_id: str | None = None
    seller_account: str | None = None

"""The rule of every operation: its scope, and what it is for a merchant. docs/access.md shows the same."""

from enum import StrEnum
from typing import Any, NamedTuple

Operation = tuple[str, str]
"""Method and path, as in the OpenAPI document."""


class Merchant(StrEnum):
    """An operation, for whoever reaches one seller alone."""

    NO_SCOPE = "no scope"
    OWN = "own"
    """The path names an object: another seller's is not there."""
    LIST = "own alone"
    """Of a list, or of an object that several share, its own part."""
    REFUSED = "refused"
    """It is about all sellers: 403."""


class Rule(NamedTuple):
    """`scope`: None for what needs no credential of ours, or (`session`) an operator's login alone. `page`: a checkout
    page may do it too, to its own payment."""

    scope: str | None
    merchant: Merchant = Merchant.NO_SCOPE
    page: bool = False
    session: bool = False

    @property
    def security(self) -> list[dict[str, list[str]]] | None:
        """As the document says it."""
        if self.scope is None:
            return [{"session": []}] if self.session else None
        return [{scheme: [self.scope]} for scheme in ("apiKey", *(("clientToken",) if self.page else ()), "jwt")]


RULES: dict[Operation, Rule] = {
    ("POST", "/v1/payments"): Rule("payments:write"),
    ("GET", "/v1/payments"): Rule("payments:read", Merchant.LIST),
    ("GET", "/v1/payments/{payment_id}"): Rule("payments:read", Merchant.OWN, page=True),
    ("GET", "/v1/payments/{payment_id}/explain"): Rule("payments:read", Merchant.OWN),
    ("POST", "/v1/payments/{payment_id}/confirm"): Rule("payments:write", page=True),
    ("POST", "/v1/payments/{payment_id}/capture"): Rule("payments:write"),
    ("POST", "/v1/payments/{payment_id}/cancel"): Rule("payments:write"),
    ("POST", "/v1/payments/{payment_id}/resolve"): Rule("reviews:write"),
    ("POST", "/v1/payments/{payment_id}/review"): Rule("reviews:write"),
    ("POST", "/v1/payments/{payment_id}/refunds"): Rule("refunds:write"),
    ("GET", "/v1/payments/{payment_id}/refunds"): Rule("payments:read", Merchant.OWN),
    ("GET", "/v1/refunds"): Rule("payments:read", Merchant.LIST),
    ("GET", "/v1/refunds/{refund_id}"): Rule("payments:read", Merchant.OWN),
    ("GET", "/v1/disputes"): Rule("disputes:read", Merchant.LIST),
    ("GET", "/v1/disputes/{dispute_id}"): Rule("disputes:read", Merchant.OWN),
    ("POST", "/v1/disputes/{dispute_id}/evidence"): Rule("disputes:write"),
    ("GET", "/v1/risk/rules"): Rule("risk:read"),
    ("PUT", "/v1/risk/rules"): Rule("risk:write"),
    ("GET", "/v1/reviews"): Rule("risk:read"),
    ("GET", "/v1/transactions/{user_id}"): Rule("payments:read", Merchant.LIST),
    ("POST", "/v1/merchants"): Rule("merchants:write"),
    ("GET", "/v1/merchants"): Rule("merchants:read", Merchant.LIST),
    ("PATCH", "/v1/merchants/{seller_account}"): Rule("merchants:write"),
    ("GET", "/v1/merchants/{seller_account}"): Rule("merchants:read", Merchant.OWN),
    ("GET", "/v1/merchants/{seller_account}/statement"): Rule("ledger:read", Merchant.OWN),
    ("GET", "/v1/wallets/{seller_account}"): Rule("ledger:read", Merchant.OWN),
    ("GET", "/v1/ledger/transactions"): Rule("ledger:read", Merchant.LIST),
    ("GET", "/v1/ledger/accounts"): Rule("ledger:read", Merchant.REFUSED),
    ("GET", "/v1/ledger/accounts/{account}"): Rule("ledger:read", Merchant.OWN),
    ("GET", "/v1/audit-log"): Rule("audit:read"),
    ("POST", "/v1/payouts"): Rule("payouts:write"),
    ("GET", "/v1/payouts"): Rule("payouts:read", Merchant.LIST),
    ("POST", "/v1/payouts/schedule"): Rule("merchants:write"),
    ("GET", "/v1/payouts/schedule/{seller_account}"): Rule("merchants:read", Merchant.OWN),
    ("GET", "/v1/payouts/{payout_id}"): Rule("payouts:read", Merchant.OWN),
    ("GET", "/v1/payouts/{payout_id}/items"): Rule("payouts:read", Merchant.OWN),
    ("POST", "/v1/payouts/{payout_id}/cancel"): Rule("payouts:write"),
    ("POST", "/v1/reconciliations"): Rule("reconciliation:write"),
    ("GET", "/v1/reconciliations"): Rule("reconciliation:read"),
    ("POST", "/v1/reconciliations/files"): Rule("reconciliation:write"),
    ("GET", "/v1/reconciliations/{reconciliation_id}"): Rule("reconciliation:read"),
    ("GET", "/v1/reconciliations/{reconciliation_id}/items"): Rule("reconciliation:read"),
    ("GET", "/v1/reconciliations/{reconciliation_id}/log"): Rule("reconciliation:read"),
    ("GET", "/v1/reconciliations/{reconciliation_id}/report"): Rule("reconciliation:read"),
    ("GET", "/v1/discrepancies"): Rule("reconciliation:read"),
    ("GET", "/v1/discrepancies/{discrepancy_id}"): Rule("reconciliation:read"),
    ("POST", "/v1/discrepancies/{discrepancy_id}/resolve"): Rule("reconciliation:write"),
    ("POST", "/v1/webhook-endpoints"): Rule("webhooks:write"),
    ("GET", "/v1/webhook-endpoints"): Rule("webhooks:read"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}"): Rule("webhooks:read"),
    ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"): Rule("webhooks:write"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate"): Rule("webhooks:write"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/test"): Rule("webhooks:write"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/replay"): Rule("webhooks:write"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/deliveries"): Rule("webhooks:read"),
    ("GET", "/v1/webhook-deliveries/{delivery_id}"): Rule("webhooks:read"),
    ("POST", "/v1/webhook-deliveries/{delivery_id}/resend"): Rule("webhooks:write"),
    ("GET", "/v1/dead-letters"): Rule("dead_letters:read"),
    ("GET", "/v1/dead-letters/counts"): Rule("dead_letters:read"),
    ("POST", "/v1/dead-letter-replays"): Rule("dead_letters:write"),
    ("GET", "/v1/dead-letters/{letter_id}"): Rule("dead_letters:read"),
    ("POST", "/v1/dead-letters/{letter_id}/replay"): Rule("dead_letters:write"),
    ("POST", "/v1/dead-letters/{letter_id}/discard"): Rule("dead_letters:write"),
    ("GET", "/v1/notifications"): Rule("notifications:read"),
    ("GET", "/v1/notifications/{notification_id}"): Rule("notifications:read"),
    ("GET", "/v1/notification-settings"): Rule("notifications:read"),
    ("PUT", "/v1/notification-settings"): Rule("notifications:write"),
    ("GET", "/v1/notification-contacts"): Rule("notifications:read"),
    ("PUT", "/v1/notification-contacts/{recipient}"): Rule("notifications:write"),
    ("GET", "/v1/suppressions"): Rule("notifications:read"),
    ("POST", "/v1/suppressions/{suppression_id}/lift"): Rule("notifications:write"),
    ("POST", "/codec/decode"): Rule("histories:read"),
    ("POST", "/codec/encode"): Rule("histories:read"),
    ("POST", "/v1/sessions"): Rule(None),
    ("GET", "/v1/sessions/current"): Rule(None, session=True),
    ("DELETE", "/v1/sessions/current"): Rule(None, session=True),
    ("POST", "/v1/sessions/current/enrolment"): Rule(None, session=True),
    # Without a credential of ours: a PSP signs what it sends, and the others tell nothing of anybody.
    ("POST", "/webhooks/{psp}"): Rule(None),
    ("GET", "/v1/event-types"): Rule(None),
    ("GET", "/healthz"): Rule(None),
    ("GET", "/readyz"): Rule(None),
}

_EVERYBODY = frozenset({"checkout", "merchant", "operator", "finance", "admin"})
_OFFICE = frozenset({"operator", "finance", "admin"})

MAY: dict[str, frozenset[str]] = {
    "payments:read": _EVERYBODY,
    "payments:write": frozenset({"checkout", "operator", "admin"}),
    "refunds:write": frozenset({"checkout", "operator", "admin"}),
    "disputes:read": _OFFICE | {"merchant"},
    "disputes:write": frozenset({"operator", "admin"}),
    "reviews:write": frozenset({"operator", "admin"}),
    "risk:read": frozenset({"operator", "admin"}),
    "risk:write": frozenset({"admin"}),
    "merchants:read": _OFFICE | {"merchant"},
    "merchants:write": frozenset({"operator", "admin"}),
    "payouts:read": _OFFICE | {"merchant"},
    "payouts:write": frozenset({"finance", "admin"}),
    "ledger:read": _OFFICE | {"merchant"},
    "reconciliation:read": _OFFICE,
    "reconciliation:write": frozenset({"finance", "admin"}),
    "audit:read": _OFFICE,
    "webhooks:read": frozenset({"operator", "admin"}),
    "webhooks:write": frozenset({"admin"}),
    "dead_letters:read": frozenset({"operator", "admin"}),
    "dead_letters:write": frozenset({"operator", "admin"}),
    "notifications:read": frozenset({"operator", "admin"}),
    "notifications:write": frozenset({"admin"}),
    "histories:read": frozenset({"operator", "admin"}),
}
"""Scope → the roles that have it."""


def unruled(document: dict[str, Any]) -> list[str]:
    """What the document and the rules do not agree about."""
    documented = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    found = [f"{' '.join(one)} has no rule" for one in documented.keys() - RULES.keys()]
    found += [f"{' '.join(one)} is not there" for one in RULES.keys() - documented.keys()]
    for one in documented.keys() & RULES.keys():
        rule, told = RULES[one], documented[one].get("security")
        if told != rule.security:
            found.append(f"{' '.join(one)} needs {told}, and its rule says {rule.security}")
    return sorted(found)

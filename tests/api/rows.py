"""What a tenant has in the database, to see that a refused request wrote nothing."""

from tests.support.shop import Shop

COUNTED = (
    "payment",
    "payment_order_transition",
    "charge",
    "refund",
    "reserve",
    "dispute",
    "dispute_evidence",
    "dispute_transition",
    "risk_rule_set",
    "risk_decision",
    "ledger_transaction",
    "ledger_posting",
    "idempotency_key",
    "outbox",
    "operator_task",
    "audit_log",
    "payout",
    "settlement_file",
    "reconciliation_run",
    "discrepancy",
    "notification_setting",
    "notification_contact",
)
WHOLE = ("payment_order", "wallet", "merchant")
SAID = {
    "suppression": "id, lifted_at",
    "webhook_endpoint": "id, url, types, status, secret",
    "dead_letter": "id, status, actor",
    "payout": "id, status, cancel_requested_at",
    "discrepancy": "id, status, resolution, fix_asked_at",
}


async def rows(shop: Shop) -> dict[str, str]:
    """Table → its rows of this tenant: how many, and of some what they say. What a look at the PSP changes is left
    out."""
    parts = [f"SELECT '{name}' AS name, count(*)::text AS value FROM {name} WHERE tenant_id = $1" for name in COUNTED]
    parts += [
        f"SELECT '{name}', coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM {name} t WHERE tenant_id = $1"
        for name in WHOLE
    ]
    parts.append(
        "SELECT 'marks', coalesce(string_agg(concat_ws(' ', id, status, cancel_requested_at,"
        " capture_requested_at), ' | ' ORDER BY id), '') FROM payment WHERE tenant_id = $1"
    )
    parts.append("SELECT 'reviews', count(*)::text FROM risk_decision WHERE tenant_id = $1 AND review IS NOT NULL")
    parts += [
        f"SELECT '{name}s', coalesce(string_agg(concat_ws(' ', {said}), ' | ' ORDER BY id), '') FROM {name}"
        " WHERE tenant_id = $1"
        for name, said in SAID.items()
    ]
    found = await shop.paysaga.sql(" UNION ALL ".join(parts), shop.tenant)
    return {row["name"]: row["value"] for row in found}

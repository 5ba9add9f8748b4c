"""Every command of an operator or of finance, by the name that is typed after `paysaga`."""

from cli.nouns import Later

OPERATORS = {
    "status": Later("status", "status", "Show the stack that runs in PAYSAGA_HOME; exit code 1 if none does."),
    "audit": Later("audit", "audit", "Check the money invariants; exit code 1 on any violation."),
    "audit-log": Later(
        "audit_log",
        "audit_log",
        "Everything that was created, moved or changed: by whom, and from where; newest first.",
    ),
    "payments": Later("payment", "payments", "See and steer payments."),
    "reviews": Later(
        "risk", "reviews", "Payments that wait for a decision, with the reasons and the deadline; the oldest first."
    ),
    "tasks": Later("task", "tasks", "What waits for a person, and what to do about it."),
    "refunds": Later("refund", "refunds", "See refunds, make one, decide about one."),
    "disputes": Later("dispute", "disputes", "See disputes, and submit evidence."),
    "merchants": Later("merchant", "merchants", "See, freeze and close sellers."),
    "payouts": Later("payout", "payouts", "See payouts, make and stop them, decide about one; schedules and runs."),
    "risk": Later("risk", "risk", "The risk rules of tenants."),
    "dead-letters": Later("dead_letter", "dead_letters", "What was given up: see it, try it again, discard it."),
    "webhooks": Later("webhook", "webhooks", "What the PSP sends where."),
    "webhook-endpoints": Later(
        "webhook_endpoint", "webhook_endpoints", "Where shops want their events, and what was sent there."
    ),
    "notifications": Later(
        "notification", "notifications", "What buyers and sellers were told, and what they are told."
    ),
    "listen": Later("listen", "listen", "Print a tenant's events as they happen, and forward them signed."),
    "trigger": Later("trigger", "trigger", "Make an event happen, by a real payment at the sandbox."),
    "reconcile": Later(
        "reconciliation", "reconcile", "Compare the PSP's or the bank's lines with our books, and settle what differs."
    ),
    "ledger": Later("ledger", "ledger", "The books: balances, statements, and the seal."),
    "events": Later("event", "events", "Where events go; compare them with what the broker has, send them again."),
    "keys": Later("key", "keys", "API keys of tenants, and the encryption keys."),
    "operators": Later("operator", "operators", "The people who log in."),
    "forget": Later("person", "forget", "Forget a buyer: what is known of the person goes, the books stay."),
    "tenants": Later("tenant", "tenants", "See the shops, and say where their buyers may be sent back to."),
    "workflows": Later("workflow", "workflows", "Workflows of Temporal whose task keeps failing."),
    "sweep": Later("sweep", "sweep", "Look now for payments without a workflow and for webhooks that nobody has read."),
}
"""Name → where it is written, imported when it is called; and its line in `paysaga --help`."""

"""Every command of an operator or of finance, put on `paysaga`."""

import typer

from cli.commands.audit import audit
from cli.commands.audit_log import audit_log
from cli.commands.dispute import disputes
from cli.commands.key import keys
from cli.commands.ledger import ledger
from cli.commands.merchant import merchants
from cli.commands.payment import payments
from cli.commands.payout import payouts
from cli.commands.reconciliation import reconcile
from cli.commands.refund import refunds
from cli.commands.risk import reviews, risk
from cli.commands.sweep import sweep
from cli.commands.task import tasks
from cli.commands.tenant import tenants
from cli.commands.webhook import webhooks
from cli.commands.workflow import workflows


def register(app: typer.Typer) -> None:
    """Put the commands on `paysaga`."""
    app.command()(audit)
    app.command("audit-log")(audit_log)
    app.add_typer(payments, name="payments")
    app.command()(reviews)
    app.add_typer(tasks, name="tasks")
    app.add_typer(refunds, name="refunds")
    app.add_typer(disputes, name="disputes")
    app.add_typer(merchants, name="merchants")
    app.add_typer(payouts, name="payouts")
    app.add_typer(risk, name="risk")
    app.add_typer(webhooks, name="webhooks")
    app.add_typer(reconcile, name="reconcile")
    app.add_typer(ledger, name="ledger")
    app.add_typer(keys, name="keys")
    app.add_typer(tenants, name="tenants")
    app.add_typer(workflows, name="workflows")
    app.command()(sweep)

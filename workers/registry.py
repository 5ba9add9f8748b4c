"""The registry: the objects that hold a process's activities, wired once, and every workflow that there is."""

import inspect
import pkgutil
from datetime import timedelta
from functools import partial
from importlib import import_module

import workflows
from activities.charge import ChargeActivities
from activities.dispute import DisputeActivities
from activities.payment import PaymentActivities
from activities.payout import PayoutActivities
from activities.payout_run import PayoutRunActivities
from activities.reconciliation import ReconciliationActivities
from activities.refund import RefundActivities
from activities.risk import RiskActivities
from activities.seal import SealActivities
from activities.sweep import Retention, SweepActivities
from activities.usual import UsualActivities
from runtime.runs import start_stored_reconciliation
from runtime.wiring import Runtime, bank_wait_policy

_DEFINITION = "__temporal_workflow_definition"
"""The SDK's mark of `@workflow.defn`."""


def _workflows() -> list[type]:
    """The classes of the room `workflows` that are defined as workflows, each from the file that defines it."""
    modules = [import_module(f"{workflows.__name__}.{file.name}") for file in pkgutil.iter_modules(workflows.__path__)]
    return [
        found
        for module in modules
        for _, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == module.__name__ and _DEFINITION in vars(found)
    ]


WORKFLOWS = _workflows()


def activity_holders(runtime: Runtime) -> list[object]:
    """The objects whose methods are the activities, with everything that they need handed in."""
    settings, database, psps = runtime.settings, runtime.database, runtime.psps
    timeout_s = settings.stripe_timeout_s
    within = {"fast_timeout_s": settings.stripe_fast_timeout_s, "timeout_s": timeout_s}
    return [
        *_of_payments(runtime, within),
        DisputeActivities(database, psps, runtime.keyring, timeout_s=timeout_s),
        RiskActivities(database, psps, runtime.keyring, look_timeout_s=settings.stripe_look_timeout_s),
        PayoutActivities(
            database,
            psps,
            runtime.notifier,
            **within,
            send_for_s=runtime.send_for_s,
            bank=bank_wait_policy(settings),
        ),
        PayoutRunActivities(
            database,
            runtime.workflow_client,
            psp=runtime.psp.name,
            payable=runtime.payable,
            send_for_s=runtime.send_for_s,
        ),
        SealActivities(database),
        ReconciliationActivities(
            database,
            psps,
            runtime.workflow_client,
            runtime.keyring,
            booking_grace_s=settings.reconcile_here_grace_s,
            listing_grace_s=settings.reconcile_grace_s,
            bank_days=settings.reconcile_bank_days,
            page_timeout_s=timeout_s,
            match_timeout_s=settings.reconcile_timeout_s,
        ),
        SweepActivities(
            database,
            runtime.workflow_client,
            partial(start_stored_reconciliation, runtime.temporal, settings),
            after_s=settings.sweep_after_s,
            retention=Retention(
                payloads=timedelta(days=settings.retention_inbox_days),
                keys=timedelta(days=settings.retention_idempotency_days),
                events=timedelta(days=settings.retention_outbox_days),
            ),
        ),
    ]


def _of_payments(runtime: Runtime, within: dict[str, float]) -> list[object]:
    """Those of payments and refunds, which share what this process has written just now."""
    database, psps = runtime.database, runtime.psps
    charges = ChargeActivities(
        database, psps, runtime.keyring, runtime.charge_sender, runtime.recent, runtime.under_way, **within
    )
    return [
        charges,
        PaymentActivities(
            database,
            psps,
            runtime.keyring,
            runtime.terms,
            runtime.recent,
            runtime.notifier,
            send_for_s=runtime.send_for_s,
        ),
        UsualActivities(
            charges,
            database,
            psps,
            runtime.terms,
            runtime.recent,
            runtime.notifier,
            runtime.under_way,
            fast_timeout_s=within["fast_timeout_s"],
        ),
        RefundActivities(
            database, psps, runtime.recent_refunds, runtime.notifier, send_for_s=runtime.send_for_s, **within
        ),
    ]

"""The place of a tenant's workflows in Temporal's queues: the tenants take turns, and payments come first."""

from temporalio.common import Priority

_AFTER_PAYMENTS = 4
"""Where 3 is the default, and a lower number goes first."""
_KEY_BYTES_MAX = 64


def of_tenant(tenant_id: str | None, *, after_payments: bool = False) -> Priority:
    """For the start of a workflow; its activities inherit it. None: of no tenant, a schedule's."""
    key = tenant_id.encode()[:_KEY_BYTES_MAX].decode(errors="ignore") if tenant_id else None
    return Priority(priority_key=_AFTER_PAYMENTS if after_payments else None, fairness_key=key)

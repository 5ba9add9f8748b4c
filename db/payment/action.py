"""The buyer's next step, stored encrypted: its address opens the payment at the PSP to whoever has it."""

from db.core.keyring import Keyring
from db.payment.record import Payment
from domain.psp import NextAction


def sealed(keyring: Keyring, payment_id: str, action: NextAction | None) -> bytes | None:
    return keyring.encrypt(action.model_dump_json(), bound_to=_bound(payment_id)) if action else None


def opened(keyring: Keyring, row: Payment) -> NextAction | None:
    """None where the buyer has nothing to do. Raises Undecryptable."""
    if row.sealed_action is not None:
        return NextAction.model_validate_json(keyring.decrypt(row.sealed_action, bound_to=_bound(row.id)))
    return NextAction(**row.next_action) if row.next_action else None  # of an earlier release


def _bound(payment_id: str) -> str:
    return f"{payment_id}:action"

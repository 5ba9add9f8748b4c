"""The buyer's next step, stored encrypted: its address opens the payment at the PSP to whoever has it."""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.core.keyring import Keyring, Undecryptable
from db.payment.record import Payment
from db.schema.payment import payment
from domain.psp import NextAction
from domain.status import TERMINAL


def sealed(keyring: Keyring, payment_id: str, action: NextAction | None) -> bytes | None:
    return keyring.encrypt(action.model_dump_json(), bound_to=_bound(payment_id)) if action else None


def opened(keyring: Keyring, row: Payment) -> NextAction | None:
    """None where the buyer has nothing to do, or what is stored cannot be decrypted: the next look at the PSP keeps it
    anew."""
    if row.sealed_action is None:
        return NextAction(**row.next_action) if row.next_action else None  # of an earlier release
    try:
        return NextAction.model_validate_json(keyring.decrypt(row.sealed_action, bound_to=_bound(row.id)))
    except Undecryptable:
        return None


async def keep(connection: AsyncConnection, payment_id: str, stored: bytes | None) -> None:
    """Store it with a payment that has not ended, before the payment waits for it."""
    await connection.execute(
        update(payment)
        .where(payment.c.id == payment_id, payment.c.status.not_in([status.value for status in TERMINAL]))
        .values(version=payment.c.version + 1, updated_at=func.now(), next_action=None, sealed_action=stored)
    )


def _bound(payment_id: str) -> str:
    return f"{payment_id}:action"

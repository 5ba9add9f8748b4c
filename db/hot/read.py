"""Reading a payment in one statement."""

from db.core.database import Database
from db.core.statement import load
from db.payment.record import Payment

_READ = load(__package__, "read.sql")


async def payment(database: Database, payment_id: str) -> Payment | None:
    """The payment with its orders and its current charge attempt. Raises Unavailable."""
    row = await database.one(_READ, payment_id=payment_id)
    if row is None:
        return None
    found = Payment.model_validate_json(row["document"])
    sealed = row["sealed_action"]
    return found if sealed is None else found.model_copy(update={"sealed_action": sealed})

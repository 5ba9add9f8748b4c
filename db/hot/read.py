"""Reading a payment or a refund in one statement."""

from datetime import datetime

from db.core.database import Database
from db.core.statement import load
from db.payment.record import Payment
from db.refund.record import Refund

_READ = load(__package__, "read.sql")
_REFUND = load(__package__, "refund_read.sql")


async def payment(database: Database, payment_id: str) -> Payment | None:
    """The payment with its orders and its current charge attempt. Raises Unavailable."""
    row = await database.one(_READ, payment_id=payment_id)
    if row is None:
        return None
    found = Payment.model_validate_json(row["document"])
    sealed = row["sealed_action"]
    return found if sealed is None else found.model_copy(update={"sealed_action": sealed})


async def refund(database: Database, refund_id: str) -> tuple[Refund, datetime]:
    """A stored refund, and the time on the database's clock. Raises Unavailable."""
    row = await database.one(_REFUND, refund_id=refund_id)
    assert row is not None, "a refund is stored before its id is known"
    return Refund.model_validate_json(row["document"]), row["now"]

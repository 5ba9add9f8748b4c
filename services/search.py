"""Lists of payments and refunds: what may be asked for, the same over HTTP and at a terminal."""

from dataclasses import dataclass
from datetime import datetime

from db import search
from db.core.database import Database
from db.payment.record import Payment
from db.refund.record import Refund
from db.search import Wanted
from domain.errors import Unprocessable
from domain.limits import AmountText, CurrencyCode, OrderName, PspReference
from domain.money import MoneyError, parse_major
from services import access
from services.command import Caller, check


@dataclass(frozen=True)
class Search:
    """The filters of a list, as they were typed; None matches everything. `amount` in major units of `currency`;
    `reference`: the PSP's own id, or the client's name of the checkout or of an order. `open_only` and
    `payment_id` are of refunds."""

    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    seller_account: str | None = None
    buyer_id: str | None = None
    currency: str | None = None
    amount: str | None = None
    reference: str | None = None
    open_only: bool = False
    payment_id: str | None = None


async def payments(
    database: Database, caller: Caller, wanted: Search, *, before: str | None, limit: int
) -> list[Payment]:
    """The caller's payments, newest first. Raises Unprocessable `currency_required`, `amount_invalid`,
    `amount_precision`, `field_invalid`, `text_invalid`; Forbidden `role_not_allowed` for a merchant that asks for a
    buyer's."""
    filters = _checked(caller, wanted)
    rows = await database.read(lambda c: search.payments(c, caller.tenant_id, filters, before=before, limit=limit))
    return [seen for row in rows if (seen := access.payment(caller, row)) is not None]


async def refunds(
    database: Database, caller: Caller, wanted: Search, *, before: str | None, limit: int
) -> list[Refund]:
    """The caller's refunds, newest first. Raises as `payments`."""
    filters = _checked(caller, wanted)
    rows = await database.read(lambda c: search.refunds(c, caller.tenant_id, filters, before=before, limit=limit))
    return await access.refunds(database, caller, rows)


def _checked(caller: Caller, wanted: Search) -> Wanted:
    if caller.seller_account is not None and wanted.buyer_id is not None:
        raise access.refused("who bought is the shop's: leave out buyer_id")
    for name in ("seller_account", "buyer_id"):
        if (text := getattr(wanted, name)) is not None:
            check(OrderName, text, name)
    if wanted.reference is not None:
        check(PspReference, wanted.reference, "reference")
    if wanted.currency is not None:
        check(CurrencyCode, wanted.currency, "currency")
    return Wanted(
        status=wanted.status,
        since=wanted.since,
        until=wanted.until,
        seller_account=wanted.seller_account,
        buyer_id=wanted.buyer_id,
        currency=wanted.currency,
        amount=_minor(wanted),
        reference=wanted.reference,
        open_only=wanted.open_only,
        payment_id=wanted.payment_id,
        own_seller=caller.seller_account,
    )


def _minor(wanted: Search) -> int | None:
    if wanted.amount is None:
        return None
    if wanted.currency is None:
        raise Unprocessable("An amount needs its currency: say both.", code="currency_required")
    try:
        return parse_major(check(AmountText, wanted.amount, "amount"), wanted.currency)
    except MoneyError as error:
        raise Unprocessable(str(error), code=error.code) from error

"""The filters of lists of payments and refunds, as parameters of a request."""

from typing import Annotated

from fastapi import Depends, Query

from api.fields import Currency
from api.history import Since, Until
from services.search import Search

_REFERENCE = "the PSP's own id (of a refund also its charge's), or your checkout_id or payment_order_id"


async def search(
    seller_account: Annotated[str | None, Query(max_length=64, examples=["seller_anna"])] = None,
    buyer_id: Annotated[str | None, Query(max_length=64, examples=["buyer_1"])] = None,
    currency: Annotated[Currency | None, Query(description="ISO 4217", examples=["INR"])] = None,
    amount: Annotated[
        str | None,
        Query(max_length=24, description="in major units; needs `currency`", examples=["500.00"]),
    ] = None,
    reference: Annotated[str | None, Query(max_length=255, description=_REFERENCE, examples=["checkout-1001"])] = None,
    since: Since = None,
    until: Until = None,
) -> Search:
    """The filters of a list, without the status."""
    return Search(None, since, until, seller_account, buyer_id, currency, amount, reference)


SearchOf = Annotated[Search, Depends(search)]

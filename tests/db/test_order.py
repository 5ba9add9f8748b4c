"""Lists are in the order in which their rows were written, also of one millisecond, where ids have none."""

from datetime import UTC, datetime

from db import search
from db.refund import creation, find
from db.refund.creation import NewRefund
from db.search import Wanted
from domain.ids import new_id
from tests.support.shop import Shop


async def test_refunds_are_listed_in_the_order_in_which_they_were_asked_for(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    database = shop.paysaga.database
    # As a millisecond may have them: the later, the smaller.
    ids = sorted((new_id("re") for _ in range(5)), reverse=True)
    for refund_id in ids:
        new = NewRefund(refund_id, payment["id"], None, 1_000, None, "test", 3600.0, 1)
        await database.run(lambda c, new=new: creation.request(c, new, datetime.now(UTC)))  # type: ignore[misc]
    shown = (await shop.get(f"/v1/payments/{payment['id']}/refunds")).json()["data"]
    assert [refund["id"] for refund in shown] == ids
    assert [row.id for row in await database.read(lambda c: find.unmade(c, payment["id"]))] == ids
    newest = await database.read(lambda c: search.refunds(c, shop.tenant, Wanted(), before=None, limit=1000))
    assert [row.id for row in newest if row.payment_id == payment["id"]] == ids[::-1]

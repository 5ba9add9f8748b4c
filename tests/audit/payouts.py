"""Released funds and payouts in every status, written by the application's own code; what a PSP would say is given."""

from datetime import UTC, datetime, timedelta
from typing import Any

from db.ledger import seal
from db.payout import lifecycle as payout_lifecycle
from db.payout import release
from db.payout import request as payout_request
from db.payout.request import NewPayout
from domain.ids import new_id
from domain.model import Failure
from domain.payout import BookPayoutStep, BookTransferStep, PayoutCall, ReleaseFundsStep
from domain.psp import PayoutOutcome, PayoutResult, TransferOutcome, TransferResult
from domain.seal import Head
from tests.audit.flows import Flows
from tests.support.eventually import eventually
from tests.support.shop import Shop

_REFUSED = Failure(code="payout_failed", message="The bank account is closed.")
_KEY_LIFE_S = 3600.0


class Payouts:
    """Of one shop."""

    def __init__(self, flows: Flows) -> None:
        self._paysaga, self._tenant = flows.paysaga, flows.shop.tenant

    async def release(self, seller: str) -> None:
        """All that is pending of a seller becomes available now."""
        await self._paysaga.sql(
            "UPDATE payment_order SET available_at = now() WHERE pending_amount > 0 AND seller_account = $1", seller
        )

        async def probe() -> bool:
            now = datetime.now(UTC)
            step = ReleaseFundsStep(due_at=now + timedelta(seconds=1), at=now)
            await self._paysaga.database.run(lambda c: release.release(c, step, of=(self._tenant, seller)))
            left = "SELECT FROM payment_order WHERE pending_amount > 0 AND status = 'SUCCESS' AND seller_account = $1"
            return not await self._paysaga.sql(left, seller)

        # What a webhook's workflow is working on just then is left for the next time.
        await eventually(probe, what=f"the release of {seller}")

    async def request(self, seller: str, amount: int | None) -> str:
        """Its id; `amount` in minor units, None: all that is available."""
        new = NewPayout(
            id=new_id("pt"),
            tenant_id=self._tenant,
            seller_account=seller,
            currency="INR",
            amount=amount,
            psp="stripe",
            actor="test",
            send_for_s=_KEY_LIFE_S,
            payable=lambda available, _: available,
        )
        await self._paysaga.database.run(lambda c: payout_request.request(c, new, datetime.now(UTC)))
        return new.id

    async def transfer(self, payout_id: str, outcome: TransferOutcome, call: PayoutCall = PayoutCall.TRANSFER) -> None:
        reference = f"tr_{payout_id[3:]}" if outcome is TransferOutcome.DONE else None
        failure = _REFUSED if outcome is TransferOutcome.REFUSED else None
        result = TransferResult(outcome=outcome, reference=reference, failure=failure)
        step = BookTransferStep(payout_id=payout_id, call=call, result=result, at=datetime.now(UTC))
        await self._paysaga.database.run(lambda c: payout_lifecycle.book_transfer(c, step, _KEY_LIFE_S))

    async def pay(self, payout_id: str, outcome: PayoutOutcome) -> None:
        result = PayoutResult(outcome=outcome, reference=f"po_{payout_id[3:]}")
        at = datetime.now(UTC)
        step = BookPayoutStep(payout_id=payout_id, result=result, next_check_at=at + timedelta(days=1), at=at)
        await self._paysaga.database.run(lambda c: payout_lifecycle.book_payout(c, step, _KEY_LIFE_S))

    async def made(self, seller: str, amount: int | None, *words: Any) -> str:
        """A payout that the PSP has said these things of, one after the other."""
        payout_id = await self.request(seller, amount)
        for word in words:
            if isinstance(word, PayoutOutcome):
                await self.pay(payout_id, word)
            else:
                outcome, call = word if isinstance(word, tuple) else (word, PayoutCall.TRANSFER)
                await self.transfer(payout_id, outcome, call)
        return payout_id


_DONE, _REFUSES, _NOT_FOUND = TransferOutcome.DONE, TransferOutcome.REFUSED, TransferOutcome.NOT_FOUND
_TAKEN_BACK = (TransferOutcome.DONE, PayoutCall.REVERSAL)
_NOT_TAKEN_BACK = (TransferOutcome.REFUSED, PayoutCall.REVERSAL)
_WAY, _PAID, _FAILED, _CANCELLED = (
    PayoutOutcome.PENDING, PayoutOutcome.PAID, PayoutOutcome.FAILED, PayoutOutcome.CANCELLED,
)  # fmt: skip

MADE: dict[str, tuple[Any, ...]] = {
    "pt_paid": (_DONE, _PAID),
    "pt_failed_first": (_REFUSES,),
    "pt_returned": (_DONE, _WAY, _PAID, _FAILED, _TAKEN_BACK),
    "pt_requested": (),
    "pt_transferred": (_DONE,),
    "pt_in_transit": (_DONE, _WAY),
    "pt_returning": (_DONE, _FAILED),
    "pt_failed": (_DONE, _WAY, _FAILED, _TAKEN_BACK),
    "pt_cancelled": (_DONE, _CANCELLED, _TAKEN_BACK),
    "pt_unclear": (_NOT_FOUND,),
    "pt_not_returned": (_DONE, _FAILED, _NOT_TAKEN_BACK),
}
"""Label → what the PSP says of it."""

SELLER = "fay"
DEBTOR = "gil"


async def payouts(flows: Flows, shop: Shop) -> dict[str, str]:
    """label → id. `fay` is paid in parts of 100.00, which begin and end within postings; `gil` owed us a fee."""
    makers = Payouts(flows)
    account = {"payout_account": "acct_1"}
    await flows.seller(SELLER, **account)
    await flows.seller(DEBTOR, platform_fee_on_refund="kept", allow_negative_balance=True, **account)
    names = {label: await _paid(shop, label, SELLER) for label in ("sold_1", "sold_2", "sold_3")}
    await makers.release(SELLER)
    # One that is released after the others were paid out, and one that stays pending.
    names |= {label: await makers.made(SELLER, 10_000, *said) for label, said in MADE.items()}
    names["sold_later"] = await _paid(shop, "sold_later", SELLER)
    await makers.release(SELLER)
    names["sold_pending"] = await _paid(shop, "sold_pending", SELLER)

    names["gil_refunded"] = await _paid(shop, "gil_refunded", DEBTOR)
    await flows.refund(names["gil_refunded"], "SUCCEEDED")
    names["gil_sold"] = await _paid(shop, "gil_sold", DEBTOR)
    await makers.release(DEBTOR)
    names["pt_debtor"] = await makers.made(DEBTOR, None, _DONE, _PAID)

    return names


async def _paid(shop: Shop, label: str, seller: str) -> str:
    payment = await shop.paid(shop.checkout(label.replace("_", "-")), orders=[(seller, "500.00")])
    await shop.until(payment["id"], "SUCCESS")
    return str(payment["id"])


async def sealed(flows: Flows, *, block: int) -> Head:
    """Seal all of it, in blocks so small that there are many."""
    whole, seal.BLOCK_MAX = seal.BLOCK_MAX, block
    try:
        made = await flows.paysaga.database.run(lambda c: seal.seal(c, datetime.now(UTC), 10_000))
    finally:
        seal.BLOCK_MAX = whole
    assert made.head is not None
    assert not made.held_up
    return made.head

"""The errors in the PSP's books on the demo's day, and in the bank's: planted, so it is known what to find."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.day.checkouts import Day
from demo.shop import Psp, Shop, Unexpected, eventually
from demo.stories.story import Context
from domain.reconciliation.discrepancy import Discrepancy
from domain.reconciliation.reconciliation import Decision, DiscrepancyStatus, Fix, LineClass, Subject

_QUIET_S = 15.0
"""For so long nobody is to look by chance at what is planted: the PSP is asked by timers, too."""


@dataclass(frozen=True)
class Plant:
    """A planted error, and what has to become of it: a `fix` by rule, a person's `decision`, gone by itself
    (`passing`), or nothing yet. `name`: of the line, the payment or the payout that it is about."""

    cls: LineClass
    title: str
    name: str
    fix: Fix | None = None
    decision: Decision | None = None
    note: str = ""
    subject: Subject = Subject.PSP
    passing: bool = False

    def is_found_as(self, row: Discrepancy) -> bool:
        # What a bank calls an entry is followed by a digest of it.
        line = row.line_reference.partition("#")[0] if row.line_reference else None
        names = (line, row.payment_id, row.object_id)
        return self.name in names and row.cls == self.cls and row.subject == self.subject

    @property
    def ends_as(self) -> tuple[DiscrepancyStatus, str | None]:
        """Its status and resolution when everybody has done what there was to do."""
        if self.decision is not None:
            return DiscrepancyStatus.RESOLVED, self.decision.value
        if self.fix is not None:
            return DiscrepancyStatus.FIXED, self.fix.value
        return (DiscrepancyStatus.FIXED, "matched") if self.passing else (DiscrepancyStatus.OPEN, None)


@dataclass(frozen=True)
class Planter:
    """`held`: a payment that is AUTHORIZED, made by `hold_unseen`."""

    shop: Shop
    psp: Psp
    day: Day
    held: str

    # --- the PSP's books ---

    async def charges(self) -> list[Plant]:
        """Change lines of paid charges so that they say something else than happened. By the time of the match the PSP
        has had long enough to list them."""
        hidden, other, dearer, twice = (self.day.paid("Card", n) for n in range(4))
        refunded = self.day.paid("A part refunded")
        line = await self._line(refunded.payment_id, refund=True)
        await self._change(line, currency="eur")
        plants = [Plant(LineClass.CURRENCY, "a refund that it lists in EUR", line)]
        line = await self._line(hidden.payment_id)
        await self._change(line, hidden=True)
        plants.append(Plant(LineClass.MISSING_AT_PSP, "a charge that it does not list", hidden.payment_id))
        line = await self._line(other.payment_id)
        await self._change(line, amount=other.checkout.amount + 100)
        plants.append(Plant(LineClass.AMOUNT, "a charge that it lists as 1.00 more", line))
        line = await self._line(dearer.payment_id)
        await self._change(line, fee=await self._fee(line) + 200)
        note = "contract, § 4"
        plants.append(Plant(LineClass.FEE, "a fee higher than booked", line, decision=Decision.ADJUST, note=note))
        line = await self._line(twice.payment_id)
        double = await self.psp.control("POST", f"/balance_transactions/{line}/duplicate")
        note = "ticket 4711"
        plants.append(
            Plant(
                LineClass.DUPLICATE, "a charge that it lists twice", double["id"], decision=Decision.ACCEPT, note=note
            )
        )
        return plants

    async def strangers(self, payouts: Mapping[str, Mapping[str, Any]]) -> list[Plant]:
        """Plant lines that the PSP lists and we know nothing of: money of nobody, its own fees, what it paid to our
        bank."""
        nobodys = await self._plant(type="charge", amount=7_700, description="Payment for nobody")
        fee = await self._plant(type="stripe_fee", amount=-4_900, reporting_category="fee", description="Radar")
        note = "asked the PSP whose it is"
        return [
            Plant(
                LineClass.MISSING_HERE,
                "money of nobody",
                nobodys,
                decision=Decision.TO_SUSPENSE,
                note=note,
            ),
            Plant(LineClass.FEE, "a monthly fee of the PSP", fee, fix=Fix.BOOK_FEE),
            *(
                Plant(
                    LineClass.MISSING_HERE,
                    f"a payout to our bank in {currency}",
                    payout["balance_transaction"],
                    fix=Fix.BOOK_BANK_PAYOUT,
                )
                for currency, payout in payouts.items()
            ),
        ]

    # --- what happened there, and its webhook is lost ---

    async def lost(self) -> list[Plant]:
        """Plant three movements of which no webhook tells."""
        held = self.held
        refunded, cancelled = self.day.paid("Card", 4), self.day.paid("3-D Secure, abandoned")
        for one in (refunded, cancelled):
            await self.psp.webhook_fault(one.name, "lost", times=None)
        intent = await self.shop.reference(refunded.payment_id)
        refund = await self.psp.by_hand("/v1/refunds", payment_intent=intent, amount=10_000)
        refund_line = str(refund["balance_transaction"])
        await self.psp.steer(await self.shop.reference(cancelled.payment_id), "force_success")
        await self._quiet(held)
        await self.psp.by_hand(f"/v1/payment_intents/{await self.shop.reference(held)}/capture")
        paid_line, held_line = await self._line(cancelled.payment_id), await self._line(held)
        for line in (refund_line, paid_line, held_line):
            await self._change(line, created=_of_the_day())
        advance = Fix.ADVANCE_PAYMENT
        return [
            Plant(LineClass.MISSING_HERE, "a refund made in its dashboard", refund_line, fix=Fix.ADVANCE_REFUND),
            Plant(LineClass.STATUS, "paid after it was cancelled here", paid_line, fix=advance),
            Plant(LineClass.STATUS, "captured in its dashboard", held_line, fix=advance),
        ]

    async def _quiet(self, payment_id: str) -> None:
        """Return when the next look at the PSP is far enough away."""

        async def probe() -> bool:
            at = (await self.shop.explain(payment_id))["next_check_at"]
            return at is not None and (datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds() > _QUIET_S

        await eventually(probe, "the next look at the PSP is far away")

    async def unread_fee(self) -> Plant:
        """A fee that could not be read when the charge was settled: in a currency that there is not, for a moment.
        Until it is so, nobody gets to see the charge."""
        context = _context(self.shop, self.psp, "fee")
        payment_id = await context.authorised()
        intent = await self.shop.reference(payment_id)
        unseen = await self.psp.fault(context.checkout, "http_503", "payment_intents.retrieve", times=None)
        await self.psp.by_hand(f"/v1/payment_intents/{intent}/capture")
        line = await self._line(payment_id)
        await self._change(line, currency="not")
        await self.psp.control("DELETE", f"/faults/{unseen}")
        await self._resend(intent)
        await self.shop.until(payment_id, "SUCCESS")
        await self._change(line, currency="inr")
        return Plant(LineClass.FEE, "a fee that could not be read then", line, fix=Fix.BOOK_FEE)

    async def _resend(self, intent: str) -> None:
        events = await self.psp.listed("/v1/events", type="payment_intent.succeeded")
        event = next((event["id"] for event in events if event["data"]["object"]["id"] == intent), None)
        if event is None:
            raise Unexpected(f"{intent} has not succeeded at the PSP")
        await self.psp.control("POST", f"/events/{event}/resend")

    async def just_made(self) -> tuple[Plant, str]:
        """A charge that the PSP lists a little later than it answers; and the line."""
        payment_id = await _context(self.shop, self.psp, "now").pay()
        await self.shop.until(payment_id, "SUCCESS")
        line = await self._line(payment_id)
        await self._change(line, hidden=True)
        title = "a charge of just now, not yet listed"
        return Plant(LineClass.TIMING, title, payment_id, passing=True), line

    async def show(self, line: str) -> None:
        """From now on the PSP lists it."""
        await self._change(line, hidden=False)

    # --- the bank's statement ---

    async def bank(self, payouts: Mapping[str, Mapping[str, Any]]) -> list[Plant]:
        """Plant two errors in the bank's statement, and an entry that is nobody's business."""
        less = payouts["EUR"]
        await self.psp.control("PATCH", f"/payouts/{less['id']}/bank", {"amount": less["amount"] - 150})
        rent = {"amount": 90_000, "currency": "inr", "reference": "RENT", "text": "Rent of the roof"}
        await self.psp.control("POST", "/bank/entries", rent)  # nothing to do with the PSP: nobody is to hear of it
        unknown = {"amount": 12_345, "currency": "inr", "reference": "R-77", "text": "STRIPE PAYMENTS, correction"}
        entry = await self.psp.control("POST", "/bank/entries", unknown)
        return [
            Plant(
                LineClass.AMOUNT,
                "a payout that arrived short",
                less["id"],
                subject=Subject.BANK,
                decision=Decision.ADJUST,
                note="bank charge",
            ),
            Plant(LineClass.MISSING_HERE, "money from the PSP that it never paid", entry["id"], subject=Subject.BANK),
        ]

    # --- lines ---

    async def _line(self, payment_id: str, *, refund: bool = False) -> str:
        """The PSP's name of what a payment's charge, or its refund, did to our balance."""
        intent = await self.shop.reference(payment_id)
        kind = "refunds" if refund else "charges"

        async def probe() -> str | None:
            made = await self.psp.listed(f"/v1/{kind}", payment_intent=intent)
            return str(made[0]["balance_transaction"]) if made and made[0]["balance_transaction"] else None

        return await eventually(probe, "the PSP has booked it")

    async def _fee(self, line: str) -> int:
        return int((await self.psp.retrieved(f"/v1/balance_transactions/{line}"))["fee"])

    async def _change(self, line: str, **change: Any) -> None:
        await self.psp.control("PATCH", f"/balance_transactions/{line}", change)

    async def _plant(self, **line: Any) -> str:
        body = {"currency": "inr", "created": _of_the_day(), **line}
        return str((await self.psp.control("POST", "/balance_transactions", body))["id"])


async def hold_unseen(shop: Shop, psp: Psp) -> str:
    """Reserve an amount, of whose further course no webhook will tell; the payment's id. Early: the longer ago it was,
    the rarer the PSP is asked."""
    context = _context(shop, psp, "held")
    payment_id = await context.authorised()
    await psp.webhook_fault(context.checkout, "lost", times=None)
    return payment_id


def _context(shop: Shop, psp: Psp, label: str) -> Context:
    return Context(shop, psp, f"plant-{label}-{secrets.token_hex(2)}", 0.0)


def _of_the_day() -> int:
    """The PSP's clock is two days ahead by then, and ours is not: what is planted late is dated like the rest."""
    return int((datetime.now(UTC) - timedelta(minutes=1)).timestamp())

"""The end of the demo's day: the PSP's money becomes available, sellers are paid out, and the PSP pays our bank."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from db.payout import release
from demo.day.checkouts import thousands
from demo.day.plan import ABROAD, DAILY, SMALL, WEEKLY
from demo.shop import Psp, Shop, Unexpected, eventually
from domain.money import parse_major
from domain.payout import WEEKDAYS, ReleaseFundsStep
from runtime.runs import start_payout_run
from runtime.wiring import Runtime

_AVAILABLE_DAYS = 2
"""How long the PSP keeps a charge before it can be moved."""

_TO_OUR_BANK = (("INR", 100_000), ("EUR", 500))
_MINIMUM = "1000000.00"
_ACCOUNTS = {"seller_mats": "acct_payoutFails_mats", "seller_nour": "acct_payoutReturned_nour"}
_ENDS = {"seller_mats": "FAILED", "seller_nour": "RETURNED"}
_STYLES = {"PAID": "green", "FAILED": "red", "RETURNED": "yellow"}


@dataclass(frozen=True)
class SellersPayout:
    """A seller and a currency on the run's day. `available` is what the wallet held before it, `owed` what the seller
    owed us then: a payout keeps that back, and it stays paid back when the payout itself returns."""

    seller: str
    currency: str
    available: Decimal
    owed: Decimal
    terms: str
    expected: str | None
    payout: dict[str, Any] | None
    after: Decimal

    @property
    def due(self) -> Decimal:
        """The amount that the payout has to have."""
        return self.available - self.owed

    @property
    def wrong(self) -> str | None:
        status = self.payout["status"] if self.payout else None
        if status != self.expected:
            return f"should be {self.expected or 'left out'} and is {status or 'left out'}"
        if self.payout and Decimal(self.payout["amount"]) != self.due:
            return f"{self.due} were due and {self.payout['amount']} were sent"
        kept = {None: self.available, "PAID": Decimal()}.get(self.expected, self.due)
        return None if self.after == kept else f"the wallet should hold {kept} and holds {self.after}"


@dataclass(frozen=True)
class PayoutDay:
    """The payouts of the day, and what the PSP paid to our own bank, by currency."""

    business_date: date
    released: int
    rows: list[SellersPayout]
    to_our_bank: dict[str, dict[str, Any]]

    @property
    def wrong(self) -> list[str]:
        return [f"{row.seller} {row.currency}: {row.wrong}" for row in self.rows if row.wrong]


def _day() -> date:
    return (datetime.now(UTC) + timedelta(days=_AVAILABLE_DAYS)).date()


async def open_sellers(shop: Shop) -> None:
    """Those of the day, each with an account at the PSP that behaves as its name says, and a platform fee of 4 %."""
    weekday = WEEKDAYS[(_day().weekday() + 1) % len(WEEKDAYS)]
    for seller in (*DAILY, SMALL, WEEKLY, ABROAD):
        account = _ACCOUNTS.get(seller, f"acct_paysOut_{seller.removeprefix('seller_')}")
        terms: dict[str, Any] = {"account": account, "interval": "daily"}
        if seller == SMALL:
            terms["minimum"] = {"INR": _MINIMUM}
        if seller == WEEKLY:
            terms |= {"interval": "weekly", "weekdays": [weekday]}
        await shop.open_merchant(seller, fee={"percent": "4", "fixed": "0"}, payout=terms)


def _terms(seller: str) -> tuple[str, str | None]:
    """The terms of a seller, and the status in which a payout of the run has to end; None: there is to be none."""
    if seller == SMALL:
        return "daily, and below its minimum", None
    if seller == WEEKLY:
        return "weekly, on another day", None
    end = _ENDS.get(seller, "PAID")
    why = {"FAILED": "daily; the bank account is closed", "RETURNED": "daily; the bank sends it back"}
    return why.get(end, "daily"), end


async def end_the_day(runtime: Runtime, shop: Shop, psp: Psp) -> PayoutDay:
    """Two days later at the PSP, and as of then here: release, the run of that business date, and what the PSP pays to
    our bank."""
    await psp.control("PATCH", "/account", {"payout_return_delay_s": None})
    await psp.control("POST", "/clock/advance", {"seconds": _AVAILABLE_DAYS * 86_400 + 60})
    released = await _release(runtime)
    sellers = (*DAILY, SMALL, WEEKLY, ABROAD)
    before = dict(zip(sellers, await asyncio.gather(*(_wallets(shop, seller) for seller in sellers)), strict=True))
    business_date = _day()
    handle = await start_payout_run(runtime.temporal, runtime.settings, business_date, "demo")
    await handle.result()
    to_our_bank = {currency: await _pay_our_bank(psp, currency, amount) for currency, amount in _TO_OUR_BANK}
    await _return(shop, psp)
    rows = await asyncio.gather(
        *(_settled(shop, s, c, *held) for s, wallets in before.items() for c, held in wallets.items())
    )
    return PayoutDay(business_date, released, rows, to_our_bank)


async def _release(runtime: Runtime) -> int:
    """Release now what is due in two days: business time does not wait for a demo."""
    now = datetime.now(UTC)
    step = ReleaseFundsStep(due_at=now + timedelta(days=_AVAILABLE_DAYS, seconds=60), at=now)
    orders = 0
    while True:
        released = await runtime.database.run(lambda c: release.release(c, step))
        orders += released.orders
        if not released.more and not released.skipped:
            return orders
        await asyncio.sleep(0.1)


async def _wallets(shop: Shop, seller: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Currency → (available, owed to us), where something is available."""
    balances = (await shop.get(f"/v1/wallets/{seller}"))["balances"]
    held = {b["currency"]: (Decimal(b["available"]), Decimal(b["owed"])) for b in balances}
    return {currency: amounts for currency, amounts in held.items() if amounts[0] > 0}


async def _pay_our_bank(psp: Psp, currency: str, amount: int) -> dict[str, Any]:
    """Have the PSP pay our bank, as it does on a schedule of its own, without a webhook."""
    made = await psp.control("POST", "/platform_payouts", {"currency": currency, "amount": amount})
    return await psp.control("POST", f"/payouts/{made['id']}/pay")


async def _return(shop: Shop, psp: Psp) -> None:
    """Have the bank send back what had arrived, once we know that it was paid."""
    for seller in (seller for seller, end in _ENDS.items() if end == "RETURNED"):

        async def paid(seller: str = seller) -> str | None:
            found = (await shop.get("/v1/payouts", seller_account=seller, status="PAID"))["data"]
            return str(found[0]["id"]) if found else None

        payout_id = await eventually(paid, f"{seller} is paid")
        made = (await psp.control("GET", f"/log?metadata[paysaga_payout]={payout_id}"))["payouts"]
        await psp.control("POST", f"/payouts/{made[0]['payout']}/return")


async def _settled(shop: Shop, seller: str, currency: str, available: Decimal, owed: Decimal) -> SellersPayout:
    terms, expected = _terms(seller)

    async def payout() -> dict[str, Any] | None:
        found = await shop.get("/v1/payouts", seller_account=seller)
        of_currency = [p for p in found["data"] if p["currency"] == currency]
        return of_currency[0] if of_currency else None

    async def ended() -> dict[str, Any] | None:
        made = await payout()
        return made if made and made["status"] == expected else None

    try:
        made = await eventually(ended, f"the payout is {expected}") if expected else await payout()
    except Unexpected:
        made = await payout()
    after, _ = (await _wallets(shop, seller)).get(currency, (Decimal(), Decimal()))
    return SellersPayout(seller, currency, available, owed, terms, expected, made, after)


# --- what a person sees ---


def payouts_table(day: PayoutDay) -> RenderableType:
    """A row for each wallet that held something; then whatever is not as it should be."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "seller", "is paid", "available", "owes us", "payout", "wallet now"):
        amount = name in ("available", "owes us", "wallet now")
        table.add_column(name, justify="right" if amount else "left", no_wrap=name != "is paid")
    for row in day.rows:
        status = row.payout["status"] if row.payout else "left out"
        table.add_row(
            Text(" ✗", "bold red") if row.wrong else Text(" ✓", "bold green"),
            row.seller,
            Text(row.terms, "dim"),
            f"{_grouped(row.available, row.currency)} {row.currency}",
            Text(_grouped(row.owed, row.currency), "yellow") if row.owed else Text("–", "dim"),
            Text(status, _STYLES.get(status, "dim")),
            _grouped(row.after, row.currency) if row.after else Text("–", "dim"),
        )
    return Group(table, *(Text(f" ✗ {wrong}", "bold red") for wrong in day.wrong))


def _grouped(amount: Decimal, currency: str) -> str:
    return thousands(parse_major(str(amount), currency), currency)

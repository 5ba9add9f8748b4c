"""The checkouts of the demo's day: sent ten at a time, each with the fault that is planned for it, and compared with
what the PSP's own log says of them."""

import asyncio
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from demo.day.kinds import KINDS
from demo.day.plan import Checkout, Kind, plan
from demo.shop import Psp, Shop, Unexpected, growing_gaps_s
from demo.stories.story import Context
from domain.money import to_major

_AT_ONCE = 10
_PATIENCE_S = 40.0


@dataclass
class Sent:
    """A checkout and how it went. `ended_s`: when, by this machine's clock. `wrong`: why it is not as it should be."""

    checkout: Checkout
    name: str
    fault_id: str | None = None
    payment: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    ended_s: float = 0.0
    wrong: str | None = None

    @property
    def payment_id(self) -> str:
        return str(self.payment["id"])


@dataclass(frozen=True)
class Day:
    """All checkouts of a day. `struck`: kind of fault → how often it did."""

    sent: list[Sent]
    struck: Counter[str]
    seconds: float

    @property
    def wrong(self) -> list[str]:
        """One sentence for each checkout that is not as it should be."""
        return [f"{one.checkout.kind.title} ({one.name}): {one.wrong}" for one in self.sent if one.wrong]

    def paid(self, title: str, number: int = 0) -> Sent:
        """The n-th checkout of a kind that met no fault."""
        found = [one for one in self.sent if one.checkout.kind.title == title and one.checkout.fault is None]
        return found[number]


async def send_day(shop: Shop, psp: Psp, size: int, told: Callable[[int], None]) -> Day:
    """Send all of them; `told` how many are done."""
    began_s, mark = time.monotonic(), secrets.token_hex(2)
    sent = [Sent(checkout, f"day-{mark}-{checkout.name}") for checkout in plan(KINDS, size)]
    seats, done = asyncio.Semaphore(_AT_ONCE), 0

    async def send(one: Sent) -> None:
        nonlocal done
        async with seats:
            await _send(shop, psp, one)
        done += 1
        told(done)

    await asyncio.gather(*(send(one) for one in sent))
    _compare(sent, await psp.control("GET", "/log"))
    struck = await _struck(psp, sent)
    return Day(sent, struck, time.monotonic() - began_s)


async def _send(shop: Shop, psp: Psp, one: Sent) -> None:
    checkout, began_s = one.checkout, time.monotonic()
    context = Context(shop, psp, one.name, 0.0, currency=checkout.currency)
    try:
        if checkout.fault is not None:
            one.fault_id = await checkout.fault.plan(context)
        payment_id = await checkout.kind.steps(context, checkout)
        deadline_s, gaps_s = time.monotonic() + _PATIENCE_S, growing_gaps_s()
        while True:
            one.payment = await shop.payment(payment_id)
            one.wrong = _difference(checkout.kind, one.payment)
            if one.wrong is None or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(next(gaps_s))
    except Unexpected as error:
        one.wrong = str(error)
    except httpx2.HTTPError as error:
        one.wrong = f"no answer: {error!r}"
    one.ended_s = time.monotonic()
    one.seconds = one.ended_s - began_s


def _difference(kind: Kind, payment: dict[str, Any]) -> str | None:
    """Between what a payment should be and what it says itself."""
    orders = payment["payment_orders"]
    for what, expected, is_now in (
        ("status", kind.status, payment["status"]),
        ("refund", kind.refund_status, orders[0]["refund_status"]),
        ("dispute", kind.dispute_status, orders[0]["dispute_status"]),
    ):
        if expected != is_now:
            return f"its {what} should be {expected or 'none'} and is {is_now or 'none'}"
    return None


# --- what really happened ---


def _compare(sent: Iterable[Sent], log: dict[str, list[dict[str, Any]]]) -> None:
    """Each was charged and refunded at the PSP what it should be, in its own currency, and no other sum ever."""
    charged, refunded = _sums(log["charges"]), _sums(log["refunds"], "succeeded")
    for one in sent:
        kind, currency = one.checkout.kind, one.checkout.currency
        for verb, part, sums in (("charged", kind.charged, charged), ("refunded", kind.refunded, refunded)):
            expected = {currency: part(one.checkout.amount)} if part(one.checkout.amount) else {}
            if one.wrong is None and sums[one.name] != expected:
                one.wrong = f"the PSP should have {verb} {_listed(expected)} and {verb} {_listed(sums[one.name])}"


def _sums(entries: Iterable[dict[str, Any]], status: str | None = None) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in entries:
        name, currency = entry["metadata"].get("checkout_id", ""), entry["currency"].upper()
        if status in (None, entry["status"]):
            found[name][currency] = found[name].get(currency, 0) + entry["amount"]
    return found


def _listed(sums: dict[str, int]) -> str:
    return " and ".join(f"{to_major(amount, currency)} {currency}" for currency, amount in sums.items()) or "nothing"


async def _struck(psp: Psp, sent: Iterable[Sent]) -> Counter[str]:
    """A fault that did not strike has proved nothing."""
    answers, webhooks = await psp.control("GET", "/faults"), await psp.control("GET", "/webhook_faults")
    hits = {fault["id"]: fault["hits"] for fault in (*answers["data"], *webhooks["data"])}
    struck: Counter[str] = Counter()
    for one in sent:
        if one.fault_id is None or one.checkout.fault is None:
            continue
        if not hits.get(one.fault_id) and one.wrong is None:
            one.wrong = f"the fault {one.checkout.fault.kind} did not strike"
        webhook = "webhook " if one.checkout.fault.webhook else ""
        struck[webhook + one.checkout.fault.kind.replace("_", " ")] += 1
    return struck


# --- what a person sees ---

_STYLES = {"SUCCESS": "green", "FAILED": "red", "CANCELLED": "yellow"}


def day_table(day: Day) -> RenderableType:
    """A row for each kind; then the faults, and whatever is not as it should be."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    columns = ("", "kind", "sent", "ended as", "faults", "charged", "given back", "longest")
    for name in columns:
        words = name in ("", "kind", "ended as")
        table.add_column(name, justify="left" if words else "right", no_wrap=True)
    for kind in KINDS:
        table.add_row(*_row(kind, [one for one in day.sent if one.checkout.kind is kind]))
    faults = ", ".join(f"{name} ×{count}" for name, count in sorted(day.struck.items()))
    total = Text.assemble(
        (f" {len(day.sent)} checkouts", "bold"),
        f" in {day.seconds:.0f} s, {_AT_ONCE} at a time; ",
        (f"{day.struck.total()} met a fault", "magenta"),
        (f": {faults}.", "dim"),
    )
    return Group(table, "", total, *(Text(f" ✗ {wrong}", "bold red") for wrong in day.wrong))


def _row(kind: Kind, sent: list[Sent]) -> tuple[Text | str, ...]:
    right = sum(one.wrong is None for one in sent)
    mark = Text("✓", "bold green") if right == len(sent) else Text("✗", "bold red")
    ended = Counter(one.payment.get("status", "unknown") for one in sent)
    outcome = Text(", ").join(
        Text(f"{count} {status}", _STYLES.get(status, "magenta")) for status, count in ended.items()
    )
    currency = kind.currency
    charged = sum(kind.charged(one.checkout.amount) for one in sent)
    refunded = sum(kind.refunded(one.checkout.amount) for one in sent)
    faults = sum(one.checkout.fault is not None for one in sent)
    return (
        Text(" ").append(mark),
        kind.title,
        str(len(sent)),
        outcome,
        Text(str(faults) if faults else "", "magenta"),
        f"{thousands(charged, currency)} {currency}" if charged else Text("–", "dim"),
        Text(f"{thousands(refunded, currency)} {currency}", "yellow") if refunded else "",
        Text(f"{max(one.seconds for one in sent):.1f} s", "dim"),
    )


def thousands(amount: int, currency: str) -> str:
    """`12,345.00`"""
    whole, point, cents = to_major(amount, currency).partition(".")
    return f"{int(whole):,}{point}{cents}"

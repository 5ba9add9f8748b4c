"""The checkouts of the demo's day: a fixed plan of kinds, sellers, amounts and faults. Nothing of it is random."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count as count_from
from itertools import cycle
from math import gcd
from typing import Any

from demo.stories.story import Context
from domain.money import exponent, parse_major, to_major

CHECKOUTS = 200
SMALLEST = 60
"""A shorter day has at least one of each kind."""

_STRIDE = 61
"""Kinds and faults are spread over the day: a run of failures would look like an outage, and the breaker would open.
Or the next larger one with which every checkout has its turn."""

DAILY = ("seller_kavya", "seller_lena", "seller_mats", "seller_nour")
SMALL, WEEKLY, ABROAD = "seller_omar", "seller_pia", "seller_quin"

_SELLERS = (*DAILY, WEEKLY)
_AMOUNTS = ("499.00", "1250.00", "780.50", "320.00", "2100.00", "649.99", "915.25")

_LATE_S = 0.5
_ANSWERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("timeout_after", {}),
    ("http_500_uncached", {"times": 2}),
    ("cut_before", {}),
    ("latency", {"delay_s": _LATE_S}),
    ("broken_body", {}),
    ("http_503", {}),
    ("cut_after", {}),
    ("rate_limit", {}),
    ("timeout_before", {}),
    ("http_500_after", {}),
)
_WEBHOOKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lost", {"times": None}),
    ("doubled", {"times": None}),
    ("late", {"delay_s": _LATE_S}),
    ("bad_signature", {}),
    ("out_of_order", {"delay_s": _LATE_S}),
)


@dataclass(frozen=True)
class Fault:
    """A misbehaviour of the PSP towards one checkout: in answering, or (`webhook`) in delivering its events."""

    kind: str
    webhook: bool
    more: dict[str, Any]

    async def plan(self, context: Context) -> str:
        """Ask the sandbox for it; its id."""
        if self.webhook:
            return await context.psp.webhook_fault(context.checkout, self.kind, **self.more)
        return await context.psp.fault(context.checkout, self.kind, **self.more)


Part = Callable[[int], int]
"""Of the amount, in minor units."""


def whole(amount: int) -> int:
    return amount


def nothing(_: int) -> int:
    return 0


def three_fifths(amount: int) -> int:
    return amount * 3 // 5


def two_fifths(amount: int) -> int:
    return amount * 2 // 5


@dataclass(frozen=True)
class Checkout:
    """One checkout of the day: `name` is its checkout_id, without what makes it unique."""

    name: str
    kind: "Kind"
    seller: str
    second_seller: str
    amount: int
    currency: str
    fault: Fault | None

    @property
    def orders(self) -> tuple[tuple[str, str], ...]:
        """(seller, amount): of several sellers the second has two fifths."""
        if not self.kind.several:
            return ((self.seller, to_major(self.amount, self.currency)),)
        second = two_fifths(self.amount)
        return (
            (self.seller, to_major(self.amount - second, self.currency)),
            (self.second_seller, to_major(second, self.currency)),
        )

    def part(self, of: Part) -> str:
        """A part of the amount, as a decimal string."""
        return to_major(of(self.amount), self.currency)


Steps = Callable[[Context, Checkout], Awaitable[str]]
"""Sends a checkout and does what a buyer, a shop or a bank does to it; the payment's id. Raises Unexpected."""


@dataclass(frozen=True)
class Kind:
    """A kind of checkout: so many of 200, what is done to each, and how it has to end. `faults`: how many of ten meet
    one."""

    title: str
    share: int
    steps: Steps
    status: str = "SUCCESS"
    charged: Part = whole
    refunded: Part = nothing
    refund_status: str | None = None
    dispute_status: str | None = None
    methods: tuple[str, ...] = ("pm_card_visa",)
    currency: str = "INR"
    several: bool = False
    faults: int = 0
    webhooks: bool = False


def plan(kinds: tuple[Kind, ...], size: int) -> list[Checkout]:
    """`size` checkouts in the order in which they are sent. The first kind takes what rounding leaves."""
    counts = [max(1, round(kind.share * size / CHECKOUTS)) for kind in kinds]
    counts[0] += size - sum(counts)
    answers, webhooks = cycle(_ANSWERS), cycle(_WEBHOOKS)
    checkouts: list[Checkout] = []
    for kind, count in zip(kinds, counts, strict=True):
        for number in range(count):
            fault = None
            # So many of each ten, beginning with the first.
            if (number * kind.faults) % 10 < kind.faults:
                name, more = next(webhooks if kind.webhooks else answers)
                fault = Fault(name, kind.webhooks, more)
            checkouts.append(_checkout(kind, number, len(checkouts), fault))
    stride = next(stride for stride in count_from(_STRIDE) if gcd(stride, size) == 1)
    return [checkouts[position * stride % size] for position in range(size)]


def _checkout(kind: Kind, number: int, position: int, fault: Fault | None) -> Checkout:
    seller = _SELLERS[position % len(_SELLERS)] if kind.currency == "INR" else ABROAD
    if kind.share >= 40 and number % 17 == 3:
        seller = SMALL
    return Checkout(
        name=f"{position:03}",
        kind=kind,
        seller=seller,
        second_seller=_SELLERS[(position + 1) % len(_SELLERS)],
        amount=_amount(position, kind.currency),
        currency=kind.currency,
        fault=fault,
    )


def _amount(position: int, currency: str) -> int:
    """The same numbers in each currency: of yen a hundred times as many, of three decimals without a last digit, which
    the PSP does not take."""
    cents = parse_major(_AMOUNTS[position % len(_AMOUNTS)], "INR")
    return cents if exponent(currency) <= 2 else cents * 10

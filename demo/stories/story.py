"""A story of the demo: what is done to a checkout, and how it has to end at the PSP and in the ledger."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.shop import CURRENCY, Psp, Shop


@dataclass
class Context:
    """The two sides that a story works with.

    `checkout` is the story's own and makes it findable in the PSP's log; `margin_s` is how long before its expiry an
    authorisation is decided about.
    """

    shop: Shop
    psp: Psp
    checkout: str
    margin_s: float
    kill: Callable[[], None] | None = None
    currency: str = CURRENCY

    def body(self, method: str = "pm_card_visa", *orders: tuple[str, str], **fields: Any) -> dict[str, Any]:
        """A checkout: 500.00 to seller_anna, unless `orders` ((seller, amount), …) says otherwise."""
        kind = next((kind for kind in ("upi", "netbanking") if method.startswith(f"pm_{kind}")), "card")
        return {
            "checkout_id": self.checkout,
            "buyer": {"id": "buyer_demo"},
            "payment_method": {"type": kind, "token": method},
            "payment_orders": [
                {
                    "payment_order_id": f"{self.checkout}-{number}",
                    "seller_account": seller,
                    "amount": amount,
                    "currency": self.currency,
                }
                for number, (seller, amount) in enumerate(orders or (("seller_anna", "500.00"),), 1)
            ],
            **fields,
        }

    async def pay(self, method: str = "pm_card_visa", *orders: tuple[str, str], **fields: Any) -> str:
        """Send it; the payment's id."""
        payment = await self.shop.pay(self.body(method, *orders, **fields))
        return str(payment["id"])

    async def authorised(
        self, method: str = "pm_card_visa", *orders: tuple[str, str], held_for_s: float | None = None, **fields: Any
    ) -> str:
        """Only reserve it, to be captured by request; the payment's id. `held_for_s`: until its policy decides."""
        async with self.psp.holding(None if held_for_s is None else self.margin_s + held_for_s):
            payment_id = await self.pay(method, *orders, capture="manual", **fields)
            await self.shop.until(payment_id, "AUTHORIZED")
        return payment_id


Tell = Callable[[Context], Awaitable[str]]
"""Carries a story out and returns the payment's id. Raises Unexpected."""


@dataclass(frozen=True)
class Story:
    """A checkout's story, and its expected end.

    By the PSP's log: `charged`, `refunded`, `let_go` (reserved and not taken), `lost` (in a dispute), and `asked`,
    False if the PSP is never to hear of it. `ledger` is all that is booked, by account.
    """

    title: str
    lesson: str
    tell: Tell
    status: str
    failure: str | None = None
    charged: tuple[str, ...] = ()
    refunded: tuple[str, ...] = ()
    let_go: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    asked: bool = True
    refund_status: str | None = None
    dispute_status: str | None = None
    ledger: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    cautious: bool = False

    def checkout(self) -> str:
        """A name of its own; short, as thirteen digits may be taken for a card number."""
        return f"demo-{secrets.token_hex(4)}"


Chapter = tuple[str, tuple[Story, ...]]
"""A title, and its stories in their order."""

WHOLE = ("500.00",)
PAID = {"at PSP": "485.20", "anna": "485.00", "our fee": "15.00", "PSP fee": "-14.80"}
UNDONE = {"at PSP": "-14.80", "PSP fee": "-14.80"}
"""What is left of a charge that was refunded: the PSP keeps its fee."""

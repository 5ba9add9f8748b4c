"""The types of Stripe's events that an endpoint of ours subscribes to. No I/O, and no other place lists them.

Each event costs a transaction, and while a payment waits a look at Stripe. So those are left out that say again what
another one says (`charge.succeeded` beside `payment_intent.succeeded`, `charge.captured`, `charge.expired`,
`charge.refunded`, `charge.failed`) or what the answer to our own call has said (`payment_intent.created`,
`payment_intent.requires_action`, `transfer.created`, `payout.created`). Taken in are all: see `webhooks.read_event`.
"""

from domain.endpoint import EventScope

_OF_PAYMENTS = (
    "payment_intent.amount_capturable_updated",  # authorised after 3DS
    "payment_intent.canceled",  # by somebody at Stripe, or an authorisation that expired
    "payment_intent.payment_failed",
    "payment_intent.processing",  # the buyer has done what there was to do; the bank has not answered
    "payment_intent.succeeded",
)
_OF_REFUNDS = ("refund.created", "refund.failed", "refund.updated")
"""The first for those that somebody makes at Stripe."""
_OF_DISPUTES = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
)
_TRACED = "payout.updated"
"""Tells the bank's own reference of a payout, days after it has arrived."""

SUBSCRIPTIONS: dict[EventScope, tuple[str, ...]] = {
    EventScope.ACCOUNT: (*_OF_PAYMENTS, *_OF_REFUNDS, *_OF_DISPUTES, _TRACED, "transfer.reversed"),
    EventScope.SELLERS: ("payout.canceled", "payout.failed", "payout.paid", _TRACED),
}

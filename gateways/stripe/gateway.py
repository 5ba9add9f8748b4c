"""Stripe behind the Psp protocol. Start at `StripePsp`: each noun of the protocol is a file beside this one.

How a request travels, and what its errors mean, is in `wire`; what Stripe's objects mean to us, in `results`,
`payout_objects` and `line_objects`.
"""

from collections.abc import Collection, Sequence

from gateways.guard import Guard
from gateways.protocol import PspAccount
from gateways.stripe.charges import StripeCharges
from gateways.stripe.disputes import StripeDisputes
from gateways.stripe.endpoints import StripeEndpoints
from gateways.stripe.lines import StripeLines
from gateways.stripe.payouts import StripePayouts
from gateways.stripe.refunds import StripeRefunds
from gateways.stripe.webhooks import StripeWebhooks


class StripePsp(
    StripeCharges, StripeRefunds, StripeDisputes, StripePayouts, StripeLines, StripeEndpoints, StripeWebhooks
):
    """The adapter. One instance belongs to one event loop; `close` ends its connections.

    `base_url` points it at another server than Stripe's; `webhook_secrets` are all accepted, for rotation;
    `currencies` are those the account settles in; `return_url` is where 3DS sends the buyer back to (without it
    Stripe may offer a step for its own JavaScript only); `account_id` is the Connect account whose events are
    taken; of every other one only those of payouts.
    """

    def __init__(
        self,
        *,
        api_key: str,
        guard: Guard,
        currencies: Collection[str],
        webhook_secrets: Sequence[str] = (),
        base_url: str | None = None,
        key_life_s: float = 86_400,
        return_url: str | None = None,
        statement_descriptor: str | None = None,
        account_id: str | None = None,
        name: str = "stripe",
    ) -> None:
        super().__init__(api_key=api_key, guard=guard, base_url=base_url, name=name)
        self.key_life_s = key_life_s
        self._currencies = frozenset(currencies)
        self._webhook_secrets = tuple(webhook_secrets)
        self.return_url = return_url
        self.statement_descriptor = statement_descriptor
        self._account_id = account_id
        self._live = "_live_" in api_key


def open_stripe(name: str, account: PspAccount) -> StripePsp:
    """The adapter of an account, with a guard of its own."""
    return StripePsp(
        name=name,
        api_key=account.api_key,
        base_url=account.base_url,
        webhook_secrets=account.webhook_secrets,
        currencies=account.currencies,
        key_life_s=account.key_life_s,
        return_url=account.return_url,
        statement_descriptor=account.statement_descriptor,
        guard=Guard(
            name,
            concurrency_max=account.concurrency_max,
            rate_per_s=account.rate_per_s,
            breaker_failures=account.breaker_failures,
            breaker_open_s=account.breaker_open_s,
        ),
    )

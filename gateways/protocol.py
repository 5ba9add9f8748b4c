"""The protocol that every PSP adapter implements. One folder per PSP beside this file; `registry` lists them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.endpoint import EndpointAnswer, EventEndpoint, EventScope
from domain.model import Failure
from domain.psp import (
    CaptureRequest,
    CardFacts,
    ChargeLookup,
    ChargeRequest,
    ChargeResult,
    DisputeResult,
    EvidenceRequest,
    PayoutRequest,
    PayoutResult,
    PayoutTraces,
    PspEvent,
    RefundRequest,
    RefundResult,
    ReversalRequest,
    TransferRequest,
    TransferResult,
)
from domain.reconciliation.lines import PspLines


@dataclass(frozen=True)
class PspAccount:
    """Our account at a PSP, and how hard we may press it.

    `currencies` are those that it settles in; `webhook_secrets` are all accepted, for rotation; `base_url` is another
    server in the PSP's place, such as the sandbox; `return_url` is where 3DS sends the buyer back to;
    `statement_descriptor` are the words on the buyer's statement.
    `breaker_failures` unknown answers in a row open the circuit breaker for `breaker_open_s`.
    """

    api_key: str = field(repr=False)
    currencies: Collection[str]
    key_life_s: float
    concurrency_max: int
    rate_per_s: float
    breaker_failures: int
    breaker_open_s: float
    webhook_secrets: Sequence[str] = field(default=(), repr=False)
    base_url: str | None = None
    return_url: str | None = None
    statement_descriptor: str | None = None


class Psp(Protocol):
    """A payment service provider. No method raises for what the PSP or the network does: that is an outcome.

    Every call takes `timeout_s`, the longest it may last; a call refused by the local bulkhead, pacer or circuit
    breaker is UNKNOWN with reason `busy` or `breaker_open`, and nothing was sent.

    `return_url` and `statement_descriptor` are the account's own. A new payment keeps them, since what is sent under a
    key must not change with a setting. `subscriptions` are the types of events, in the PSP's words, that change
    something here.
    """

    name: str
    subscriptions: Mapping[EventScope, Sequence[str]]
    key_life_s: float
    return_url: str | None
    statement_descriptor: str | None

    def check_amount(self, amount: int, currency: str) -> Failure | None:
        """The reason why the PSP would not charge this (minor units), before anything is stored; None when it can. No
        I/O.

        Codes: currency_not_settled, amount_too_small, amount_too_large, amount_precision.
        """
        ...

    def check_part(self, amount: int, currency: str) -> Failure | None:
        """The reason why this share of a charge could not be refunded by itself (`amount_precision`), or None. No
        I/O."""
        ...

    def unit(self, currency: str) -> int:
        """The smallest amount that the PSP charges and refunds, in our minor units (KWD 10: the third decimal is 0): a
        share of anything is a multiple of it. Raises MoneyError `currency_unknown`. No I/O."""
        ...

    def check_payout(self, amount: int, currency: str) -> Failure | None:
        """The reason why this could not be paid out to a bank (`amount_precision`), or None. No I/O."""
        ...

    def can_authorize(self, method: str) -> bool:
        """True if an amount can be reserved with this method (card, upi …) and taken later. No I/O."""
        ...

    async def describe_card(self, token: str, *, timeout_s: float) -> CardFacts | None:
        """The facts of the card behind a token before it is charged; None without a trustworthy answer.

        Does not use the token up.
        """
        ...

    async def charge(self, request: ChargeRequest, *, timeout_s: float) -> ChargeResult:
        """Create and confirm a charge under `request.key`. Sending it again is safe while the key lives."""
        ...

    async def retrieve_charge(self, reference: str, *, charge_id: str, timeout_s: float) -> ChargeResult:
        """Its present state, or NOT_FOUND; UNKNOWN `another_charge` if it does not carry `charge_id`, our id."""
        ...

    async def find_charge(self, lookup: ChargeLookup, *, timeout_s: float) -> ChargeResult:
        """The charge that carries our id, or NOT_FOUND, or UNKNOWN."""
        ...

    async def capture_charge(self, request: CaptureRequest, *, timeout_s: float) -> ChargeResult:
        """Take an authorised amount. SUCCEEDED with what was taken, also when an earlier call took it; VOIDED when the
        authorisation is gone; AUTHORIZED with a `failure` when the PSP refused and it still stands; or UNKNOWN."""
        ...

    async def void_charge(self, reference: str, *, charge_id: str, key: str, timeout_s: float) -> ChargeResult:
        """Make sure it can never be paid: VOIDED, or the state that prevented it (SUCCEEDED, PENDING), or UNKNOWN.

        NOT_FOUND if there is no such charge; UNKNOWN `another_charge` if it does not carry `charge_id`, our id.
        A VOIDED charge that was declined before says why in `failure`.
        """
        ...

    async def refund(self, request: RefundRequest, *, timeout_s: float) -> RefundResult:
        """Refund under `request.key`. UNKNOWN `amount_mismatch` when another amount was refunded than was asked."""
        ...

    async def retrieve_refund(self, reference: str, *, timeout_s: float) -> RefundResult:
        """Its present state, or NOT_FOUND, or UNKNOWN."""
        ...

    async def find_refund(self, refund_id: str, charge_reference: str, *, key: str, timeout_s: float) -> RefundResult:
        """The refund of this charge that carries our id and was sent under `key`, or NOT_FOUND, or UNKNOWN."""
        ...

    async def retrieve_dispute(self, reference: str, *, timeout_s: float) -> DisputeResult:
        """Its present state with every movement of money so far, or NOT_FOUND, or UNKNOWN."""
        ...

    async def submit_evidence(self, request: EvidenceRequest, *, timeout_s: float) -> DisputeResult:
        """Submit under `request.key`. What the PSP refuses (too late, closed) is the dispute's present state with a
        `failure`: `evidence_refused`."""
        ...

    async def transfer(self, request: TransferRequest, *, timeout_s: float) -> TransferResult:
        """Move money to the seller's account at the PSP, under `request.key`."""
        ...

    async def find_transfer(self, payout_id: str, *, timeout_s: float) -> TransferResult:
        """The transfer that carries our payout's id and was not taken back: DONE, NOT_FOUND or UNKNOWN."""
        ...

    async def retrieve_transfer(
        self, reference: str, *, payout_id: str, destination: str, timeout_s: float
    ) -> TransferResult:
        """The transfer of this name. NOT_FOUND with a `failure` if it went to another account, carries the id of
        another payout, or was taken back."""
        ...

    async def reverse_transfer(self, request: ReversalRequest, *, timeout_s: float) -> TransferResult:
        """Take a transfer back in full. DONE also when an earlier call took it back."""
        ...

    async def find_reversal(self, request: ReversalRequest, *, timeout_s: float) -> TransferResult:
        """DONE if the transfer was taken back in full, by whomever; else NOT_FOUND, or UNKNOWN. Nothing is sent."""
        ...

    async def pay_out(self, request: PayoutRequest, *, timeout_s: float) -> PayoutResult:
        """Pay from the seller's account at the PSP to the seller's bank. A refusal is FAILED without a reference."""
        ...

    async def retrieve_payout(
        self, reference: str, *, payout_id: str, destination: str, timeout_s: float
    ) -> PayoutResult:
        """Its present state; NOT_FOUND with a `failure` if it carries the id of another payout."""
        ...

    async def find_payout(
        self, payout_id: str, *, destination: str, created_from: datetime, timeout_s: float
    ) -> PayoutResult:
        """The payout that carries our id, among those made since, or NOT_FOUND, or UNKNOWN."""
        ...

    async def cancel_payout(
        self, reference: str, *, payout_id: str, destination: str, key: str, timeout_s: float
    ) -> PayoutResult:
        """CANCELLED, or its present state with a `failure` where it is too late for that, or UNKNOWN."""
        ...

    async def list_lines(
        self,
        *,
        created_from: datetime,
        created_to: datetime,
        cursor: str | None,
        otherwise_at: datetime,
        timeout_s: float,
    ) -> PspLines:
        """The movements on our account in [from, to), a page at a time, in a stable order. `otherwise_at`: the time
        of a line whose own cannot be read."""
        ...

    async def list_traces(self, *, created_from: datetime, timeout_s: float) -> PayoutTraces:
        """The banks' own references of our account's payouts made since, as far as the PSP knows them by now."""
        ...

    async def list_endpoints(self, *, timeout_s: float) -> EndpointAnswer:
        """All places where the account's events, and those of sellers' accounts, are sent."""
        ...

    async def add_endpoint(self, scope: EventScope, url: str, *, timeout_s: float) -> EndpointAnswer:
        """Have the events of `subscriptions` sent to this address; the answer has the secret that signs them."""
        ...

    async def change_endpoint(self, endpoint: EventEndpoint, *, timeout_s: float) -> EndpointAnswer:
        """Have those events, and no others, sent to an endpoint that there is."""
        ...

    def read_webhook(self, body: bytes, headers: dict[str, str]) -> PspEvent:
        """Verify and parse. Raises WebhookRejected."""
        ...

    async def close(self) -> None:
        """End its connections."""
        ...

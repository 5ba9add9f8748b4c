"""The protocol that every PSP adapter implements. One file per PSP beside this one."""

from typing import Protocol

from domain.psp import (
    ChargeLookup,
    ChargeRequest,
    ChargeResult,
    Failure,
    PspEvent,
    RefundRequest,
    RefundResult,
)


class Psp(Protocol):
    """A payment service provider. No method raises for what the PSP or the network does: that is an outcome.

    Every call takes `timeout_s`, the longest it may last; a call refused by the local bulkhead, pacer or circuit
    breaker is UNKNOWN with reason `busy` or `breaker_open`, and nothing was sent.
    """

    name: str
    key_life_s: float

    def check_amount(self, amount: int, currency: str) -> Failure | None:
        """Why the PSP would not charge this (minor units), before anything is stored; None when it can. No I/O.

        Codes: currency_not_settled, amount_too_small, amount_too_large, amount_precision.
        """
        ...

    def check_part(self, amount: int, currency: str) -> Failure | None:
        """Why this share of a charge could not be refunded by itself (`amount_precision`); None when it can. No I/O."""
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

    async def void_charge(self, reference: str, *, charge_id: str, key: str, timeout_s: float) -> ChargeResult:
        """Make sure it can never be paid: VOIDED, or the state that prevented it (SUCCEEDED, PENDING), or UNKNOWN.

        NOT_FOUND if there is no such charge; UNKNOWN `another_charge` if it does not carry `charge_id`, our id.
        A VOIDED charge that was declined before says why in `failure`.
        """
        ...

    async def refund(self, request: RefundRequest, *, timeout_s: float) -> RefundResult:
        """Refund under `request.key`. UNKNOWN `amount_mismatch` when another amount was refunded than was asked."""
        ...

    async def retrieve_refund(self, reference: str, *, timeout_s: float) -> RefundResult: ...

    async def find_refund(self, refund_id: str, charge_reference: str, *, key: str, timeout_s: float) -> RefundResult:
        """The refund of this charge that carries our id and was sent under `key`, or NOT_FOUND, or UNKNOWN."""
        ...

    def read_webhook(self, body: bytes, headers: dict[str, str]) -> PspEvent:
        """Verify and parse. Raises WebhookRejected."""
        ...

    async def close(self) -> None: ...

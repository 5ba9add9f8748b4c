"""The requests of charges to their PSP, and the head start of the first one."""

import asyncio
from collections.abc import Mapping

from db.core.keyring import Keyring
from db.hot.store import Stored
from db.payment.payment import Secrets
from db.payment.record import Payment
from domain.money import Money
from domain.psp import ChargeRequest, ChargeResult
from gateways.protocol import Psp
from runtime.under_way import UnderWay

_KEPT_S = 10.0
"""An answer that no step has taken by then is left to the one that sends the request again."""


class ChargeSender:
    """Sends what takes a buyer's money. One per process, shared by its API and its worker; both run in one event loop.

    `fast_timeout_s` bounds the first request, which a workflow task waits for. It may have a head start: then it is on
    its way while Temporal starts the workflow, whose first step takes the answer. Nothing depends on that: a step that
    runs elsewhere, or after this process has died, sends the same request under the key that was stored before.
    """

    def __init__(
        self, psps: Mapping[str, Psp], keyring: Keyring, under_way: UnderWay, *, fast_timeout_s: float
    ) -> None:
        self._psps = psps
        self._keyring = keyring
        self._under_way = under_way
        self._fast_timeout_s = fast_timeout_s
        self._ahead: dict[str, asyncio.Task[ChargeResult]] = {}

    async def send(self, row: Payment, secrets: Secrets, *, timeout_s: float) -> ChargeResult:
        """One request, UNKNOWN where there is no answer; while it lasts the payment takes up no place."""
        with self._under_way.at_psp(row.id):
            return await self._charge(row, secrets, timeout_s)

    def send_ahead(self, stored: Stored) -> None:
        """Send the first request now; its answer is kept for the step that asks for it. The payment keeps its place
        until then: that its workflow is being started is our work."""
        payment_id = stored.payment.id
        charge = self._charge(stored.payment, stored.secrets, self._fast_timeout_s)
        self._ahead[payment_id] = asyncio.create_task(charge)
        asyncio.get_running_loop().call_later(_KEPT_S, self._ahead.pop, payment_id, None)

    async def first(self, stored: Stored) -> ChargeResult:
        """The answer to the first request, which is sent now if it had no head start."""
        ahead = self._ahead.pop(stored.payment.id, None)
        if ahead is None:
            return await self.send(stored.payment, stored.secrets, timeout_s=self._fast_timeout_s)
        with self._under_way.at_psp(stored.payment.id):
            return await ahead

    async def _charge(self, row: Payment, secrets: Secrets, timeout_s: float) -> ChargeResult:
        return await self._psps[row.psp].charge(self._request(row, secrets), timeout_s=timeout_s)

    def _request(self, row: Payment, secrets: Secrets) -> ChargeRequest:
        """The same bytes at every attempt: the PSP compares the parameters under a key."""
        decrypt, email = self._keyring.decrypt, secrets.email
        return ChargeRequest(
            key=row.charge.key,
            charge_id=row.charge.id,
            payment_id=row.id,
            amount=row.amount,
            currency=row.currency,
            method=row.method,
            token=decrypt(secrets.token, bound_to=f"{row.id}:token"),
            description=f"{row.checkout_id or row.id} · {Money(amount=row.amount, currency=row.currency)}",
            metadata=row.metadata | ({"checkout_id": row.checkout_id} if row.checkout_id else {}),
            receipt_email=decrypt(email, bound_to=f"{row.id}:email", person_key=secrets.person_key) if email else None,
            authorize_only=row.authorize_only,
            return_url=row.return_url,
            statement_descriptor=row.statement_descriptor,
        )

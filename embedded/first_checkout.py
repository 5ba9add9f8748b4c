"""One checkout through the front door, as a shop would send it: the proof that the whole chain works."""

import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2

from config.settings import DEVELOPMENT_API_KEY
from embedded.errors import StackError

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class FirstCheckout:
    """The payment that the first checkout became."""

    payment_id: str
    status: str
    amount: str
    took_ms: float

    @property
    def summary(self) -> str:
        """`500.00 INR → seller_anna: SUCCESS in 84 ms`."""
        return f"{self.amount}: {self.status} in {self.took_ms:.0f} ms"

    def workflow_url(self, ui_url: str, namespace: str) -> str:
        """The page of the Temporal UI that shows the workflow which carried it."""
        workflow_id = quote(f"payment:{self.payment_id}", safe="")
        return f"{ui_url}/namespaces/{quote(namespace)}/workflows/{workflow_id}"


async def send_first_checkout(api_url: str) -> FirstCheckout:
    """Pay 500.00 INR to a seller with a test card. Raises StackError with the API's own reason when it refuses."""
    # One a start, as the same id would be the same payment; short, as thirteen digits may be taken for a card number.
    checkout_id = f"first-checkout-{secrets.token_hex(4)}"
    headers = {"Authorization": f"Bearer {DEVELOPMENT_API_KEY}", "Idempotency-Key": checkout_id}
    began_s = time.perf_counter()
    try:
        # Loopback, never a proxy.
        async with httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = await client.post(f"{api_url}/v1/payments", json=_body(checkout_id), headers=headers)
            payment: dict[str, Any] = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise StackError(f"The first checkout got no answer from {api_url}: {error!r}.") from error
    took_ms = (time.perf_counter() - began_s) * 1000
    if not answer.is_success:
        detail = payment.get("detail") or payment.get("title") or "no reason given"
        raise StackError(f"The first checkout was refused with {answer.status_code} {payment.get('code')}: {detail}")
    amount = f"{payment['amount']} {payment['currency']}"
    return FirstCheckout(payment["id"], payment["status"], amount, took_ms)


def _body(checkout_id: str) -> dict[str, Any]:
    order = {
        "payment_order_id": f"{checkout_id}-1",
        "seller_account": "seller_anna",
        "amount": "500.00",
        "currency": "INR",
    }
    return {
        "checkout_id": checkout_id,
        "buyer": {"id": "buyer_1", "email": "buyer@shop.example"},
        "payment_method": {"type": "card", "token": "pm_card_visa"},
        "payment_orders": [order],
    }

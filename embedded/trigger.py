"""Making an event happen as it happens to a shop: by a payment over HTTP, at the sandbox."""

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx2

from embedded.errors import StackError

_TIMEOUT_S = 30.0

_PAYMENTS: Mapping[str, Mapping[str, Any]] = {
    "payment.succeeded": {"token": "pm_card_visa"},
    "payment.failed": {"token": "pm_card_chargeDeclined"},
    "payment.requires_action": {"token": "pm_card_authenticationRequired"},
    "payment.authorized": {"token": "pm_card_visa", "capture": "manual"},
    "refund.succeeded": {"token": "pm_card_visa"},
}


class Made(NamedTuple):
    """A payment or refund of which the event is."""

    event: str
    object_id: str
    status: str


async def make(api_url: str, event: str, *, seller: str, api_key: str) -> Made:
    """Pay so that the event happens. Raises StackError."""
    if event not in _PAYMENTS:
        raise StackError(f"{event} cannot be triggered. There are: {', '.join(_PAYMENTS)}.")
    fields = dict(_PAYMENTS[event])
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        # Loopback, never a proxy.
        async with httpx2.AsyncClient(base_url=api_url, timeout=_TIMEOUT_S, trust_env=False, headers=headers) as client:
            payment = await _post(client, "/v1/payments", _body(fields.pop("token"), seller, fields))
            if event != "refund.succeeded":
                return Made(event, payment["id"], payment["status"])
            refund = await _post(client, f"/v1/payments/{payment['id']}/refunds", {})
            return Made(event, refund["id"], refund["status"])
    except (httpx2.HTTPError, ValueError) as error:
        raise StackError(f"There was no answer from {api_url}: {error!r}. Is the stack running?") from error


async def _post(client: httpx2.AsyncClient, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await client.post(path, json=body, headers={"Idempotency-Key": f"trigger-{secrets.token_hex(4)}"})
    made: dict[str, Any] = answer.json()
    if not answer.is_success:
        raise StackError(f"It was refused with {answer.status_code} {made.get('code')}: {made.get('detail')}")
    return made


def _body(token: str, seller: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    # Short, as thirteen digits may be taken for a card number.
    name = f"trigger-{secrets.token_hex(4)}"
    order = {"payment_order_id": f"{name}-1", "seller_account": seller, "amount": "500.00", "currency": "INR"}
    return {
        "checkout_id": name,
        "buyer": {"id": "buyer_1"},
        "payment_method": {"type": "card", "token": token},
        "payment_orders": [order],
        **fields,
    }

"""The bench's PSP, through the gateway that payments use: it has to mean what Stripe means."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from bench.psp import DECLINED_TOKEN, CheapPsp
from bench.wire import Exchange, HttpClient, ServerProtocol
from config.settings import SANDBOX_WEBHOOK_SECRET, Settings
from domain.ids import charge_key, new_id
from domain.psp import CaptureRequest, ChargeOutcome, ChargeRequest, RefundOutcome, RefundRequest
from gateways.registry import open_psp
from gateways.stripe.gateway import StripePsp
from runtime.wiring import psp_accounts

KEY = "sk_test_bench"


class Endpoint:
    """The receiver of webhooks: keeps their bodies and signatures."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, str]] = []

    def take(self, exchange: Exchange) -> None:
        self.received.append((exchange.request.body, exchange.request.headers["stripe-signature"]))
        exchange.answer(200, b"{}")


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, int]]:
    found = Endpoint()
    server = await asyncio.get_running_loop().create_server(partial(ServerProtocol, found.take), "127.0.0.1", 0)
    yield found, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def psp_url(endpoint: tuple[Endpoint, int]) -> AsyncIterator[str]:
    psp = CheapPsp(
        delay_s=0.0,
        webhook_url=f"http://127.0.0.1:{endpoint[1]}/webhooks/stripe",
        secret=SANDBOX_WEBHOOK_SECRET,
        webhook_s=0.0,
        account=KEY,
    )
    server = await asyncio.get_running_loop().create_server(partial(ServerProtocol, psp.take), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await psp.close()
    server.close()


def _request(token: str = "pm_card_visa", *, authorize_only: bool = False) -> ChargeRequest:
    payment_id = new_id("pay")
    return ChargeRequest(
        key=charge_key(payment_id, 1),
        charge_id=new_id("ch"),
        payment_id=payment_id,
        amount=50_000,
        currency="INR",
        method="card",
        token=token,
        description="bench",
        metadata={"checkout_id": "c-1"},
        authorize_only=authorize_only,
    )


async def test_it_charges_declines_captures_and_refunds(psp_url: str, endpoint: tuple[Endpoint, int]) -> None:
    account = replace(psp_accounts(Settings(stripe_base_url=psp_url))["stripe"], api_key=KEY)
    psp = open_psp("stripe", account)
    control = HttpClient(psp_url, {"Authorization": f"Bearer {KEY}"})
    try:
        request = _request()
        paid = await psp.charge(request, timeout_s=5)
        assert paid.outcome is ChargeOutcome.SUCCEEDED
        assert (paid.amount, paid.currency) == (50_000, "INR")
        assert paid.fee is not None
        again = await psp.charge(request, timeout_s=5)
        assert again.reference == paid.reference
        assert paid.reference is not None
        found = await psp.retrieve_charge(paid.reference, charge_id=request.charge_id, timeout_s=5)
        assert found.outcome is ChargeOutcome.SUCCEEDED
        declined = await psp.charge(_request(DECLINED_TOKEN), timeout_s=5)
        assert declined.outcome is ChargeOutcome.DECLINED
        await _captured(psp)  # type: ignore[arg-type]
        back = await psp.refund(
            RefundRequest(
                key="re-1",
                refund_id=new_id("re"),
                charge_reference=paid.reference,
                amount=50_000,
                currency="INR",
                reason="",
                metadata={},
            ),
            timeout_s=5,
        )
        assert back.outcome is RefundOutcome.SUCCEEDED
        await control.send("POST", "/_control/webhooks/flush")
        log = json.loads((await control.send("GET", "/_control/log")).body)
        assert [charge["amount"] for charge in log["charges"]] == [50_000, 40_000]
        assert [refund["metadata"]["paysaga_payment"] for refund in log["refunds"]] == [request.payment_id]
        events = [psp.read_webhook(body, {"stripe-signature": signed}) for body, signed in endpoint[0].received]
        types = [event.type for event in events]
        assert types.count("payment_intent.succeeded") == 2
        assert {"payment_intent.payment_failed", "payment_intent.amount_capturable_updated", "refund.updated"} < set(
            types
        )
        assert all(event.ignored is None for event in events)
    finally:
        await control.close()
        await psp.close()


async def _captured(psp: StripePsp) -> None:
    """An authorisation of which a part is taken."""
    request = _request(authorize_only=True)
    reserved = await psp.charge(request, timeout_s=5)
    assert reserved.outcome is ChargeOutcome.AUTHORIZED
    assert reserved.reference is not None
    taken = await psp.capture_charge(
        CaptureRequest(
            key="cap-1",
            reference=reserved.reference,
            charge_id=request.charge_id,
            amount=40_000,
            currency="INR",
        ),
        timeout_s=5,
    )
    assert (taken.outcome, taken.amount) == (ChargeOutcome.SUCCEEDED, 40_000)

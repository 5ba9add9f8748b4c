"""Anything that can happen to payments, in any order: a machine drives the real stack and looks for a broken promise.

`make machine` runs it for long (500 runs of 30 steps); the suite runs a few. A counterexample becomes a test of its
own.
"""

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from db.audit.audit import audit_database
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.sandbox import SandboxRefused
from tests.support.shop import Answer, Shop

RUNS = int(os.environ.get("PAYSAGA_MACHINE_RUNS", "4"))
STEPS = int(os.environ.get("PAYSAGA_MACHINE_STEPS", "20"))
AUDIT_EVERY = max(1, RUNS // 25)

ENDED = {"SUCCESS", "FAILED", "CANCELLED"}
WITHDRAWN = {"needs_response", "under_review", "lost"}
REVIEWED_ABOVE = "900.00"
T = TypeVar("T")

TOKENS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_card_threeDSecure2Required",
    "pm_card_pendingRefund",
    "pm_card_pendingRefundFail",
    "pm_card_refundFail",
    "pm_card_createDispute",
    "pm_upi_success",
)
AMOUNTS = ("0.53", "10.00", "99.99", "333.34", "1000.00")


class Machine(RuleBasedStateMachine):
    """One run: a shop of its own, whose payments are pushed around. `paysaga` and `loop` are set by the test."""

    paysaga: Deployment
    loop: asyncio.AbstractEventLoop
    runs = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=120)

    @initialize(
        fee=st.sampled_from(["platform", "seller"]),
        kept=st.sampled_from(["returned", "kept"]),
        credit=st.booleans(),
        rules=st.booleans(),
    )
    def open_shop(self, fee: str, kept: str, credit: bool, rules: bool) -> None:
        terms: dict[str, Any] = {"psp_fee_payer": fee, "dispute_fee_payer": fee, "platform_fee_on_refund": kept}
        self.shop: Shop = self.do(
            self.paysaga.shop(f"m-{secrets.token_hex(6)}", allow_negative_balance=credit, **terms)
        )
        self.payments: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.ends: dict[str, str] = {}
        self.disputes: list[str] = []
        if rules:
            review = {"name": "large", "type": "amount", "currency": "INR", "above": REVIEWED_ABOVE, "then": "review"}
            risky = {"name": "risky", "type": "psp_risk_score", "at_least": 90, "then": "review"}
            put = self.paysaga.http.put("/v1/risk/rules", json={"rules": [review, risky]}, headers=self.shop.headers)
            assert self.do(put).status_code == 200

    # --- what a shop, a buyer, a bank and an operator do ---

    @rule(
        token=st.sampled_from(TOKENS),
        amounts=st.lists(st.sampled_from(AMOUNTS), min_size=1, max_size=3),
        manual=st.booleans(),
        keep=st.booleans(),
    )
    def pay(self, token: str, amounts: list[str], manual: bool, keep: bool) -> None:
        checkout = self.shop.checkout("m")
        orders = list(zip(("anna", "bo", "chen"), amounts, strict=False))
        fields: dict[str, Any] = {"on_partial_failure": "keep_successful"} if keep else {}
        if manual and not token.startswith("pm_upi"):
            fields["capture"] = "manual"
        answer = self.do(self.shop.pay(checkout, token, orders=orders, wait=20, **fields))
        if answer.status_code == 422:
            assert answer.json()["code"] in ("merchant_not_active", "amount_too_small"), answer.text
            return
        assert answer.status_code in (201, 202), answer.text
        self.payments[answer.json()["id"]] = checkout
        self.tokens[checkout] = token
        self.look(answer.json())

    def choose(self, data: st.DataObject) -> dict[str, Any]:
        payment_id = data.draw(st.sampled_from(sorted(self.payments)), label="payment")
        return self.look(self.do(self.shop.payment(payment_id)))

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), part=st.booleans())
    def capture(self, data: st.DataObject, part: bool) -> None:
        payment = self.choose(data)
        body: dict[str, Any] = {}
        if part:
            one = data.draw(st.sampled_from(payment["payment_orders"]), label="order")
            body = {"payment_orders": [{"payment_order_id": one["id"], "amount": "0.50"}]}
        self.told(self.shop.post(f"/v1/payments/{payment['id']}/capture", body, wait=20), 200, 202)

    @precondition(lambda self: self.payments)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        payment = self.choose(data)
        self.told(self.shop.post(f"/v1/payments/{payment['id']}/cancel", wait=20), 200, 202)

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), amount=st.sampled_from([None, "0.01", "3.33", "99.99", "5000.00"]))
    def refund(self, data: st.DataObject, amount: str | None) -> None:
        payment = self.choose(data)
        one = data.draw(st.sampled_from(payment["payment_orders"]), label="order")
        body = {"payment_order_id": one["id"]} | ({"amount": amount} if amount else {})
        answer = self.told(self.shop.post(f"/v1/payments/{payment['id']}/refunds", body, wait=20), 201, 202)
        if answer.status_code in (201, 202) and amount is not None:
            assert float(amount) <= float(one["refundable_amount"])

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), amount=st.sampled_from([1, 53, 10000]))
    def refund_in_the_dashboard(self, data: st.DataObject, amount: int) -> None:
        payment = self.choose(data)
        if payment["status"] != "SUCCESS":
            return
        intent = self.do(self.shop.reference(payment["id"]))
        self.at_the_psp(self.paysaga.sandbox.refund_by_hand(intent, amount))

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), terms=st.sampled_from([{}, {}, {"amount": 53}, {"amount": 150000}, {"inquiry": True}]))
    def dispute(self, data: st.DataObject, terms: dict[str, Any]) -> None:
        payment = self.choose(data)
        if payment["status"] != "SUCCESS" or len(self.disputes) > 3:
            return
        intent = self.do(self.shop.reference(payment["id"]))
        self.disputes.append(self.do(self.paysaga.sandbox.dispute(intent, **terms)))

    @precondition(lambda self: self.disputes)
    @rule(data=st.data(), step=st.sampled_from(["win", "lose", "escalate", "close_inquiry", "reinstate"]))
    def decide_dispute(self, data: st.DataObject, step: str) -> None:
        dispute = data.draw(st.sampled_from(self.disputes), label="dispute")
        self.at_the_psp(self.paysaga.sandbox.steer_dispute(dispute, step))

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), words=st.sampled_from(["winning_evidence", "losing_evidence", "It was delivered."]))
    def submit_evidence(self, data: st.DataObject, words: str) -> None:
        payment = self.choose(data)
        for dispute in self.do(self.shop.explain(payment["id"]))["disputes"]:
            body = {"fields": {"uncategorized_text": words}}
            self.told(self.shop.post(f"/v1/disputes/{dispute['id']}/evidence", body), 202)

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), step=st.sampled_from(["authenticate", "fail_authentication", "expire", "force_success"]))
    def steer_at_the_psp(self, data: st.DataObject, step: str) -> None:
        payment = self.choose(data)
        reference = self.do(self.shop.explain(payment["id"]))["attempts"][-1]["reference"]
        if reference is None or (step == "force_success" and payment["status"] in ("AUTHORIZED", "IN_REVIEW")):
            return
        self.at_the_psp(self.paysaga.sandbox.steer(reference, step))

    @rule(seller=st.sampled_from(["anna", "bo", "chen"]), status=st.sampled_from(["FROZEN", "ACTIVE", "ACTIVE"]))
    def freeze(self, seller: str, status: str) -> None:
        self.do(self.shop.set_merchant(seller, status=status))

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), decision=st.sampled_from(["approve", "reject"]))
    def review(self, data: st.DataObject, decision: str) -> None:
        payment = self.choose(data)
        self.told(self.shop.post(f"/v1/payments/{payment['id']}/review", {"decision": decision}, wait=20), 200, 202)

    def at_the_psp(self, work: Coroutine[Any, Any, Any]) -> None:
        """What the state of things there does not allow changes nothing."""
        try:
            self.do(work)
        except SandboxRefused as refused:
            assert refused.status in (400, 409), refused  # noqa: PT017 - a refusal is one of two fine outcomes

    # --- what must hold ---

    def told(self, request: Coroutine[Any, Any, Answer], *fine: int) -> Answer:
        """The answer is one of the expected ones or a refusal that says why; never an error of ours."""
        answer = self.do(request)
        assert answer.status_code in (*fine, 409, 422), answer.text
        assert answer.status_code in fine or answer.json()["code"], answer.text
        return answer

    def look(self, payment: dict[str, Any]) -> dict[str, Any]:
        """An end is an end."""
        for order in payment["payment_orders"]:
            before = self.ends.setdefault(order["id"], order["status"])
            assert before not in ENDED or before == order["status"], f"{order['id']} was {before}: {order}"
            self.ends[order["id"]] = order["status"]
        return payment

    def teardown(self) -> None:
        if not getattr(self, "payments", None):
            return
        type(self).runs += 1
        self.do(self.come_to_rest())
        for payment_id, checkout in self.payments.items():
            self.do(self.compare(payment_id, checkout))
        self.do(self.books())
        if type(self).runs % AUDIT_EVERY == 0:
            assert self.do(audit_database(self.paysaga.database)) == []

    async def come_to_rest(self) -> None:
        """Until nothing is under way any more: every webhook is read, every refund and dispute was looked at."""
        await self.paysaga.sandbox.flush_webhooks()
        ids = list(self.payments)

        async def quiet() -> bool:
            moving = await self.paysaga.sql(
                "SELECT 1 FROM payment WHERE id = ANY($1) AND status IN ('EXECUTING', 'PENDING')"
                " UNION ALL SELECT 1 FROM refund WHERE payment_id = ANY($1) AND status IN ('REQUESTED', 'PENDING')"
                " UNION ALL SELECT 1 FROM dispute WHERE payment_id = ANY($1) AND status = 'OPENED'"
                " UNION ALL SELECT 1 FROM webhook_inbox WHERE payment_id = ANY($1) AND status = 'RECEIVED'",
                ids,
            )
            if moving:
                handle = self.paysaga.temporal.get_schedule_handle(f"{self.paysaga.settings.temporal_task_queue}-sweep")
                await handle.trigger()
                await asyncio.sleep(0.2)
            return not moving and await self.everything_has_happened() and await self.same_disputes()

        await eventually(quiet, timeout_s=60, what=f"rest of {ids}")

    async def everything_has_happened(self) -> bool:
        """Some cards make something happen a moment after a charge or a refund: it has, and we know of it."""
        for payment_id, checkout in self.payments.items():
            log = await self.paysaga.sandbox.log(checkout)
            if self.tokens[checkout] == "pm_card_createDispute" and log.charged and not log.disputes:
                return False
            if self.tokens[checkout] == "pm_card_refundFail" and log.refunded:
                return False
            ours = await self.paysaga.sql("SELECT reference, status FROM refund WHERE payment_id = $1", payment_id)
            known = {row["reference"]: row["status"].lower() for row in ours}
            if any(known.get(r["refund"], r["status"]) != r["status"] for r in log.refunds):
                return False
        return True

    async def same_disputes(self) -> bool:
        """Our disputes say what the PSP's do."""
        ours = await self.paysaga.sql(
            "SELECT reference, status FROM dispute WHERE payment_id = ANY($1)", list(self.payments)
        )
        known = {row["reference"]: row["status"].lower() for row in ours}
        for checkout in self.payments.values():
            for dispute in (await self.paysaga.sandbox.log(checkout)).disputes:
                named = {"warning_needs_response": "inquiry", "warning_under_review": "inquiry",
                         "warning_closed": "closed"}.get(dispute["status"], dispute["status"])  # fmt: skip
                if known.get(dispute["dispute"]) != named:
                    return False
        return True

    async def compare(self, payment_id: str, checkout: str) -> None:
        """The payment against the PSP's own log."""
        payment, log = self.look(await self.shop.payment(payment_id)), await self.paysaga.sandbox.log(checkout)
        assert len(log.charged) <= 1, f"charged {len(log.charged)} times"
        charged, back = sum(log.charged), sum(log.refunded)
        captured = _sum(payment["payment_orders"], "captured_amount")
        refunds = (await self.shop.get(f"/v1/payments/{payment_id}/refunds")).json()["data"]
        undoing = [r for r in refunds if r["origin"] in ("compensation", "late_charge")]
        assert _sum([r for r in refunds if r["status"] == "SUCCEEDED"]) == back, (refunds, log.refunds)
        if payment["status"] == "SUCCESS":
            assert captured == charged - _sum(undoing), (payment, charged, undoing)
        elif payment["status"] in ENDED:
            waits = any(r["status"] == "FAILED" for r in undoing)
            assert charged == back or waits, (payment, log.charges, log.refunds)

    async def books(self) -> None:
        """What the ledger says that the PSP holds for us is what the PSP's log adds up to."""
        holds = 0
        for checkout in self.payments.values():
            log = await self.paysaga.sandbox.log(checkout)
            holds += sum(amount - _fee(amount) for amount in log.charged) - sum(log.refunded)
            for dispute in log.disputes:
                holds -= dispute["fee"] + (dispute["amount"] if dispute["status"] in WITHDRAWN else 0)
        balances = await self.shop.balances()
        assert balances.get(("psp_clearing:stripe", "INR"), 0) == holds
        assert sum(balances.values()) == 0


def _sum(objects: list[dict[str, Any]], field: str = "amount") -> int:
    return sum(round(float(one[field]) * 100) for one in objects)


def _fee(amount: int) -> int:
    """The sandbox's: 2.9 % rounded half up, and 0.30."""
    return (amount * 29 + 500) // 1000 + 30


async def test_no_order_of_events_breaks_a_promise(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    paysaga = await deploy(poll_first_s=0.3, poll_max_s=600.0, worker_schedules=True)
    await paysaga.sandbox.configure(webhook_events=["*"], webhook_seller_events=None)
    monkeypatch.setattr(Machine, "paysaga", paysaga, raising=False)
    monkeypatch.setattr(Machine, "loop", asyncio.get_running_loop(), raising=False)
    profile = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize="PAYSAGA_MACHINE_RUNS" not in os.environ,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    drive: Callable[..., None] = run_state_machine_as_test
    await asyncio.to_thread(drive, Machine, settings=profile)
    assert await audit_database(paysaga.database) == []

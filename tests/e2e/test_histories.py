"""Encrypted histories: nothing that is known of people can be read in Temporal, and its keys are changed while payments
run."""

import asyncio
import secrets
from contextlib import suppress
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory

from api.examples import PAYLOADS
from db import api_key
from db.core.keyring import Keyring
from domain.messages import Nudge
from runtime.codec import KEY_ID
from runtime.temporal import connect
from services.audit import audit
from tests.conftest import Deploy
from tests.e2e.test_cancel import marked, sweep
from tests.e2e.test_review import LARGE, rules
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.histories import payloads_of, replayer
from tests.support.keys import ring
from tests.support.shop import Shop

SECURE = "pm_card_threeDSecure2Required"


async def history_of(paysaga: Deployment, workflow_id: str, run_id: str | None = None) -> WorkflowHistory:
    """As Temporal has it: a client does not decrypt what it fetches in this way. Without `run_id` of the last run: a
    webhook that is told of after the end makes one more."""
    return await paysaga.temporal.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()


async def run_of(paysaga: Deployment, workflow_id: str) -> str | None:
    return (await paysaga.temporal.get_workflow_handle(workflow_id).describe()).run_id


# --- what cannot be read ---


@pytest.mark.parametrize("paysaga", ["cached"], indirect=True)
async def test_nothing_known_of_people_is_readable_in_temporal(paysaga: Deployment, shop: Shop) -> None:
    """Sent in every way that leads into a workflow; looked for in histories, Temporal's own file and logs."""
    canary = shop.checkout("canary")
    email, seller, evidence, note, person = (f"{canary}-{n}" for n in ("email", "seller", "evidence", "note", "person"))
    await shop.add_seller("canary", name=seller)
    buyer = {"id": "buyer_1", "email": f"{email}@example.com"}
    payment = await shop.paid(shop.checkout(), SECURE, buyer=buyer, orders=[("canary", "500.00")])
    intent = await shop.reference(payment["id"])
    client_secret = (await paysaga.sandbox.stripe(f"/v1/payment_intents/{intent}"))["client_secret"]
    assert client_secret in payment["next_action"]["url"], "where the sandbox has it"
    (row,) = await paysaga.sql("SELECT payment::text AS stored FROM payment WHERE id = $1", payment["id"])
    assert client_secret not in row["stored"]
    (await shop.post(f"/v1/payments/{payment['id']}/confirm")).raise_for_status()  # one more look, before it is done
    assert (await shop.payment(payment["id"]))["next_action"] == payment["next_action"]
    await paysaga.sandbox.steer(intent, "authenticate")
    await shop.until(payment["id"], "SUCCESS")
    await paysaga.sandbox.dispute(intent)
    dispute = await shop.dispute_until(payment["id"], "NEEDS_RESPONSE")
    fields = {"product_description": evidence}
    (await shop.post(f"/v1/disputes/{dispute['id']}/evidence", {"fields": fields})).raise_for_status()
    await rules(shop, LARGE)
    judged = await shop.paid(shop.checkout(), buyer=buyer)
    message = {"decision": "approve", "by": person, "note": note}
    await paysaga.update(f"payment:{judged['id']}", "review", message)
    await shop.until(judged["id"], "SUCCESS")

    sought = [canary.encode(), client_secret.encode()]
    workflows = [f"payment:{payment['id']}", f"payment:{judged['id']}", f"dispute:{dispute['id']}"]
    for workflow_id in workflows:
        history = await history_of(paysaga, workflow_id)
        raw = b"".join(event.SerializeToString() for event in history.events)
        assert [text for text in sought if text in raw] == [], workflow_id
    plain = await readable(paysaga, workflows)
    assert note in plain, "it was there"
    assert client_secret not in plain, "kept out, for no step needs it"
    database = paysaga.stack.home.temporal_database
    files = [await asyncio.to_thread(path.read_bytes) for path in database.parent.glob(f"{database.name}*")]
    assert [text for text in sought for kept in files if text in kept] == []
    assert any(workflows[0].encode() in kept for kept in files), "it is in these files"
    for program in ("api", "worker"):
        log = (paysaga.folder / f"{program}.log").read_bytes()
        assert [text for text in sought if text in log] == [], program


async def readable(paysaga: Deployment, workflows: list[str]) -> str:
    codec = paysaga.temporal.data_converter.payload_codec
    assert codec is not None
    sealed = [p for one in workflows for event in (await history_of(paysaga, one)).events for p in payloads_of(event)]
    return str(await codec.decode(sealed))


# --- the keys are changed ---


async def test_keys_are_changed_twice_while_payments_run(deploy: Deploy) -> None:
    """The next keys are at the end of every process's ring, which the first half of a rotation has seen to. Processes
    are then restarted one after another: those of before and after read each other. One of the messages is under a key
    that no ring has yet: its workflow waits for it."""
    local = f"sk_test_{secrets.token_hex(8)}"
    paysaga = await deploy(encryption_keys=SecretStr(ring(1, 2, 3)), codec_local_api_key=SecretStr(local))
    shop = await paysaga.shop("rotated")
    await paysaga.sandbox.configure(processing_delay_s=None)
    secure, pending = await shop.paid(shop.checkout(), SECURE), await shop.paid(shop.checkout(), "pm_upi_success")
    held = await shop.paid(shop.checkout(), capture="manual")
    assert [p["status"] for p in (secure, pending, held)] == ["REQUIRES_ACTION", "PENDING", "AUTHORIZED"]
    waited = [secure["id"], pending["id"], held["id"]]
    runs = {one: await run_of(paysaga, f"payment:{one}") for one in waited}
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        crowd = group.create_task(pay_until(shop, stop))
        await restarted(paysaga, ring(2, 1, 3))
        await under_an_unknown_key(paysaga, shop, secure["id"])
        await restarted(paysaga, ring(3, 2, 1, 4))
        stop.set()
    await the_ui_of_this_machine_reads(paysaga, shop, local)

    await paysaga.sandbox.steer(await shop.reference(secure["id"]), "authenticate")
    await paysaga.sandbox.steer(await shop.reference(pending["id"]), "complete_processing")
    (await shop.post(f"/v1/payments/{held['id']}/capture", {})).raise_for_status()
    ids = [*waited, *crowd.result()]
    assert len(ids) > len(waited)
    for payment_id in ids:
        await shop.until(payment_id, "SUCCESS")
    histories = {one: await history_of(paysaga, f"payment:{one}", runs.get(one)) for one in ids}
    used = {payment_id: keys_of(history) for payment_id, history in histories.items()}
    assert set().union(*used.values()) == {b"k1", b"k2", b"k3", b"k4"}
    for payment_id in waited:
        assert {b"k1", b"k3"} <= used[payment_id], "before and after"
        converter = (await connect(paysaga.settings, Keyring.parse(ring(3, 2, 1, 4)))).data_converter
        await replayer(converter).replay_workflow(histories[payment_id])
    assert await audit(paysaga.database, paysaga.temporal) == []


async def restarted(paysaga: Deployment, keys: str) -> None:
    """One after the other: meanwhile the API and its worker go on under the ring of before."""
    for process in (paysaga.worker, paysaga.api):
        process.env["PAYSAGA_ENCRYPTION_KEYS"] = keys
    await paysaga.worker.stop()
    await paysaga.start_worker()
    await paysaga.api.stop()
    await paysaga.start_api()


async def pay_until(shop: Shop, stop: asyncio.Event) -> list[str]:
    """Payments, one after the other; each request is sent again until it is answered. Their ids."""
    taken = []
    while not stop.is_set():
        checkout, key = shop.checkout(), str(uuid4())

        async def sent(checkout: str = checkout, key: str = key) -> str | None:
            with suppress(httpx2.TransportError):
                answer = await shop.pay(checkout, key=key)
                assert answer.status_code in (201, 202, 503), answer.text
                return str(answer.json()["id"]) if answer.status_code < 500 else None
            return None

        taken.append(await eventually(sent, what="the API takes a payment"))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.2)
    return taken


async def under_an_unknown_key(paysaga: Deployment, shop: Shop, payment_id: str) -> None:
    """It fails the workflow's task, not the payment; and a person is told."""
    stranger = await connect(paysaga.settings, Keyring.parse(ring(4)))
    await stranger.get_workflow_handle(f"payment:{payment_id}").signal("nudge", Nudge())
    handle = paysaga.temporal.get_workflow_handle(f"payment:{payment_id}")

    async def told() -> bool:
        await sweep(paysaga)
        return [task["kind"] for task in (await shop.explain(payment_id))["tasks"]] == ["workflow_failing"]

    await marked(paysaga, handle.id)
    await eventually(told, what="the sweeper tells of it")
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert (await shop.payment(payment_id))["status"] == "REQUIRES_ACTION"
    events = (await handle.fetch_history()).events
    (failed, *_) = [event for event in events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED]
    assert b"PAYSAGA" not in failed.SerializeToString()
    failure = await paysaga.temporal.data_converter.decode_failure(failed.workflow_task_failed_event_attributes.failure)
    assert "no key 'k4' in PAYSAGA_ENCRYPTION_KEYS" in str(failure)


async def the_ui_of_this_machine_reads(paysaga: Deployment, shop: Shop, local: str) -> None:
    """As in the embedded stack: its page asks without a login."""
    page = {"Origin": f"http://127.0.0.1:{paysaga.settings.temporal_ui_port}"}

    async def status(headers: dict[str, str]) -> int:
        return (await paysaga.http.post("/codec/decode", json=PAYLOADS, headers=headers)).status_code

    assert await status(page) == 401, "its key does not exist"
    await paysaga.database.run(lambda c: api_key.create(c, shop.tenant, "development", local))
    assert [await status(h) for h in (page, {}, {"Origin": "http://evil.example"})] == [200, 401, 401]


def keys_of(history: WorkflowHistory) -> set[bytes]:
    """The ids of the keys that its payloads are under."""
    payloads = (payload for event in history.events for payload in payloads_of(event))
    return {payload.metadata[KEY_ID] for payload in payloads if KEY_ID in payload.metadata}

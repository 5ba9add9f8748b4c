"""What operators type: payments, tasks, keys and the sweep, each as a process beside a running Paysaga."""

import asyncio
import json
import re
import socket
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowHandle

from domain.access import ROLES
from services.audit import audit
from tests.audit.command import Said, paysaga_command
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.shop import Shop
from workers.schedules import ensure_schedules


async def run(shop: Shop, *arguments: str) -> Said:
    return await paysaga_command(shop.paysaga.environment(), *arguments)


async def actions(shop: Shop, object_id: str) -> list[tuple[str, str]]:
    rows = await shop.paysaga.sql("SELECT actor, action FROM audit_log WHERE object_id = $1 ORDER BY seq", object_id)
    return [(row["actor"], row["action"]) for row in rows if row["action"] != "payment.create"]


async def lose_workflow(shop: Shop, payment_id: str) -> WorkflowHandle[object, object]:
    """Terminate it, once no webhook is on its way any more that would start it again; and until its next look at the
    PSP would have been due, before which nobody misses it."""
    await shop.paysaga.sandbox.flush_webhooks()
    handle = shop.paysaga.temporal.get_workflow_handle(f"payment:{payment_id}")
    await handle.terminate()
    overdue = "SELECT 1 FROM payment WHERE id = $1 AND coalesce(next_check_at, updated_at) < now()"
    await eventually(lambda: shop.paysaga.sql(overdue, payment_id))
    return handle


# --- payments ---


async def test_a_payment_is_explained_on_a_page(shop: Shop) -> None:
    checkout = shop.checkout()
    payment = await shop.paid(checkout)
    for name in (payment["id"], payment["payment_orders"][0]["id"], f"{checkout}-1", checkout):
        said = await run(shop, "payments", "show", name)
        assert said.code == 0, said.err
        for part in (payment["id"], "SUCCESS", "500.00 INR", checkout, "pi_", "received 500.00 INR, booked", "settled"):
            assert part in said.out
        assert re.search(r"capture +psp_clearing:stripe +500\.00", said.out)


async def test_an_unknown_payment_is_one_sentence(shop: Shop) -> None:
    said = await run(shop, "payments", "show", "pay_nobody")
    assert (said.code, said.out, said.err) == (1, "", "paysaga: There is no payment pay_nobody.\n")


async def test_a_name_that_several_tenants_use_is_not_guessed(shop: Shop, paysaga: Deployment) -> None:
    other = await paysaga.shop(f"{shop.tenant}-other")
    checkout = shop.checkout()
    await shop.paid(checkout)
    await other.paid(checkout)
    said = await run(shop, "payments", "show", checkout)
    assert said.code == 1
    assert "several tenants" in said.err


async def test_payments_are_listed_newest_first(shop: Shop) -> None:
    first = await shop.paid(shop.checkout())
    second = await shop.paid(shop.checkout(), "pm_card_chargeDeclined")
    said = await run(shop, "payments", "list", "--tenant", shop.tenant)
    assert said.out.index(second["id"]) < said.out.index(first["id"])
    assert "card_declined" in said.out
    failed = await run(shop, "payments", "list", "--tenant", shop.tenant, "--status", "failed")
    assert second["id"] in failed.out
    assert first["id"] not in failed.out
    assert (await run(shop, "payments", "list", "--status", "nonsense")).code == 2


async def test_a_nudge_has_the_psp_asked_now(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    said = await run(shop, "payments", "nudge", payment["id"])
    assert (said.code, said.out) == (0, f"{payment['id']} was REQUIRES_ACTION: the PSP is asked now.\n")
    ended = await shop.paid(shop.checkout())
    late = await run(shop, "payments", "nudge", ended["id"])
    assert late.code == 1
    assert "SUCCESS: there is nothing to look at" in late.err


async def test_a_nudge_starts_a_lost_workflow_again(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    await lose_workflow(shop, payment["id"])
    said = await run(shop, "payments", "nudge", payment["id"])
    assert "it was started again" in said.out
    await shop.paysaga.sandbox.steer(await shop.reference(payment["id"]), "authenticate")
    await shop.until(payment["id"], "SUCCESS")


async def test_an_operator_cancels(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    said = await run(shop, "payments", "cancel", payment["id"], "--by", "olga")
    assert (said.code, said.err) == (0, "")
    await shop.until(payment["id"], "CANCELLED")
    assert await actions(shop, payment["id"]) == [("olga", "payment.cancel")]
    again = await run(shop, "payments", "cancel", payment["id"], "--by", "olga")
    assert (again.code, again.out) == (0, f"{payment['id']} is CANCELLED already.\n")


async def test_too_late_to_cancel(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    said = await run(shop, "payments", "cancel", payment["id"], "--by", "olga")
    assert said.code == 1
    assert "cannot be cancelled: The payment has succeeded; refund it instead." in said.err
    assert (await run(shop, "payments", "cancel", payment["id"], "--by", " ")).code == 2, "a name is more than a space"


async def test_a_person_decides_about_a_wrong_amount(shop: Shop) -> None:
    checkout = shop.checkout()
    await shop.paysaga.sandbox.fault("payment_intents.create", "wrong_amount", checkout=checkout, delta=100)
    payment = await shop.paid(checkout)
    await shop.until(payment["id"], "NEEDS_ATTENTION")
    tasks = await run(shop, "tasks")
    assert payment["id"] in tasks.out
    assert "amount_mismatch" in tasks.out
    decision = ("--decision", "cancel", "--by", "olga", "--note", "the buyer wants it back")
    said = await run(shop, "payments", "resolve", payment["id"], *decision)
    assert (said.code, said.out) == (0, f"{payment['id']}: cancel noted.\n")
    await shop.until(payment["id"], "CANCELLED")
    assert (await shop.paysaga.sandbox.log(checkout)).refunded == [50100]
    assert ("olga", "payment.resolve") in await actions(shop, payment["id"])
    assert payment["id"] not in (await run(shop, "tasks")).out
    assert [f for f in await audit(shop.paysaga.database) if f.tenant_id == shop.tenant] == []


async def test_a_decision_that_nobody_waits_for(shop: Shop) -> None:
    waiting = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    said = await run(shop, "payments", "resolve", waiting["id"], "--decision", "retry", "--by", "olga")
    assert said.code == 1
    assert "The payment is REQUIRES_ACTION, not NEEDS_ATTENTION." in said.err
    ended = await shop.paid(shop.checkout())
    late = await run(shop, "payments", "resolve", ended["id"], "--decision", "retry", "--by", "olga")
    assert "no workflow waits for a decision" in late.err
    nameless = await run(shop, "payments", "resolve", waiting["id"], "--decision", "reference", "--by", "olga")
    assert "needs the PSP's object" in nameless.err


# --- keys ---


async def test_a_key_is_made_used_and_taken_back(shop: Shop) -> None:
    tenant = f"{shop.tenant}-new"
    scopes = ("--scope", "payments:read", "--scope", "ledger:read")
    made = await run(shop, "keys", "create", "--tenant", tenant, "--name", "books", *scopes, "--by", "olga")
    assert made.code == 0, made.err
    key_id = made.out.split()[0]
    secret = made.out.split()[-1]
    mine = {"Authorization": f"Bearer {secret}"}
    http = shop.paysaga.http
    assert (await http.get("/v1/ledger/transactions", headers=mine)).status_code == 200
    assert (await http.get("/v1/merchants", headers=mine)).status_code == 403
    listed = await run(shop, "keys", "list")
    assert key_id in listed.out
    assert secret not in listed.out
    assert (await run(shop, "keys", "revoke", key_id, "--by", "olga")).out == f"{key_id} is revoked.\n"
    assert (await run(shop, "keys", "revoke", key_id)).out == f"{key_id} was revoked already.\n"
    assert await actions(shop, key_id) == [("olga", "api_key.create"), ("olga", "api_key.revoke")]


async def test_a_key_is_replaced_with_an_overlap(shop: Shop) -> None:
    """Both are good meanwhile; the old one ends by itself. The list says how each begins, its end, and its last use."""
    scope = ("--scope", "merchants:read")
    made = await run(shop, "keys", "create", "--tenant", shop.tenant, "--name", "till", *scope, "--days", "90")
    old_id, old = made.out.split()[0], made.out.split()[-1]
    rotated = await run(shop, "keys", "rotate", old_id, "--hours", "48", "--by", "olga")
    assert rotated.code == 0, rotated.err
    new_id, new = rotated.out.split()[0], rotated.out.split()[-1]
    assert await status_under(shop, old) == await status_under(shop, new) == 200
    keys = {key["id"]: key for key in json.loads((await run(shop, "keys", "list", "--json")).out)["data"]}
    assert [keys[key_id]["prefix"] for key_id in (old_id, new_id)] == [old[:12], new[:12]]
    assert keys[new_id]["scopes"] == keys[old_id]["scopes"] == ["merchants:read"]
    left = datetime.fromisoformat(keys[old_id]["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=47) < left <= timedelta(hours=48)
    life = datetime.fromisoformat(keys[new_id]["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < life <= timedelta(days=90)
    assert keys[old_id]["last_used_at"] is not None
    assert keys[new_id]["last_used_at"] is not None

    await shop.paysaga.sql("UPDATE api_key SET expires_at = now() WHERE id = $1", old_id)

    async def ended() -> bool:
        return await status_under(shop, old) == 401

    await eventually(ended, timeout_s=10)
    assert await status_under(shop, new) == 200
    again = await run(shop, "keys", "rotate", old_id)
    assert "no API key" in again.err
    assert ("olga", "api_key.rotate") in await actions(shop, old_id)


async def test_a_key_has_the_scopes_of_its_role(shop: Shop) -> None:
    """A merchant's is bound to its seller; a key that replaces it is as well."""
    make = ("keys", "create", "--tenant", shop.tenant, "--name", "books")
    made = await run(shop, *make, "--role", "finance", "--by", "olga")
    merchant = await run(shop, *make, "--role", "merchant", "--seller", "anna", "--by", "olga")
    rotated = await run(shop, "keys", "rotate", merchant.out.split()[0], "--by", "olga")
    keys = {key["id"]: key for key in json.loads((await run(shop, "keys", "list", "--json")).out)["data"]}
    for done, role, seller in ((made, "finance", None), (merchant, "merchant", "anna"), (rotated, "merchant", "anna")):
        assert done.code == 0, done.err
        key = keys[done.out.split()[0]]
        assert (key["role"], key["seller_account"], key["scopes"]) == (role, seller, sorted(ROLES[role]))
    assert "merchant anna" in (await run(shop, "keys", "list")).out
    mine = {"Authorization": f"Bearer {rotated.out.split()[-1]}"}
    listed = (await shop.paysaga.http.get("/v1/merchants", headers=mine)).raise_for_status().json()
    assert [one["seller_account"] for one in listed["data"]] == ["anna"]


async def status_under(shop: Shop, secret: str) -> int:
    answer = await shop.paysaga.http.get("/v1/merchants", headers={"Authorization": f"Bearer {secret}"})
    return answer.status_code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "--tenant", "t", "--name", "n", "--days", "0"), "A key lives for a minute to ten years."),
        (("rotate", "key_x", "--hours", "9999"), "Two keys overlap for 90 days at most."),
        (("create", "--tenant", "t", "--name", "n", "--scope", "everything"), "unknown scope: everything. There are: "),
        (("create", "--tenant", "t", "--name", "n", "--role", "root"), "unknown role: root. There are: checkout, "),
        (("create", "--tenant", "t", "--name", "n", "--role", "admin", "--scope", "audit:read"), "a role or scopes"),
        (("create", "--tenant", "t", "--name", "n", "--role", "merchant"), "names its seller, and no other does"),
        (("create", "--tenant", "t", "--name", "n", "--role", "merchant", "--seller", "zoe"), "t has no seller zoe"),
        (("revoke", "key_nobody"), "There is no API key key_nobody"),
    ],
)
async def test_a_key_that_cannot_be(shop: Shop, arguments: tuple[str, ...], sentence: str) -> None:
    said = await run(shop, "keys", *arguments)
    assert said.code == 1
    assert sentence in said.err


# --- the sweeper ---


async def test_the_sweeper_looks_now(shop: Shop) -> None:
    await ensure_schedules(shop.paysaga.temporal, shop.paysaga.settings)
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    handle = await lose_workflow(shop, payment["id"])
    said = await run(shop, "sweep")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"Swept: [1-9]\d* started again", said.out), said.out
    assert (await handle.describe()).close_time is None


# --- nothing is there ---


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "sentence"),
    [
        ("PAYSAGA_DATABASE_URL", "postgresql://x@127.0.0.1:1/x", ("tasks",), "The database does not answer"),
        ("PAYSAGA_TEMPORAL_ADDRESS", "127.0.0.1:1", ("sweep",), "Temporal does not answer"),
    ],
)
async def test_what_does_not_answer_is_one_sentence(
    paysaga: Deployment, variable: str, value: str, arguments: tuple[str, ...], sentence: str
) -> None:
    said = await paysaga_command(paysaga.environment() | {variable: value}, *arguments)
    assert said.code == 1
    assert said.err.startswith(f"paysaga: {sentence}")
    assert said.err.count("\n") == 1


async def test_a_temporal_that_hangs_is_said_and_not_waited_for(shop: Shop) -> None:
    """It takes connections and never answers: each command waits once, however many calls it would make."""
    waiting = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    paid = await shop.paid(shop.checkout())
    by = ("--by", "olga")
    commands: dict[tuple[str, ...], tuple[int, str]] = {
        ("payments", "show", waiting["id"]): (0, "REQUIRES_ACTION"),
        ("payments", "nudge", waiting["id"]): (1, "Temporal does not answer"),
        ("payments", "cancel", waiting["id"], *by): (0, "Temporal does not answer: it is stored"),
        ("refunds", "create", paid["id"], *by): (0, "Temporal does not answer: it is stored"),
        ("payments", "resolve", waiting["id"], "--decision", "retry", *by): (1, "Temporal does not answer"),
        ("workflows", "restart", f"payment:{waiting['id']}", *by): (1, "Temporal does not answer"),
        ("reconcile", "run", *by): (1, "Temporal does not answer"),
        ("payouts", "run", *by): (1, "Temporal does not answer"),
        ("sweep",): (1, "Temporal does not answer"),
        ("audit",): (0, "Temporal does not answer, so I17 is left out"),
    }
    async with asyncio.timeout(40):
        # A socket that listens is connected to, and nobody reads from it.
        with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
            host, port = server.getsockname()
            hung = shop.paysaga.environment() | {"PAYSAGA_TEMPORAL_ADDRESS": f"{host}:{port}"}
            said = await asyncio.gather(*(paysaga_command(hung, *words) for words in commands))
    for (words, (code, sentence)), one in zip(commands.items(), said, strict=True):
        assert (one.code == code or words == ("audit",), sentence in one.out + one.err) == (True, True), (words, one)
        assert one.err.count("\n") == (1 if code else 0), (words, one.err)

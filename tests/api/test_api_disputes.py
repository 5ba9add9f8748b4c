"""Disputes over HTTP: listed, shown, and answered with evidence once, which nobody reads again."""

import secrets
from typing import Any
from uuid import uuid4

import pytest

from domain.dispute import EVIDENCE_FIELDS
from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.eventually import eventually
from tests.support.shop import Answer, Shop

EVIDENCE = {"fields": {"product_description": "A doll.", "shipping_tracking_number": "EE123456789IN"}}


async def disputed(shop: Shop, *statuses: str, **terms: Any) -> dict[str, Any]:
    """The dispute of a new payment of 500.00 INR, once it waits for an answer."""
    payment = await shop.paid(shop.checkout())
    await shop.paysaga.sandbox.dispute(await shop.reference(payment["id"]), **terms)
    return await shop.dispute_until(payment["id"], *(statuses or ("NEEDS_RESPONSE",)))


async def submit(shop: Shop, dispute_id: str, body: Any = EVIDENCE, **how: Any) -> Answer:
    return await shop.post(f"/v1/disputes/{dispute_id}/evidence", body, **how)


async def shown(shop: Shop, dispute_id: str) -> dict[str, Any]:
    dispute: dict[str, Any] = (await shop.get(f"/v1/disputes/{dispute_id}")).raise_for_status().json()
    return dispute


async def until(shop: Shop, dispute_id: str, status: str) -> dict[str, Any]:
    return await shop.shown_once("dispute", dispute_id, (status,), f"/v1/disputes/{dispute_id}")


async def taken(shop: Shop, dispute_id: str) -> dict[str, Any]:
    """The latest evidence, once the PSP has said something about it."""

    async def probe() -> dict[str, Any] | None:
        piece: dict[str, Any] = (await shown(shop, dispute_id))["evidence"][-1]
        return piece if piece["status"] != "STORED" else None

    return await eventually(probe, what=f"evidence of {dispute_id}")


# --- reading ---


async def test_a_dispute_is_shown_with_its_deadline_and_its_price(shop: Shop) -> None:
    dispute = await shown(shop, (await disputed(shop, amount=30000, reason="product_not_received"))["id"])
    expected: dict[str, Any] = {
        "object": "dispute", "amount": "300.00", "currency": "INR", "category": "product_not_received",
        "status": "NEEDS_RESPONSE", "fee": "15.00", "closed_at": None, "evidence": [],
    }  # fmt: skip
    assert {name: dispute[name] for name in expected} == expected
    assert dispute["evidence_due_at"] > dispute["created_at"]


async def test_disputes_are_listed_newest_first_by_status_and_page(shop: Shop) -> None:
    assert (await shop.get("/v1/disputes")).json() == {"object": "list", "data": [], "next_cursor": None}
    ids = [(await disputed(shop))["id"] for _ in range(3)]
    assert [one["id"] for one in (await shop.get("/v1/disputes")).json()["data"]] == ids[::-1]
    pages, cursor = [], None
    for _ in ids:
        page = (await shop.get("/v1/disputes", limit=1, **({"cursor": cursor} if cursor else {}))).json()
        pages += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert (pages, cursor) == (ids[::-1], None)
    await submit(shop, ids[1])
    await until(shop, ids[1], "UNDER_REVIEW")
    for status, expected in (("UNDER_REVIEW", [ids[1]]), ("NEEDS_RESPONSE", [ids[2], ids[0]]), ("WON", [])):
        found = (await shop.get("/v1/disputes", status=status)).json()["data"]
        assert [one["id"] for one in found] == expected


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"status": "ANGRY"}, "field_invalid"),
        ({"status": "needs_response"}, "field_invalid"),
        ({"status": ""}, "field_invalid"),
        ({"limit": 0}, "field_invalid"),
        ({"limit": 201}, "field_invalid"),
        ({"limit": "many"}, "field_invalid"),
        ({"cursor": "mine"}, "cursor_invalid"),
        ({"cursor": ""}, "cursor_invalid"),
        ({"cursor": "bWVyY2hhbnQ6MQ"}, "cursor_invalid"),  # merchant:1
        ({"cursor": "ZGlzcHV0ZTphYmM"}, "cursor_invalid"),  # dispute:abc
        ({"cursor": "c" * 201}, "field_invalid"),
    ],
)
async def test_a_list_that_cannot_be_meant(shop: Shop, parameters: dict[str, Any], code: str) -> None:
    refused(await shop.get("/v1/disputes", **parameters), 422, code)


@pytest.mark.parametrize("name", ["nobody", "dp_01kafm6e8q9v7s2c4n0b8k6h3j", "a b", "%00", "4000056655665556"])
async def test_a_dispute_that_is_not_there(shop: Shop, name: str) -> None:
    refused(await shop.get(f"/v1/disputes/{name}"), 404, "dispute_not_found")
    refused(await submit(shop, name), 404, "dispute_not_found")


# --- evidence ---


async def test_evidence_is_submitted_and_only_its_fields_are_named(shop: Shop) -> None:
    dispute = await disputed(shop)
    secret = f"sent to {secrets.token_hex(12)}"
    answer = await submit(shop, dispute["id"], {"fields": {"shipping_address": secret, "customer_name": "Asha"}})
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/disputes/{dispute['id']}")
    (piece,) = answer.json()["evidence"]
    assert (piece["object"], piece["fields"]) == ("dispute_evidence", ["customer_name", "shipping_address"])
    assert piece["status"] in ("STORED", "SUBMITTED")
    found = await until(shop, dispute["id"], "UNDER_REVIEW")
    (piece,) = found["evidence"]
    assert (piece["status"], piece["failure"]) == ("SUBMITTED", None)
    assert piece["submitted_at"] >= piece["created_at"]
    at_the_bank = await shop.paysaga.sandbox.stripe(f"/v1/disputes/{dispute['reference']}")
    assert at_the_bank["evidence"]["shipping_address"] == secret
    for table in ("dispute_evidence", "dispute", "outbox", "idempotency_key", "audit_log"):
        rows_of = await shop.paysaga.sql(f"SELECT t::text AS text FROM {table} t WHERE tenant_id = $1", shop.tenant)
        assert all(secret not in row["text"] and secret.encode().hex() not in row["text"] for row in rows_of), table
    assert secret not in str(await shop.explain(dispute["payment_id"]))


BODIES: list[tuple[Any, str]] = [
    ({}, "field_missing"),
    ({"fields": {}}, "field_invalid"),
    ({"fields": []}, "field_invalid"),
    ({"fields": None}, "field_invalid"),
    ({"fields": "delivered"}, "field_invalid"),
    ({"fields": {"alibi": "at home"}}, "field_invalid"),
    ({"fields": {"product_description": ""}}, "field_invalid"),
    ({"fields": {"product_description": None}}, "field_invalid"),
    ({"fields": {"product_description": 7}}, "field_invalid"),
    ({"fields": {"product_description": ["A doll."]}}, "field_invalid"),
    ({"fields": {"product_description": "d" * 20_001}}, "field_invalid"),
    ({"fields": {"product_description": "A\x00doll"}}, "text_invalid"),
    (EVIDENCE | {"submit": True}, "field_unknown"),
    ({"fields": {"product_description": "paid with 4000 0566 5566 5556"}}, "card_data_forbidden"),
    ({"fields": {"customer_communication": "my cvc is 123"}}, "card_data_forbidden"),
    ({"fields": {"cvc": "123"}}, "card_data_forbidden"),
    ({"fields": {"4000056655665556": "x"}}, "card_data_forbidden"),
]


async def test_evidence_that_cannot_be_meant_changes_nothing(shop: Shop) -> None:
    dispute, key = await disputed(shop), str(uuid4())
    before = await rows(shop)
    for body, code in BODIES:
        problem = refused(await submit(shop, dispute["id"], body, key=key), 422, code)
        assert "5566" not in str(problem)
    path, http = f"/v1/disputes/{dispute['id']}/evidence", shop.paysaga.http
    refused(await http.post(path, json=EVIDENCE, headers=shop.headers), 400, "idempotency_key_missing")
    refused(await submit(shop, dispute["id"], key="4000056655665556"), 422, "card_data_forbidden")
    large = {"fields": dict.fromkeys(EVIDENCE_FIELDS, "d" * 20_000)}
    refused(await submit(shop, dispute["id"], large, key=key), 413, "body_too_large")
    refused(await http.post(path, headers=shop.headers | {"Idempotency-Key": key}), 415, "unsupported_media_type")
    assert await rows(shop) == before
    answer = await submit(shop, dispute["id"], key=key)
    assert answer.status_code == 202, "no refusal burnt the key"
    assert "idempotent-replayed" not in answer.headers


async def test_every_documented_field_is_taken_by_the_psp(shop: Shop) -> None:
    dispute = await disputed(shop)
    assert (
        await submit(shop, dispute["id"], {"fields": dict.fromkeys(EVIDENCE_FIELDS, "d" * 5_000)})
    ).status_code == 202
    (piece,) = (await until(shop, dispute["id"], "UNDER_REVIEW"))["evidence"]
    assert (piece["status"], piece["fields"]) == ("SUBMITTED", sorted(EVIDENCE_FIELDS))


async def test_a_text_that_is_too_long_for_the_psp_is_refused_at_once(shop: Shop) -> None:
    dispute = await disputed(shop)
    refused(await submit(shop, dispute["id"], {"fields": {"shipping_carrier": "d" * 5_001}}), 422, "field_invalid")


async def test_the_bank_takes_evidence_once(shop: Shop) -> None:
    dispute, key = await disputed(shop), str(uuid4())
    first = await submit(shop, dispute["id"], key=key)
    await until(shop, dispute["id"], "UNDER_REVIEW")
    before = await rows(shop)
    refused(await submit(shop, dispute["id"]), 409, "evidence_submitted")
    assert await rows(shop) == before
    again = await submit(shop, dispute["id"], key=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert [piece["id"] for piece in again.json()["evidence"]] == [piece["id"] for piece in first.json()["evidence"]]
    other = {"fields": {"product_description": "Another doll."}}
    refused(await submit(shop, dispute["id"], other, key=key), 422, "idempotency_key_reused")


async def test_a_second_piece_while_the_first_is_on_its_way_is_refused(shop: Shop) -> None:
    dispute = await disputed(shop)
    payment = await shop.payment(dispute["payment_id"])
    hold = await shop.paysaga.sandbox.fault("disputes.update", "hold_before", checkout=payment["checkout_id"])
    assert (await submit(shop, dispute["id"])).json()["evidence"][0]["status"] == "STORED"
    refused(await submit(shop, dispute["id"]), 409, "evidence_submitted")
    await shop.paysaga.sandbox.struck(hold)
    await shop.paysaga.sandbox.release(hold)
    assert len((await until(shop, dispute["id"], "UNDER_REVIEW"))["evidence"]) == 1


@pytest.mark.parametrize(("step", "status"), [("win", "WON"), ("lose", "LOST")])
async def test_a_dispute_that_is_decided_takes_no_evidence(shop: Shop, step: str, status: str) -> None:
    dispute = await disputed(shop)
    await shop.paysaga.sandbox.steer_dispute(dispute["reference"], step)
    ended = await until(shop, dispute["id"], status)
    assert ended["closed_at"]
    before = await rows(shop)
    refused(await submit(shop, dispute["id"]), 409, "dispute_closed")
    assert await rows(shop) == before


async def test_an_inquiry_that_was_closed_takes_no_evidence(shop: Shop) -> None:
    dispute = await disputed(shop, "INQUIRY", inquiry=True)
    await shop.paysaga.sandbox.steer_dispute(dispute["reference"], "close_inquiry")
    await until(shop, dispute["id"], "CLOSED")
    refused(await submit(shop, dispute["id"]), 409, "dispute_closed")


async def test_evidence_for_an_inquiry(shop: Shop) -> None:
    dispute = await disputed(shop, "INQUIRY", inquiry=True)
    assert (await submit(shop, dispute["id"])).status_code == 202
    assert (await taken(shop, dispute["id"]))["status"] == "SUBMITTED"
    at_the_bank = await shop.paysaga.sandbox.stripe(f"/v1/disputes/{dispute['reference']}")
    assert at_the_bank["status"] == "warning_under_review"


async def test_an_inquiry_takes_evidence_once_too(shop: Shop) -> None:
    dispute = await disputed(shop, "INQUIRY", inquiry=True)
    await submit(shop, dispute["id"])
    await taken(shop, dispute["id"])
    refused(await submit(shop, dispute["id"]), 409, "evidence_submitted")


async def test_an_inquiry_that_escalates_takes_evidence_anew(shop: Shop) -> None:
    dispute = await disputed(shop, "INQUIRY", inquiry=True)
    await submit(shop, dispute["id"])
    await taken(shop, dispute["id"])
    await shop.paysaga.sandbox.steer_dispute(dispute["reference"], "escalate")
    await until(shop, dispute["id"], "NEEDS_RESPONSE")
    assert (await submit(shop, dispute["id"])).status_code == 202
    found = await until(shop, dispute["id"], "UNDER_REVIEW")
    assert [piece["status"] for piece in found["evidence"]] == ["SUBMITTED", "SUBMITTED"]


async def held_look(shop: Shop, dispute: dict[str, Any]) -> str:
    """Our next look at the PSP waits until it is released, and no webhook tells of anything: what happens there now is
    not known here."""
    checkout = (await shop.payment(dispute["payment_id"]))["checkout_id"]
    await shop.paysaga.sandbox.webhook_fault("*", "lost", checkout=checkout, times=None)
    hold = await shop.paysaga.sandbox.fault("disputes.retrieve", "hold_before", checkout=checkout)
    await shop.paysaga.sandbox.struck(hold)
    return hold


async def test_evidence_that_comes_too_late_is_refused(shop: Shop) -> None:
    dispute = await disputed(shop)
    hold = await held_look(shop, dispute)
    await shop.paysaga.sql(
        "UPDATE dispute SET evidence_due_at = now() - interval '1 second' WHERE id = $1", dispute["id"]
    )
    before = await rows(shop)
    refused(await submit(shop, dispute["id"]), 409, "evidence_late")
    assert await rows(shop) == before
    await shop.paysaga.sandbox.release(hold)


async def test_evidence_that_the_psp_refuses_is_shown_as_refused(shop: Shop) -> None:
    """Somebody has answered in the PSP's dashboard just before."""
    dispute = await disputed(shop)
    hold, sandbox = await held_look(shop, dispute), shop.paysaga.sandbox
    by_hand = await shop.paysaga.http.post(
        f"{sandbox.url}/v1/disputes/{dispute['reference']}",
        data={"evidence[product_description]": "A doll.", "submit": "true"},
        headers={"Authorization": f"Bearer {sandbox.key}"},
    )
    assert by_hand.status_code == 200, by_hand.text
    assert (await submit(shop, dispute["id"])).status_code == 202
    await sandbox.release(hold)
    piece = await taken(shop, dispute["id"])
    assert (piece["status"], piece["failure"]["code"]) == ("REFUSED", "evidence_refused")
    assert (await shown(shop, dispute["id"]))["status"] == "UNDER_REVIEW"


async def test_evidence_that_a_decision_overtakes_does_not_stay_stored(shop: Shop) -> None:
    dispute = await disputed(shop)
    hold = await held_look(shop, dispute)
    await shop.paysaga.sandbox.steer_dispute(dispute["reference"], "lose")
    assert (await submit(shop, dispute["id"])).status_code == 202
    await shop.paysaga.sandbox.release(hold)
    await until(shop, dispute["id"], "LOST")

    async def told() -> dict[str, Any] | None:
        piece: dict[str, Any] = (await shown(shop, dispute["id"]))["evidence"][0]
        return piece if piece["status"] == "REFUSED" else None

    await eventually(told)

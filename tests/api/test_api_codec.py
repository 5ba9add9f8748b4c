"""The codec endpoint: what Temporal's own UI and terminal show of a history, to whom, and what is written down."""

import asyncio
import json
import sys
from base64 import b64decode
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory

from api.examples import PAYLOADS
from runtime.codec import ENCODING
from services import api_key
from services.command import Caller
from tests.api.problem import refused
from tests.support.histories import payloads_of
from tests.support.people import added, open_again
from tests.support.shop import Answer, Shop

UI = "preserveStorageRefs=true"
"""What Temporal's UI adds to each address."""


async def asked(shop: Shop, what: str, payloads: Any, **headers: str) -> Answer:
    body = {"payloads": payloads}
    return await shop.paysaga.http.post(f"/codec/{what}?{UI}", json=body, headers=shop.headers | headers)


async def payloads_in(shop: Shop, payment_id: str) -> list[dict[str, Any]]:
    """Those of the history of its ended workflow, as the UI gets and sends them."""
    handle = shop.paysaga.temporal.get_workflow_handle(f"payment:{payment_id}")
    await handle.result()
    history = await handle.fetch_history()
    return [MessageToDict(payload) for event in history.events for payload in payloads_of(event)]


def texts(answer: Answer) -> str:
    found = [Payload(**_bytes(one)).data.decode() for one in answer.raise_for_status().json()["payloads"]]
    return "\n".join(found)


def _bytes(payload: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: b64decode(value) for name, value in payload["metadata"].items()}
    return {"metadata": metadata, "data": b64decode(payload["data"])}


async def rows(shop: Shop) -> list[Any]:
    """Of the audit log, about reading."""
    return await shop.paysaga.sql(
        "SELECT * FROM audit_log WHERE tenant_id = $1 AND action LIKE 'history%'", shop.tenant
    )


async def test_a_history_in_plain_and_one_row_of_who_read_it(shop: Shop) -> None:
    payment = await shop.paid(shop.checkout())
    sealed = await payloads_in(shop, payment["id"])
    assert payment["id"] not in json.dumps(sealed)
    pages = [await asked(shop, "decode", sealed, **{"X-Namespace": "default"}) for _ in range(3)]
    for page in pages:
        assert len(page.json()["payloads"]) == len(sealed)
        assert payment["id"] in texts(page)
        assert "charge at stripe, settle" in texts(page)
        assert page.headers["cache-control"] == "no-store"
    (row,) = await rows(shop)
    assert (row["action"], row["object_id"], row["address"]) == ("history.read", "default", "127.0.0.1")
    assert json.loads(row["detail"]) == {"namespace": "default", "key": "test"}


async def test_what_is_typed_into_the_ui_goes_encrypted(shop: Shop) -> None:
    there = (await asked(shop, "encode", PAYLOADS["payloads"])).raise_for_status().json()["payloads"]
    assert _bytes(there[0])["metadata"]["encoding"] == ENCODING
    assert (await asked(shop, "decode", there)).json() == PAYLOADS
    assert (await asked(shop, "decode", PAYLOADS["payloads"])).json() == PAYLOADS, "what was not is as it is"
    assert (await asked(shop, "decode", [])).json() == {"payloads": []}


async def test_temporals_own_terminal(shop: Shop) -> None:
    """`temporal workflow show` reads, and what `temporal workflow signal` sends is encrypted and understood."""
    payment = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required")
    workflow_id, settings = f"payment:{payment['id']}", shop.paysaga.settings
    run_id = (await shop.paysaga.temporal.get_workflow_handle(workflow_id).describe()).run_id
    endpoint = f"{str(shop.paysaga.http.base_url).rstrip('/')}/codec"
    codec = (
        *("--codec-endpoint", endpoint, "--codec-auth", shop.headers["Authorization"]),
        *("--codec-header", f"X-Workflow-Id={workflow_id}"),
    )

    async def temporal(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("temporal")),
            *("workflow", *arguments, "--workflow-id", workflow_id, "--run-id", run_id),
            *("--address", str(settings.temporal_address)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    await temporal("signal", "--name", "cancel", "--input", json.dumps({"by": "olga"}), *codec)
    await shop.until(payment["id"], "CANCELLED")
    shown = []
    for how in ((), codec):
        history = WorkflowHistory.from_json(workflow_id, await temporal("show", "-o", "json", *how))
        shown.append([payload.data for event in history.events for payload in payloads_of(event)])
    encrypted, plain = (b"".join(parts) for parts in shown)
    for text in (b"olga", payment["id"].encode(), b"charge at stripe"):
        assert text in plain
        assert text not in encrypted
    assert [row["object_id"] for row in await rows(shop)] == [workflow_id]


async def test_who_may_not(shop: Shop) -> None:
    """The scope that each route needs is tried with those of all others."""
    http = shop.paysaga.http
    for what in ("decode", "encode"):
        refused(await http.post(f"/codec/{what}", json=PAYLOADS), 401, "api_key_missing")
        unread = await http.post(f"/codec/{what}", content=b"{", headers={"Content-Type": "application/json"})
        refused(unread, 401, "api_key_missing")
    assert await rows(shop) == []


async def test_what_cannot_be_read_is_refused(shop: Shop) -> None:
    sealed = {"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA==", "encryption-key-id": "azk="}, "data": "AAAA"}
    problem = refused(await asked(shop, "decode", [sealed]), 422, "payload_undecryptable")
    assert "'k9'" in problem["detail"]
    odd: list[Any] = [[7], [{"data": "no base64!"}], [{"metadata": {"a": 1}}], [{}] * 1_001, None]
    for payloads in odd:
        refused(await asked(shop, "decode", payloads), 422, "field_invalid")
    post, headers = shop.paysaga.http.post, shop.headers | {"Content-Type": "application/json"}
    refused(await post("/codec/decode", content=b"{", headers=headers), 400, "malformed_json")
    refused(await post("/codec/decode", content=b"{}", headers=headers), 422, "field_missing")
    refused(await post("/codec/decode", content=b"{}", headers=headers | {"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")  # fmt: skip
    refused(await post("/codec/decode", content=b" " * (4 << 20) + b"{}", headers=headers), 413, "body_too_large")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_the_page_of_the_ui_may_ask_and_no_other(shop: Shop, name: str) -> None:
    settings, http = shop.paysaga.settings, shop.paysaga.http
    origin = f"http://{name}:{settings.temporal_ui_port}"
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}
    asked_first = await http.options(f"/codec/decode?{UI}", headers={"Origin": origin} | wanted)
    assert asked_first.status_code == 200
    for answer in (asked_first, await asked(shop, "decode", [], Origin=origin)):
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-credentials"] == "true"
    unknown = await http.post("/codec/decode", json=PAYLOADS, headers={"Origin": origin})
    assert refused(unknown, 401, "api_key_missing")
    assert unknown.headers["access-control-allow-origin"] == origin, "so that the UI shows why"
    for other in ("https://evil.example", f"http://{name}:1", "null"):
        answer = await http.options("/codec/decode", headers={"Origin": other} | wanted)
        assert "access-control-allow-origin" not in answer.headers
    answer = await http.options("/v1/payments", headers={"Origin": origin} | wanted)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_key_reads_histories_only_where_that_is_named(shop: Shop) -> None:
    """They are of every tenant: a shop's own key, made without a role or scopes, has all but this scope."""
    _, secret = await api_key.create(shop.paysaga.database, Caller("olga"), shop.tenant, "backend", frozenset())
    told = await asked(shop, "decode", [], Authorization=f"Bearer {secret}")
    refused(told, 403, "scope_missing")


async def test_a_person_who_has_logged_in_reads_in_temporals_ui(shop: Shop) -> None:
    """By the cookie of /login, from the page of the UI alone."""
    await open_again(shop.paysaga)
    person = await added(shop, "operator")
    await person.enrolled()
    cookie = {"Cookie": f"paysaga-session={await person.token()}"}
    origin = {"Origin": f"http://127.0.0.1:{shop.paysaga.settings.temporal_ui_port}"}
    there = (await asked(shop, "encode", PAYLOADS["payloads"])).json()
    decode = partial(shop.paysaga.http.post, "/codec/decode", json=there)
    assert (await decode(headers=cookie | origin)).raise_for_status().json() == PAYLOADS
    refused(await decode(headers=cookie | {"Origin": "https://evil.example"}), 403, "origin_refused")
    (row,) = await rows(shop)
    assert row["actor"] == person.name

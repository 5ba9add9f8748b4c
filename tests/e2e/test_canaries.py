"""What must not leak is sent wherever a text is taken, and looked for wherever it could have been left.

Three kinds are sent. A card number goes into every field: it is refused or masked, and is nowhere. What we are trusted
with (an e-mail address, evidence, a token, the secrets of PaymentIntents, our own settings) goes where it belongs, and
is in clear nowhere. Anything else that somebody writes is kept where it was written, and is in no log and no metric.
"""

import asyncio
import io
import secrets
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psutil  # type: ignore[import-untyped]
import pytest
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.reconciliation import ReconciliationActivities
from api import examples
from db.reconciliation import run as runs
from domain.card_data import mask_card_data
from domain.ids import new_id
from domain.psp import PayoutTraces
from domain.reconciliation.reconciliation import NewRun, Source, StageStep, Subject
from gateways.protocol import Psp
from runtime.workflow_client import WorkflowClient
from tests.api.test_api_webhooks import deliver, event_of
from tests.audit.command import Said, paysaga_command
from tests.support.deployment import Deployment
from tests.support.places import Request, requests
from tests.support.reconciling import upload
from tests.support.shop import Answer, Shop

pytestmark = pytest.mark.parametrize("paysaga", ["cached"], indirect=True, scope="module")

SELLERS = ("anna", "seller_anna", "seller_bo")
EVERYTHING_TO_REVIEW = {"rules": [{"name": "all", "type": "amount", "currency": "INR", "above": "0", "then": "review"}]}
AT_ONCE = 8
"""Requests under way at once."""


def card_number() -> str:
    """One of Visa's that nobody else sends, with its check digit."""
    digits = "424242" + "".join(secrets.choice("0123456789") for _ in range(9))
    total = sum(sum(divmod(int(digit) * (1 + (place % 2 == 0)), 10)) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


@dataclass(frozen=True)
class Canaries:
    """`card` is nowhere; `private` is in clear nowhere; `written` is in no log. `refused` and `taken`: the answers to
    the card number and to any text in every place. `logged_before`: characters of the logs before it all."""

    shop: Shop
    card: str
    private: dict[str, str]
    written: dict[str, str]
    began_at: datetime
    logged_before: int
    refused: list[tuple[Request, Answer]]
    taken: list[tuple[Request, Answer]]
    said: dict[str, Said]

    @property
    def all(self) -> dict[str, str]:
        return {"card": self.card, **self.private, **self.written}

    @property
    def entrusted(self) -> dict[str, str]:
        """What came from the client and is of people."""
        return {name: text for name, text in self.private.items() if name != "client secret"}


async def send(shop: Shop, request: Request, text: str) -> Answer:
    headers = {
        "Idempotency-Key": secrets.token_hex(8),
        "Prefer": "wait=0",
        "User-Agent": text,
        "Referer": f"https://shop.example/{text}",
        "X-Request-ID": text,
    }
    return await shop.paysaga.http.request(
        request.method,
        request.path,
        params=request.query,
        headers=headers | request.headers | shop.headers,
        **({} if request.body is None else {"json": request.body}),
    )


async def send_strange(shop: Shop, text: str) -> None:
    """The text where no operation looks for one: as a path, a credential, a signature, a body of another kind."""
    http = shop.paysaga.http
    await http.get(f"/{text}", params={text: text}, headers=shop.headers)
    await http.get("/v1/merchants", headers={"Authorization": f"Bearer {text}", "Cookie": f"session={text}"})
    await http.post("/webhooks/stripe", content=text, headers={"Stripe-Signature": text})
    await http.post("/v1/payments", content=text, headers=shop.headers | {"Content-Type": text})
    await http.request("PROPFIND", "/v1/payments", headers=shop.headers | {"X-Idempotency-Key": text})


async def send_all(shop: Shop, text: str, payment_id: str) -> list[tuple[Request, Answer]]:
    """The text through every place, a few at once."""
    document = (await shop.paysaga.http.get("/openapi.json")).json()
    todo = requests(document, text, {"payment_id": payment_id})
    found: list[tuple[Request, Answer]] = []
    for start in range(0, len(todo), AT_ONCE):
        some = todo[start : start + AT_ONCE]
        found += zip(some, await asyncio.gather(*(send(shop, request, text) for request in some)), strict=True)
    return found


# --- what is sent ---


async def trusted(shop: Shop, private: dict[str, str], written: dict[str, str]) -> None:
    """Payments with what we are trusted with: a buyer authenticates and disputes, one is refunded, one reviewed."""
    sandbox = shop.paysaga.sandbox
    buyer = {"id": "buyer_1", "email": private["email"]}
    secure = await shop.paid(shop.checkout(), "pm_card_threeDSecure2Required", buyer=buyer)
    reference = await shop.reference(secure["id"])
    private["client secret"] = (await sandbox.stripe(f"/v1/payment_intents/{reference}"))["client_secret"]
    await shop.until(secure["id"], "REQUIRES_ACTION")
    await sandbox.steer(reference, "authenticate")
    plain = await shop.paid(shop.checkout(), buyer=buyer)
    for payment in (secure, plain):
        await shop.until(payment["id"], "SUCCESS")
    refund = await shop.refunded(plain["id"], amount="1.00", reason=written["note"])
    await sandbox.dispute(reference)
    dispute = await shop.dispute_until(secure["id"], "NEEDS_RESPONSE")
    evidence = {"customer_name": private["name"], "uncategorized_text": private["evidence"]}
    answer = await shop.post(f"/v1/disputes/{dispute['id']}/evidence", {"fields": evidence})
    assert answer.status_code in (201, 202), answer.text
    (await shop.paysaga.http.put("/v1/risk/rules", json=EVERYTHING_TO_REVIEW, headers=shop.headers)).raise_for_status()
    held = await shop.paid(shop.checkout(), buyer=buyer)
    decision = {"decision": "approve", "note": written["note"]}
    (await shop.post(f"/v1/payments/{held['id']}/review", decision)).raise_for_status()
    await shop.until(held["id"], "SUCCESS")
    await shop.refund_until(refund["id"], "SUCCEEDED")
    await shop.dispute_until(secure["id"], "UNDER_REVIEW")


def files(card: str) -> dict[str, tuple[str, bytes]]:
    """Kind and bytes of a file of each sort. The number is wherever a text is and no id, also in what nobody reads."""
    header, row = examples.SETTLEMENT_FILE.strip().split("\r\n")
    report = f"{header},description,customer_name,{card}\r\n{row},paid with {card},{card},x\r\n".encode()
    remittance = f"<RmtInf><Ustrd>card {card}</Ustrd></RmtInf><AddtlTxInf>{card}</AddtlTxInf>"
    more = f"<NtryDtls><TxDtls><RltdPties><Dbtr><Nm>{card}</Nm></Dbtr></RltdPties>{remittance}</TxDtls></NtryDtls>"
    statement = examples.BANK_STATEMENT.replace("</Ntry>", f"{more}<AddtlNtryInf>{card}</AddtlNtryInf></Ntry>")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{card}.csv", report)
    return {
        "report.csv": ("psp", report),
        "report.zip": ("psp", packed.getvalue()),
        "statement.xml": ("bank", statement.encode()),
        "broken.csv": ("psp", report.replace(b",500.00,", f",{card}x,".encode())),
    }


_TYPES = {".csv": "text/csv", ".zip": "application/zip", ".xml": "application/xml"}


async def send_files(shop: Shop, card: str) -> None:
    """Each is uploaded and its lines are copied. They are matched with nothing, as others use the same books: what is
    copied and then given up is evidence that no run looks at."""
    refused = await upload(shop, b"x", name=f"{card}.csv")
    assert refused.json()["code"] == "card_data_forbidden"
    paysaga = shop.paysaga
    worker = ReconciliationActivities(
        paysaga.database,
        {"stripe": cast(Psp, NoTraces())},
        cast(WorkflowClient, None),
        paysaga.keyring,
        booking_grace_s=0,
        listing_grace_s=0,
        bank_days=5,
        page_timeout_s=1,
        match_timeout_s=1,
    )
    for name, (kind, content) in files(card).items():
        stored = await upload(shop, content, kind=kind, name=name, media_type=_TYPES[Path(name).suffix])
        assert stored.status_code == 201, stored.text
        new = NewRun(
            key=new_id("rec"),
            tenant_id=shop.tenant,
            psp="stripe",
            subject=Subject(kind),
            source=Source.FILE,
            file_id=stored.json()["id"],
            margin_s=0,
            apply=False,
            by="test",
            at=datetime.now(UTC),
        )
        run_id = str((await paysaga.database.run(lambda c, new=new: runs.open_run(c, new, new.key)))["id"])  # type: ignore[misc]
        staged = await ActivityEnvironment().run(worker.stage_from_file, StageStep(run_id=run_id))
        assert staged.done is (name != "broken.csv"), staged
        failure = staged.failure or "given up by a test"
        await paysaga.database.run(lambda c, r=run_id, f=failure: runs.fail(c, r, f, datetime.now(UTC)))  # type: ignore[misc]


class NoTraces:
    """A PSP that knows no payouts."""

    async def list_traces(self, **_: Any) -> PayoutTraces:
        return PayoutTraces()


async def send_webhooks(shop: Shop, canaries: dict[str, str]) -> None:
    """Genuine events of each kind, with each canary in each member that may have text."""
    for text in canaries.values():
        members = {
            "client_secret": text,
            "receipt_email": text,
            "description": text,
            "statement_descriptor": text,
            "reason": text,
            "status": text,
            "failure_code": text,
            "failure_message": text,
            "billing_details": {"name": text, "email": text, "address": {"line1": text}},
            "metadata": {"note": text, "paysaga_key": text, text: text},
            "evidence": {"uncategorized_text": text},
            "last_payment_error": {"code": text, "decline_code": text, "message": text},
            "amount": 500,
            "currency": "inr",
        }
        for noun in ("payment_intent", "charge", "refund", "dispute", "payout", "transfer", "customer"):
            event = event_of({"object": noun, "id": f"x_{secrets.token_hex(8)}"} | members, type=f"{noun}.updated")
            assert (await deliver(shop, event)).status_code == 200
        forged = await deliver(shop, event_of(members), secret="whsec_of_nobody")
        assert forged.status_code == 400


async def say(shop: Shop, payment_id: str, card: str) -> dict[str, Said]:
    """Arguments of the terminal that take a text; a file's name and content."""
    environment = shop.paysaga.environment()
    broken = shop.paysaga.folder / f"{secrets.token_hex(4)}.csv"
    broken.write_bytes(files(card)["broken.csv"][1])
    named = broken.with_name(f"{card}.csv")
    named.write_bytes(broken.read_bytes())
    commands = {
        "reason": ("refunds", "create", payment_id, "--reason", card),
        "note": ("payments", "review", payment_id, "--approve", "--note", card),
        "by": ("payments", "cancel", payment_id, "--by", card),
        "name": ("keys", "create", "--tenant", shop.tenant, "--name", card),
        "file name": ("reconcile", "run", "--file", str(named)),
        "file": ("reconcile", "run", "--file", str(broken)),
    }
    said = await asyncio.gather(*(paysaga_command(environment, *words) for words in commands.values()))
    return dict(zip(commands, said, strict=True))


@pytest.fixture(scope="module")
async def canaries(paysaga: Deployment) -> Canaries:
    """Everything is sent once, and has come to its end."""
    shop = await paysaga.shop(f"canary-{secrets.token_hex(5)}", sellers=SELLERS)
    own, card = secrets.token_hex(8), card_number()
    private = {
        "email": f"canary-{own}@example.com",
        "name": f"Canary Name {own}",
        "evidence": f"Canary evidence: {own} was delivered.",
    }
    written = {"note": f"Canary note {own}", "any text": f"stray-{own}@example.com pi_{own}_secret_{own}"}
    began_at, before = datetime.now(UTC), len(read_logs(paysaga))
    await trusted(shop, private, written)
    unconfirmed = (await shop.paid(shop.checkout(), confirm=False))["id"]
    refused = await send_all(shop, card, unconfirmed)
    taken = await send_all(shop, written["any text"], unconfirmed)
    for text in (card, *private.values(), *written.values()):
        await send_strange(shop, text)
    await send_files(shop, card)
    await send_webhooks(shop, {"card": card, **private, **written})
    said = await say(shop, unconfirmed, card)
    return Canaries(shop, card, private, written, began_at, before, refused, taken, said)


def read_logs(paysaga: Deployment) -> str:
    return "".join((paysaga.folder / name).read_text() for name in ("api.log", "worker.log"))


# --- where it is looked for ---

KEEPS_NOTHING = "/codec/"
"""Encrypts and decrypts what Temporal's UI sends, and keeps none of it."""


async def test_a_card_number_is_refused_in_every_field(canaries: Canaries) -> None:
    assert len(canaries.refused) > 200
    for request, answer in canaries.refused:
        if request.path.startswith(KEEPS_NOTHING):
            continue
        assert canaries.card not in answer.text, request
        if request.in_body or request.place == "header Idempotency-Key":
            assert (answer.status_code, answer.json()["code"]) == (422, "card_data_forbidden"), request
        else:
            assert answer.status_code < 500, (request, answer.text)


async def test_any_text_is_answered_without_an_error_of_ours(canaries: Canaries) -> None:
    assert not [(request, answer.text) for request, answer in canaries.taken if answer.status_code >= 500]


async def test_the_terminal_refuses_card_data_and_does_not_repeat_it(canaries: Canaries) -> None:
    for argument, said in canaries.said.items():
        assert said.code != 0, argument
        assert canaries.card not in said.out + said.err, argument
        if argument != "file":
            assert "card data" in said.err.lower(), (argument, said.err)
    assert mask_card_data(canaries.card) in canaries.said["file"].out + canaries.said["file"].err


async def test_nothing_is_in_clear_in_the_database(canaries: Canaries, paysaga: Deployment) -> None:
    """Every row as text: of bytes PostgreSQL shows hexadecimal digits."""
    secret = [canaries.card, *canaries.private.values()]
    patterns = [f"%{text}%" for word in secret for text in (word, word.encode().hex())]
    tables = await paysaga.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 30
    for (table,) in tables:
        found = await paysaga.sql(
            f'SELECT t::text AS row FROM "{table}" t WHERE t::text LIKE ANY($1) LIMIT 3', patterns
        )
        assert not found, (table, found)


async def test_nothing_is_in_a_log_or_a_metric(canaries: Canaries, paysaga: Deployment) -> None:
    metrics = (await paysaga.http.get("/metrics")).text
    logs = read_logs(paysaga)[canaries.logged_before :]
    for name, text in {**canaries.all, **secret_settings(paysaga)}.items():
        assert text not in metrics, name
        assert text not in logs, name


async def test_an_error_of_the_database_quotes_no_parameter(paysaga: Deployment) -> None:
    """It ends in a log and, of an activity, in a history."""
    query = sqlalchemy.text("SELECT 1 / 0, CAST(:canary AS text)")
    with pytest.raises(DBAPIError, match="division by zero") as raised:
        await paysaga.database.run(lambda c: c.execute(query, {"canary": "canary@example.com"}))
    assert "canary@example.com" not in str(raised.value)


def secret_settings(paysaga: Deployment) -> dict[str, str]:
    """Those that nobody else on this machine has."""
    secret = {name: value.get_secret_value() for name, value in paysaga.settings if isinstance(value, SecretStr)}
    return {name: value for name, value in secret.items() if len(value) > len("whsec_test")}


async def test_nothing_is_in_the_arguments_of_a_process(canaries: Canaries, paysaga: Deployment) -> None:
    """Anybody on the machine can read these."""
    words = {**canaries.all, **secret_settings(paysaga)}
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue  # it has ended, or is somebody else's
        assert not [name for name, text in words.items() if text in line], line


@pytest.fixture(scope="module")
async def histories(canaries: Canaries, paysaga: Deployment) -> dict[str, bytes]:
    """Workflow id → its events as the server keeps them: the bytes of each payload, failures, memos and attributes. The
    client decodes nothing, whatever the application's does."""
    raw = await Client.connect(paysaga.temporal.service_client.config.target_host, namespace=paysaga.temporal.namespace)
    query = f"TaskQueue = '{paysaga.name}' AND StartTime >= '{canaries.began_at.isoformat()}'"
    found: dict[str, bytes] = {}
    async for execution in raw.list_workflows(query):
        handle = raw.get_workflow_handle(execution.id, run_id=execution.run_id)
        found[execution.id] = b"".join([event.SerializeToString() async for event in handle.fetch_history_events()])
    rows = await paysaga.sql("SELECT id FROM payment WHERE tenant_id = $1 AND status = 'SUCCESS'", canaries.shop.tenant)
    assert {f"payment:{row['id']}" for row in rows} <= set(found)
    return found


async def test_nothing_is_in_clear_in_temporal(canaries: Canaries, histories: dict[str, bytes]) -> None:
    for name, word in {"card": canaries.card, **canaries.entrusted}.items():
        assert not [workflow for workflow, events in histories.items() if word.encode() in events], name


async def test_no_secret_and_no_note_is_in_clear_in_temporal(canaries: Canaries, histories: dict[str, bytes]) -> None:
    words = (canaries.private["client secret"], canaries.written["note"])
    assert not [word for word in words for events in histories.values() if word.encode() in events]

"""What moved our balance: every kind of line, lines that cannot be read, pages, and the report beside the list."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest

from domain.psp import CaptureRequest, PayoutOutcome, PayoutTraces, ReversalRequest, TransferRequest
from domain.reconciliation.lines import PspLine, PspLineKind, PspLines
from gateways.settlement_file import Reading
from gateways.stripe.gateway import StripePsp
from gateways.stripe.line_objects import NO_CURRENCY, line_kind, line_of
from gateways.stripe.payout_objects import payout_result
from gateways.stripe.report_file import read_itemized
from tests.gateways.wire import Server, T, answer, build, served, timeout_for

if TYPE_CHECKING:
    from tests.gateways.conftest import Account

FROM = datetime(2026, 11, 20, tzinfo=UTC)
TO = datetime(2026, 11, 21, tzinfo=UTC)
AT = 1_795_000_000

K = PspLineKind


def entry(**more: Any) -> dict[str, Any]:
    base = {
        "object": "balance_transaction",
        "id": "txn_1",
        "amount": 500,
        "fee": 45,
        "net": 455,
        "currency": "usd",
        "created": AT,
        "available_on": AT + 60,
        "type": "charge",
        "reporting_category": "charge",
        "source": {
            "object": "charge",
            "id": "ch_1",
            "payment_intent": "pi_1",
            "metadata": {"paysaga_charge": "ch_ours", "paysaga_refund": "no", "paysaga_payout": "no"},
        },
        "description": "An order",
    }
    return {**base, **more}


def flat(amount: int, **more: Any) -> dict[str, Any]:
    """An entry without a fee."""
    return entry(amount=amount, fee=0, net=amount, **more)


# --- one line ---


def test_a_charges_line() -> None:
    assert line_of(entry(), FROM) == PspLine(
        reference="txn_1",
        kind=K.CHARGE,
        amount=500,
        fee=45,
        currency="USD",
        occurred_at=datetime.fromtimestamp(AT, UTC),
        available_on=datetime.fromtimestamp(AT + 60, UTC),
        source_reference="ch_1",
        charge_reference="pi_1",
        our_reference="ch_ours",
        description="An order",
    )


@pytest.mark.parametrize(
    ("category", "kind", "expected"),
    [
        ("charge", "payment", K.CHARGE),
        ("partial_capture_reversal", "refund", K.CHARGE),
        ("charge_failure", "payment_failure_refund", K.CHARGE),
        ("refund", "payment_refund", K.REFUND),
        ("refund_failure", "adjustment", K.REFUND_FAILURE),
        ("dispute", "adjustment", K.DISPUTE),
        ("dispute_reversal", "adjustment", K.DISPUTE_REVERSAL),
        ("transfer", "transfer", K.TRANSFER),
        ("transfer_reversal", "transfer_refund", K.TRANSFER_REVERSAL),
        ("payout", "payout", K.PAYOUT),
        ("payout_reversal", "payout_failure", K.PAYOUT_REVERSAL),
        ("fee", "stripe_fee", K.FEE),
        ("fee", "adjustment", K.FEE),
        ("tax", "tax_fee", K.FEE),
        ("network_cost", "network_cost", K.FEE),
        ("other_adjustment", "adjustment", K.OTHER),
        ("topup", "topup", K.OTHER),
        ("risk_reserved_funds", "reserve_transaction", K.OTHER),
        ("platform_earning", "application_fee", K.OTHER),
        ("brand_new", "charge", K.OTHER),
        # Without a category the type says what it can.
        (None, "charge", K.CHARGE),
        (None, "payment", K.CHARGE),
        (None, "refund", K.REFUND),
        ("", "transfer_cancel", K.TRANSFER_REVERSAL),
        ("", "payout_cancel", K.PAYOUT_REVERSAL),
        (None, "stripe_fx_fee", K.FEE),
        (None, "adjustment", K.OTHER),
        (None, None, K.OTHER),
        (["charge"], ["charge"], K.OTHER),
    ],
)
def test_kinds(category: Any, kind: Any, expected: PspLineKind) -> None:
    assert line_kind(category, kind) is expected


REFUND = {"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1"}
DISPUTE = {"object": "dispute", "id": "du_1", "charge": "ch_1", "payment_intent": "pi_1", "metadata": {}}
TRANSFER = {"object": "transfer", "id": "tr_1", "metadata": {"paysaga_payout": "pt_1"}}
REVERSAL = {"object": "transfer_reversal", "id": "trr_1", "transfer": TRANSFER, "metadata": {}}
CHARGE = {"object": "charge", "id": "ch_1", "metadata": {}}


@pytest.mark.parametrize(
    ("category", "source", "names"),
    [
        ("charge", {**CHARGE, "payment_intent": "pi_1"}, ("ch_1", "pi_1", None)),
        ("charge", {**CHARGE, "payment_intent": {"id": "pi_1"}}, ("ch_1", "pi_1", None)),
        ("charge", {**CHARGE, "id": "py_1", "payment_intent": None}, ("py_1", "py_1", None)),
        ("charge", "ch_1", ("ch_1", "ch_1", None)),
        ("charge", None, (None, None, None)),
        ("refund", {**REFUND, "metadata": {"paysaga_refund": "re_ours"}}, ("re_1", "pi_1", "re_ours")),
        ("refund", {**REFUND, "metadata": {"paysaga_charge": "ch_ours"}}, ("re_1", "pi_1", None)),
        ("refund", {**REFUND, "payment_intent": None, "charge": {"id": "ch_1"}}, ("re_1", "ch_1", None)),
        ("refund", "re_1", ("re_1", None, None)),
        ("refund_failure", {**REFUND, "metadata": {"paysaga_refund": "re_ours"}}, ("re_1", "pi_1", "re_ours")),
        ("partial_capture_reversal", {**REFUND, "metadata": {}}, ("re_1", "pi_1", None)),
        ("dispute", DISPUTE, ("du_1", "pi_1", None)),
        ("dispute", {**DISPUTE, "payment_intent": None}, ("du_1", "ch_1", None)),
        ("dispute_reversal", DISPUTE, ("du_1", "pi_1", None)),
        ("transfer", TRANSFER, ("tr_1", None, "pt_1")),
        ("transfer", {**TRANSFER, "source_transaction": "ch_1"}, ("tr_1", None, "pt_1")),
        ("transfer_reversal", REVERSAL, ("trr_1", None, "pt_1")),
        ("transfer_reversal", {**REVERSAL, "metadata": {"paysaga_payout": "pt_2"}}, ("trr_1", None, "pt_2")),
        ("transfer_reversal", {**REVERSAL, "transfer": "tr_1"}, ("trr_1", None, None)),
        ("payout", {"object": "payout", "id": "po_1", "metadata": {}}, ("po_1", None, None)),
        ("fee", None, (None, None, None)),
        ("fee", {**CHARGE, "payment_intent": "pi_1", "metadata": {"paysaga_charge": "x"}}, ("ch_1", None, None)),
        ("other_adjustment", {"object": "x", "id": "x_1", "metadata": {"paysaga_charge": 5}}, ("x_1", None, None)),
        ("charge", {**CHARGE, "metadata": {"paysaga_charge": 5}}, ("ch_1", "ch_1", None)),
    ],
)
def test_what_a_line_names(category: str, source: Any, names: tuple[str | None, ...]) -> None:
    line = line_of(entry(reporting_category=category, source=source), FROM)
    assert (line.source_reference, line.charge_reference, line.our_reference) == names
    assert line.kind is line_kind(category)


@pytest.mark.parametrize(
    ("trace", "read"),
    [
        ({"status": "supported", "value": " 0910000190001 "}, "0910000190001"),
        ({"status": "pending", "value": None}, None),
        ({"status": "unsupported", "value": ""}, None),
        ({"status": "supported", "value": "x" * 256}, None),
        ({"status": "supported", "value": "a\0b"}, None),
        ("0910000190001", None),
        (None, None),
    ],
)
def test_the_banks_own_reference_of_a_payout(trace: Any, read: str | None) -> None:
    payout = {"object": "payout", "id": "po_1", "metadata": {}, "status": "paid", "amount": 5, "currency": "usd"}
    line = line_of(flat(-5, reporting_category="payout", source={**payout, "trace_id": trace}), FROM)
    assert (line.kind, line.reference, line.trace_id) == (K.PAYOUT, "txn_1", read)
    result = payout_result({**payout, "trace_id": trace})
    assert (result.outcome, result.trace_id) == (PayoutOutcome.PAID, read)


@pytest.mark.parametrize(
    ("currency", "sent", "amount"), [("jpy", -500, -500), ("kwd", 12_345, 12_345), ("isk", -500, -5), ("inr", 1, 1)]
)
def test_amounts_are_in_our_units(currency: str, sent: int, amount: int) -> None:
    line = line_of(entry(currency=currency, amount=sent, fee=sent, net=0), FROM)
    assert (line.amount, line.fee, line.currency, line.kind) == (amount, amount, currency.upper(), K.CHARGE)


def test_a_fee_of_its_own_is_an_amount_that_went_out() -> None:
    line = line_of(flat(-200, reporting_category="fee", type="stripe_fee", source=None), FROM)
    assert (line.kind, line.amount, line.fee) == (K.FEE, -200, 0)


@pytest.mark.parametrize(
    ("broken", "known"),
    [
        ({"net": 456}, {"amount": 500, "fee": 45}),
        ({"net": None}, {"amount": 500, "fee": 45}),
        ({"amount": "500"}, {"amount": 0, "fee": 45}),
        ({"fee": 1.5}, {"amount": 500, "fee": 0}),
        ({"currency": "usdc"}, {"amount": 0, "fee": 0, "currency": NO_CURRENCY}),
        ({"currency": None}, {"amount": 0, "fee": 0, "currency": NO_CURRENCY}),
        ({"currency": "isk", "amount": 550}, {"amount": 0, "currency": "ISK"}),
        ({"created": "now"}, {"amount": 500, "occurred_at": FROM}),
        ({"created": None}, {"amount": 500, "occurred_at": FROM}),
        ({"created": 10**30}, {"amount": 500, "occurred_at": FROM}),
        ({"created": 253_402_300_799}, {"amount": 500, "occurred_at": FROM}),
        ({"amount": 10**17, "net": 10**17 - 45}, {"amount": 0, "fee": 45}),
        ({"object": "charge"}, {"amount": 500, "fee": 45}),
    ],
)
def test_a_line_that_cannot_be_read_is_still_a_line(broken: dict[str, Any], known: dict[str, Any]) -> None:
    line = line_of(entry(**broken), FROM)
    assert (line.kind, line.reference, line.source_reference) == (K.OTHER, "txn_1", "ch_1")
    assert line.model_dump(include=set(known)) == known
    assert (line.description or "").startswith("Unreadable: ")
    assert json.dumps(next(iter(broken.values()))) in (line.description or "")
    assert "An order" not in (line.description or "")


@pytest.mark.parametrize("thing", [None, [], "txn_1", 5, {}, {"id": 5}, {"id": None}, entry(id="")])
def test_a_line_without_a_name_gets_one_that_stays(thing: Any) -> None:
    line = line_of(thing, FROM)
    assert line.kind is K.OTHER
    assert line.reference.startswith("unreadable:")
    assert line_of(thing, FROM) == line
    assert line_of({"another": thing}, FROM).reference != line.reference


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "\ud800"])
def test_a_name_that_cannot_be_kept_is_none(name: str) -> None:
    own = line_of(entry(id=name), FROM)
    assert (own.kind, own.reference.startswith("unreadable:"), own.source_reference) == (K.OTHER, True, "ch_1")
    of_source = line_of(entry(source={**CHARGE, "id": name}), FROM)
    assert (of_source.kind, of_source.reference, of_source.source_reference) == (K.OTHER, "txn_1", None)


def test_a_description_is_kept_without_what_no_text_has() -> None:
    assert line_of(entry(description="a\0b\ud800"), FROM).description == "ab?"


# --- pages over the wire ---


def page(*things: Any, more: Any = False) -> bytes:
    return answer(200, json.dumps({"object": "list", "data": list(things), "has_more": more}))


async def listed(psp: StripePsp, cursor: str | None = None, timeout_s: float = T) -> PspLines:
    return await psp.list_lines(created_from=FROM, created_to=TO, cursor=cursor, otherwise_at=FROM, timeout_s=timeout_s)


async def test_what_is_asked() -> None:
    server = Server(page())
    async with served(server) as psp:
        assert await listed(psp) == PspLines()
        assert await listed(psp, "txn_9") == PspLines()
        half = timedelta(milliseconds=500)
        await psp.list_lines(
            created_from=FROM + half, created_to=TO + half, cursor=None, otherwise_at=FROM, timeout_s=T
        )
    first, second, third = (unquote_plus(sent.split("\r\n")[0]) for sent in server.requests)
    start, end = int(FROM.timestamp()), int(TO.timestamp())
    assert first == (
        f"GET /v1/balance_transactions?created[gte]={start}&created[lt]={end}&limit=100"
        "&expand[0]=data.source&expand[1]=data.source.transfer HTTP/1.1"
    )
    assert "&starting_after=txn_9" in second
    # Whole seconds, rounded up on both sides: windows that meet neither overlap nor leave a gap.
    assert f"created[gte]={start + 1}&created[lt]={end + 1}&" in third


async def test_the_cursor_is_the_last_line_of_a_page_that_is_not_the_last() -> None:
    async with served(Server(page(entry(), entry(id="txn_2"), more=True))) as psp:
        lines = await listed(psp)
    assert ([line.reference for line in lines.lines], lines.cursor, lines.reason) == (["txn_1", "txn_2"], "txn_2", None)


async def test_an_unreadable_line_is_on_the_page() -> None:
    async with served(Server(page(entry(), None, entry(id="txn_3", amount="x")))) as psp:
        lines = await listed(psp)
    assert [line.kind for line in lines.lines] == [K.CHARGE, K.OTHER, K.OTHER]


async def test_a_line_without_a_time_is_of_the_time_that_the_caller_says() -> None:
    async with served(Server(page(entry(created=None)))) as psp:
        lines = await psp.list_lines(
            created_from=FROM - timedelta(hours=1), created_to=TO, cursor=None, otherwise_at=FROM, timeout_s=T
        )
    assert lines.lines[0].occurred_at == FROM


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(500, "no"), "server_error"),
        (answer(429, "no"), "rate_limited"),
        (answer(401, '{"error":{}}'), "credentials"),
        (answer(400, '{"error":{"type":"invalid_request_error","code":"resource_missing"}}'), "unrecognised"),
        (answer(200, "{}"), "malformed"),
        (answer(200, '{"data":{},"has_more":false}'), "malformed"),
        (page(more=True), "malformed"),
        (page(entry(), more="no"), "malformed"),
        (page(entry(), more=None), "malformed"),
        (page(entry(id=None), more=True), "malformed"),
        (page("txn_1", more=True), "malformed"),
        (page(entry(id="txn_0"), more=True), "malformed"),
        (answer(200, "<html>"), "malformed"),
        (b"not http\r\n\r\n", "connection"),
    ],
)
async def test_no_page(reply: bytes, reason: str) -> None:
    async with served(Server(reply)) as psp:
        assert await listed(psp, "txn_0") == PspLines(reason=reason)


async def test_no_page_in_time_and_nobody_there() -> None:
    async with served(Server(None)) as psp:
        assert await listed(psp, timeout_s=timeout_for("timeout")) == PspLines(reason="timeout")
    psp = build("http://127.0.0.1:1")
    assert await listed(psp) == PspLines(reason="connection")
    await psp.close()


async def test_traces_are_asked_for_days_later(account: "Account") -> None:
    await account.control("PATCH", "account", {"available_delay_s": 0, "payout_delay_s": None, "trace_delay_s": None})
    await account.psp.charge(account.request(), timeout_s=T)
    payout = await account.control("POST", "platform_payouts", {"currency": "usd", "amount": 5_000})
    await account.control("POST", f"payouts/{payout['id']}/pay")
    since = datetime.now(UTC) - timedelta(hours=1)
    assert await account.psp.list_traces(created_from=since, timeout_s=T) == PayoutTraces()
    traced = await account.control("POST", f"payouts/{payout['id']}/trace")
    trace = traced["trace_id"]["value"]
    told = await account.psp.list_traces(created_from=since, timeout_s=T)
    assert told == PayoutTraces(traces=((payout["id"], trace),))
    assert [line.trace_id for line in await all_lines(account) if line.kind is K.PAYOUT] == [trace]
    assert (await account.psp.list_traces(created_from=since, timeout_s=0.0)).reason == "timeout"


# --- the sandbox ---


async def all_lines(account: "Account", *, hours: float = 24 * 30) -> list[PspLine]:
    now = datetime.now(UTC)
    lines: list[PspLine] = []
    cursor = None
    while True:
        page = await account.psp.list_lines(
            created_from=now - timedelta(hours=1),
            created_to=now + timedelta(hours=hours),
            cursor=cursor,
            otherwise_at=now,
            timeout_s=T,
        )
        assert page.reason is None
        lines += page.lines
        cursor = page.cursor
        if cursor is None:
            return lines


async def report(account: "Account") -> list[PspLine]:
    """The same lines from the file."""
    file = await account.download("reports/itemized", interval_start=0, interval_end=4_000_000_000)
    return list(read_itemized(io.BytesIO(file), Reading()))


async def eventful(account: "Account") -> dict[str, str]:
    """An account that has seen everything; what carries which of our ids."""
    await account.control(
        "PATCH", "account", {"available_delay_s": 0, "payout_delay_s": None, "dispute_fee_returned": True}
    )
    request = account.request()
    charge = await account.psp.charge(request, timeout_s=T)
    held = account.request(authorize_only=True)
    reserved = await account.psp.charge(held, timeout_s=T)
    part = CaptureRequest(
        key="c", charge_id=held.charge_id, reference=reserved.reference or "", amount=30_000, currency="USD"
    )
    await account.psp.capture_charge(part, timeout_s=T)
    refund = account.refund_request(charge.reference or "", 1_000)
    made = await account.psp.refund(refund, timeout_s=T)
    await account.control("POST", f"refunds/{made.reference}/fail")
    disputed = await account.control("POST", f"payment_intents/{charge.reference}/dispute", {"amount": 2_000})
    await account.control("POST", f"disputes/{disputed['id']}/win")
    transfer = account.transfer_request()
    sent = await account.psp.transfer(transfer, timeout_s=T)
    await taken_back(account, transfer, sent.reference or "")
    payout = await account.control("POST", "platform_payouts", {"currency": "usd", "amount": 5_000})
    await account.control("POST", f"payouts/{payout['id']}/pay")
    await account.control("POST", f"payouts/{payout['id']}/return")
    fee = {"type": "stripe_fee", "amount": -200, "currency": "usd", "reporting_category": "fee"}
    await account.control("POST", "balance_transactions", fee)
    await account.control("POST", "balance_transactions", {"type": "topup", "amount": 700, "currency": "usd"})
    return {
        "charge": request.charge_id,
        "intent": charge.reference or "",
        "part": held.charge_id,
        "refund": refund.refund_id,
        "dispute": disputed["id"],
        "payout": transfer.payout_id,
        "own_payout": payout["id"],
    }


async def taken_back(account: "Account", request: TransferRequest, reference: str) -> None:
    back = ReversalRequest(
        key="r", payout_id=request.payout_id, transfer_reference=reference, amount=request.amount, currency="USD"
    )
    await account.psp.reverse_transfer(back, timeout_s=T)


async def test_every_movement_is_a_line(account: "Account") -> None:
    ids = await eventful(account)
    lines = await all_lines(account)
    told = {(line.kind, line.amount, line.fee, line.our_reference) for line in lines}
    assert told == {
        (K.CHARGE, 50_000, 1_480, ids["charge"]),
        (K.CHARGE, 30_000, 900, ids["part"]),
        (K.REFUND, -1_000, 0, ids["refund"]),
        (K.REFUND_FAILURE, 1_000, 0, ids["refund"]),
        (K.DISPUTE, -2_000, 1_500, None),
        (K.DISPUTE_REVERSAL, 2_000, -1_500, None),
        (K.TRANSFER, -10_000, 0, ids["payout"]),
        (K.TRANSFER_REVERSAL, 10_000, 0, ids["payout"]),
        (K.PAYOUT, -5_000, 0, None),
        (K.PAYOUT_REVERSAL, 5_000, 0, None),
        (K.FEE, -200, 0, None),
        (K.OTHER, 700, 0, None),
    }
    assert len(lines) == len(told)
    of_intent = {line.kind for line in lines if line.charge_reference == ids["intent"]}
    assert of_intent == {K.CHARGE, K.REFUND, K.REFUND_FAILURE, K.DISPUTE, K.DISPUTE_REVERSAL}
    by_kind = {line.kind: line for line in lines}
    assert by_kind[K.DISPUTE].source_reference == ids["dispute"]
    assert by_kind[K.PAYOUT].source_reference == ids["own_payout"]
    assert (by_kind[K.CHARGE].source_reference or "").startswith("ch_")


async def test_the_report_says_the_same_as_the_list(account: "Account") -> None:
    await eventful(account)
    for amount, currency in [(500, "JPY"), (12_340, "KWD")]:
        await account.psp.charge(account.request(amount=amount, currency=currency), timeout_s=T)
    lines = await all_lines(account)
    assert len(lines) == 14
    assert sorted(await report(account), key=lambda line: line.reference) == sorted(
        lines, key=lambda line: line.reference
    )


async def test_a_reversal_made_by_hand_names_our_payout(account: "Account") -> None:
    await account.control("PATCH", "account", {"check_available_balance": False})
    request = account.transfer_request()
    result = await account.psp.transfer(request, timeout_s=T)
    psp: Any = account.psp
    await psp._request("post", f"/v1/transfers/{result.reference}/reversals", amount=400)
    by_hand = next(line for line in await all_lines(account) if line.kind is K.TRANSFER_REVERSAL)
    assert (by_hand.amount, by_hand.our_reference) == (400, request.payout_id)


async def test_page_after_page(account: "Account", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.stripe.lines.PAGE_SIZE", 2)
    for _ in range(5):
        await account.psp.charge(account.request(), timeout_s=T)
    lines = await all_lines(account)
    assert len({line.reference for line in lines}) == len(lines) == 5


async def test_the_window_is_from_until_before(account: "Account") -> None:
    await account.psp.charge(account.request(), timeout_s=T)
    [line] = await all_lines(account)
    at, second = line.occurred_at, timedelta(seconds=1)
    for start, end, count in [(at, at + second, 1), (at - second, at, 0), (at + second, at + 2 * second, 0)]:
        page = await account.psp.list_lines(
            created_from=start, created_to=end, cursor=None, otherwise_at=start, timeout_s=T
        )
        assert (len(page.lines), page.reason) == (count, None)


async def test_a_cursor_that_stripe_does_not_know_is_no_end(account: "Account") -> None:
    page = await account.psp.list_lines(
        created_from=FROM, created_to=TO, cursor="txn_none", otherwise_at=FROM, timeout_s=T
    )
    assert page == PspLines(reason="unrecognised")

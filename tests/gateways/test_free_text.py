"""Texts that a PSP or a bank wrote: card numbers in them are masked, and the ids by which books are compared stay."""

import pytest

from gateways.settlement_file import Reading, SettlementFileError
from gateways.stripe.failures import failure_of
from gateways.stripe.line_objects import line_of
from gateways.stripe.payout_objects import payout_result
from gateways.stripe.results import dispute_result
from tests.gateways import test_bank_statement as bank
from tests.gateways import test_settlement_file as report
from tests.gateways import test_stripe_lines as listed
from tests.gateways.test_stripe_payout_tables import PAYOUT

CARD, MASKED = "4242424242424242", "424242******4242"
GROUPS, MASKED_GROUPS = "4242 4242 4242 4242", "4242 42** **** 4242"


@pytest.mark.parametrize("place", ["Ustrd", "AddtlTxInf", "AddtlNtryInf"])
def test_the_text_of_a_bank_s_entry(place: str) -> None:
    text = f"card {CARD} order po_1"
    refs = "<Refs><EndToEndId>po_2</EndToEndId></Refs>"
    inside = {
        "Ustrd": f"<TxDtls>{refs}<RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls>",
        "AddtlTxInf": f"<TxDtls>{refs}<AddtlTxInf>{text}</AddtlTxInf></TxDtls>",
        "AddtlNtryInf": f"<TxDtls>{refs}</TxDtls>",
    }[place]
    more = f"<AddtlNtryInf>{text}</AddtlNtryInf>" if place == "AddtlNtryInf" else ""
    [line] = bank.read(bank.document(bank.entry(details=f"<NtryDtls>{inside}</NtryDtls>", more=more)))
    assert line.text == f"card {MASKED} order po_1"
    assert {"po_1", "po_2", "order"} < set(line.references)
    assert CARD not in line.references


def test_a_number_over_several_lines_of_a_text() -> None:
    parts = "".join(f"<Ustrd>{part}</Ustrd>" for part in ("4242 4242", "4242 4242"))
    [line] = bank.read(
        bank.document(bank.entry(details=f"<NtryDtls><TxDtls><RmtInf>{parts}</RmtInf></TxDtls></NtryDtls>"))
    )
    assert line.text == MASKED_GROUPS


def test_ids_of_a_bank_stay_as_they_are() -> None:
    named = f"<Refs><EndToEndId>{CARD}</EndToEndId></Refs>"
    named += f"<RmtInf><Strd><CdtrRefInf><Ref>{CARD}</Ref></CdtrRefInf></Strd></RmtInf>"
    details = f"<NtryDtls><TxDtls>{named}</TxDtls></NtryDtls>"
    [line] = bank.read(bank.document(bank.entry(reference=f"<AcctSvcrRef>{CARD}</AcctSvcrRef>", details=details)))
    assert line.reference.startswith(CARD)
    assert line.references == (CARD,)


def test_descriptions_of_the_psp() -> None:
    described = {"description": f"paid with {CARD}"}
    [row] = report.read(report.written(report.ROW | described | {"source_id": CARD}))
    assert (row.description, row.source_reference) == (f"paid with {MASKED}", CARD)
    line = line_of(listed.entry(**described), listed.FROM)
    assert line.description == f"paid with {MASKED}"
    unreadable = line_of(listed.entry(type=CARD, net=1), listed.FROM)
    assert MASKED in (unreadable.description or "")
    assert CARD not in (unreadable.description or "")


def test_what_an_error_or_a_remark_quotes() -> None:
    _, reason = report.refused(report.written(report.ROW | {"gross": CARD + "x"}))
    assert MASKED in reason
    assert CARD not in reason
    assert str(SettlementFileError(3, f"of '{CARD}.csv' in the zip")) == f"line 3: of '{MASKED}.csv' in the zip"
    reading = Reading()
    reading.note(f"Statement {GROUPS} says so")
    assert reading.remarks() == [f"Statement {MASKED_GROUPS} says so"]


def test_reasons_and_codes_of_the_psp() -> None:
    failed = payout_result(PAYOUT | {"status": "failed", "failure_code": CARD, "failure_message": f"card {GROUPS}"})
    assert failed.failure is not None
    assert (failed.failure.psp_code, failed.failure.message) == (MASKED, f"card {MASKED_GROUPS}")
    declined = failure_of({"decline_code": CARD, "message": f"Your card {CARD} was declined."})
    assert (declined.psp_code, declined.message) == (MASKED, "The payment was declined.")
    dispute = {
        "object": "dispute", "id": "dp_1", "charge": "ch_1", "payment_intent": "pi_1", "status": "needs_response",
        "currency": "usd", "amount": 500, "reason": CARD, "balance_transactions": [],
    }  # fmt: skip
    assert dispute_result(dispute).category == MASKED

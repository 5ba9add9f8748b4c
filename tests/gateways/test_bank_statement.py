"""camt.053 as banks write it, and as somebody writes it who means harm."""

import io
import itertools
import re
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.reconciliation.lines import BankLine
from gateways.bank.camt053 import CHUNK_BYTES, DETAILS_MAX, PART_MAX, read_camt053
from gateways.settlement_file import Reading, SettlementFileError

if TYPE_CHECKING:
    from tests.gateways.conftest import Account

URN = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."

DETAIL = "<TxDtls><Refs><EndToEndId>po_1</EndToEndId></Refs><RmtInf><Ustrd>STRIPE po_1</Ustrd></RmtInf></TxDtls>"


def entry(
    *,
    amount: str = '<Amt Ccy="EUR">500.00</Amt>',
    direction: str = "<CdtDbtInd>CRDT</CdtDbtInd>",
    status: str = "<Sts>BOOK</Sts>",
    booked: str = "<BookgDt><Dt>2026-11-20</Dt></BookgDt>",
    reference: str = "<AcctSvcrRef>BANK1</AcctSvcrRef>",
    details: str = f"<NtryDtls>{DETAIL}</NtryDtls>",
    more: str = "",
) -> str:
    return f"<Ntry>{amount}{direction}{status}{booked}{reference}{details}{more}</Ntry>"


def document(*entries: str, version: str = "08", prolog: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    statement = f"<Stmt><Id>S1</Id><Acct><Id><IBAN>DE1</IBAN></Id></Acct>{''.join(entries)}</Stmt>"
    header = "<GrpHdr><MsgId>M1</MsgId></GrpHdr>"
    text = f'{prolog}\n<Document xmlns="{URN}{version}"><BkToCstmrStmt>{header}{statement}</BkToCstmrStmt></Document>'
    return text.encode()


def read(file: bytes) -> list[BankLine]:
    return list(read_camt053(io.BytesIO(file), Reading()))


def refused(file: bytes) -> tuple[int, str]:
    with pytest.raises(SettlementFileError) as caught:
        read(file)
    return caught.value.line_no, caught.value.reason


LINE = BankLine(
    reference="BANK1#9d8d89d3a0b2",
    amount=50_000,
    currency="EUR",
    booked_at=datetime(2026, 11, 20, tzinfo=UTC),
    references=("BANK1", "po_1", "STRIPE"),
    text="STRIPE po_1",
)


# --- what is read ---


@pytest.mark.parametrize("version", ["02", "04", "08", "13"])
@pytest.mark.parametrize("status", ["<Sts>BOOK</Sts>", "<Sts><Cd>BOOK</Cd></Sts>"])
def test_an_entry_in_any_version(version: str, status: str) -> None:
    assert read(document(entry(status=status), version=version)) == [LINE]


def test_with_a_prefix_and_in_another_encoding() -> None:
    plain = document(entry()).decode().replace("UTF-8", "utf-16")
    assert read(plain.encode("utf-16")) == [LINE]
    _, plain = plain.split("\n", 1)
    prefixed = re.sub(r"<(/?)(?=[A-Z])", r"<\1c:", plain).replace("xmlns=", "xmlns:c=")
    assert read(prefixed.encode()) == [LINE]


@pytest.mark.parametrize(
    ("amount", "currency", "direction", "expected"),
    [
        ("500", "EUR", "CRDT", 50_000),
        ("500.5", "EUR", "DBIT", -50_050),
        ("500.00000", "EUR", "CRDT", 50_000),
        ("500", "JPY", "DBIT", -500),
        ("12.345", "KWD", "CRDT", 12_345),
        ("0", "EUR", "DBIT", 0),
        ("\n 5 ", "EUR", "CRDT", 500),
        (".6", "EUR", "CRDT", 60),
        ("+5.00", "EUR", "DBIT", -500),
        ("+005.", "EUR", "CRDT", 500),
    ],
)
def test_amounts_and_directions(amount: str, currency: str, direction: str, expected: int) -> None:
    text = entry(amount=f'<Amt Ccy="{currency}">{amount}</Amt>', direction=f"<CdtDbtInd>{direction}</CdtDbtInd>")
    [line] = read(document(text))
    assert (line.amount, line.currency) == (expected, currency)


def test_the_direction_of_a_reversal_is_that_of_the_money() -> None:
    [line] = read(document(entry(direction="<CdtDbtInd>DBIT</CdtDbtInd><RvslInd>true</RvslInd>")))
    assert line.amount == -50_000


@pytest.mark.parametrize(
    ("booked", "expected"),
    [
        ("<BookgDt><Dt>2026-11-20Z</Dt></BookgDt>", datetime(2026, 11, 20, tzinfo=UTC)),
        ("<BookgDt><Dt>2026-11-20+01:00</Dt></BookgDt>", datetime(2026, 11, 20, tzinfo=UTC)),
        ("<BookgDt><DtTm>2026-11-20T10:00:00+01:00</DtTm></BookgDt>", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("<BookgDt><DtTm>2026-11-20T10:00:00.5</DtTm></BookgDt>", datetime(2026, 11, 20, 10, 0, 0, 500_000, UTC)),
        ("<ValDt><Dt>2026-11-21</Dt></ValDt>", datetime(2026, 11, 21, tzinfo=UTC)),
    ],
)
def test_dates(booked: str, expected: datetime) -> None:
    assert read(document(entry(booked=booked)))[0].booked_at == expected


@pytest.mark.parametrize("status", ["<Sts>PDNG</Sts>", "<Sts><Cd>INFO</Cd></Sts>", "<Sts><Cd>FUTR</Cd></Sts>"])
def test_only_what_is_booked(status: str) -> None:
    assert read(document(entry(status=status), entry(), entry(status=status, amount=""))) == [LINE]


NAMELESS = "<AcctSvcrRef>NONREF</AcctSvcrRef>"


def nameless(amount: str = "500.00", day: str = "2026-11-20", end: str = "po_1") -> str:
    details = f"<NtryDtls><TxDtls><Refs><EndToEndId>{end}</EndToEndId></Refs></TxDtls></NtryDtls>"
    return entry(
        reference=NAMELESS,
        amount=f'<Amt Ccy="EUR">{amount}</Amt>',
        booked=f"<BookgDt><Dt>{day}</Dt></BookgDt>",
        details=details,
    )


def test_an_entry_without_a_name_has_the_same_one_in_every_statement() -> None:
    daily = document(nameless(), nameless("7.00"), nameless())
    monthly = document(entry(), nameless(day="2026-11-19"), nameless("7.00"), nameless(), nameless())
    monthly = monthly.replace(b"<Id>S1</Id>", b"<Id>NOVEMBER</Id>")
    first, other, second = (line.reference for line in read(daily))
    assert [line.reference for line in read(monthly)][2:] == [other, first, second]
    assert first.startswith("entry:")
    assert first != second, "two that are alike are two"


def test_what_makes_a_nameless_entry_another_one() -> None:
    another_account = document(nameless()).replace(b"DE1", b"DE2")
    files = [document(nameless()), another_account]
    files += [document(nameless(**more)) for more in ({"amount": "5.00"}, {"day": "2026-11-21"}, {"end": "po_2"})]
    references = [read(file)[0].reference for file in files]
    assert len(set(references)) == len(files)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"amount": '<Amt Ccy="EUR">100000000000000.01</Amt>'}, "an amount of 17 digits, which nobody moves"),
        ({"booked": "<BookgDt><Dt>0001-01-01</Dt></BookgDt>"}, "a time in the year 1"),
        ({"booked": "<BookgDt><DtTm>9999-12-31T23:59:59</DtTm></BookgDt>"}, "a time in the year 9999"),
        ({"reference": f"<AcctSvcrRef>{'x' * 256}</AcctSvcrRef>"}, "a name of 256 characters"),
    ],
)
def test_what_no_bank_would_say_is_refused(more: dict[str, str], reason: str) -> None:
    assert reason in refused(document(entry(**more)))[1]


def test_a_word_that_is_too_long_is_no_name() -> None:
    [line] = read(
        document(entry(details=f"<NtryDtls><TxDtls><AddtlTxInf>po_1 {'x' * 256}</AddtlTxInf></TxDtls></NtryDtls>"))
    )
    assert line.references == ("BANK1", "po_1")


def test_every_name_once() -> None:
    details = (
        "<NtryDtls><TxDtls><Refs><MsgId>M</MsgId><AcctSvcrRef>BANK1</AcctSvcrRef><EndToEndId>NOTPROVIDED</EndToEndId>"
        "<TxId>T</TxId><Prtry><Tp>x</Tp><Ref>P</Ref></Prtry></Refs><RmtInf><Ustrd>/RFB/po_1, po-2</Ustrd>"
        "<Ustrd>more</Ustrd><Strd><CdtrRefInf><Ref>RF18</Ref></CdtrRefInf></Strd></RmtInf>"
        "<AddtlTxInf>word</AddtlTxInf></TxDtls></NtryDtls>"
    )
    [line] = read(document(entry(details=details, more="<AddtlNtryInf>Überweisung</AddtlNtryInf>")))
    names = ("BANK1", "Überweisung", "M", "T", "P", "RF18", "RFB", "po_1", "po-2", "more", "word")
    assert (line.references, line.text) == (names, "/RFB/po_1, po-2 more")


def test_an_entry_without_details() -> None:
    [line] = read(document(entry(details="", more="<AddtlNtryInf>FEES Q3</AddtlNtryInf>")))
    assert (line.references, line.text) == (("BANK1", "FEES", "Q3"), "FEES Q3")


def part(name: str, amount: str = "", direction: str = "") -> str:
    return f"<TxDtls><Refs><EndToEndId>{name}</EndToEndId></Refs>{amount}{direction}</TxDtls>"


def euros(amount: str, currency: str = "EUR") -> str:
    return f'<Amt Ccy="{currency}">{amount}</Amt>'


@pytest.mark.parametrize(
    ("details", "amounts"),
    [
        ([part("a", euros("200")), part("b", euros("300"))], [20_000, 30_000]),
        ([part("a", f"<AmtDtls><TxAmt>{euros('500')}</TxAmt></AmtDtls>"), part("b", euros("0"))], [50_000, 0]),
        ([part("a", euros("600")), part("b", euros("100"), "<CdtDbtInd>DBIT</CdtDbtInd>")], [60_000, -10_000]),
        # One line: an amount is missing, is in another currency, or they do not add up to what was booked.
        ([part("a", euros("500")), part("b")], [50_000]),
        ([part("a"), part("b")], [50_000]),
        ([part("a", euros("200")), part("b", euros("300", "USD"))], [50_000]),
        ([part("a", euros("200")), part("b", euros("299.99"))], [50_000]),
        ([part("a", euros("499"))], [50_000]),
        # Or a detail that cannot be used.
        ([part("a", euros("x")), part("b", euros("5"))], [50_000]),
        ([part("a", euros("495"), "<CdtDbtInd>?</CdtDbtInd>"), part("b", euros("5"))], [50_000]),
        ([part("a", euros("499.4")), part("b", euros("+.60"))], [49_940, 60]),
    ],
)
@pytest.mark.parametrize("between", ["", "</NtryDtls><NtryDtls>"])
def test_batches(details: list[str], amounts: list[int], between: str) -> None:
    lines = read(document(entry(details=f"<NtryDtls>{between.join(details)}</NtryDtls>"), entry()))
    assert [line.amount for line in lines] == [*amounts, 50_000]
    if len(amounts) > 1:
        assert [line.reference for line in lines] == [f"{LINE.reference}/1", f"{LINE.reference}/2", LINE.reference]
        assert [line.references for line in lines[:2]] == [("BANK1", "a"), ("BANK1", "b")]
    else:
        assert lines[0].references == ("BANK1", "a", "b")[: 1 + len(details)]


def test_several_statements() -> None:
    one = document(entry(reference="")).decode()
    two = one.replace("</Stmt>", f"</Stmt><Stmt><Id>S2</Id>{entry(reference='')}</Stmt>").encode()
    assert len({line.reference for line in read(two)}) == 2, "of another account"


def test_a_statement_without_entries() -> None:
    assert read(document()) == []


def test_what_is_of_another_namespace_is_nothing() -> None:
    foreign = '<x:Amt xmlns:x="urn:x" Ccy="USD">1</x:Amt>'
    assert read(document(entry(amount=foreign + euros("500.00")))) == [LINE]


# --- what is refused ---


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"amount": ""}, "not a currency"),
        ({"amount": "<Amt>5</Amt>"}, "not a currency"),
        ({"amount": '<Amt Ccy="ZZZ">5</Amt>'}, "not a currency"),
        ({"amount": '<Amt Ccy="eur">5</Amt>'}, "not a currency"),
        ({"amount": euros("")}, "no amount"),
        ({"amount": euros("-5")}, "no amount"),
        ({"amount": euros("5,00")}, "not an amount"),
        ({"amount": euros("5.001")}, "finer than EUR"),
        ({"direction": ""}, "neither"),
        ({"direction": "<CdtDbtInd>C</CdtDbtInd>"}, "neither"),
        ({"status": ""}, "status"),
        ({"status": "<Sts>Booked</Sts>"}, "status"),
        ({"status": "<Sts><Prtry>OWN</Prtry></Sts>"}, "status"),
        ({"booked": ""}, "without a date"),
        (
            {"booked": "<BookgDt><Dt>20.11.2026</Dt></BookgDt><ValDt><Dt>2026-11-20</Dt></ValDt>"},
            "BookgDt: '20.11.2026",
        ),
        ({"booked": "<BookgDt><Dt>2026-02-30</Dt></BookgDt>"}, "'2026-02-30' is not a date such as 2026-11-20"),
        ({"booked": "<BookgDt><DtTm>now</DtTm></BookgDt>"}, "not a time"),
    ],
)
def test_a_bad_entry_ends_the_reading(broken: dict[str, Any], reason: str) -> None:
    line_no, told = refused(document(entry(), "\n", entry(**broken), entry()))
    assert line_no == 3
    assert reason in told
    assert told.startswith(("element", "attribute"))
    assert "in entry 2 of its statement (BANK1): ask the bank" in told, "banks write all of it on one line"


# --- what tells two entries apart ---


def test_one_reference_on_many_entries() -> None:
    """Equal are those of one account, day, amount, currency and reference alone."""
    named = "<AcctSvcrRef>0001</AcctSvcrRef>"
    others = [
        entry(reference=named),
        entry(reference=named, amount=euros("7.00")),
        entry(reference=named, direction="<CdtDbtInd>DBIT</CdtDbtInd>"),
        entry(reference=named, booked="<BookgDt><Dt>2026-11-21</Dt></BookgDt>"),
        entry(reference=named, amount=euros("500.00", "USD")),
    ]
    lines = read(document(*others, entry(reference=named)))
    assert len({line.reference for line in lines}) == 5
    assert lines[0] == lines[-1]
    assert all("0001" in line.references for line in lines)
    assert read(document(*others).replace(b"DE1", b"DE2"))[0].reference != lines[0].reference


def test_an_entry_is_the_same_one_whatever_zone_its_time_is_read_in() -> None:
    late = document(entry(booked="<BookgDt><DtTm>2026-11-20T23:30:00</DtTm></BookgDt>"), nameless())
    zones = [Reading(zone=ZoneInfo(name)) for name in ("UTC", "America/New_York", "Asia/Tokyo")]
    first, *others = ([line.reference for line in read_camt053(io.BytesIO(late), zone)] for zone in zones)
    assert others == [first, first]


@pytest.mark.parametrize("nothing", ["NOTPROVIDED", "NOT PROVIDED", "Not-Provided", "nonref", "0000", "-", "N/A"])
def test_words_for_no_reference(nothing: str) -> None:
    alike = entry(reference=f"<AcctSvcrRef>{nothing}</AcctSvcrRef>")
    first, second = read(document(alike, alike))
    assert first.reference.startswith("entry:")
    assert first.reference != second.reference
    assert nothing not in first.references


# --- what is noted ---

SUMS = (
    "<TxsSummry><TtlNtries><NbOfNtries>{count}</NbOfNtries><Sum>{sum}</Sum></TtlNtries>"
    "<TtlCdtNtries><NbOfNtries>1</NbOfNtries><Sum>500</Sum></TtlCdtNtries></TxsSummry>"
)
BALANCE = (
    "<Bal><Tp><CdOrPrtry><Cd>{}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{}</Amt><CdtDbtInd>{}</CdtDbtInd>"
    "<Dt><Dt>2026-11-20</Dt></Dt></Bal>"
)


def notes(*parts: str) -> list[str]:
    reading = Reading()
    list(read_camt053(io.BytesIO(document(*parts)), reading))
    return reading.remarks()


def test_an_entry_that_two_statements_of_a_file_have() -> None:
    day = document(entry(), entry(), nameless(), nameless()).decode()
    begin, end = day.index("<Stmt>"), day.index("</Stmt>")
    month = day[begin:end].replace("<Id>S1</Id>", "<Id>NOVEMBER</Id>") + entry(
        reference="<AcctSvcrRef>NEW</AcctSvcrRef>"
    )
    reading = Reading()
    lines = list(read_camt053(io.BytesIO((day[:end] + "</Stmt>" + month + day[end:]).encode()), reading))
    assert [line.reference.partition("#")[0].partition(":")[0] for line in lines] == [
        *("BANK1", "BANK1", "entry", "entry", "entry", "entry", "NEW")
    ], "two of one statement stay two, and without a name nobody knows"
    assert len({line.reference for line in lines}) == 4, "which is told as duplicates"
    assert reading.remarks()[0].endswith("count once: 2.")
    page = day[begin:end].replace("<Id>S1</Id>", "<Id>S1</Id><StmtPgntn><PgNb>2</PgNb></StmtPgntn>")
    paged = read((day[:end] + "</Stmt>" + page + day[end:]).encode())
    assert len({line.reference for line in paged if line.reference.startswith("entry:")}) == 4, "the statement goes on"


def test_what_is_not_booked_and_details_of_another_sum_are_said() -> None:
    parts = part("a", euros("200")) + part("b", euros("301"))
    told = notes(entry(details=f"<NtryDtls>{parts}</NtryDtls>"), *[entry(status="<Sts>PDNG</Sts>")] * 2)
    assert "come to 501.00 EUR, and the entry to 500.00" in told[0]
    assert told[1:] == ["Entries that are not booked (PDNG, INFO, FUTR), and were left out: 2."]
    many = [
        entry(details=f"<NtryDtls>{parts}</NtryDtls>", reference=f"<AcctSvcrRef>N{n}</AcctSvcrRef>") for n in range(9)
    ]
    assert len(notes(*many)) == 6
    assert notes(*many)[-1] == "More entries whose details come to another sum, and that are read as one line: 4."
    assert "out: 1." in notes(entry(status="<Sts>INFO</Sts>"), SUMS.format(count=1, sum="500"), entry())[0], (
        "of those booked"
    )


def test_control_sums() -> None:
    debit = entry(amount=euros("20"), direction="<CdtDbtInd>DBIT</CdtDbtInd>")
    begin, end = BALANCE.format("OPBD", "10.00", "DBIT"), BALANCE.format("CLBD", "470.00", "CRDT")
    assert notes(begin, end, SUMS.format(count=2, sum="520.0"), entry(), debit) == []
    wrong = SUMS.format(count=3, sum="521")
    more = entry(amount=euros("0"), reference="<AcctSvcrRef>BANK2</AcctSvcrRef>")
    assert notes(begin, end, wrong, entry(), debit, more) == [
        "Statement S1 says a sum of entries of 521, and has 520.00: is it whole?",
        "Statement S1 says a number of credits of 1, and has 2: is it whole?",
    ]
    assert notes(begin, end, entry()) == [
        "Statement S1 goes from -10.00 to 470.00 EUR, and its entries come to 500.00: is it whole?"
    ]
    assert notes(SUMS.format(count="x", sum="1e999999999"), entry()) == [], "what is no number says nothing"


def test_an_entry_with_more_details_than_are_kept() -> None:
    many = part("a", euros("0.01")) * (DETAILS_MAX + 1)
    text = entry(amount=euros("100.01"), details=f"<NtryDtls>{many}</NtryDtls>")
    reading = Reading()
    [line] = read_camt053(io.BytesIO(document(text)), reading)
    assert (line.amount, line.references) == (10_001, ("BANK1", "a"))
    assert len(reading.notes) == 1


def test_the_memory_of_an_entry_with_many_details_is_bounded() -> None:
    start, end = document(entry(details="#")).split(b"#")
    file = Repeated(start, f"<NtryDtls>{part('a', euros('1'))}</NtryDtls>".encode() * 100, 150, end)
    tracemalloc.start()
    [line] = read_camt053(cast("BinaryIO", file), Reading())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert line.amount == 50_000
    assert peak < 10_000_000


class Repeated:
    """A file whose middle is there many times."""

    def __init__(self, start: bytes, middle: bytes, times: int, end: bytes) -> None:
        self._chunks = iter([start, *itertools.repeat(middle, times), end])

    def read(self, _: int) -> bytes:
        return next(self._chunks, b"")


def test_a_day_is_one_in_the_zone_of_the_business() -> None:
    for zone, hour in (("Europe/Berlin", 0), ("America/New_York", 5), ("UTC", 0)):
        [line] = read_camt053(io.BytesIO(document(entry())), Reading(zone=ZoneInfo(zone)))
        assert (line.booked_at, line.reference) == (datetime(2026, 11, 20, hour, tzinfo=UTC), LINE.reference)


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ('<BizMsgEnvlp xmlns="urn:x"><AppHdr/></BizMsgEnvlp>', "business message header: take the Document out"),
        ('<AppHdr xmlns="urn:iso:std:iso:20022:tech:xsd:head.001.001.02"/>', "take the Document out"),
        ('<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.052.001.08"/>', "report of a day that is not over"),
        ('<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"/>', "notification of single entries"),
        ('<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"/>', "another message (pain.001)"),
        (
            '<Document xmlns="urn:swift:xsd:camt.053.001.02"/>',
            "namespace 'urn:swift:xsd:camt.053.001.02', and a statement",
        ),
        ("\n<?xml version='1.0'?>", "(XML or text declaration not at start of entity, column 1): upload"),
        (document().decode() * 2, "(junk after document element, column"),
    ],
)
def test_another_document_is_told_what_it_is(root: str, told: str) -> None:
    assert told in refused(root.encode())[1]


DTD = '<?xml version="1.0"?><!DOCTYPE Document [{}]>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "prolog",
    [
        DTD.format(""),
        DTD.format(f'<!ENTITY l0 "ha">{LAUGHS}'),
        DTD.format('<!ENTITY x SYSTEM "file:///etc/passwd">'),
        DTD.format('<!ENTITY % x SYSTEM "http://127.0.0.1:1/x">%x;'),
        '<?xml version="1.0"?><!DOCTYPE Document SYSTEM "http://127.0.0.1:1/x.dtd">',
        '<?xml version="1.0"?><!DOCTYPE Document PUBLIC "a" "file:///etc/passwd">',
    ],
)
def test_document_types_and_entities_are_refused(prolog: str) -> None:
    for text in ("&l9;", "&x;", "500"):
        assert "document type" in refused(document(entry(amount=euros(text)), prolog=prolog))[1]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "not well-formed"),
        (b"no xml", "not well-formed"),
        (b"<a/>", "not a camt.053"),
        (b"<Document/>", "not a camt.053"),
        (f'<Document xmlns="{URN}08"/>'.encode(), "no statement"),
        (f'<Document xmlns="{URN}08"><BkToCstmrAcctRpt/></Document>'.encode(), "no statement"),
        (document().replace(b"camt.053.001", b"camt.052.001"), "not a camt.053"),
        (document(version="8"), "not a camt.053"),
        (document(version="08evil"), "not a camt.053"),
        (document(entry(amount=euros("&undefined;"))), "not well-formed"),
        (document(entry())[:-20], "not well-formed"),
        (document(entry()) + b"<more/>", "not well-formed"),
        (document(entry()).replace(b"STRIPE", b"\xff\xfe"), "not well-formed"),
        (document(prolog='<?xml version="1.0" encoding="klingon"?>'), "not"),
        (document(prolog='<?xml version="1.0" encoding="big5"?>'), "not"),
        (document("<a>" * 100 + "</a>" * 100), "inside one another"),
        (document(entry(details="<NtryDtls>" + "<a>" * 100_000)), "inside one another"),
        (document(entry(more=f"<AddtlNtryInf>{'x' * (PART_MAX + 1)}</AddtlNtryInf>")), "without end"),
        (document(entry(more="<a/>" * (PART_MAX // 64 + 1))), "without end"),
        (
            document(entry(details=f"<NtryDtls><TxDtls>{'<a/>' * (PART_MAX // 64 + 1)}</TxDtls></NtryDtls>")),
            "without end",
        ),
        (document(f'<Ntry a="{"x" * (3 * PART_MAX)}"/>'), "no end"),
    ],
)
def test_what_is_no_statement(file: bytes, reason: str) -> None:
    line_no, told = refused(file)
    assert line_no >= 1
    assert reason in told


def test_a_file_that_is_cut_gives_lines_and_then_an_error() -> None:
    entries = [entry(reference=f"<AcctSvcrRef>B{number}</AcctSvcrRef>") for number in range(2000)]
    lines = read_camt053(io.BytesIO(document(*entries)[:-100]), Reading())
    assert next(lines).reference.startswith("B0#")
    with pytest.raises(SettlementFileError):
        list(lines)


class Watched(io.BytesIO):
    """A file that knows how far it was read."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.largest = max(self.largest, size or 0)
        return super().read(size)


def test_entries_come_while_the_file_is_read() -> None:
    file = Watched(document(*[entry()] * 5000))
    lines = read_camt053(file, Reading())
    assert next(lines) == LINE
    assert file.tell() <= 2 * CHUNK_BYTES
    assert sum(1 for _ in lines) == 4999
    assert file.largest == CHUNK_BYTES
    assert not file.closed


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 100))
def test_no_other_error_than_ours(noise: bytes, at: int, cut: int) -> None:
    whole = document(entry())
    for file in (noise, whole[:at] + noise + whole[at + cut :]):
        with suppress(SettlementFileError):
            read(file)


# --- the sandbox ---


async def test_the_sandboxs_statement(account: "Account") -> None:
    await account.control("PATCH", "account", {"payout_delay_s": None, "available_delay_s": 0})
    await account.psp.charge(account.request(), timeout_s=5)
    payout = await account.control("POST", "platform_payouts", {"currency": "usd", "amount": 5_000})
    for step in ("pay", "return"):
        await account.control("POST", f"payouts/{payout['id']}/{step}")
    await account.control("POST", "bank/entries", {"amount": 77, "currency": "jpy", "text": "of nobody"})
    file = await account.download("bank/statement", **{"from": 0, "to": 4_000_000_000})
    lines = read(file)
    assert {(line.amount, line.currency) for line in lines} == {(5_000, "USD"), (-5_000, "USD"), (77, "JPY")}
    assert sum(payout["id"] in line.references for line in lines) == 2
    assert len({line.reference for line in lines}) == 3

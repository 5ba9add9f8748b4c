"""The platform's bank: what arrived from the provider, as a camt.053 statement.

https://www.iso20022.org/message/camt.053.001.08; amounts of the entries are minor units.
"""

import hashlib
import json
from datetime import UTC, datetime, tzinfo
from xml.etree import ElementTree as Xml

from sandbox.accounts import Account
from sandbox.context import Context
from sandbox.currencies import major
from sandbox.errors import Doc
from sandbox.store import new_id

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
DAY_S = 86_400
DEFAULT_CURRENCY = "usd"
NO_REFERENCE = "NOTPROVIDED"


def book(ctx: Context, amount: int, currency: str, reference: str, text: str, *, credit: bool, at: int) -> Doc:
    """Add an entry; `reference` is the sender's end-to-end id."""
    entry: Doc = {
        "id": new_id("bke"),
        "created": at,
        "amount": amount,
        "currency": currency,
        "credit": credit,
        "reference": reference,
        "text": text,
    }
    ctx.insert("bank_entries", entry)
    return entry


def book_payout(ctx: Context, payout: Doc, *, credit: bool) -> Doc:
    """A payout of the platform itself arrives at its bank, or is sent back. The statement names it as `bank_names` says
    at that time."""
    text = f"STRIPE {payout['id']}"
    return book(ctx, payout["amount"], payout["currency"], payout["id"], text, credit=credit, at=ctx.account.now)


def _named(ctx: Context, payout: Doc) -> Doc:
    """The sender's end-to-end id and the text of a payout's entry, where they are not its id."""
    names = ctx.account.settings.bank_names
    if names == "payout":
        return {}
    traced = names == "trace_id" and payout.get("_trace")
    return {"reference": payout["_trace"] if traced else NO_REFERENCE, "text": "STRIPE PAYOUT"}


def statement(ctx: Context, start: int, end: int) -> bytes:
    """A camt.053.001.08 document about the entries booked from `start` until before `end`: one Stmt a currency."""
    document = Xml.Element("Document", xmlns=NAMESPACE)
    report = Xml.SubElement(document, "BkToCstmrStmt")
    header = Xml.SubElement(report, "GrpHdr")
    _text(header, "MsgId", f"STMT-{start}-{end}")
    _text(header, "CreDtTm", _moment(ctx.account.now))
    entries = _shown(ctx, end)
    for currency in sorted({entry["currency"] for entry in entries}) or [DEFAULT_CURRENCY]:
        _statement(report, ctx, start, end, [entry for entry in entries if entry["currency"] == currency], currency)
    Xml.indent(document)
    written: bytes = Xml.tostring(document, encoding="utf-8", xml_declaration=True)
    return written


def iban_of(account: Account, currency: str) -> str:
    """The IBAN of the platform's bank account in this currency, made up but with valid check digits."""
    number = f"{int(hashlib.sha256(f'{account.id}/{currency}'.encode()).hexdigest(), 16) % 10**18:018d}"
    return f"DE{98 - int(number + '131400') % 97:02d}{number}"


def _shown(ctx: Context, end: int) -> list[Doc]:
    """Everything booked before `end`, oldest first, as the bank reports it (`PATCH /_control/payouts/{po}/bank`)."""
    query = "SELECT doc FROM bank_entries WHERE account = ? AND created < ? ORDER BY created, seq"
    shown = []
    for (text,) in ctx.store.db.execute(query, (ctx.account.id, end)).fetchall():
        entry = json.loads(text)
        payout = ctx.find("payouts", entry["reference"]) or {}
        lies = payout.get("_bank", {})
        if not lies.get("hidden"):
            named = _named(ctx, payout) if payout else {}
            shown.append(entry | named | {name: value for name, value in lies.items() if name == "amount"})
    return shown


def _statement(report: Xml.Element, ctx: Context, start: int, end: int, entries: list[Doc], currency: str) -> None:
    opening = sum(_signed(entry) for entry in entries if entry["created"] < start)
    inside = [entry for entry in entries if entry["created"] >= start]
    node = Xml.SubElement(report, "Stmt")
    _text(node, "Id", f"{start}-{end}-{currency.upper()}")
    # Statements of consecutive days have consecutive numbers.
    _text(node, "ElctrncSeqNb", str(start // DAY_S))
    _text(node, "CreDtTm", _moment(ctx.account.now))
    _text(node, "FrToDt/FrDtTm", _moment(start))
    _text(node, "FrToDt/ToDtTm", _moment(end))
    _text(node, "Acct/Id/IBAN", iban_of(ctx.account.platform, currency))
    _text(node, "Acct/Ccy", currency.upper())
    zone = ctx.account.settings.zone
    _balance(node, "OPBD", opening, currency, _day(start, zone))
    _balance(node, "CLBD", opening + sum(_signed(entry) for entry in inside), currency, _day(end - 1, zone))
    for entry in inside:
        _entry(node, entry, _day(entry["created"], zone))


def _balance(statement: Xml.Element, kind: str, amount: int, currency: str, day: str) -> None:
    node = Xml.SubElement(statement, "Bal")
    _text(node, "Tp/CdOrPrtry/Cd", kind)
    _amount(node, amount, currency)
    _text(node, "Dt/Dt", day)


def _entry(statement: Xml.Element, entry: Doc, day: str) -> None:
    node = Xml.SubElement(statement, "Ntry")
    _amount(node, _signed(entry), entry["currency"])
    _text(node, "Sts/Cd", "BOOK")
    for name in ("BookgDt", "ValDt"):
        _text(node, f"{name}/Dt", day)
    _text(node, "AcctSvcrRef", entry["id"])
    _text(node, "BkTxCd/Domn/Cd", "PMNT")
    _text(node, "BkTxCd/Domn/Fmly/Cd", "RCDT" if entry["credit"] else "ICDT")
    _text(node, "BkTxCd/Domn/Fmly/SubFmlyCd", "ESCT")
    _text(node, "NtryDtls/TxDtls/Refs/EndToEndId", entry["reference"])
    _text(node, "NtryDtls/TxDtls/RmtInf/Ustrd", entry["text"])


def _signed(entry: Doc) -> int:
    return int(entry["amount"] if entry["credit"] else -entry["amount"])


def _amount(parent: Xml.Element, amount: int, currency: str) -> None:
    node = Xml.SubElement(parent, "Amt", Ccy=currency.upper())
    node.text = major(abs(amount), currency)
    _text(parent, "CdtDbtInd", "CRDT" if amount >= 0 else "DBIT")


def _text(parent: Xml.Element, path: str, text: str) -> None:
    """Put a text under a path of elements; the last one is always new."""
    *outer, name = path.split("/")
    for step in outer:
        found = parent.find(step)
        parent = Xml.SubElement(parent, step) if found is None else found
    Xml.SubElement(parent, name).text = text


def _day(at: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""The name of a document that is sent as a bank's statement and is none."""

import re

_KIND = re.compile(r"\{urn:iso:std:iso:20022:tech:xsd:([a-z]{4}\.[0-9]{3})\.[0-9.]+\}.*", re.ASCII | re.DOTALL)
_KINDS = {
    "camt.052": "an account report of a day that is not over",
    "camt.054": "a notification of single entries",
    "head.001": "a message inside a business message header: take the Document out of it",
}
_ENVELOPES = frozenset(
    {"AppHdr", "BizMsg", "BizMsgEnvlp", "BusinessMessage", "DataPDU", "Envelope", "RequestPayload", "Xchg"}
)


def not_a_statement(tag: str) -> str:
    """The reason why a document is refused, by its root element: it names what the document is, and the remedy."""
    kind, name = _KIND.fullmatch(tag), tag.rpartition("}")[2]
    if kind is None and name in _ENVELOPES:
        return f"not a camt.053 statement but {_KINDS['head.001']}"
    if kind is None or kind[1] == "camt.053":
        space = tag[1:].rpartition("}")[0]
        where = f" of the namespace {space[:80]!r}" if space else ""
        return (
            f"not a camt.053 statement: it begins with {name[:50]!r}{where}, and a statement does with Document of "
            "'urn:iso:std:iso:20022:tech:xsd:camt.053.001.08', or of another version: ask the bank for that"
        )
    what = _KINDS.get(kind[1], "another message")
    return f"not a camt.053 statement but {what} ({kind[1]})" + ("" if ":" in what else ": ask the bank for camt.053")

"""The catalogue of events: schemas are current, a change that breaks a consumer is found, none tells of a person."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from db.schema.classification import Kind, classified
from docs.generate_events import broken, main
from domain.event_types import event_types

Schema = dict[str, Any]
OLD: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^pay_"},
        "amount": {"type": "string"},
        "lines": {"type": "integer"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "kind": {"enum": ["card", "upi"]},
        "part": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
        "list": {"type": "array", "items": {"type": "string"}},
        "hint": {"type": "string", "format": "date-time"},
    },
    "required": ["id", "amount", "lines", "note", "kind", "part", "list"],
}


def _add(schema: Schema, name: str, more: Schema) -> None:
    schema["properties"][name] = more


def _add_required(schema: Schema) -> None:
    _add(schema, "new", {"type": "string"})
    schema["required"].append("new")


def _remove(schema: Schema, name: str) -> None:
    del schema["properties"][name]
    if name in schema["required"]:
        schema["required"].remove(name)


def _rename(schema: Schema) -> None:
    _add(schema, "sum", schema["properties"]["amount"])
    _remove(schema, "amount")
    schema["required"].append("sum")


CHANGES: dict[str, tuple[bool, Callable[[Schema], Any]]] = {
    "a description": (True, lambda s: s["properties"]["id"].update(description="ours")),
    "a field is added": (True, lambda s: _add(s, "new", {"type": "string"})),
    "a required field is added": (True, _add_required),
    "a field with a pattern is added": (True, lambda s: _add(s, "new", {"type": "string", "pattern": "^x"})),
    "a field is required": (True, lambda s: s["required"].append("hint")),
    "null is no longer allowed": (True, lambda s: _add(s, "note", {"type": "string"})),
    "a word goes": (True, lambda s: _add(s, "kind", {"enum": ["card"]})),
    "a field is added inside": (True, lambda s: s["properties"]["part"]["properties"].update(y={"type": "integer"})),
    "a field goes": (False, lambda s: _remove(s, "lines")),
    "a field is renamed": (False, _rename),
    "a field may be missing": (False, lambda s: s["required"].remove("amount")),
    "a field may be null": (False, lambda s: _add(s, "amount", {"anyOf": [{"type": "string"}, {"type": "null"}]})),
    "another type": (False, lambda s: _add(s, "lines", {"type": "string"})),
    "a wider type": (False, lambda s: _add(s, "lines", {"type": "number"})),
    "a word is added": (False, lambda s: _add(s, "kind", {"enum": ["card", "upi", "wallet"]})),
    "a field inside goes": (False, lambda s: _add(s, "part", {"type": "object", "properties": {}})),
    "another type in a list": (False, lambda s: _add(s, "list", {"type": "array", "items": {"type": "integer"}})),
    "another pattern": (False, lambda s: s["properties"]["id"].update(pattern="^po_")),
    "a pattern goes": (False, lambda s: s["properties"]["id"].pop("pattern")),
    "a pattern is added": (False, lambda s: s["properties"]["amount"].update(pattern=r"^\d+$")),
    "another format": (False, lambda s: s["properties"]["hint"].update(format="date")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_judged(change: str) -> None:
    fits, make = CHANGES[change]
    new = deepcopy(OLD)
    make(new)
    assert (broken(OLD, new) is None) is fits


def test_page_and_schemas_are_current() -> None:
    assert main(["--check"]) == 0


TABLES = {
    "payment": ("payment", "payment_order"),
    "payment_order": ("payment_order", "payment"),
    "refund": ("refund",),
    "dispute": ("dispute",),
    "payout": ("payout",),
    "reconciliation": ("reconciliation_run",),
    "discrepancy": ("discrepancy",),
    "merchant": ("merchant",),
    "review": ("risk_decision", "payment"),
    "task": ("operator_task",),
    "webhook_endpoint": ("webhook_endpoint",),
    "ledger": ("ledger_transaction", "ledger_posting"),
}
_OF_SELLERS = {"seller_account"}
"""The shop's own name of a seller: without it nobody knows whose the money is."""


def _fields(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for part in schema for name in _fields(part)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", ()))
    return own.union(*(_fields(part) for part in schema.values()))


@pytest.mark.parametrize("noun", TABLES)
def test_no_event_tells_of_a_person_or_has_a_token(noun: str) -> None:
    kept = {Kind.OWN, Kind.SHOP}
    private = {column for table, column, kind in classified() if table in TABLES[noun] and kind not in kept}
    mine = [one for one in event_types().values() if one.name.partition(".")[0] == noun]
    assert mine
    found = set().union(*(_fields(one.schema()) for one in mine)) - _OF_SELLERS
    assert not found & private
    suspicious = ("mail", "phone", "address", "token", "secret", "buyer", "card", "name")
    assert not [field for field in found if any(word in field for word in suspicious)]


def test_every_noun_is_held_to_this() -> None:
    assert {one.name.partition(".")[0] for one in event_types().values()} == set(TABLES)


def test_the_schemas_name_themselves() -> None:
    for one in event_types().values():
        assert json.loads(json.dumps(one.schema()))["$id"] == one.dataschema

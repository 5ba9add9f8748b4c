"""Every column that can hold text, JSON or bytes is classified, and the page of the data says what is in it."""

from pathlib import Path

import pytest
from sqlalchemy import ARRAY, JSON, Column, LargeBinary, String

from db.people.forget import ERASED
from db.people.reseal import DIGESTS, FILES, PERSON_COLUMNS, RING_COLUMNS
from db.schema.classification import Kind, classified
from db.schema.every import metadata

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
NAMES = [(table, column, kind) for table, column, kind in classified()]


def of_kind(*kinds: Kind) -> set[str]:
    return {f"{table}.{column}" for table, column, kind in NAMES if kind in kinds}


def can_hold_anything(column: Column[object]) -> bool:
    kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
    return isinstance(kind, String | LargeBinary | JSON)


def test_every_column_is_classified_once() -> None:
    columns = [c for table in metadata.sorted_tables for c in table.columns if can_hold_anything(c)]
    stored = {f"{column.table}.{column.name}" for column in columns}
    names = [f"{table}.{column}" for table, column, _ in NAMES]
    new, gone = stored - set(names), set(names) - stored
    assert not new, f"classify {sorted(new)} in db/schema/classification.py"
    assert not gone
    assert len(names) == len(set(names))


def test_what_is_encrypted_is_encrypted_again_when_keys_are_rotated() -> None:
    assert {f"{c.table.name}.{c.name}" for c in PERSON_COLUMNS} | {"person_email.email"} == of_kind(Kind.PERSON_KEY)
    ring = {f"{one.table.name}.{one.column.name}" for one in RING_COLUMNS} | {f"{FILES.table.name}.{FILES.name}"}
    assert ring == of_kind(Kind.RING_KEY)
    assert {f"{c.table.name}.{c.name}" for c in DIGESTS} <= of_kind(Kind.DIGEST)


@pytest.mark.parametrize("name", sorted(of_kind(Kind.BUYER, Kind.PERSON_KEY)))
def test_what_tells_of_a_buyer_is_erased(name: str) -> None:
    assert name in ERASED


@pytest.mark.parametrize("name", sorted(of_kind(*(set(Kind) - {Kind.OWN}))))
def test_the_page_of_the_data_has_it(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text()

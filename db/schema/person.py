"""Tables of people: a key for each buyer of a tenant of whom something is stored encrypted, and their addresses."""

from sqlalchemy import Column, ForeignKey, LargeBinary, Table, Text, UniqueConstraint

from db.schema.base import _created, _id, _moment, _tenant, _text, metadata

person = Table(
    "person",
    metadata,
    _id(),
    _tenant(),
    _text("buyer_id"),
    Column("key", LargeBinary, comment="wrapped by the keyring; null: destroyed, and nobody reads what it encrypted"),
    _created(),
    _moment("forgotten_at"),
    UniqueConstraint("tenant_id", "buyer_id"),
)

# The addresses by which a person is found; rows are deleted with the person's key.
person_email = Table(
    "person_email",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True, comment="keyed by the ring"),
    Column("person_id", Text, ForeignKey("person.id"), primary_key=True, index=True),
    Column("email", LargeBinary, nullable=False, comment="encrypted under the person's key"),
)

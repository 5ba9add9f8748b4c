"""The table of months: those whose numbers have been given out, and when that began."""

from sqlalchemy import Column, Integer, Table

from db.schema.base import _flag, _moment, metadata

month = Table(
    "month",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False, comment="YYMM"),
    _moment("begun_at", required=True),
    _flag("outbox_from"),
)
month.c.outbox_from.comment = "what the outbox had before it was dropped"

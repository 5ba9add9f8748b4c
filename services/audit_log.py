"""The audit log: reading who did what, as pages, CSV and JSON lines."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from db import audit_log
from db.audit_log import AuditEntry, Wanted
from db.core.database import Database
from domain.limits import LogText
from domain.statement import csv_line, moment
from services.command import check

AUDIT_COLUMNS = ("seq", "at", "tenant_id", "actor", "key", "address", "action", "object_id", "detail")
"""`detail` is JSON."""


class AuditEntryOut(BaseModel):
    """A row of the log as JSON."""

    model_config = ConfigDict(frozen=True)

    object: Literal["audit_entry"] = "audit_entry"
    seq: int
    at: datetime
    tenant_id: str
    actor: str = Field(description="the API key's id, a person's name, or `client_token`: a checkout page")
    key: str | None = Field(description="the API key's name; null: no key did it")
    address: str | None = Field(description="of the client, where it came over HTTP", examples=["203.0.113.7"])
    action: str = Field(examples=["payment.cancel"])
    object_id: str = Field(examples=["pay_01kafm6e8n3r5t7v9x2z4b6d8f"])
    detail: Mapping[str, JsonValue]


async def page(
    database: Database, tenant_id: str | None, wanted: Wanted, *, before: int | None = None, limit: int
) -> list[AuditEntry]:
    """The rows of a tenant (None: of all), the newest first; `before`: the `seq` that the page before ended with.
    Raises Unprocessable `field_invalid`, `text_invalid`, `card_data_forbidden`."""
    for name in ("actor", "action", "object_id"):
        if (text := getattr(wanted, name)) is not None:
            check(LogText, text, name)
    return await database.read(lambda c: audit_log.page(c, tenant_id, wanted, before=before, limit=limit))


def entry_out(row: AuditEntry) -> AuditEntryOut:
    return AuditEntryOut.model_validate({n: getattr(row, n) for n in AuditEntryOut.model_fields if n != "object"})


def entry_csv(row: AuditEntry) -> str:
    """One line; see AUDIT_COLUMNS."""
    detail = json.dumps(row.detail, ensure_ascii=False, sort_keys=True)
    texts = (row.tenant_id, row.actor, row.key, row.address, row.action, row.object_id, detail)
    return csv_line([str(row.seq), moment(row.at), *texts])


def entry_json(row: AuditEntry) -> str:
    """One line of JSON."""
    return entry_out(row).model_dump_json() + "\n"

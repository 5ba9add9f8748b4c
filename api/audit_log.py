"""`/v1/audit-log`: who did what, from where; as pages, or as a file."""

from typing import Annotated, Literal

from fastapi import Query, Response

from api.access import AuditReader, tenant_of
from api.context import RuntimeOf, json_answer
from api.cursor import LIMIT_DEFAULT, Cursor, FileLimit, decode, encode
from api.fields import Out
from api.history import Since, Until
from api.problems import READ_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from api.tables import MEDIA_TYPES, Accept, also_csv, chosen, file
from db.audit_log import Wanted
from services import audit_log
from services.audit_log import AUDIT_COLUMNS, AuditEntryOut, entry_csv, entry_json, entry_out
from services.pages import pages

router = Router(prefix="/v1", tags=["history"], route_class=StrictRoute)

_ACTOR = "an API key's id or name, a person's name, or `client_token`: a checkout page"


class AuditLogList(Out):
    object: Literal["list"] = "list"
    data: list[AuditEntryOut]
    next_cursor: str | None


_ANSWER = also_csv(AUDIT_COLUMNS)
_ANSWER[200]["content"][MEDIA_TYPES["jsonl"]] = {"schema": {"type": "string"}}
_ANSWER[200]["description"] = "as JSON, or as the file that `format` or `Accept` asks for"


@router.get(
    "/audit-log", response_model=AuditLogList, responses=READ_PROBLEMS | _ANSWER, summary="The audit log, newest first"
)
async def list_audit_log(
    who: AuditReader,
    runtime: RuntimeOf,
    actor: Annotated[str | None, Query(max_length=255, description=_ACTOR, examples=["development"])] = None,
    action: Annotated[
        str | None,
        Query(max_length=255, description="one action, or all of a noun: `payment`", examples=["payment.cancel"]),
    ] = None,
    object_id: Annotated[str | None, Query(max_length=255, description="of what was acted on")] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: FileLimit = None,
    form: Annotated[
        Literal["json", "csv", "jsonl"] | None,
        Query(alias="format", description="left out, `Accept` decides", examples=["json"]),
    ] = None,
    accept: Accept = MEDIA_TYPES["json"],
) -> Response:
    """A row for everything that was created, moved or changed, by an API key (with its name), by a person who has
    logged in (both with the client's address) or by one at a terminal; written in the transaction that did it, and
    never changed. As a file it has all that the filters match, unless `limit` says otherwise."""
    wanted = Wanted(since, until, actor, action, object_id)
    position = decode("audit_log", cursor)
    before = int(position) if position else None
    database, tenant_id = runtime.reports, tenant_of(who)
    ending = chosen(form, accept, ("json", "csv", "jsonl"))
    if ending != "json":
        found = pages(
            lambda seq, n: audit_log.page(database, tenant_id, wanted, before=seq, limit=n),
            lambda row: row.seq,
            after=before,
            limit=limit,
        )
        write, columns = (entry_csv, AUDIT_COLUMNS) if ending == "csv" else (entry_json, None)
        return await file(f"audit-log.{ending}", found, write, columns)
    size = limit or LIMIT_DEFAULT
    rows = await audit_log.page(database, tenant_id, wanted, before=before, limit=size + 1)
    following = encode("audit_log", rows[size - 1].seq) if len(rows) > size else None
    page = AuditLogList(data=[entry_out(row) for row in rows[:size]], next_cursor=following)
    return json_answer(page)

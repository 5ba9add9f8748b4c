"""`/v1/event-types`: what events there are, and the schema of each, for whoever consumes them."""

from functools import cache
from typing import Any, Literal

from fastapi import Response
from pydantic import Field

from api.fields import Out
from api.routing import Router
from domain.event_types import event_types

router = Router(prefix="/v1", tags=["events"])


class EventTypeOut(Out):
    type: str = Field(examples=["payment.succeeded"])
    version: int
    cloudevents_type: str = Field(examples=["com.paysaga.payment.succeeded.v1"])
    dataschema: str = Field(examples=["urn:paysaga:event:payment.succeeded:1"])
    description: str
    json_schema: dict[str, Any] = Field(description="JSON Schema of the event's data")


class EventTypeList(Out):
    object: Literal["list"] = "list"
    data: list[EventTypeOut]


@cache
def _document() -> bytes:
    """The same for everybody, and long."""
    found = [
        EventTypeOut(
            type=one.name,
            version=one.version,
            cloudevents_type=one.cloud_type,
            dataschema=one.dataschema,
            description=one.description,
            json_schema=one.schema(),
        )
        for one in event_types().values()
    ]
    return EventTypeList(data=found).model_dump_json().encode()


@router.get(
    "/event-types",
    response_model=EventTypeList,
    summary="List the types of events",
)
async def list_event_types() -> Response:
    """Each version of each type, with its JSON Schema; for everybody, as this page is. Fields are added within a
    version; nothing else changes."""
    return Response(_document(), media_type="application/json")

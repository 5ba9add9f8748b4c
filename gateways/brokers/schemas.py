"""Event schemas in a registry that speaks Confluent's API.

Each version of a type is a subject of its own, named as CloudEvents name it: `com.paysaga.payment.succeeded.v1`. Its
compatibility is FORWARD, the rule that our own releases keep: whoever reads with an old schema understands what is
written by the new one.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import quote

import httpx2

from domain.errors import Unavailable
from domain.event_types import EventType
from domain.model import Frozen

_TIMEOUT_S = 10.0
_TYPE = "application/vnd.schemaregistry.v1+json"
_REFUSED = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


class Registration(Frozen):
    """A subject, and the registry's id of its schema; `refused`: why the registry does not take it."""

    subject: str
    id: int | None = None
    refused: str | None = None


async def register(url: str, types: Iterable[EventType]) -> list[Registration]:
    """Have the registry know the schema of each; one that it has already stays as it is. Raises Unavailable."""
    address = httpx2.URL(url)
    login = (address.username, address.password) if address.username else None
    base = address.copy_with(username=None, password=None, path=address.path.rstrip("/") + "/")
    try:
        async with httpx2.AsyncClient(
            base_url=base, auth=login, timeout=_TIMEOUT_S, headers={"Content-Type": _TYPE}
        ) as client:
            return [await _register(client, one) for one in types]
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        raise Unavailable(f"The schema registry does not answer as one: {type(error).__name__}.") from error


async def _register(client: httpx2.AsyncClient, one: EventType) -> Registration:
    subject = quote(one.cloud_type, safe="")
    content = json.dumps({"schemaType": "JSON", "schema": json.dumps(one.schema(), sort_keys=True)})
    # Some take no rule for a subject that has no schema yet, and the first schema needs none.
    for last in (False, True):
        ruled = await client.put(f"config/{subject}", content=json.dumps({"compatibility": "FORWARD"}))
        if last or ruled.status_code != HTTPStatus.NOT_FOUND:
            ruled.raise_for_status()
        answer = await client.post(f"subjects/{subject}/versions", content=content)
        if answer.status_code in _REFUSED:
            return Registration(subject=one.cloud_type, refused=str(answer.json()["message"]))
        answer.raise_for_status()
        if ruled.is_success:
            break
    return Registration(subject=one.cloud_type, id=answer.json()["id"])

"""`/codec`: Temporal's remote codec protocol, by which its UI and its terminal show what is encrypted in histories."""

import base64
from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Header, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.api.common.v1 import Payload

from api import examples
from api.access import authorize, bearer, note_address, owner_of_key, require_scopes
from api.browser import person_in_browser, token_of
from api.context import RuntimeOf, json_answer, runtime
from api.problems import problems
from api.routing import Router
from api.strict import UnsupportedMediaType
from config.settings import Settings
from domain.access import Principal
from domain.card_data import require_text
from services.codec import Histories

router = Router(prefix="/codec", tags=["operations"])

PATH = "/codec/"
BYTES_MAX = 4 * 1024 * 1024
"""A payload has two megabytes at most; ours have a few hundred bytes."""
_PAYLOADS_MAX = 1_000
_NAME_LENGTH_MAX = 1_000


def _decoded(value: object) -> bytes:
    if not isinstance(value, str):
        raise PydanticCustomError("base64", "It is a string in base64.")
    return base64.b64decode(value, validate=True)


Base64 = Annotated[
    bytes,
    PlainValidator(_decoded),
    PlainSerializer(lambda value: base64.b64encode(value).decode()),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        }
    ),
]


class PayloadShape(BaseModel):
    """One payload, as protobuf's JSON has it."""

    model_config = ConfigDict(frozen=True)

    metadata: dict[str, Base64] = Field(default={}, max_length=20)
    data: Base64 = b""


class Payloads(BaseModel):
    """Payloads of a request and of its answer, which has as many, in the same order."""

    model_config = ConfigDict(frozen=True)

    payloads: list[PayloadShape] = Field(max_length=_PAYLOADS_MAX)


async def operator_principal(
    request: Request, scopes: SecurityScopes, given: Annotated[object, Depends(bearer)]
) -> Principal:
    """The owner of a request from Temporal's UI, a page of another origin, or from its terminal: by a bearer token, or
    by the cookie of a person who has logged in with this browser.

    In the embedded stack the UI on this machine needs no login: it is the development key's. Raises as `authorize` and
    `person_in_browser`.
    """
    settings = (await runtime(request)).settings
    local = settings.codec_local_api_key
    if given is None and token_of(request) is not None:
        who = await person_in_browser(request, *origins_of_the_ui(settings), settings.public_url)
    elif given is None and local is not None and _is_the_ui_on_this_machine(request, settings):
        note_address(request)
        who = await owner_of_key(request, local.get_secret_value())
    else:
        return await authorize(request, scopes.scopes)
    request.state.principal = who
    require_scopes(who, scopes.scopes)
    return who


def _is_the_ui_on_this_machine(request: Request, settings: Settings) -> bool:
    """A browser on this machine that shows the page of Temporal's UI: another site's page has another origin."""
    if request.client is None or request.headers.get("origin") not in origins_of_the_ui(settings):
        return False
    with suppress(ValueError):
        return ip_address(request.client.host).is_loopback
    return False


def origins_of_the_ui(settings: Settings) -> list[str]:
    """The origin of Temporal's UI, as a browser names it: on this machine, by name and by number."""
    if settings.temporal_ui_url is None:
        return []
    url = urlsplit(settings.temporal_ui_url)
    found = f"{url.scheme}://{url.netloc}"
    twins = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}
    twin = twins.get(url.hostname or "")
    return [found] if twin is None else [found, found.replace(str(url.hostname), twin)]


HistoriesReader = Annotated[Principal, Security(operator_principal, scopes=["histories:read"])]


async def _histories(request: Request) -> Histories:
    found: Histories = request.app.state.histories
    return found


HistoriesOf = Annotated[Histories, Depends(_histories)]

_RESPONSES = {
    200: {"model": Payloads, "description": "The same payloads"},
    **problems(400, 401, 403, 413, 415, 422, 503),
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Payloads"},
                "examples": {"one": {"summary": "One payload", "value": examples.PAYLOADS}},
            }
        },
    }
}
"""Described here and read by the route itself: so it is read only once it is known who asks."""


@router.post("/decode", response_model=Payloads, responses=_RESPONSES, openapi_extra=_BODY, summary="Decrypt payloads")
async def decode_payloads(
    request: Request,
    who: HistoriesReader,
    runtime: RuntimeOf,
    histories: HistoriesOf,
    namespace: Annotated[str | None, Header(alias="X-Namespace", max_length=_NAME_LENGTH_MAX)] = None,
    workflow_id: Annotated[
        str | None,
        Header(
            alias="X-Workflow-Id",
            max_length=_NAME_LENGTH_MAX,
            description="for the audit log, as `temporal --codec-header X-Workflow-Id=…` sends it",
        ),
    ] = None,
) -> Response:
    """For Temporal's UI and `temporal --codec-endpoint`: the payloads of a history in plain. Who reads is in the audit
    log, once a minute."""
    for name in (namespace, workflow_id):
        require_text(name or "")
    asked = namespace or runtime.settings.temporal_namespace
    return _answer(await histories.decode(await _read(request), who, namespace=asked, workflow_id=workflow_id or None))


@router.post("/encode", response_model=Payloads, responses=_RESPONSES, openapi_extra=_BODY, summary="Encrypt payloads")
async def encode_payloads(request: Request, _: HistoriesReader, histories: HistoriesOf) -> Response:
    """For what is typed into Temporal's UI, or given to `temporal --codec-endpoint`: the inputs of signals and updates,
    as they go into the history."""
    return _answer(await histories.encode(await _read(request)))


async def _read(request: Request) -> list[Payload]:
    """Raises UnsupportedMediaType; RequestValidationError, as for other routes: 400 `malformed_json`, 422."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("The body must be application/json.")
    try:
        asked = Payloads.model_validate_json(await request.body())
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        # The fourth part is a name in the metadata, which may be anything: it is not said back.
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"][:3])} for one in found]) from None
    return [Payload(metadata=one.metadata, data=one.data) for one in asked.payloads]


def _answer(payloads: list[Payload]) -> Response:
    shapes = [PayloadShape.model_construct(metadata=dict(one.metadata), data=one.data) for one in payloads]
    return json_answer(Payloads(payloads=shapes))


class CodecCors:
    """ASGI middleware: the page of Temporal's UI, and no other, may ask here from a browser, with the browser's
    cookies."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=origins_of_the_ui(settings),
            allow_methods=["POST"],
            allow_headers=["Authorization", "Content-Type", "X-Namespace"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope["type"] == "http" and scope["path"].startswith(PATH)
        await (self._open if is_ours else self._app)(scope, receive, send)

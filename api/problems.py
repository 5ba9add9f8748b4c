"""Errors on the wire: problem+json (RFC 9457) with a stable `code`, whatever went wrong. No input yields a 500."""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from domain.errors import PaysagaError

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable",
    429: "Too many requests",
    431: "Request header fields too large",
    500: "Internal error",
    503: "Unavailable",
}

_PYDANTIC_CODES = {
    "missing": "field_missing",
    "extra_forbidden": "field_unknown",
    "json_invalid": "malformed_json",
}


class FieldProblem(BaseModel):
    field: str = Field(examples=["payment_orders.0.amount"])
    code: str = Field(examples=["amount_invalid"])
    detail: str


class Problem(BaseModel):
    """An error. `code` is stable and meant for programs; `detail` is for people and may change."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable"])
    status: int = Field(examples=[422])
    code: str = Field(examples=["amount_invalid"])
    detail: str
    errors: list[FieldProblem] | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for its OpenAPI description."""
    return {status: _described(status) for status in statuses}


def _described(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if status not in (429, 503):
        return {"description": _TITLES[status], "content": content}
    header = {"description": "seconds", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
    limits = RATE_HEADERS if status == 429 else {}
    return {"description": _TITLES[status], "content": content, "headers": {"Retry-After": header} | limits}


RATE_HEADERS = {
    name: {"description": description, "schema": {"type": "string"}, "example": example}
    for name, description, example in (
        ("RateLimit-Policy", "`q` requests within `w` seconds, by each limit that holds", '"key";q=500;w=1'),
        ("RateLimit", "of each: `r` requests are left, until it begins anew in `t` seconds", '"key";r=499;t=1'),
    )
}
"""Of draft-ietf-httpapi-ratelimit-headers."""


READ_PROBLEMS = problems(400, 401, 403, 404, 422, 503)
WRITE_PROBLEMS = problems(400, 401, 403, 404, 409, 413, 415, 422, 503)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> JSONResponse:
    body = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "code": code}
    headers = dict(headers or {})
    if status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(body | {"detail": detail} | (extra or {}), status, headers, MEDIA_TYPE)


def of_error(error: PaysagaError) -> JSONResponse:
    extra = {name: value for name, value in error.extra.items() if value is not None}
    headers = {"Retry-After": str(extra["retry_after_s"])} if "retry_after_s" in extra else None
    return problem(error.status, error.code, error.detail, headers=headers, extra=extra)


def of_validation(errors: list[Any]) -> JSONResponse:
    """400 where the request cannot be read at all, else 422 with one entry per field."""
    fields = [
        FieldProblem(
            field=".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0]),
            code=_code_of(error),
            detail=str(error["msg"]),
        )
        for error in errors
    ]
    first = fields[0]
    status = 400 if first.code in ("malformed_json", "idempotency_key_missing", "idempotency_key_invalid") else 422
    detail = f"{first.field}: {first.detail}"
    return problem(status, first.code, detail, extra={"errors": [field.model_dump() for field in fields]})


def _code_of(error: Any) -> str:
    kind = str(error["type"])
    if error["loc"][0] == "header" and str(error["loc"][-1]).lower() == "idempotency-key":
        return "idempotency_key_missing" if kind == "missing" else "idempotency_key_invalid"
    context = error.get("ctx") or {}
    return str(context.get("code") or _PYDANTIC_CODES.get(kind, "field_invalid"))


def install(app: FastAPI) -> None:
    log = structlog.get_logger("paysaga.api")

    @app.exception_handler(PaysagaError)
    async def _ours(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, PaysagaError), "registered for it"
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError), "registered for it"
        return of_validation(list(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException), "registered for it"
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods_of(app, request))
        return problem(error.status_code, code, str(error.detail), headers=headers)

    @app.exception_handler(ClientDisconnect)
    async def _left(_: Request, __: Exception) -> JSONResponse:
        """Nobody reads it; but it is no bug of ours."""
        return problem(400, "body_incomplete", "The body did not arrive whole.")

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        log.error("unhandled", path=request.url.path, exc_info=error)
        return problem(500, "internal_error", "This is a bug of ours; nothing is known about your request.")


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def _methods_of(app: FastAPI, request: Request) -> list[str]:
    """The methods that the path of a request takes. Starlette names the methods of the first route alone."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.router.routes)
    ]

"""`/login`: a person logs in with a browser, for pages that then send the session's cookie. It needs no scripts."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.access import note_address
from api.browser import drop_cookie, require_origin, session_of_cookie, set_cookie
from api.page import page
from api.routing import Router
from api.session import SessionsOf
from domain.errors import BadRequest, Conflict, Forbidden, PaysagaError, TooManyRequests
from domain.login import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN

router = Router(include_in_schema=False)

_FIELDS_MAX = 10


def _groups(text: str) -> str:
    """Four characters at a time, as people type them."""
    return " ".join(re.findall(".{1,4}", text))


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["groups"] = _groups


def _shown(stage: str, title: str, status: int = 200, *, alert: str = "", **more: object) -> HTMLResponse:
    lengths = {"length_min": PASSWORD_LENGTH_MIN, "length_max": PASSWORD_LENGTH_MAX}
    body = _templates.get_template("login.html").render(stage=stage, alert=alert, **lengths, **more)
    return page(title, body, status, forms=True)


def _refused(error: PaysagaError, stage: str, title: str, **more: object) -> HTMLResponse:
    shown = _shown(stage, title, error.status, alert=error.detail, **more)
    if isinstance(error, TooManyRequests):
        shown.headers["Retry-After"] = str(error.extra["retry_after_s"])
    return shown


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that a page of ours sent. Raises Forbidden `origin_refused`, BadRequest `form_invalid`."""
    require_origin(request, request.app.state.runtime.settings.public_url)
    try:
        return dict(parse_qsl((await request.body()).decode(), max_num_fields=_FIELDS_MAX, keep_blank_values=True))
    except ValueError as error:
        raise BadRequest("The form cannot be read.", code="form_invalid") from error


@router.get("/login")
async def login_page(request: Request, sessions: SessionsOf) -> Response:
    """The form, or who has logged in."""
    found = await session_of_cookie(request)
    if found is None:
        return _shown("login", "Log in", name="")
    _, session = found
    if session.enrolling:
        return _shown("enrolment", "First login", session=session, totp=await sessions.totp_of(session))
    return _shown("active", "Paysaga", session=session)


@router.post("/login")
async def log_in(request: Request, sessions: SessionsOf) -> Response:
    """Log in, and have the browser keep the session."""
    form = await _form(request)
    note_address(request)
    name = form.get("name", "")
    try:
        made = await sessions.log_in(name[:200], form.get("password", ""), form.get("code", "")[:40])
    except PaysagaError as error:
        return _refused(error, "login", "Log in", name=name[:200])
    response = RedirectResponse("/login", 303)
    set_cookie(request, response, made)
    return response


@router.post("/login/enrolment")
async def enrol(request: Request, sessions: SessionsOf) -> Response:
    """Set up password and second factor, and show the recovery codes."""
    form = await _form(request)
    found = await session_of_cookie(request)
    if found is None or not found[1].enrolling:
        return RedirectResponse("/login", 303)
    token, session = found
    password = form.get("password", "")
    totp = await sessions.totp_of(session)
    if password != form.get("again", ""):
        return _shown("enrolment", "First login", 422, alert="The two passwords differ.", session=session, totp=totp)
    try:
        made = await sessions.enrol(token, session, password, form.get("code", ""))
    except (Conflict, Forbidden):
        return RedirectResponse("/login", 303)
    except PaysagaError as error:
        return _refused(error, "enrolment", "First login", session=session, totp=totp)
    response = _shown("enrolled", "Recovery codes", session=made.session, recovery_codes=made.recovery_codes)
    set_cookie(request, response, made)
    return response


@router.post("/logout")
async def log_out(request: Request, sessions: SessionsOf) -> Response:
    """End the session of the browser."""
    await _form(request)
    found = await session_of_cookie(request)
    if found is not None:
        await sessions.log_out(*found)
    response = RedirectResponse("/login", 303)
    drop_cookie(request, response)
    return response

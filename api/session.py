"""`/v1/sessions`: people log in and out, and set up their second factor at the first login."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Body, Depends, Request, Response
from fastapi.security import HTTPBearer
from pydantic import Field

from api import examples
from api.access import no_page, note_address, session_of
from api.context import json_answer
from api.fields import In, Out
from api.problems import problems
from api.routing import Router
from api.strict import OpenRoute, StrictRoute
from db.operator_session import Session
from domain.errors import Forbidden
from domain.login import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, SESSION_PREFIX
from services.session import LoggedIn, Sessions, principal_of

for_anybody = Router(prefix="/v1", tags=["sessions"], route_class=OpenRoute)
router = Router(prefix="/v1", tags=["sessions"], route_class=StrictRoute)

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="session",
    description=(
        "`Authorization: Bearer ses_…`: an operator who has logged in with `POST /v1/sessions`. Accepted wherever an "
        "API key is, with the scopes of the operator's role."
    ),
)


class LoginIn(In):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    password: Annotated[str, Field(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
    code: Annotated[
        str,
        Field(max_length=40, description="that the app shows, or a recovery code; left out at the first login"),
    ] = ""


class EnrolmentIn(In):
    password: Annotated[
        str,
        Field(max_length=1_000, description=f"of your own, {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"),
    ]
    code: Annotated[str, Field(max_length=40, description="that the app shows now")]


class SessionOut(Out):
    object: Literal["session"] = "session"
    operator: str
    tenant_id: str
    role: str
    stage: Literal["enrolment", "active"] = Field(
        description="`enrolment`: a password and a second factor are yet to be set up, and nothing else can be done"
    )
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    idle_until: datetime = Field(description="it ends then unless it is used before")


class TotpOut(Out):
    secret: str = Field(description="for an app for one-time codes, in base32")
    uri: str = Field(description="the same as `otpauth://…`, for a QR code")


class NewSessionOut(SessionOut):
    token: str = Field(description="for `Authorization: Bearer`; shown this once", examples=["ses_…"])
    totp: TotpOut | None = Field(description="at the first login; else null")
    recovery_codes: list[str] = Field(
        description="after the enrolment, each good for one login in place of a code; shown this once"
    )


async def sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.sessions
    return found


SessionsOf = Annotated[Sessions, Depends(sessions)]


@dataclass(frozen=True)
class Held:
    """A request's session and its token."""

    token: str
    session: Session


async def held(request: Request, _: Annotated[object, Depends(bearer)]) -> Held:
    """Raises what `no_page` raises, Forbidden `session_required`, Unauthorized `session_invalid`."""
    credentials = await bearer(request)
    if credentials is None or not credentials.credentials.startswith(SESSION_PREFIX):
        await no_page(request)
        raise Forbidden(
            "Only somebody who has logged in can do this: an API key is no session.", code="session_required"
        )
    note_address(request)
    return Held(token=credentials.credentials, session=await session_of(request, credentials.credentials))


HeldSession = Annotated[Held, Depends(held)]


def session_fields(session: Session) -> dict[str, object]:
    """As the API shows it."""
    return {
        "operator": session.operator,
        "tenant_id": session.tenant_id,
        "role": session.role,
        "stage": "enrolment" if session.enrolling else "active",
        "scopes": sorted(principal_of(session).scopes),
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "idle_until": session.idle_until,
    }


def _new(made: LoggedIn) -> Response:
    totp = TotpOut(secret=made.totp.secret, uri=made.totp.uri) if made.totp is not None else None
    fields = session_fields(made.session) | {"token": made.token, "totp": totp, "recovery_codes": made.recovery_codes}
    return json_answer(NewSessionOut.model_validate(fields), 201)


@for_anybody.post(
    "/sessions",
    status_code=201,
    response_model=NewSessionOut,
    responses=problems(400, 401, 413, 415, 422, 429, 503),
    summary="Log in",
)
async def create_session(
    body: Annotated[
        LoginIn, Body(openapi_examples={"login": {"summary": "Somebody who has enrolled", "value": examples.LOGIN}})
    ],
    request: Request,
    found: SessionsOf,
) -> Response:
    """With the password and the code that the app shows; each code is good once. At the first login with the one-time
    password alone: the session then sets up a password of one's own and the second factor, and can do nothing else.
    Whatever is wrong is 401 `login_refused`. Who tries too often waits (429, `Retry-After`)."""
    note_address(request)
    return _new(await found.log_in(body.name, body.password, body.code))


@router.get(
    "/sessions/current", response_model=SessionOut, responses=problems(401, 403, 503), summary="Who has logged in"
)
async def show_session(who: HeldSession) -> Response:
    """The operator of the session, what the role may do, and when the session ends."""
    shown = SessionOut.model_validate(session_fields(who.session))
    return json_answer(shown)


@router.delete("/sessions/current", status_code=204, responses=problems(401, 403, 503), summary="Log out")
async def end_session(who: HeldSession, found: SessionsOf) -> Response:
    """The session's token is refused from the next request on."""
    await found.log_out(who.token, who.session)
    return Response(status_code=204)


@router.post(
    "/sessions/current/enrolment",
    status_code=201,
    response_model=NewSessionOut,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 503),
    summary="Set up password and second factor, at the first login",
)
async def enrol(
    body: Annotated[
        EnrolmentIn,
        Body(openapi_examples={"enrolment": {"summary": "At the first login", "value": examples.ENROLMENT}}),
    ],
    who: HeldSession,
    found: SessionsOf,
) -> Response:
    """A password of your own, and a code that shows that the app has the secret which the login answered. The answer is
    a new session, with the role's scopes, and recovery codes for when the app is gone."""
    return _new(await found.enrol(who.token, who.session, body.password, body.code))

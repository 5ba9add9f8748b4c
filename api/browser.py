"""A person in a browser: the cookie of a session, and requests that another site's page must not cause.

The cookie is accepted by the routes alone that ask for it here; everything else takes a bearer token, which no browser
sends by itself.
"""

import re
from urllib.parse import urlsplit

from fastapi import Request, Response

from api.access import note_address, session_of
from db.operator_session import Session
from domain.access import Principal
from domain.errors import Forbidden, Unauthorized
from services.session import LoggedIn, principal_of

_COOKIE = "paysaga-session"
_LOOPBACK = re.compile(r"(localhost|[a-z0-9.-]+\.localhost|127(\.\d+){3}|\[::1\])(:\d+)?", re.ASCII)


def _plain_on_this_machine(request: Request) -> bool:
    """Whether a browser reached us over http on its own machine, the one case in which a cookie goes without TLS."""
    return request.url.scheme == "http" and _LOOPBACK.fullmatch(request.headers.get("host", "").lower()) is not None


def _name(request: Request) -> str:
    """`__Host-`: a browser takes it over TLS alone, for this host alone."""
    return _COOKIE if _plain_on_this_machine(request) else f"__Host-{_COOKIE}"


def set_cookie(request: Request, response: Response, made: LoggedIn) -> None:
    """Give the browser the session, until it is closed or the session's end."""
    secure = not _plain_on_this_machine(request)
    life_s = int((made.session.expires_at - made.session.created_at).total_seconds())
    response.set_cookie(
        _name(request), made.token, max_age=life_s, path="/", httponly=True, samesite="strict", secure=secure
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Take it from the browser."""
    secure = not _plain_on_this_machine(request)
    response.delete_cookie(_name(request), path="/", httponly=True, samesite="strict", secure=secure)


def token_of(request: Request) -> str | None:
    """The token in the cookie."""
    return request.cookies.get(_name(request))


def require_origin(request: Request, *others: str | None) -> None:
    """Refuse what the page of another site sends: a browser says in `Origin` whose page it is. `others`: URLs whose
    origins may send it as well. Raises Forbidden `origin_refused`."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    own = {f"{request.url.scheme}://{host}", f"https://{host}"} if host else set()
    if origin not in own | {_origin_of(url) for url in others if url}:
        detail = (
            "This page was sent from another site, or a proxy changed its host: have it pass Host on, or set "
            "PAYSAGA_PUBLIC_URL."
        )
        raise Forbidden(detail, code="origin_refused")


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def session_of_cookie(request: Request) -> tuple[str, Session] | None:
    """The token and session of a browser that has logged in; None: it has not, or the session has ended. What changes
    anything calls `require_origin` first."""
    note_address(request)
    token = token_of(request)
    if token is None:
        return None
    try:
        return token, await session_of(request, token)
    except Unauthorized:
        return None


async def person_in_browser(request: Request, *pages: str | None) -> Principal:
    """The person whose browser sends a request by the session's cookie, from a page of ours or one of `pages`.

    Raises Forbidden `origin_refused`, Unauthorized `session_invalid`, Forbidden `enrolment_required`.
    """
    require_origin(request, *pages)
    found = await session_of_cookie(request)
    if found is None:
        raise Unauthorized("Nobody has logged in with this browser: open /login.", code="session_invalid")
    if found[1].enrolling:
        raise Forbidden("Set up your password and second factor first: open /login.", code="enrolment_required")
    return principal_of(found[1])

"""A request by a browser's cookie: whose it is, and from whose page it may come."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from api.browser import person_in_browser
from db.operator_session import Session
from domain.access import ROLES, Principal
from domain.errors import PaysagaError

NOW = datetime(2026, 11, 20, tzinfo=UTC)
UI = "https://temporal.example/namespaces"


class Stored:
    """Two sessions, of which one has yet to enrol."""

    async def find(self, token: str) -> Session | None:
        stage = {"ses_active": False, "ses_new": True}
        found = stage.get(token)
        return None if found is None else Session("olga", "shop", "finance", found, NOW, NOW, NOW, note_due=False)


def request(scheme: str, **headers: str) -> Request:
    return Request(
        {
            "type": "http",
            "method": "POST",
            "scheme": scheme,
            "path": "/codec/decode",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("203.0.113.7", 1),
            "app": SimpleNamespace(state=SimpleNamespace(sessions=Stored())),
        }
    )


async def who(scheme: str, host: str, origin: str, cookie: str) -> Principal | str:
    """The person, or the code of the refusal."""
    try:
        return await person_in_browser(request(scheme, host=host, origin=origin, cookie=cookie), UI, None)
    except PaysagaError as refusal:
        return refusal.code


OLGA = Principal("olga", "shop", ROLES["finance"])
LOCAL, SECURE = "paysaga-session=ses_active", "__Host-paysaga-session=ses_active"


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "cookie", "expected"),
    [
        ("https", "pay.example", "https://pay.example", SECURE, OLGA),
        ("https", "pay.example", "https://temporal.example", SECURE, OLGA),
        ("http", "pay.example", "https://pay.example", SECURE, OLGA),  # behind a proxy that ends TLS
        ("http", "localhost:8000", "http://localhost:8000", LOCAL, OLGA),
        ("http", "[::1]:8000", "http://[::1]:8000", LOCAL, OLGA),
        ("https", "pay.example", "http://pay.example", SECURE, "origin_refused"),
        ("https", "pay.example", "https://temporal.example.evil", SECURE, "origin_refused"),
        ("https", "pay.example", "null", SECURE, "origin_refused"),
        ("https", "pay.example", "", SECURE, "origin_refused"),
        ("https", "", "https://", SECURE, "origin_refused"),
        ("https", "pay.example", "https://pay.example", LOCAL, "session_invalid"),  # any subdomain could have set it
        ("http", "localhost.evil", "http://localhost.evil", LOCAL, "session_invalid"),
        ("https", "pay.example", "https://pay.example", "__Host-paysaga-session=ses_other", "session_invalid"),
        ("https", "pay.example", "https://pay.example", "", "session_invalid"),
        ("https", "pay.example", "https://pay.example", "__Host-paysaga-session=ses_new", "enrolment_required"),
    ],
)
async def test_a_cookie_counts_for_pages_that_may_send_it(
    scheme: str, host: str, origin: str, cookie: str, expected: Principal | str
) -> None:
    assert await who(scheme, host, origin, cookie) == expected

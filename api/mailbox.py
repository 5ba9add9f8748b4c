"""`/mailbox`: what would have been sent, in the embedded stack alone. Mails are shown as their readers see them, in a
frame in which nothing runs and which loads nothing."""

import asyncio
from html import escape
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from api.page import page
from config.settings import Settings
from gateways.notify import mailbox

PATH = "/mailbox"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"
_FRAMED = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


def install(app: FastAPI, settings: Settings) -> None:
    """The pages, where the settings name a folder."""
    if settings.mailbox is None:
        return
    folder = settings.mailbox

    @app.get(PATH, include_in_schema=False)
    async def show_mailbox() -> HTMLResponse:
        return _page("Mailbox", _list(await asyncio.to_thread(mailbox.read, folder)))

    @app.get(PATH + "/{notification_id}", include_in_schema=False)
    async def show_mail(notification_id: str) -> Response:
        found = await asyncio.to_thread(_find, folder, notification_id)
        return Response(status_code=404) if found is None else _page(found["subject"] or "Message", _message(found))

    @app.get(PATH + "/{notification_id}/html", include_in_schema=False)
    async def show_html(notification_id: str) -> Response:
        found = await asyncio.to_thread(_find, folder, notification_id)
        if found is None:
            return Response(status_code=404)
        return HTMLResponse(found["html"], headers={"content-security-policy": _FRAMED})


def _page(title: str, body: str) -> HTMLResponse:
    answer = page(title, body)
    answer.headers["content-security-policy"] = _POLICY
    return answer


def _find(folder: Path, notification_id: str) -> dict[str, str] | None:
    return next((one for one in mailbox.read(folder) if one["id"] == notification_id), None)


def _list(found: list[dict[str, str]]) -> str:
    if not found:
        return "<p>Nothing has been sent yet. A payment with a buyer's e-mail address brings a receipt here.</p>"
    rows = "\n".join(
        f'<dt><a href="{PATH}/{escape(one["id"])}">{escape(one["subject"] or one["text"][:80])}</a></dt>'
        f"<dd>{escape(one['channel'])} to {escape(one['to'])}, {escape(one['at'])}</dd>"
        for one in found
    )
    return f"<p>What would have been sent: nothing here has left this machine.</p>\n<dl>\n{rows}\n</dl>"


def _message(one: dict[str, str]) -> str:
    head = f"<p>{escape(one['channel'])} from {escape(one['from'])} to {escape(one['to'])}, {escape(one['at'])}</p>"
    back = f'<p><a href="{PATH}">All messages</a></p>'
    text = f'<pre style="white-space:pre-wrap">{escape(one["text"])}</pre>'
    if not one["html"]:
        return f"{back}{head}{text}"
    frame = (
        f'<iframe sandbox src="{PATH}/{escape(one["id"])}/html" title="mail" '
        'style="width:100%;height:820px;border:1px solid #ccc;border-radius:8px"></iframe>'
    )
    return f"{back}{head}{frame}<details><summary>As text</summary>{text}</details>"

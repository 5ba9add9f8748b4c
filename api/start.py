"""`/`: where a person begins, with the addresses of what runs beside the API."""

from html import escape

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from api import mailbox
from api.page import page
from config.settings import Settings


def install(app: FastAPI, settings: Settings) -> None:
    """The page at `/`."""
    body = body_of(settings)

    @app.get("/", include_in_schema=False)
    async def start() -> HTMLResponse:
        return page("Paysaga", body)


def body_of(settings: Settings) -> str:
    """The links, of what the settings give an address to."""
    places = [
        ("docs", "API reference", "Every call, with a place to try it."),
        ("login", "Log in", "For people, with a password and a second factor."),
        (settings.temporal_ui_url, "Temporal UI", "Each payment, refund, dispute and payout as a workflow."),
        (settings.sandbox_url, "Sandbox PSP", "The payment provider that stands in for Stripe here."),
        (mailbox.PATH if settings.mailbox else None, "Mailbox", "What would have been sent to buyers and sellers."),
    ]
    links = "\n".join(
        f'<dt><a href="{escape(address)}">{name}</a></dt><dd>{what}</dd>' for address, name, what in places if address
    )
    reports = (
        "<dt>Reports of reconciliations</dt><dd>A link to one is printed by <code>paysaga reconcile report ID</code>; "
        "<code>paysaga reconcile list</code> names them.</dd>"
    )
    return f"<p>A payment system that you run yourself.</p>\n<dl>\n{links}\n{reports}\n</dl>"

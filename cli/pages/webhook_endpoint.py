"""The pages of webhooks to shops: endpoints, deliveries, attempts."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import webhook_documents
from cli.pages import format as look
from cli.pages.page import Page
from db.webhook_endpoint.delivery import Tried
from domain.webhook_endpoint import Attempt, Delivery, Endpoint
from services.webhook_endpoint import WithSecret


def endpoints_page(rows: Sequence[Endpoint]) -> Page:
    return Page(_endpoints(rows), lambda: webhook_documents.endpoints(rows))


def endpoint_page(row: Endpoint) -> Page:
    return Page(_endpoints([row]), lambda: webhook_documents.endpoint(row))


def _endpoints(rows: Sequence[Endpoint]) -> RenderableType:
    if not rows:
        return look.text("There are no endpoints.")
    table = look.table("endpoint", "tenant", "sent to", "events", "status")
    for row in rows:
        why = row.disabled_because or (f"{row.failures} failures in a row" if row.failures else "")
        types = ", ".join(row.types) or "all"
        table.add_row(row.id, row.tenant_id, row.url, types, look.because(row.status, why))
    return table


def secret_page(made: WithSecret, words: str) -> Page:
    """After a secret was made, which is shown this once."""
    shown = look.text(f"{words} Its secret is shown now and never again:")
    return Page(
        Group(shown, look.whole((made.secret or "–", "bold green"))),
        lambda: webhook_documents.endpoint_with_secret(made),
    )


def deliveries_page(rows: Sequence[Delivery]) -> Page:
    return Page(_deliveries(rows), lambda: webhook_documents.deliveries(rows))


def delivery_page(found: Tried) -> Page:
    """With its attempts, and the beginning of the last answer."""
    parts = [_deliveries([found.delivery])]
    if found.attempts:
        parts += [_attempts(found.attempts)]
        if found.attempts[-1].response:
            parts += [look.text(("The last answer began with:", "dim")), look.text(found.attempts[-1].response)]
    return Page(Group(*parts), lambda: webhook_documents.delivery_with_attempts(found))


def _deliveries(rows: Sequence[Delivery]) -> RenderableType:
    if not rows:
        return look.text("Nothing was sent.")
    table = look.table("delivery", "event", "about", "status", "attempts", "next (UTC)", right=("attempts",))
    for row in rows:
        following = look.time(row.next_attempt_at) if row.status == "PENDING" else "–"
        event = look.ids(row.event_id, row.type)
        table.add_row(row.id, event, row.object_id, look.status(row.status), str(row.attempts), following)
    return table


def _attempts(rows: Sequence[Attempt]) -> RenderableType:
    table = look.table("no", "at (UTC)", "address", "answer", "ms", right=("no", "ms"))
    for row in rows:
        answer = row.error or f"{row.status_code}"
        table.add_row(str(row.n), look.time(row.at), row.address or "–", answer, str(row.latency_ms))
    return table

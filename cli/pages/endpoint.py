"""The pages about the endpoints at the PSP: what is sent where."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.page import Page
from domain.endpoint import EventScope, Subscription
from services.endpoint import SetUp

_WHOSE = {EventScope.ACCOUNT: "our account's events", EventScope.SELLERS: "events of sellers' accounts"}


def checked(found: Sequence[Subscription]) -> Page:
    """The events that are sent, compared with those that are wanted."""
    return Page(_table(found), lambda: documents.subscriptions(found))


def set_up(done: Sequence[SetUp]) -> Page:
    """The endpoints that were made or changed, with the secrets that the PSP tells once."""
    return Page(Group(*_lines(done)), lambda: documents.endpoints_set_up(done))


def _table(found: Sequence[Subscription]) -> RenderableType:
    table = look.table("events", "sent to", "missing", "superfluous")
    for one in found:
        sent_to = [(at.url, "") if at.enabled else (f"{at.url} (off)", "red") for at in one.endpoints]
        table.add_row(
            _WHOSE[one.scope],
            look.text(*_one_a_line(sent_to or [("nobody", "red")])),
            look.text(*_one_a_line([(kind, "red") for kind in one.missing])),
            look.text(*_one_a_line([(kind, "yellow") for kind in one.superfluous])),
        )
    if all(one.as_wanted for one in found):
        return Group(table, look.text(("The PSP sends what is wanted.", "green")))
    remedy = "`paysaga webhooks setup --url https://HOST/webhooks/stripe` puts it right."
    return Group(table, look.typed(remedy))


def _one_a_line(parts: Sequence[tuple[str, str]]) -> list[str | tuple[str, str]]:
    return [piece for part in parts for piece in ("\n", part)][1:]


def _lines(done: Sequence[SetUp]) -> list[RenderableType]:
    if not done:
        return [look.text(("Nothing to do: the PSP sends what is wanted.", "green"))]
    lines: list[RenderableType] = []
    for one in done:
        endpoint = one.endpoint
        verb = "made" if one.is_new else "changed"
        lines.append(look.whole(f"{endpoint.reference} is {verb}: {_WHOSE[endpoint.scope]} go to {endpoint.url}."))
        if one.secret is not None:
            lines.append(
                look.text("Add its secret to PAYSAGA_STRIPE_WEBHOOK_SECRET, after a comma; it is shown now alone:")
            )
            lines.append(look.whole((one.secret, "bold green")))
    return lines

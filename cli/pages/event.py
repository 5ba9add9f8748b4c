"""The pages of events."""

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.layout import whole
from cli.pages.page import Page, said
from services.event import Comparison


def compared(found: Comparison) -> Page:
    """The answer of `paysaga events verify`."""
    words = (
        f"{found.events} events: {found.missing} missing at the broker, {found.waiting} still to be published,"
        f" {found.repeated} repeated."
    )
    parts: list[RenderableType] = [whole(words)]
    if found.examples:
        table = look.table("missing", "type", "object")
        for one in found.examples:
            table.add_row(one.id, one.type, one.object_id)
        parts.append(table)
    return Page(Group(*parts), lambda: documents.plain("comparison", **found.model_dump()))


def replayed(events: int) -> Page:
    """The sentence after `paysaga events replay`."""
    words = f"{events} events are published again."
    return said(words, lambda: documents.plain("replay", events=events))

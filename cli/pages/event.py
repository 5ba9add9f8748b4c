"""The pages of events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from cli import documents
from cli.pages import format as look
from cli.pages.layout import whole
from cli.pages.page import Page, said
from services.event import Comparison

if TYPE_CHECKING:
    from db.event.sink import SinkState
    from gateways.brokers.schemas import Registration


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


def registered(found: "Sequence[Registration]") -> Page:
    """The answer of `paysaga events register`."""
    refused = [one for one in found if one.refused is not None]
    words = f"The schema registry has {len(found) - len(refused)} of {len(found)} schemas."
    parts: list[RenderableType] = [whole(words), *(whole(f"{one.subject}: {one.refused}") for one in refused)]
    document = [one.model_dump() for one in found]
    return Page(Group(*parts), lambda: documents.plain("registrations", registrations=document))


def replayed(events: int) -> Page:
    """The sentence after `paysaga events replay`."""
    words = f"{events} events are published again."
    return said(words, lambda: documents.plain("replay", events=events))


def sinks_page(rows: "Sequence[SinkState]") -> Page:
    """Each sink, with what waits for it."""
    table = look.table("sink", "active since (UTC)", "reached (UTC)", "waiting", "oldest (UTC)", right=("waiting",))
    for row in rows:
        times = [look.time(at) for at in (row.active_since, row.reached_at, row.oldest_at)]
        table.add_row(row.name, *times[:2], str(row.pending), times[2])
    data = [{"object": "event_sink", **row._asdict()} for row in rows]
    return Page(table, lambda: documents.plain("list", data=data))

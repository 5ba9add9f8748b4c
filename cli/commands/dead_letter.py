"""The commands about what was given up. What one of them needs is imported when it is called."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, show, steer
from cli.commands.ledger import moment
from cli.nouns import Noun
from domain.dead_letter import LetterStatus, Source

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database
    from runtime.wiring import Runtime

dead_letters = Noun(no_args_is_help=True)
LetterId = Annotated[str, typer.Argument(metavar="ID", help="dl_…")]
OfSource = Annotated[Source | None, typer.Option("--source", help="Only those of this source.")]
Cause = Annotated[str | None, typer.Option("--class", help="Only those with this cause, such as http_503.")]
About = Annotated[str | None, typer.Option("--object", metavar="ID", help="Only those about this object.")]
Since = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="The last error was at this moment, or later.")
]
Until = Annotated[datetime | None, typer.Option(parser=moment, metavar="TIME", help="And before this one.")]


@dead_letters.command("list")
def dead_letters_list(
    source: OfSource = None,
    cause: Cause = None,
    about: About = None,
    status: Annotated[
        LetterStatus | None, typer.Option(case_sensitive=False, help="Only these; left out: those that are open.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Of every status.")] = False,
    since: Since = None,
    until: Until = None,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Those behind the page it ended.")] = None,
    tenant: Tenant = None,
    limit: Limit = 20,
) -> None:
    """List them, newest first, with the number that is open of each source and cause."""
    from cli.connection import ANYBODY
    from cli.pages.dead_letter import letters_page
    from db.dead_letter import Wanted
    from services.dead_letter import letters

    wanted = Wanted(source, cause, None if every else status or LetterStatus.OPEN, about, since, until)

    async def read(database: "Database") -> "Page":
        rows = await letters.page(database, ANYBODY, wanted, tenant_id=tenant, before=before, limit=limit)
        return letters_page(rows, await letters.counts(database, ANYBODY, tenant_id=tenant))

    show(read)


@dead_letters.command("show")
def dead_letters_show(letter: LetterId) -> None:
    """One: its cause, its tries, what it was to bring, and what to do about it."""
    from cli.connection import ANYBODY
    from cli.pages.dead_letter import letter_page
    from services.dead_letter import letters

    async def read(database: "Database") -> "Page":
        return letter_page(await letters.show(database, ANYBODY, letter))

    show(read)


@dead_letters.command("replay")
def dead_letters_replay(
    by: By,
    letter: Annotated[str | None, typer.Argument(metavar="[ID]", help="dl_…; left out: those that match.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    source: OfSource = None,
    cause: Cause = None,
    about: About = None,
    since: Since = None,
    until: Until = None,
    tenant: Tenant = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="No more than so many, the oldest first.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="So many a second.")] = 20.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Try one again, or those that match, under the same ids."""
    from cli.connection import person
    from cli.pages.dead_letter import ended_page, replayed_page
    from cli.refusals import refusals
    from db.dead_letter import Wanted
    from services.dead_letter import letters

    wanted = Wanted(source, cause, None, about, since, until)
    filters = any(value is not None for value in (*vars(wanted).values(), tenant))
    if (letter is not None) == (filters or every):
        raise typer.BadParameter("either one by its ID, or those that match some options, or --all")

    async def one(runtime: "Runtime", name: str) -> "Page":
        with refusals(name):
            done = await letters.replay(runtime, person(by), name)
        shown = await letters.show(runtime.database, person(by), done.letter.id)
        return ended_page(shown, f"{name} is tried again: {done.letter.source} {done.letter.ref_id}.")

    async def work(runtime: "Runtime") -> "Page":
        if letter is not None:
            return await one(runtime, letter)
        with refusals("dead letters"):
            done = await letters.replay_many(
                runtime, person(by), wanted, tenant_id=tenant, limit=limit, rate_per_s=rate, dry_run=dry_run
            )
        return replayed_page(done)

    steer(work)


@dead_letters.command("discard")
def dead_letters_discard(
    letter: LetterId, by: By, reason: Annotated[str, typer.Option(help="Why, for whoever looks at it later.")]
) -> None:
    """Leave one as it is."""
    from cli.connection import person
    from cli.pages.dead_letter import ended_page
    from cli.refusals import refusals
    from services.dead_letter import letters

    async def discard(database: "Database") -> "Page":
        with refusals(letter):
            done = await letters.discard(database, person(by), letter, reason)
        shown = await letters.show(database, person(by), done.letter.id)
        return ended_page(shown, f"{letter} is discarded, by {by}.")

    show(discard)

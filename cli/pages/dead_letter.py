"""The pages of dead letters."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from cli import dead_letter_documents as documents
from cli.pages import format as look
from cli.pages.page import Page, said
from domain.dead_letter import Count, DeadLetter, LetterStatus, Source

if TYPE_CHECKING:
    from services.dead_letter.letters import Replay, Shown


def letters_page(rows: Sequence[DeadLetter], counts: Sequence[Count]) -> Page:
    """The letters, and how many are open of each source and cause."""
    return Page(Group(*_listed(rows, counts)), lambda: documents.letters(rows, counts))


def _listed(rows: Sequence[DeadLetter], counts: Sequence[Count]) -> list[RenderableType]:
    parts: list[RenderableType] = [_table(rows) if rows else look.text("There are no such dead letters.")]
    if counts:
        parts += ["", _counted(counts)]
    if any(row.status is LetterStatus.OPEN for row in rows):
        first = next(row for row in rows if row.status is LetterStatus.OPEN)
        parts.append(look.typed(f"See one with `paysaga dead-letters show {first.id}`."))
    return parts


def _table(rows: Sequence[DeadLetter]) -> RenderableType:
    table = look.table("letter", "source", "about", "cause", "tries", "last (UTC)", "status", right=("tries",))
    for row in rows:
        about = row.object_id or row.ref_id
        table.add_row(row.id, row.source, about, row.error_class, str(row.attempts), look.time(row.last_at), row.status)
    return table


def _counted(counts: Sequence[Count]) -> RenderableType:
    table = look.table("open", "source", "cause", "oldest (UTC)", right=("open",))
    for one in counts:
        table.add_row(str(one.open), one.source, one.error_class, look.time(one.oldest_at))
    return table


def letter_page(shown: "Shown") -> Page:
    """One, with what it was to bring and what can be typed about it."""
    letter = shown.letter
    facts = look.facts()
    facts.add_row("letter", (letter.id, "bold"), f" of {letter.tenant_id}")
    facts.add_row("source", letter.source)
    facts.add_row("it is", letter.ref_id)
    facts.add_row("about", letter.object_id or "–")
    facts.add_row("cause", f"{letter.error_class}: {letter.error}")
    facts.add_row("tries", f"{letter.attempts}, the last at {look.time(letter.last_at)} UTC")
    facts.add_row("status", letter.status)
    if letter.ended_at is not None:
        why = f": {letter.reason}" if letter.reason else ""
        facts.add_row("ended", f"{look.time(letter.ended_at)} UTC by {letter.actor}{why}")
    parts: list[RenderableType] = [facts, *look.section("What it was to bring", _payload(shown))]
    if letter.status is LetterStatus.OPEN:
        parts.append(look.typed(_commands(letter), "cyan"))
    return Page(Group(*parts), lambda: documents.letter(shown))


def _payload(shown: "Shown") -> RenderableType:
    if shown.payload is None:
        return look.text("It is not kept any more.")
    return look.text(json.dumps(shown.payload, indent=2, ensure_ascii=False))


def _commands(letter: DeadLetter) -> str:
    lines = ["once the cause is gone:", f"`paysaga dead-letters replay {letter.id}`", "to leave it as it is:"]
    lines.append(f'`paysaga dead-letters discard {letter.id} --reason "why"`')
    if letter.source is Source.WEBHOOK_DELIVERIES:
        lines += ["to see each try:", f"`paysaga webhook-endpoints delivery {letter.ref_id}`"]
    return "\n".join(lines)


def ended_page(shown: "Shown", words: str) -> Page:
    """The sentence after a command."""
    return said(words, lambda: documents.letter(shown))


def replayed_page(done: "Replay") -> Page:
    """The answer of a replay of many."""
    if done.replay_id is None:
        words = f"{done.matching} would be tried again."
    else:
        words = f"{done.replayed} are tried again, {done.refused} cannot be now, {done.left} are still open."
    parts = [look.whole(words), *([_counted(done.counts)] if done.counts else [])]
    return Page(Group(*parts), lambda: documents.replay(done))


def pointer(counts: Sequence[Count]) -> RenderableType | None:
    """The line below what waits for a person; None: nothing was given up."""
    number = sum(one.open for one in counts)
    if not number:
        return None
    what = "1 dead letter waits" if number == 1 else f"{number} dead letters wait"
    return look.typed(f"{what} as well: `paysaga dead-letters list`.")

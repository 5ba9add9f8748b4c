"""Writes docs/states.md from the tables of domain/status.py; with `--check` it only says whether the file is current.

`make docs` and `make check` call it.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from domain.status import (
    DISPUTE_ENDED,
    DISPUTE_HOLDS,
    DISPUTE_STEPS,
    MERCHANT_STEPS,
    ORDER_STEPS,
    PAYOUT_GIVEN_BACK,
    PAYOUT_STEPS,
    REFUND_STEPS,
    RESTING,
    TERMINAL,
    DisputeStatus,
    MerchantStatus,
    PayoutStatus,
    RefundStatus,
    Status,
    Step,
)

PAGE = Path(__file__).with_name("states.md")
NEW = "*new*"

INTRO = """\
# States, and who may bring each to which next

Generated from `domain/status.py`: change the tables there and run `make docs`; `make check` fails while this page
differs.

What is not listed here is not allowed: the code compares before it sets, a trigger refuses to leave an end, and
`make audit` holds every step that was taken to these tables. Who causes one:

| | |
|---|---|
| checkout | the shop's checkout, over HTTP with the buyer at the other end |
| shop | the shop's back office, over HTTP |
| person | an operator or a reviewer, by the CLI or the API |
| PSP | what the payment service provider answers; a webhook alone moves nothing, it makes us ask |
| buyer's bank | the same, for disputes, which it decides |
| risk rules | the rule set of the shop that was in force when the payment was created |
| workflow | the saga itself, from what it finds in the rows |
| schedule | the payout run of a business date |
| bank | the seller's bank, by way of the PSP |
| timer | a deadline of the saga passed |
"""


@dataclass(frozen=True)
class Group:
    """States that are drawn as one where a transition holds for all of them; `inside` draws those among them."""

    name: str
    label: str
    members: tuple[StrEnum, ...]
    inside: bool = True


@dataclass(frozen=True)
class Chapter:
    title: str
    text: str
    statuses: type[StrEnum]
    steps: tuple[Step, ...]
    group: Group | None = None


def _named(statuses: type[StrEnum], chosen: Iterable[StrEnum]) -> str:
    """In the order in which they are declared."""
    wanted = set(chosen)
    return ", ".join(f"`{status}`" for status in statuses if status in wanted)


CHAPTERS = (
    Chapter(
        "Payment order",
        "Our id of it is `po_…` (of its payment `pay_…`); Stripe's `po_…` is a payout. "
        "A payment shows the most urgent status of its orders. "
        f"Never left: {_named(Status, TERMINAL)}. "
        f"While an order rests its workflow waits for a message or a deadline: {_named(Status, RESTING)}. "
        "What happens among the resting states is in the matrix below the picture.",
        Status,
        ORDER_STEPS,
        Group("resting", "rests: waits for a message or a deadline", tuple(s for s in Status if s in RESTING), False),
    ),
    Chapter(
        "Refund",
        "Our id of it is `re_…`, and so is Stripe's of its own object: the two are never the same. "
        "Of a settled order, or part of undoing a charge (a compensation). An answer that is not known changes "
        "nothing: the refund stays where it is and is asked for again under its key.",
        RefundStatus,
        REFUND_STEPS,
        Group("live", "under way", (RefundStatus.REQUESTED, RefundStatus.PENDING, RefundStatus.NEEDS_ATTENTION)),
    ),
    Chapter(
        "Dispute",
        "Our id of it is `dp_…`, as Stripe's may be: the two are never the same. "
        f"Ended: {_named(DisputeStatus, DISPUTE_ENDED)}. "
        f"The disputed money cannot be refunded as well while it is one of: {_named(DisputeStatus, DISPUTE_HOLDS)}.",
        DisputeStatus,
        DISPUTE_STEPS,
        Group("open", "open", tuple(s for s in DisputeStatus if s not in DISPUTE_ENDED)),
    ),
    Chapter(
        "Payout",
        "Our id of it is `pt_…`; Stripe's is `po_…`, which here is a payment order. "
        f"Never left, the money is in the wallet again: {_named(PayoutStatus, PAYOUT_GIVEN_BACK)}. `PAID` is an end "
        "as well, but a bank may return what it had, days later. An answer that is not known changes nothing.",
        PayoutStatus,
        PAYOUT_STEPS,
    ),
    Chapter("Merchant", "A seller, with the sagas that its payments have running.", MerchantStatus, MERCHANT_STEPS),
)


def page() -> str:
    chapters = "\n".join(_chapter(chapter) for chapter in CHAPTERS)
    return f"{INTRO}\n{chapters}\n{_running_sagas()}"


def _chapter(chapter: Chapter) -> str:
    parts = [f"## {chapter.title}\n{chapter.text}\n", _diagram(chapter)]
    if chapter.group is not None and not chapter.group.inside:
        parts.append(_matrix(chapter.group, chapter.steps))
    parts.append(_transitions(chapter))
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _transitions(chapter: Chapter) -> str:
    return _table(
        ("from", "to", "caused by", "why"),
        ((_named(chapter.statuses, step.old) or NEW, f"`{step.new}`", step.by, step.why) for step in chapter.steps),
    )


def _running_sagas() -> str:
    meanings: dict[StrEnum, list[str]] = {}
    for step in MERCHANT_STEPS:
        if step.old:
            meanings.setdefault(step.new, []).append(step.why)
    rows = [(f"`{status}`", "; ".join(meanings[status])) for status in MerchantStatus if status in meanings]
    return "What it means for payments, refunds and disputes under way:\n\n" + _table(("becomes", "from then on"), rows)


# --- pictures ---

Edges = dict[tuple[str, str], list[str]]


def _edges(steps: tuple[Step, ...]) -> Edges:
    """(from, to) → who causes it, each once; `[*]` is where it comes into being."""
    edges: Edges = {}
    for step in steps:
        for old in step.old or ("[*]",):
            causes = edges.setdefault((str(old), str(step.new)), [])
            causes.extend(by for by in step.by.split(", ") if by not in causes)
    return edges


def _collapsed(edges: Edges, group: Group) -> Edges:
    """Edges that every member has in common become one of the group; those inside it go if it does not draw them."""
    members = {str(member) for member in group.members}
    drawn: Edges = {}
    for (old, new), causes in edges.items():
        if old in members and new in members:
            if group.inside:
                drawn[old, new] = causes
        elif old in members and all((member, new) in edges for member in members):
            _add(drawn, (group.name, new), causes)
        elif new in members and all((old, member) in edges for member in members):
            _add(drawn, (old, group.name), causes)
        else:
            drawn[old, new] = causes
    return drawn


def _add(drawn: Edges, pair: tuple[str, str], causes: list[str]) -> None:
    known = drawn.setdefault(pair, [])
    known.extend(by for by in causes if by not in known)


def _diagram(chapter: Chapter) -> str:
    edges, group = _edges(chapter.steps), chapter.group
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    if group is not None:
        edges = _collapsed(edges, group)
        members = [str(member) for member in group.members]
        lines += [f'    state "{group.label}" as {group.name} {{', *(f"        {name}" for name in members)]
        lines += [f"        {_arrow(pair, by)}" for pair, by in edges.items() if {*pair} <= {*members}] + ["    }"]
        edges = {pair: by for pair, by in edges.items() if not {*pair} <= {*members}}
    lines += [f"    {_arrow(pair, by)}" for pair, by in edges.items()]
    left = {old for step in chapter.steps for old in step.old}
    lines += [f"    {status} --> [*]" for status in chapter.statuses if status not in left]
    return "\n".join([*lines, "```", ""])


def _arrow(pair: tuple[str, str], causes: list[str]) -> str:
    return f"{pair[0]} --> {pair[1]}: {', '.join(causes)}"


def _matrix(group: Group, steps: tuple[Step, ...]) -> str:
    edges = _edges(steps)
    rows = [
        (f"`{old}`", *(", ".join(edges.get((str(old), str(new)), [])) for new in group.members))
        for old in group.members
    ]
    return _table(("from ╲ to", *(f"`{new}`" for new in group.members)), rows)


# --- the command ---


def main(arguments: Sequence[str], path: Path = PAGE) -> int:
    """0: written, or current."""
    wanted = page()
    if "--check" not in arguments:
        path.write_text(wanted, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return 0
    sys.stderr.write("docs/states.md is not what domain/status.py says: run 'make docs' and commit it.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

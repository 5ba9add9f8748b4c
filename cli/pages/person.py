"""The page of a buyer who is forgotten."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli.pages import format as look
from services.person import Forgotten


def forgotten(found: Sequence[Forgotten]) -> RenderableType:
    """Rows that were erased of each buyer, or would be."""
    parts: list[RenderableType] = []
    for one in found:
        if one.name is None:
            parts.append(look.text(f"Of {one.buyer_id} this would go; --yes does it, and there is no way back:"))
        else:
            parts.append(look.text(f"Forgotten. Payments, books and histories say {one.name} from now on; gone are:"))
        table = look.table("what", "rows", right=("rows",))
        for what, rows in one.rows.items():
            table.add_row(what, f"{rows:,}")
        parts += [table, ""]
    return Group(*parts, look.text(_ELSEWHERE))


_ELSEWHERE = (
    "Elsewhere the person is still known: at the PSP, in backups until they expire, and in Temporal's histories until "
    "the namespace's retention has passed."
)

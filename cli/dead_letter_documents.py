"""The documents of dead letters that `--json` prints, in the shapes of the HTTP API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.documents import Json, of_tenant

if TYPE_CHECKING:
    from domain.dead_letter import Count, DeadLetter
    from services.dead_letter.letters import Replay, Shown


async def letters(rows: "Sequence[DeadLetter]", counts: "Sequence[Count]") -> Json:
    """With the counts of those that are open."""
    from api.dead_letter.shapes import counts_out, letter_out

    data = [of_tenant(row.tenant_id, letter_out(row)) for row in rows]
    return {"object": "list", "data": data, "counts": counts_out(list(counts)).model_dump(mode="json")["data"]}


async def letter(shown: "Shown") -> Json:
    from api.dead_letter.shapes import letter_detail

    return of_tenant(shown.letter.tenant_id, letter_detail(shown))


async def replay(done: "Replay") -> Json:
    from api.dead_letter.shapes import replay_out

    return replay_out(done).model_dump(mode="json")

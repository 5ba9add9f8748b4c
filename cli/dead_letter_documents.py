"""The documents of dead letters that `--json` prints, in the shapes of the HTTP API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domain.dead_letter import Count, DeadLetter
    from services.dead_letter.letters import Replay, Shown

Json = dict[str, object]


async def letters(rows: "Sequence[DeadLetter]", counts: "Sequence[Count]") -> Json:
    """With the counts of those that are open."""
    from api.dead_letter.shapes import counts_out, letter_out

    data = [{"tenant_id": row.tenant_id, **letter_out(row).model_dump(mode="json")} for row in rows]
    return {"object": "list", "data": data, "counts": counts_out(list(counts)).model_dump(mode="json")["data"]}


async def letter(shown: "Shown") -> Json:
    from api.dead_letter.shapes import letter_detail

    return {"tenant_id": shown.letter.tenant_id, **letter_detail(shown).model_dump(mode="json")}


async def replay(done: "Replay") -> Json:
    from api.dead_letter.shapes import replay_out

    return replay_out(done).model_dump(mode="json")

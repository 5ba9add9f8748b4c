"""The audit log at the terminal: what keys and people did, in the order of the books."""

import csv
import io
import json
from pathlib import Path

from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, both
from tests.support.shop import Shop


async def test_keys_and_people_are_in_one_log(shop: Shop, tmp_path: Path) -> None:
    one, other = [await shop.paid(shop.checkout(), confirm=False) for _ in range(2)]
    done = await both(
        shop,
        http=("POST", f"/v1/payments/{one['id']}/cancel", None),
        cli=("payments", "cancel", other["id"], *BY),
    )
    done.accepted()
    environment = shop.paysaga.environment()
    only = ("--tenant", shop.tenant, "--action", "payment.cancel")
    page = await paysaga_command(environment, "audit-log", *only)
    assert (page.code, page.err) == (0, "")
    for text in (one["id"], other["id"], "olga", "127.0.0.1", "payment.cancel"):
        assert text in page.out, text
    said = await paysaga_command(environment, "audit-log", *only, "--json")
    listed = json.loads(said.out)
    assert listed == {"object": "list", **(await shop.get("/v1/audit-log", action="payment.cancel")).json()}
    rows = listed["data"]
    assert [(row["object_id"], row["actor"][:4], row["address"]) for row in rows] == [
        (other["id"], "olga", None),
        (one["id"], "key_", "127.0.0.1"),
    ]
    file = tmp_path / "log.csv"
    written = await paysaga_command(environment, "audit-log", *only, "--actor", "olga", "--csv", str(file))
    assert "1 lines" in written.out
    (line,) = csv.DictReader(io.StringIO(file.read_text()))
    assert (line["actor"], line["key"], line["object_id"]) == ("olga", "", other["id"])
    nothing = await paysaga_command(environment, "audit-log", *only, "--actor", "nobody")
    assert "Nothing of this kind was done." in nothing.out

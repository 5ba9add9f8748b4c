"""One command given twice: over HTTP, and by a person at a terminal."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.audit.command import Said, paysaga_command
from tests.support.shop import Answer, Shop

BY = ("--by", "olga")


@dataclass(frozen=True)
class Both:
    """What the two said."""

    http: Answer
    said: Said

    @property
    def code(self) -> str:
        """The stable code of the refusal over HTTP."""
        return str(self.http.json()["code"])

    def accepted(self) -> None:
        assert self.http.is_success, self.http.text
        assert self.said.code == 0, self.said.err

    def refused(self, code: str) -> str:
        """Both refused, in the same words; the words."""
        assert not self.http.is_success, self.http.text
        problem = self.http.json()
        assert problem["code"] == code, problem
        assert self.said.code == 1, (self.said.out, self.said.err)
        # Of a field the API says where it is in the body as well.
        detail = str(problem["errors"][0]["detail"] if problem.get("errors") else problem["detail"])
        assert detail in self.said.err, (detail, self.said.err)
        return detail


async def both(shop: Shop, *, http: tuple[str, str, Any], cli: Sequence[str]) -> Both:
    """Give the command `cli` after the request `http`: (method, path, body)."""
    method, path, body = http
    headers = shop.headers | {"Idempotency-Key": str(uuid4()), "Prefer": "wait=0"}
    answer = await shop.paysaga.http.request(method, path, json=body, headers=headers)
    return Both(answer, await paysaga_command(shop.paysaga.environment(), *cli))


@dataclass(frozen=True)
class Logged:
    """A row of the audit log."""

    actor: str
    action: str
    detail: dict[str, Any]


async def audit_log(shop: Shop, object_id: str) -> list[Logged]:
    """What was done to an object, in order, since it came into being with a checkout of the shop's."""
    query = (
        "SELECT actor, action, detail FROM audit_log WHERE object_id = $1 AND action <> 'payment.create' ORDER BY seq"
    )
    rows = await shop.paysaga.sql(query, object_id)
    return [Logged(row["actor"], row["action"], json.loads(row["detail"])) for row in rows]


def same_log(by_key: Sequence[Logged], by_person: Sequence[Logged], *, own: Sequence[str] = ()) -> None:
    """The same rows, but for who it was: of a key its name is written as well. `own`: parts of the detail that name the
    object itself."""
    assert by_key
    for row in by_key:
        assert row.actor.startswith("key_")
        assert row.detail.get("key"), "the key's name"
    assert {row.actor for row in by_person} == {"olga"}
    left_out = {"key", *own}

    def told(rows: Sequence[Logged]) -> list[tuple[str, dict[str, Any]]]:
        return [(row.action, {name: row.detail[name] for name in row.detail.keys() - left_out}) for row in rows]

    assert told(by_key) == told(by_person)

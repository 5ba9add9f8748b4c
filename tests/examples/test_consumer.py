"""The inbox of examples/consumer: each event once, in order, and dead letters."""

import ast
import json
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

from examples.consumer.consumer import ATTEMPTS_MAX, TABLES, Event, Inbox, handle

ROOT = Path(__file__).resolve().parents[2]


def event(number: int, *, subject: str = "pay_1", name: str | None = None, **data: Any) -> bytes:
    body = {
        "id": name or f"evt_{number}",
        "type": "com.paysaga.payment.succeeded.v1",
        "subject": subject,
        "sequence": f"{number:020}",
        "tenantid": "acme",
        "data": {"currency": "INR", "amount": "10.50"} | data,
    }
    return json.dumps(body).encode()


def totals(inbox: Inbox) -> list[tuple[Any, ...]]:
    return inbox.database.execute("SELECT * FROM total").fetchall()


def dead(inbox: Inbox) -> list[tuple[Any, ...]]:
    return inbox.database.execute("SELECT id, cause, attempts FROM dead_letter").fetchall()


def test_a_known_id_and_an_older_sequence_are_dropped(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "x.db", TABLES, handle)
    assert inbox.take([event(2), event(2), event(1), event(3, subject="pay_2")])
    inbox.close()
    inbox = Inbox(tmp_path / "x.db", TABLES, handle)
    assert inbox.take([event(2), event(3, subject="pay_2")])
    assert totals(inbox) == [("acme", "INR", 2, "21.00")]
    inbox.close()


def test_poison_is_given_up_with_its_cause_and_the_others_go_on(tmp_path: Path) -> None:
    """Attempts count across a restart; what is behind the poison waits for it, and no longer."""
    poison, batch = event(2, subject="pay_2", amount="ten"), [event(1), b"{", event(3, subject="pay_3")]
    batch.insert(1, poison)
    for attempt in range(1, 2 * ATTEMPTS_MAX):
        inbox = Inbox(tmp_path / "x.db", TABLES, handle)
        whole = inbox.take(batch)
        assert whole == (attempt == 2 * ATTEMPTS_MAX - 1)
        assert len(dead(inbox)) == (0 if attempt < ATTEMPTS_MAX else 2 if whole else 1)
        assert totals(inbox)[0][2] == (2 if whole else 1)
        inbox.close()
    inbox = Inbox(tmp_path / "x.db", TABLES, handle)
    assert [(attempts, cause.split(":")[0]) for _, cause, attempts in dead(inbox)] == [
        (ATTEMPTS_MAX, "InvalidOperation"), (ATTEMPTS_MAX, "JSONDecodeError"),
    ]  # fmt: skip
    assert inbox.take(batch), "known by now"
    inbox.close()


def test_dead_letters_are_taken_again_once_the_cause_is_gone(tmp_path: Path) -> None:
    def broken(_: sqlite3.Connection, __: Event) -> None:
        raise RuntimeError("no such seller")

    inbox = Inbox(tmp_path / "x.db", TABLES, broken)
    for _ in range(2 * ATTEMPTS_MAX):
        inbox.take([event(1), event(2, subject="pay_2")])
    assert inbox.retry_dead() == 2
    assert [row[1:] for row in dead(inbox)] == [("RuntimeError: no such seller", ATTEMPTS_MAX)] * 2
    inbox.close()
    inbox = Inbox(tmp_path / "x.db", TABLES, handle)
    assert inbox.take([event(3)]), "newer than the dead letter of its object"
    assert inbox.retry_dead() == 0
    assert totals(inbox) == [("acme", "INR", 2, "21.00")]
    inbox.close()


def test_it_can_be_copied() -> None:
    """It imports nothing of Paysaga."""
    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    tree = ast.parse((ROOT / "examples" / "consumer" / "consumer.py").read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names]
    assert not {name.partition(".")[0] for name in names} & {*rooms, "examples", "tests"}

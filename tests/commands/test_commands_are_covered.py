"""Every terminal command that changes something is given over HTTP as well in this folder, or has no counterpart."""

from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app

HERE = Path(__file__).parent
TEXTS = [path.read_text() for path in sorted(HERE.glob("test_*.py")) if path != Path(__file__)]

AT_THE_TERMINAL_ALONE = {
    "keys create": "API keys are handed out by whoever runs Paysaga",
    "keys rotate": "as they are handed out",
    "keys revoke": "as they are handed out",
    "operators add": "people are let in by whoever runs Paysaga",
    "operators reset": "as they are added",
    "operators disable": "as they are added",
    "forget": "whoever runs Paysaga answers for what is kept",
    "refunds resolve": "a person's decision is told to the workflow, which is done in the Temporal UI too",
    "tenants allow-return-url": "whoever runs Paysaga decides where buyers may be sent",
    "tenants forbid-return-url": "as they are allowed",
    "tenants allow-origin": "whoever runs Paysaga decides which sites are a shop's",
    "tenants forbid-origin": "as they are allowed",
    "payouts resolve": "as a refund's",
    "payouts run": "a run pays the sellers of all tenants",
    "payouts release": "a release is of all tenants",
    "tasks close": "tasks are the operator's",
    "webhooks setup": "whoever runs Paysaga has the PSP's account",
    "events replay": "the broker is of all tenants",
    "events disable-sink": "the broker is of all tenants",
    "workflows restart": "workflows are the operator's",
    "sweep": "the sweeper looks at all tenants",
}
"""Command → why HTTP has none."""


def changing() -> list[str]:
    """The commands that ask who gives them (`--by`): what they do is written to the audit log."""
    found = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))
        if any(parameter.name == "by" for parameter in command.params):
            found.append(" ".join(path))

    walk(typer.main.get_command(app), ())
    return sorted(found)


@pytest.mark.parametrize("command", changing())
def test_a_command_is_given_both_ways(command: str) -> None:
    words = [f'"{word}"' for word in command.split()]
    tested = any(all(word in text for word in words) for text in TEXTS)
    assert tested or command in AT_THE_TERMINAL_ALONE


def test_what_is_excused_is_a_command() -> None:
    assert set(AT_THE_TERMINAL_ALONE) <= {*changing(), "sweep"}

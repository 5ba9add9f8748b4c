"""Commands as Paysaga prints them: found in a text between backticks or in a block, and read by the real parser."""

import re
import shlex
from functools import cache
from typing import Any

import typer
import typer.main

from cli.main import app

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return _BLOCK.findall(text)


def commands(text: str) -> list[str]:
    """Every `paysaga …`, as it would be pasted."""
    spans = re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))
    lines = [line for _, block in blocks(text) for line in block.replace("\\\n", " ").splitlines()]
    return list(filter(None, map(_paysaga, [*spans, *lines])))


def _paysaga(line: str) -> str | None:
    found = re.match(r"\s*(?:docker compose exec \w+ )?(?:\.venv/bin/)?(paysaga) ", line)
    return line[found.start(1) :].strip() if found else None


@cache
def _program() -> Any:
    return typer.main.get_command(app)


class Refused(Exception):
    """The shell or the program would not take it."""


def require_parses(line: str) -> None:
    """Read a command to its last option, and do not carry it out. Raises Refused."""
    if forbidden := for_shells(line):
        raise Refused(forbidden)
    words = shlex.split(line.partition(">")[0])
    command = _program()
    try:
        context = command.make_context("paysaga", words[1:])
        while rest := [*getattr(context, "_protected_args", ()), *context.args]:
            if not hasattr(command, "resolve_command"):
                break
            name, command, arguments = command.resolve_command(context, rest)
            context = command.make_context(name, arguments, parent=context)
    except typer.Exit:
        return  # its help
    except Exception as error:  # of the parser, whose types are nobody's
        raise Refused(f"{line}: {error}") from error
    if context.args and not context.allow_extra_args:
        raise Refused(f"{line}: {context.args} is too much")


def for_shells(text: str) -> str | None:
    """What bash and zsh at a prompt would not read as it is meant: zsh takes `#` for a word and fails where a pattern
    finds no file."""
    bare = _QUOTED.sub('""', text)
    for what, pattern in (
        ("a comment", r"(^|\s)#"),
        ("a pattern of file names", r"[?*]|\[(?!\s)"),
        ("an optional part", r"\s…|…\s"),
        ("a redirection from a placeholder", r"<\w"),
        ("a recollection of what was typed", r"!"),
    ):
        if re.search(pattern, bare):
            return f"{what} in {text!r}"
    return None

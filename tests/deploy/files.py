"""The deployment's files as a test sees them: parsed, and read the way Compose and Docker read them."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Self

import yaml

ROOT = Path(__file__).resolve().parents[2]

COMPOSE, DOCKERFILE, IGNORE, EXAMPLE = "docker-compose.yml", "Dockerfile", ".dockerignore", "deploy/example.env"

# `${NAME}`, `${NAME:?why}`, `${NAME:-default}`: the only forms in use.
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<form>[?-])(?P<text>[^}]*))?\}")


@dataclass(frozen=True)
class Files:
    """The files' texts by their name. A test may plant something in one of them."""

    texts: dict[str, str]

    @classmethod
    def read(cls) -> Self:
        """As they are in the repository."""
        return cls({name: (ROOT / name).read_text() for name in (COMPOSE, DOCKERFILE, IGNORE, EXAMPLE)})

    def planted(self, name: str, old: str, new: str) -> Self:
        """With the first `old` of one file replaced."""
        assert old in self.texts[name], f"{name} has no {old!r} to replace"
        return type(self)({**self.texts, name: self.texts[name].replace(old, new, 1)})

    # --- docker-compose.yml ---

    @cached_property
    def compose(self) -> dict[str, Any]:
        """With anchors and merges resolved, and with every `${…}` as it is."""
        document = yaml.load(self.texts[COMPOSE], yaml.CSafeLoader)  # the C one is ten times as quick
        assert isinstance(document, dict)
        return document

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        services = self.compose["services"]
        assert isinstance(services, dict)
        return services

    def ours(self) -> dict[str, dict[str, Any]]:
        """The services of our own image."""
        return {name: service for name, service in self.services.items() if service["image"].startswith("paysaga:")}

    def environment(self, service: str) -> dict[str, str]:
        """What a container would get if .env had the text `secret` for all that is required, and no more."""
        given = self.services[service].get("environment", {})
        return {name: render(str(value)) for name, value in given.items() if value is not None}

    # --- Dockerfile ---

    @cached_property
    def instructions(self) -> list[tuple[str, str]]:
        """(instruction, rest) in order, without comments, with continued lines joined."""
        lines = [line for line in self.texts[DOCKERFILE].splitlines() if line.strip() and not line.startswith("#")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
        return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]

    def rests(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.instructions if word == instruction]

    def exec_form(self, instruction: str) -> list[str]:
        """The arguments of ENTRYPOINT or CMD; fails on the shell form, which would swallow SIGTERM."""
        arguments = json.loads(self.rests(instruction)[-1])
        assert isinstance(arguments, list)
        return [str(argument) for argument in arguments]

    def image_environment(self) -> dict[str, str]:
        """What ENV of the last stage sets."""
        final = max(index for index, (word, _) in enumerate(self.instructions) if word == "FROM")
        pairs = (pair for word, rest in self.instructions[final:] if word == "ENV" for pair in rest.split())
        return dict(pair.split("=", 1) for pair in pairs)

    # --- .dockerignore, deploy/example.env ---

    def enters_build(self, path: str) -> bool:
        """Whether .dockerignore lets it in: the last pattern that fits it or a folder above it decides."""
        inside = True
        for line in self.texts[IGNORE].splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            candidates = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
            bare = pattern.removeprefix("!")
            if any(_fits(str(candidate), bare) for candidate in candidates):
                inside = pattern.startswith("!")
        return inside

    def example(self) -> dict[str, tuple[str, bool]]:
        """name: (value, whether it is commented out)."""
        found = re.findall(r"^(#?)([A-Z_]+)=(.*)$", self.texts[EXAMPLE], re.MULTILINE)
        assert len({name for _, name, _ in found}) == len(found), "a name is there twice"
        return {name: (value, bool(mark)) for mark, name, value in found}


def render(text: str) -> str:
    """As Compose would, with `secret` for what is required and nothing for what is not."""
    return VARIABLE.sub(lambda m: m["text"] if m["form"] == "-" else "secret" if m["form"] == "?" else "", text)


def _fits(path: str, pattern: str) -> bool:
    parts = (
        "(?:.*/)?" if part == "**" else re.escape(part).replace(r"\*", "[^/]*") + "/" for part in pattern.split("/")
    )
    return re.fullmatch("".join(parts).removesuffix("/"), path) is not None

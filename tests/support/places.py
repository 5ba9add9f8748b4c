"""Every place of the HTTP interface that takes a text, found in its own description: one request for each."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

Document = dict[str, Any]
Path = tuple[str | int, ...]

NAME = "(name)"
"""Where a member's name is free: the text is the name itself."""
_DEPTH_MAX = 12


@dataclass(frozen=True)
class Request:
    """A request with a text in one place. `place`: body, query, path or header, and where in it."""

    method: str
    path: str
    place: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def in_body(self) -> bool:
        return self.place.startswith("body")


def requests(document: Document, text: str, known: dict[str, str]) -> list[Request]:
    """One for each place of each operation; what else a request needs is its example, or as `known` by its name."""
    return [
        request
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for request in _of_operation(document, method.upper(), path, operation, text, known)
    ]


def _of_operation(
    document: Document, method: str, path: str, operation: Document, text: str, known: dict[str, str]
) -> Iterator[Request]:
    parameters = operation.get("parameters", ())
    needed: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for parameter in parameters:
        if parameter["required"]:
            needed[parameter["in"]][parameter["name"]] = known.get(parameter["name"], _example(parameter))
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = next((example["value"] for example in content.get("examples", {}).values()), None)

    def request(place: str, given: dict[str, dict[str, str]], sent: Any = body) -> Request:
        filled = path
        for name, value in given["path"].items():
            filled = filled.replace(f"{{{name}}}", quote(value, safe=""))
        return Request(method, filled, place, given["query"], given["header"], sent)

    for parameter in parameters:
        given = {kind: dict(values) for kind, values in needed.items()}
        given[parameter["in"]][parameter["name"]] = text
        yield request(f"{parameter['in']} {parameter['name']}", given)
    for place in dict.fromkeys(_places(document, content.get("schema", {}), ())):
        yield request(f"body {'.'.join(map(str, place))}", needed, _put(body, place, text))


def _example(parameter: Document) -> str:
    schema = parameter.get("schema", {})
    return str(parameter.get("example") or next(iter(schema.get("examples", ())), "x"))


def _places(document: Document, schema: Document, path: Path) -> Iterator[Path]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if len(path) > _DEPTH_MAX:
        return
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _places(document, choice, path)
    if schema.get("type") in ("string", "integer", "number"):
        yield path
    if "items" in schema:
        yield from _places(document, schema["items"], (*path, 0))
    for name, member in schema.get("properties", {}).items():
        yield from _places(document, member, (*path, name))
    if isinstance(schema.get("additionalProperties"), dict):
        yield (*path, NAME)
        yield from _places(document, schema["additionalProperties"], (*path, "canary"))


def _put(body: Any, path: Path, text: str) -> Any:
    if not path:
        return text
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        items = list(body) if isinstance(body, list) and body else [None]
        return [_put(items[0], rest, text), *items[1:]]
    members = copy.deepcopy(body) if isinstance(body, dict) else {}
    if step == NAME:
        return members | {text: "x"}
    return members | {step: _put(members.get(step), rest, text)}

"""Stripe's wire format: form bodies with bracket nesting, typed parameters, cleaned documents.

A parameter table maps each name to a reader, which turns the raw text into a value or raises the error that
Stripe raises; a name outside the table is `parameter_unknown`.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.errors import ApiError, Doc, missing

Reader = Callable[[str, Any], Any]
Table = dict[str, Reader]

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
DEPTH_MAX = 10
METADATA_KEYS_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 50, 40, 500


def decode_form(text: str) -> Doc:
    """`a[b][]=1&c[0][d]=2` as nested dicts and lists. Raises ApiError on names that do not parse."""
    root: Doc = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise ApiError(400, "Too many parameters.") from None
    for name, value in pairs:
        match = NAME.fullmatch(name)
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else []
        if not path or len(path) > DEPTH_MAX:
            raise ApiError(400, f"Invalid request: parameter name {name[:80]!r} cannot be read.")
        _put(root, path, value)
    tree: Doc = _lists(root)
    return tree


def _put(node: Doc, path: list[str], value: str) -> None:
    for part, following in zip(path, [*path[1:], None], strict=True):
        # `[]` appends: it becomes the next free number, and numbered dicts become lists at the end.
        key = part or str(len(node))
        if following is None:
            node[key] = value
            return
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise ApiError(400, f"Invalid request: {path[0]} is given both as a value and as a hash.")
        node = child


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isascii() and key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


def read_params(raw: Doc, table: Table, required: Iterable[str] = ()) -> Doc:
    """Validated parameters by name. `expand` is allowed everywhere and returned as a list."""
    unknown = [name for name in raw if name not in table and name != "expand"]
    if unknown:
        noun = "parameter" if len(unknown) == 1 else "parameters"
        text = f"Received unknown {noun}: {', '.join(unknown)}"
        raise ApiError(400, text, code="parameter_unknown", param=unknown[0])
    for name in required:
        if name not in raw:
            raise missing(name)
    params = {name: table[name](name, value) for name, value in raw.items() if name != "expand"}
    expand = raw.get("expand", [])
    params["expand"] = words("expand", [expand] if isinstance(expand, str) else expand)
    return params


def anything(_name: str, value: Any) -> Any:
    """Accepted and passed through; the sandbox gives it no meaning of its own."""
    return value


def text(name: str, value: Any) -> str:
    """A non-empty string."""
    if not isinstance(value, str):
        raise ApiError(400, "Invalid string: must be a string", param=name)
    if not value:
        message = (
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; "
            f"however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty "
            "value."
        )
        raise ApiError(400, message, code="parameter_invalid_empty", param=name)
    return value


def clearable(name: str, value: Any) -> str | None:
    """A string, where the empty one unsets."""
    return None if value == "" else text(name, value)


def currency(name: str, value: Any) -> str:
    """A currency code, lower-cased as Stripe stores it."""
    return text(name, value).lower()


def integer(name: str, value: Any) -> int:
    """A positive or negative whole number that fits 64 bits."""
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ApiError(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    return int(value)


def positive(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    number = integer(name, value)
    if number < 1:
        message = "This value must be greater than or equal to 1."
        raise ApiError(400, message, code="parameter_invalid_integer", param=name)
    return number


def boolean(name: str, value: Any) -> bool:
    """`true` or `false`."""
    if value not in ("true", "false"):
        raise ApiError(400, f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def flag_or_word(name: str, value: Any) -> bool | str:
    """`off_session` is a boolean or one of a few words."""
    return value == "true" if value in ("true", "false") else text(name, value)


def one_of(*words: str) -> Reader:
    """A reader for an enumeration."""

    def read(name: str, value: Any) -> str:
        if value not in words:
            allowed = ", ".join(words[:-1]) + (" or " if words[:-1] else "") + words[-1]
            raise ApiError(400, f"Invalid {name}: must be one of {allowed}", param=name)
        return str(value)

    return read


def words(name: str, value: Any) -> list[str]:
    """A list of strings."""
    if not isinstance(value, list):
        raise ApiError(400, f"Invalid array: {name} must be an array", param=name)
    return [text(name, word) for word in value]


def hashed(name: str, value: Any) -> Doc:
    """A nested object."""
    if not isinstance(value, dict):
        raise ApiError(400, f"Invalid object: {name} must be a hash", param=name)
    return value


def metadata(name: str, value: Any) -> Doc | None:
    """Key-value pairs within Stripe's limits; None when the caller clears all of them."""
    if value == "":
        return None
    if isinstance(value, list):  # keys that are all numbers look like a list on the wire
        value = {str(index): item for index, item in enumerate(value)}
    pairs = hashed(name, value)
    if len(pairs) > METADATA_KEYS_MAX:
        raise ApiError(400, f"Metadata can have up to {METADATA_KEYS_MAX} keys", param=name)
    for key, item in pairs.items():
        if not isinstance(item, str):
            raise ApiError(400, "Metadata values must be strings", param=f"{name}[{key}]")
        if len(key) > METADATA_KEY_MAX or len(item) > METADATA_VALUE_MAX:
            message = (
                f"Metadata keys can have up to {METADATA_KEY_MAX} characters and values up to "
                f"{METADATA_VALUE_MAX} characters."
            )
            raise ApiError(400, message, param=f"{name}[{key[:METADATA_KEY_MAX]}]")
    return pairs


def time_range(name: str, value: Any) -> dict[str, int]:
    """`created=123` or `created[gte]=123`: bounds by comparison (`eq`, `gt`, `gte`, `lt`, `lte`)."""
    if isinstance(value, str):
        return {"eq": integer(name, value)}
    bounds = hashed(name, value)
    if not bounds.keys() <= {"gt", "gte", "lt", "lte"}:
        raise ApiError(400, f"Invalid {name}: use gt, gte, lt or lte", param=name)
    return {comparison: integer(f"{name}[{comparison}]", bound) for comparison, bound in bounds.items()}


def merged(old: Doc, new: Doc | None) -> Doc:
    """Metadata after an update: an empty value removes its key, None removes all."""
    return {} if new is None else {key: value for key, value in (old | new).items() if value != ""}


def public(document: Doc) -> Doc:
    """A stored document without the sandbox's private fields, which start with an underscore."""
    return {key: value for key, value in document.items() if not key.startswith("_")}

"""Groups of commands (`payments`, `refunds` …): the option that all of their commands have, and their late import."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

_as_json: ContextVar[bool] = ContextVar("as_json", default=False)

_Json = Annotated[bool, typer.Option("--json", help="As one JSON document, its shapes those of the HTTP API.")]


def as_json() -> bool:
    """Whether the command that runs was asked for `--json`."""
    return _as_json.get()


_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Noun(typer.Typer):
    """A group whose commands all take `--json`. Completion is no matter of a group."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(add_completion=False, **settings)

    def command(self, *arguments: Any, **settings: Any) -> _Decorator:  # type: ignore[override]
        return _registered(super().command(*arguments, **settings))

    def callback(self, *arguments: Any, **settings: Any) -> _Decorator:  # type: ignore[override]
        """The same for what a group does without a command: where it does nothing, it takes none."""
        register = super().callback(*arguments, **settings)
        return _registered(register) if settings.get("invoke_without_command") else register


def _registered(register: _Decorator) -> _Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        register(_with_json(function))
        return function

    return decorate


def _with_json(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with one parameter more."""

    @functools.wraps(function)
    def command(*arguments: Any, as_json: bool, **options: Any) -> Any:
        before = _as_json.set(as_json)
        try:
            return function(*arguments, **options)
        finally:
            _as_json.reset(before)

    signature = inspect.signature(function)
    more = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Json)
    command.__signature__ = signature.replace(  # type: ignore[attr-defined] # what inspect and Typer look at
        parameters=[*signature.parameters.values(), more]
    )
    command.__annotations__ = {**function.__annotations__, "as_json": _Json}
    return command


class Later(NamedTuple):
    """A group or command that is imported when it is called: `attribute` of `cli.commands.{module}`."""

    module: str
    attribute: str
    help: str


class LateGroup(TyperGroup):
    """The commands of `paysaga`: its list (`--help`) and each of them starts without importing the others."""

    later: Mapping[str, Later] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        listed = {name: TyperCommand(name=name, help=one.help) for name, one in self.later.items()}
        self.commands = _Commands({**self.commands, **listed}, self.later)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as the base has it
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in self.commands:
            self.commands[args[0]]
        return super().resolve_command(ctx, args)


class _Commands(dict[str, Any]):
    """By name. One that is looked at by its name, or walked over, is imported; `get` finds what the list shows."""

    def __init__(self, commands: Mapping[str, Any], later: Mapping[str, Later]) -> None:
        super().__init__(commands)
        self._later = dict(later)

    def __getitem__(self, name: str) -> Any:
        later = self._later.pop(name, None)
        if later is not None:
            self[name] = _loaded(name, later)
        return super().__getitem__(name)

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def values(self) -> Any:
        return [self[name] for name in self]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(super().__iter__()))


def _loaded(name: str, later: Later) -> Any:
    made = getattr(import_module(f"cli.commands.{later.module}"), later.attribute)
    if not isinstance(made, typer.Typer):  # a command by itself
        alone = Noun()
        alone.command(name)(made)
        made = alone
    command = typer.main.get_command(made)
    command.name, command.help = name, later.help
    return command

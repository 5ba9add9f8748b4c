"""Inputs of signals and updates. Temporal's UI lets a person send none, an empty one or any JSON, and a handler that
raises on it fails the workflow's task for ever: so handlers take whatever comes and read it here."""

from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from domain.card_data import require_text
    from domain.errors import PaysagaError
    from domain.model import Frozen

Message = TypeVar("Message", bound=Frozen)


def signal_input(model: type[Message], inputs: tuple[object, ...]) -> Message:
    """The message of a signal; where it cannot be read, one with the model's defaults: that it came says enough."""
    try:
        return _read(model, inputs)
    except ValueError:
        workflow.logger.warning("a signal came without a usable input and is taken as %s()", model.__name__)
        return model()


def update_input(model: type[Message], inputs: tuple[object, ...]) -> Message:
    """The message of an update. Raises ApplicationError, which refuses the update and says what to send."""
    try:
        return _read(model, inputs)
    except ValueError as error:
        fields = ", ".join(
            name if field.is_required() else f"{name} (optional)" for name, field in model.model_fields.items()
        )
        detail = f"Send one JSON object with {fields}: {error}"
        raise ApplicationError(detail, type="InputInvalid") from None


def _read(model: type[Message], inputs: tuple[object, ...]) -> Message:
    """Raises ValueError."""
    sent: Any = inputs[0] if inputs else None
    try:
        message = model.model_validate(sent)
        for name, value in message:
            if isinstance(value, str):
                _require_text(name, value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the input"
        raise ValueError(f"{where}: {first['msg']}") from None
    return message


def _require_text(name: str, text: str) -> None:
    """Raises ValueError for what cannot be stored, and for a name that is empty."""
    if len(text) > _LENGTH_MAX:
        raise ValueError(f"{name}: at most {_LENGTH_MAX} characters")
    if name == "by" and not text.strip():
        raise ValueError("by: the name of who decides is missing")
    try:
        require_text(text)
    except PaysagaError as error:
        raise ValueError(f"{name}: {error}") from None


_LENGTH_MAX = 2000

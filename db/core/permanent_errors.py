"""Errors that trying again cannot help: what the database will say of the same data every time."""

_FOR_EVER = ("22", "23", "54")
"""SQLSTATE classes: data exception, integrity constraint violation, program limit exceeded."""


def permanent_reason(error: BaseException) -> str | None:
    """The reason, in one line, if trying again cannot help; None for what may work later.

    The driver's own error is at the end of the causes, beneath what was made of it; a value that it cannot send at all
    is a ValueError or an OverflowError.
    """
    cause: BaseException | None = error
    while cause is not None:
        state = str(getattr(cause, "sqlstate", None) or "")
        if state.startswith(_FOR_EVER) or isinstance(cause, (OverflowError, ValueError)):
            return str(cause.__cause__ or cause).partition("\n")[0][:300]
        cause = cause.__cause__
    return None

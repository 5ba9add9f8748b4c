"""The base of all values that cross a boundary, and the failure that many of them carry."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that crosses a boundary. Unknown fields are ignored, so that stored histories load."""

    model_config = ConfigDict(frozen=True)


class Failure(Frozen):
    """The reason why something was not done. `code` is stable and ours; `psp_code` is the PSP's own word."""

    code: str
    message: str
    psp_code: str | None = None

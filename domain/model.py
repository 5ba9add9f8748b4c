"""Model: TODO docstring."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every value that crosses a boundary: immutable, unknown fields refused nowhere, so old histories load."""

    model_config = ConfigDict(frozen=True)


class Failure(Frozen):
    """Why an order is not paid. `code` is stable and ours; `psp_code` is the PSP's own word."""

    code: str
    message: str
    psp_code: str | None = None

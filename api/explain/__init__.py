"""A payment's explanation over HTTP: `/v1/payments/{id}/explain`."""

from datetime import datetime

from pydantic import Field

from api.fields import Out


# Here and not among the other shapes: payouts have a shape of this name too, so that the name of its schema in OpenAPI
# is made of the module's, and clients are generated from that.
class UnansweredOut(Out):
    """A question to the PSP whose answer is not known yet, while it is asked again and again."""

    about: str = Field(description="the payment, for its charge or capture; or our refund")
    reason: str | None = Field(description="timeout, connection, server_error, server_error_replayed, in_flight, …")
    detail: str = Field(examples=["the PSP did not answer in time; 3 tries so far"])
    tries: int = Field(description="answers so far that could not be trusted")
    next_try_at: datetime | None = Field(description="null: it is under way now, or overdue because no worker runs")
    ends_at: datetime | None = Field(
        description="only where the PSP repeats a stored error: what it has not made by then counts as not made"
    )
    what_to_do: str

"""The shown form of each kind of object, in its own answer and inside others."""

from sandbox import balance, disputes, events, transfers
from sandbox.context import Context
from sandbox.errors import Doc
from sandbox.wire import public


def view(ctx: Context, kind: str, document: Doc) -> Doc:
    """A stored document as the API shows it today."""
    if kind == "balance_transactions":
        return balance.current(ctx, public(document))
    if kind == "events":
        return events.with_pending(ctx, document)
    if kind == "disputes":
        return disputes.view(ctx, document)
    if kind == "transfers":
        return transfers.view(ctx, document)
    return public(document)

"""The inbox without what its readers do not need: secrets of PaymentIntents, people's addresses and evidence leave the
events that were stored before. Which object, in which state, and how much stays."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_EVENT = "'id', 'object', 'type', 'created', 'livemode', 'api_version', 'account', 'context'"
_OBJECT = (
    "'id', 'object', 'status', 'amount', 'amount_received', 'amount_refunded', 'amount_captured', 'amount_capturable', "
    "'currency', 'payment_intent', 'charge', 'latest_charge', 'refund', 'balance_transaction', 'destination', "
    "'captured', 'paid', 'refunded', 'disputed', 'reason', 'failure_code', 'failure_reason', 'arrival_date', "
    "'automatic', 'method'"
)


def _only(source: str, names: str) -> str:
    """The members of a JSON object that have one of the names and are no objects or lists themselves."""
    return (
        f"(SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each({source}) "  # noqa: S608 - constants
        f"WHERE key IN ({names}) AND jsonb_typeof(value) IN ('string', 'number', 'boolean'))"
    )


def upgrade() -> None:
    thing = "CASE jsonb_typeof(payload #> '{data,object}') WHEN 'object' THEN payload #> '{data,object}' ELSE '{}' END"
    op.execute(
        f"UPDATE webhook_inbox SET payload = {_only('payload', _EVENT)}"  # noqa: S608 - constants
        f" || jsonb_build_object('data', jsonb_build_object('object', {_only(thing, _OBJECT)}))"
        " WHERE jsonb_typeof(payload) = 'object'"
    )


def downgrade() -> None:
    """Change nothing: what left the inbox is gone."""

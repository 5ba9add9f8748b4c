"""A posting's transaction is looked up by its id alone, which has one index.

By id and tenant together, a table that PostgreSQL has not analysed yet was read by the index of the tenant: all of its
transactions, for each posting.
"""

# ruff: noqa: S608 - the statements are put together from constants of this file

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_BEGIN = """
CREATE OR REPLACE FUNCTION ledger_posting_belongs() RETURNS trigger LANGUAGE plpgsql AS $$
"""

_END = """
        RAISE EXCEPTION 'ledger transaction % is closed or belongs to another tenant', NEW.transaction_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$
"""

_WHY = """
    -- All lines of a transaction arrive with it: one check of the transaction, deferred to the commit, sees them all,
    -- and nobody can add a balanced pair of lines to what was committed long ago.
"""

_BY_ID = f"""{_BEGIN}
DECLARE
    entry record;
BEGIN
{_WHY}
    SELECT tenant_id, xact INTO entry FROM ledger_transaction WHERE id = NEW.transaction_id;
    IF NOT FOUND OR entry.tenant_id <> NEW.tenant_id
        OR entry.xact IS DISTINCT FROM (pg_current_xact_id()::text)::bigint
    THEN
{_END}"""

_BY_BOTH = f"""{_BEGIN}
BEGIN
{_WHY}
    IF NOT EXISTS (
        SELECT FROM ledger_transaction
        WHERE id = NEW.transaction_id AND tenant_id = NEW.tenant_id AND xact = (pg_current_xact_id()::text)::bigint
    ) THEN
{_END}"""


def upgrade() -> None:
    op.execute(_BY_ID)


def downgrade() -> None:
    op.execute(_BY_BOTH)

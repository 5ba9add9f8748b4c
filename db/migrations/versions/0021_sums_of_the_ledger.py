"""The sums of the sealed ledger; and no key or index where another one does the same.

The foreign key that names a merchant holds for its tenant too, and a transaction's postings name the tenant as well.
What a payout pays is checked by `payout_item_within`, which now reads it in one pass.

`ledger_balance` has the sums of the sealed postings by account and day, and by account and month. Those of what is
sealed already are made here, in one pass over the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# (table, column, what it names) of keys that something else guarantees.
COVERED = (
    ("payment_order", "tenant_id", "tenant.id"),
    ("reserve", "tenant_id", "tenant.id"),
    ("payout", "tenant_id", "tenant.id"),
    ("ledger_transaction", "tenant_id", "tenant.id"),
    ("payout_item", "tenant_id", "tenant.id"),
    ("payout_item", "posting_seq", "ledger_posting.seq"),
)

WITHIN = """
CREATE OR REPLACE FUNCTION payout_item_within() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    -- What the seller has by the posting: a credit is negative in the books. One that is not there, is another tenant's
    -- or is not to an available balance has no amount here.
    SELECT c.posting_seq, coalesce(sum(i.amount), 0) AS parts, -p.amount AS whole INTO wrong
    FROM (SELECT tenant_id, posting_seq FROM changed GROUP BY posting_seq, tenant_id) AS c
    LEFT JOIN ledger_posting p
        ON p.seq = c.posting_seq AND p.tenant_id = c.tenant_id AND p.account LIKE 'wallet:%\\:available'
    LEFT JOIN payout_item i ON i.posting_seq = c.posting_seq AND NOT i.released
    GROUP BY c.posting_seq, p.amount
    HAVING p.amount IS NULL OR coalesce(sum(i.amount), 0) NOT BETWEEN least(-p.amount, 0) AND greatest(-p.amount, 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'payouts take % of posting %, which is %', wrong.parts, wrong.posting_seq, wrong.whole
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""

WITHIN_BEFORE = """
CREATE OR REPLACE FUNCTION payout_item_within() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    -- What the seller has by the posting: a credit is negative in the books.
    SELECT c.posting_seq, i.parts, w.whole INTO wrong
    FROM (SELECT DISTINCT tenant_id, posting_seq FROM changed) AS c
    LEFT JOIN LATERAL (
        SELECT -amount AS whole FROM ledger_posting
        WHERE seq = c.posting_seq AND tenant_id = c.tenant_id AND account LIKE 'wallet:%\\:available'
    ) AS w ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount), 0) AS parts FROM payout_item WHERE posting_seq = c.posting_seq AND NOT released
    ) AS i
    WHERE w.whole IS NULL OR i.parts NOT BETWEEN least(w.whole, 0) AND greatest(w.whole, 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'payouts take % of posting %, which is %', wrong.parts, wrong.posting_seq, wrong.whole
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""


SEALED_SUMS = """
INSERT INTO ledger_balance (tenant_id, account, currency, period, starts_on, amount)
SELECT p.tenant_id, p.account, p.currency, length.period, date_trunc(length.period, t.at AT TIME ZONE 'UTC')::date,
       sum(p.amount)
FROM ledger_transaction t JOIN ledger_posting p ON p.transaction_id = t.id
CROSS JOIN (VALUES ('day'), ('month')) AS length (period)
WHERE t.seq <= (SELECT max(seq) FROM ledger_seal_row)
GROUP BY 1, 2, 3, 4, 5
"""


def upgrade() -> None:
    for table, column, _ in COVERED:
        op.drop_constraint(f"fk_{table}_{column}", table, type_="foreignkey")
    op.drop_index("ix_payment_order_payment_id", table_name="payment_order")
    op.execute(WITHIN)
    op.create_table(
        "ledger_balance",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False, comment="debit positive"),
        sa.CheckConstraint("period IN ('day', 'month')", name=op.f("ck_ledger_balance_period")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account", "currency"],
            ["ledger_account.tenant_id", "ledger_account.name", "ledger_account.currency"],
            name="fk_ledger_balance_account",
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "account", "currency", "period", "starts_on", name=op.f("pk_ledger_balance")
        ),
    )
    op.execute(SEALED_SUMS)
    op.execute("GRANT SELECT, INSERT, UPDATE ON ledger_balance TO paysaga_app")


def downgrade() -> None:
    op.drop_table("ledger_balance")
    op.execute(WITHIN_BEFORE)
    op.create_index("ix_payment_order_payment_id", "payment_order", ["payment_id"], unique=False)
    for table, column, target in reversed(COVERED):
        named, key = target.split(".")
        op.create_foreign_key(f"fk_{table}_{column}", table, named, [column], [key])

"""The rules that PostgreSQL itself enforces, whatever the application does."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger_account", "ledger_transaction", "ledger_posting", "payment_order_transition", "audit_log")

ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'paysaga_app') THEN
        CREATE ROLE paysaga_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server is being migrated at the same moment: roles are shared
END $$
"""

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'A correction is a new transaction that names the one it corrects.';
END $$
"""

BALANCED = """
CREATE FUNCTION check_ledger_transaction(wanted text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lines bigint;
    unbalanced text;
BEGIN
    SELECT sum(n), string_agg(currency, ', ') FILTER (WHERE total <> 0) INTO lines, unbalanced
    FROM (SELECT currency, sum(amount) AS total, count(*) AS n
          FROM ledger_posting WHERE transaction_id = wanted GROUP BY currency) AS per_currency;
    IF coalesce(lines, 0) < 2 THEN
        RAISE EXCEPTION 'ledger transaction % has fewer than two postings', wanted USING ERRCODE = 'check_violation';
    END IF;
    IF unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'ledger transaction % does not sum to zero in %', wanted, unbalanced
            USING ERRCODE = 'check_violation';
    END IF;
END $$
"""

TRANSACTION_TRIGGER = """
CREATE FUNCTION ledger_transaction_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_ledger_transaction(NEW.id);
    RETURN NULL;
END $$
"""

POSTING_TRIGGER = """
CREATE FUNCTION ledger_posting_belongs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- All lines of a transaction arrive with it: one check of the transaction, deferred to the commit, sees them all,
    -- and nobody can add a balanced pair of lines to what was committed long ago.
    IF NOT EXISTS (
        SELECT FROM ledger_transaction
        WHERE id = NEW.transaction_id AND tenant_id = NEW.tenant_id AND xact = (pg_current_xact_id()::text)::bigint
    ) THEN
        RAISE EXCEPTION 'ledger transaction % is closed or belongs to another tenant', NEW.transaction_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$
"""

XACT_TRIGGER = """
CREATE FUNCTION ledger_transaction_xact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.xact := (pg_current_xact_id()::text)::bigint;
    RETURN NEW;
END $$
"""

STATUS_TRIGGER = """
CREATE FUNCTION status_stays_terminal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% % is % and cannot become %', TG_TABLE_NAME, OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'restrict_violation';
END $$
"""

IDENTITY_TRIGGER = """
CREATE FUNCTION amount_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'amount, currency and tenant of % % are fixed', TG_TABLE_NAME, OLD.id
        USING ERRCODE = 'restrict_violation';
END $$
"""


def upgrade() -> None:
    op.execute(ROLE)
    op.execute("INSERT INTO tenant (id, name) VALUES ('platform', 'what belongs to no tenant')")
    functions = (
        REFUSE_CHANGE, BALANCED, TRANSACTION_TRIGGER, POSTING_TRIGGER, XACT_TRIGGER, STATUS_TRIGGER, IDENTITY_TRIGGER,
    )  # fmt: skip
    for function in functions:
        op.execute(function)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER own_xact BEFORE INSERT ON ledger_transaction"
        " FOR EACH ROW EXECUTE FUNCTION ledger_transaction_xact()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_transaction DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION ledger_transaction_balanced()"
    )
    op.execute(
        "CREATE TRIGGER belongs BEFORE INSERT ON ledger_posting FOR EACH ROW EXECUTE FUNCTION ledger_posting_belongs()"
    )
    for table in ("payment", "payment_order"):
        # A payment's own status is computed from its orders: it may rise from FAILED or CANCELLED only to follow them,
        # which no order does, so the same rule holds for both.
        op.execute(
            f"CREATE TRIGGER terminal BEFORE UPDATE OF status ON {table} FOR EACH ROW"
            " WHEN (OLD.status IN ('SUCCESS', 'FAILED', 'CANCELLED') AND NEW.status <> OLD.status)"
            " EXECUTE FUNCTION status_stays_terminal()"
        )
        op.execute(
            f"CREATE TRIGGER fixed BEFORE UPDATE ON {table} FOR EACH ROW WHEN (OLD.amount <> NEW.amount"
            " OR OLD.currency <> NEW.currency OR OLD.tenant_id <> NEW.tenant_id) EXECUTE FUNCTION amount_stays()"
        )
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA public TO paysaga_app")
    # No DELETE and no TRUNCATE anywhere: nothing is deleted.
    op.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO paysaga_app")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO paysaga_app")
    op.execute(f"REVOKE UPDATE ON {', '.join(APPEND_ONLY)} FROM paysaga_app")
    op.execute("REVOKE ALL ON alembic_version FROM paysaga_app")
    op.execute("GRANT SELECT ON alembic_version TO paysaga_app")


def downgrade() -> None:
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM paysaga_app")
    op.execute("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM paysaga_app")
    op.execute("REVOKE ALL ON SCHEMA public FROM paysaga_app")
    for table in ("payment", "payment_order"):
        op.execute(f"DROP TRIGGER terminal ON {table}")
        op.execute(f"DROP TRIGGER fixed ON {table}")
    op.execute("DROP TRIGGER belongs ON ledger_posting")
    op.execute("DROP TRIGGER balanced ON ledger_transaction")
    op.execute("DROP TRIGGER own_xact ON ledger_transaction")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER append_only_rows ON {table}")
        op.execute(f"DROP TRIGGER append_only_table ON {table}")
    for function in (
        "amount_stays()",
        "status_stays_terminal()",
        "ledger_posting_belongs()",
        "ledger_transaction_balanced()",
        "ledger_transaction_xact()",
        "check_ledger_transaction(text)",
        "refuse_change()",
    ):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DELETE FROM tenant WHERE id = 'platform'")

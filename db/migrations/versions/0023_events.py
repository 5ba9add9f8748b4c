"""The way out for events: what is still to be done with each, the sinks that want them, and what could not be done.

Whoever writes an event need not know who wants it: a trigger on the outbox notes it for every sink that is active. A
deployment without a broker has no active sink, and nothing piles up. Events no longer say that they are published."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

ADD = """
CREATE FUNCTION outbox_todo_add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_todo (sink, seq) SELECT s.sink, a.seq FROM event_sink s CROSS JOIN added a WHERE s.active;
    RETURN NULL;
END $$
"""

# A task is opened and closed in many places, some of which close all that a payment has: none of them can forget.
TASK = """
CREATE FUNCTION operator_task_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (id, tenant_id, type, schema_version, object_id, payload, at)
    VALUES (
        'evt_' || CASE WHEN NEW.closed_at IS NULL THEN substr(NEW.id, 6) ELSE 'z' || substr(NEW.id, 7) END,
        NEW.tenant_id,
        CASE WHEN NEW.closed_at IS NULL THEN 'task.opened' ELSE 'task.closed' END,
        1,
        NEW.id,
        jsonb_build_object(
            'id', NEW.id, 'kind', NEW.kind, 'payment_id', NEW.payment_id, 'object_id', NEW.object_id,
            'status', CASE WHEN NEW.closed_at IS NULL THEN 'OPEN' ELSE 'CLOSED' END
        ),
        coalesce(NEW.closed_at, NEW.opened_at)
    );
    RETURN NULL;
END $$
"""

DROP = """
CREATE OR REPLACE FUNCTION month_drop_outbox(older_than interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    oldest text;
    ended timestamptz;
    waits boolean;
BEGIN
    IF older_than < interval '30 days' THEN
        RAISE EXCEPTION 'events are kept for 30 days at least' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('paysaga.month'));
    SELECT p.relname, next.begun_at INTO oldest, ended
    FROM (
        SELECT c.relname, substring(c.relname FROM '[0-9]{{4}}$')::integer AS month
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.outbox'::regclass ORDER BY 2 LIMIT 1
    ) AS p
    CROSS JOIN LATERAL (SELECT m.begun_at FROM month m WHERE m.month > p.month ORDER BY m.month LIMIT 1) AS next
    WHERE next.begun_at < now() - older_than;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    EXECUTE format('{waits}', oldest) INTO waits;
    IF waits THEN
        RETURN NULL;
    END IF;
    -- The files are removed once the locks have been given back.
    EXECUTE format('DROP TABLE months.%I', oldest);
    UPDATE month SET outbox_from = (begun_at = ended);
    RETURN oldest;
END $$
"""
WAITS = (
    "WITH last AS (SELECT max(seq) AS seq FROM months.%I) SELECT"
    " EXISTS (SELECT FROM outbox_todo t JOIN event_sink s USING (sink) WHERE t.seq <= (SELECT seq FROM last))"
    " OR EXISTS (SELECT FROM dead_letter d WHERE d.status = ''OPEN''"
    " AND CASE WHEN d.source = ''events'' THEN d.ref_id::bigint <= (SELECT seq FROM last) END)"  # others are no numbers
)
WAITS_BEFORE = "SELECT EXISTS (SELECT FROM months.%I WHERE published_at IS NULL)"


def upgrade() -> None:
    op.create_table(
        "event_sink",
        sa.Column("sink", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("active_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sink", name=op.f("pk_event_sink")),
        sa.UniqueConstraint("name", name=op.f("uq_event_sink_name")),
    )
    op.execute("INSERT INTO event_sink (sink, name) VALUES (1, 'broker'), (2, 'fanout')")
    op.create_table(
        "outbox_todo",
        sa.Column("sink", sa.SmallInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sink", "seq", name=op.f("pk_outbox_todo")),
    )
    # As many rows go as come: what is dead is to be cleared away by the thousand, however large the table once was.
    op.execute(
        "ALTER TABLE outbox_todo SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,"
        " autovacuum_vacuum_insert_scale_factor = 1, autovacuum_vacuum_cost_delay = 0)"
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("ref_id", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Text(), server_default="OPEN", nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('OPEN', 'REPLAYED', 'DISCARDED')", name=op.f("ck_dead_letter_status")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_dead_letter_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letter")),
    )
    op.create_index(
        "ix_dead_letter_open",
        "dead_letter",
        ["source", "ref_id"],
        unique=True,
        postgresql_where=sa.text("status = 'OPEN'"),
    )
    op.execute("GRANT SELECT ON event_sink TO paysaga_app")
    op.execute("GRANT UPDATE (active, active_since, reached_at) ON event_sink TO paysaga_app")
    op.execute("GRANT SELECT, INSERT, DELETE ON outbox_todo TO paysaga_app")
    op.execute("GRANT SELECT, INSERT, UPDATE ON dead_letter TO paysaga_app")
    op.execute("REVOKE UPDATE ON outbox FROM paysaga_app")
    op.execute(ADD)
    op.execute(
        "CREATE TRIGGER todo AFTER INSERT ON outbox REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION outbox_todo_add()"
    )
    op.execute(TASK)
    op.execute(
        "CREATE TRIGGER opened AFTER INSERT ON operator_task FOR EACH ROW EXECUTE FUNCTION operator_task_event()"
    )
    op.execute(
        "CREATE TRIGGER closed AFTER UPDATE OF closed_at ON operator_task FOR EACH ROW"
        " WHEN (OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL) EXECUTE FUNCTION operator_task_event()"
    )
    op.execute(DROP.format(waits=WAITS))
    op.execute("DROP INDEX ix_outbox_unpublished")
    op.execute("ALTER TABLE outbox DROP COLUMN published_at")


def downgrade() -> None:
    op.execute("ALTER TABLE outbox ADD COLUMN published_at timestamptz")
    op.execute("CREATE INDEX ix_outbox_unpublished ON outbox (seq) WHERE published_at IS NULL")
    op.execute(DROP.format(waits=WAITS_BEFORE))
    for trigger, table in (("closed", "operator_task"), ("opened", "operator_task"), ("todo", "outbox")):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute("DROP FUNCTION operator_task_event()")
    op.execute("DROP FUNCTION outbox_todo_add()")
    op.execute("GRANT UPDATE ON outbox TO paysaga_app")
    for table in ("dead_letter", "outbox_todo", "event_sink"):
        op.drop_table(table)

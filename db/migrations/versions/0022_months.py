"""Months: the large tables that only grow are partitioned, and a row's number says in which month it was written.

Numbers of a month begin at YYMM000000000000, so the bounds of a partition are known long before its month, and nothing
has to be in place at midnight: until the sweeper has moved the sequences on, rows go on into the month before. All
sequences move in one database transaction which waits for whoever has taken a number of them, so the postings of a
ledger transaction are always of its own month, and one partition is looked through for them.

What was there becomes the partition of this month, as it is: a validated check takes the place of a scan, and its
keys and indexes are taken over. The check is validated before anything is locked; the rest takes milliseconds, however
many rows there are.

The application creates no table. It calls the functions below, which do one thing each as the schema's owner, wait half
a second at most for a lock (less than PostgreSQL waits before it looks for a deadlock, so that it is never a payment
that gives way), and are called again by the next sweep."""

# ruff: noqa: S608 - what is put into the statements are constants of this file

from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

SIZE = 1_000_000_000_000
"""Numbers of a month."""


class Parts(NamedTuple):
    """A table to be partitioned. Its indexes, foreign keys and triggers are named as they are in `db.schema`."""

    rights: str
    indexes: dict[str, str]
    keys: dict[str, str]
    triggers: dict[str, str]


REFUSED = "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
TENANT = "(tenant_id) REFERENCES tenant (id)"
TABLES = {
    "ledger_posting": Parts(
        "SELECT, INSERT",
        {
            "ix_ledger_posting_transaction_id": "(transaction_id)",
            "ix_ledger_posting_account": "(tenant_id, account, currency, seq)",
        },
        {
            "fk_ledger_posting_transaction_id": "(transaction_id) REFERENCES ledger_transaction (id)",
            "fk_ledger_posting_account": "(tenant_id, account, currency)"
            " REFERENCES ledger_account (tenant_id, name, currency)",
        },
        {
            "append_only_rows": f"BEFORE UPDATE OR DELETE ON {{}} {REFUSED}",
            "belongs": "BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION ledger_posting_belongs()",
        },
    ),
    "payment_order_transition": Parts(
        "SELECT, INSERT",
        {"ix_payment_order_transition_payment_id": "(payment_id)"},
        {
            "fk_payment_order_transition_tenant_id": TENANT,
            "fk_payment_order_transition_payment_id": "(payment_id) REFERENCES payment (id)",
            "fk_payment_order_transition_order_id": "(order_id) REFERENCES payment_order (id)",
        },
        {"append_only_rows": f"BEFORE UPDATE OR DELETE ON {{}} {REFUSED}"},
    ),
    "outbox": Parts(
        "SELECT, INSERT, UPDATE",
        {"ix_outbox_unpublished": "(seq) WHERE published_at IS NULL"},
        {"fk_outbox_tenant_id": TENANT},
        {},
    ),
    "audit_log": Parts(
        "SELECT, INSERT",
        {"ix_audit_log_tenant": "(tenant_id, seq)", "ix_audit_log_object": "(object_id)"},
        {"fk_audit_log_tenant_id": TENANT},
        {
            "append_only_rows": f"BEFORE DELETE ON {{}} {REFUSED}",
            "append_only_values": "BEFORE UPDATE ON {} FOR EACH ROW"
            " WHEN (current_setting('paysaga.forgetting', true) IS DISTINCT FROM 'on' OR"
            " (OLD.seq, OLD.tenant_id, OLD.actor, OLD.action, OLD.object_id, OLD.at, OLD.address, OLD.detail - 'note')"
            " IS DISTINCT FROM"
            " (NEW.seq, NEW.tenant_id, NEW.actor, NEW.action, NEW.object_id, NEW.at, NEW.address, NEW.detail - 'note'))"
            " EXECUTE FUNCTION refuse_change()",
        },
    ),
}
KEPT_WHOLE = ("ledger_posting", "payment_order_transition", "audit_log")
"""Tables that nobody may empty, neither as a whole nor a month of them."""

NUMBERED = ("ledger_transaction", *TABLES)
"""Tables whose numbers have months, in the order in which a payment takes them: whoever locks their sequences in
another order could wait for a payment that waits for it."""

MONTH_OF = """
CREATE FUNCTION month_of(at timestamptz) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYMM')::integer
$$
"""

AHEAD = f"""
CREATE FUNCTION month_ahead(at timestamptz, months integer)
RETURNS TABLE (month integer, lower bigint, upper bigint) LANGUAGE sql STABLE AS $$
    SELECT month_of(day), month_of(day) * {SIZE}, month_of(day + interval '1 month') * {SIZE}
    FROM generate_series(0, months) AS n
    CROSS JOIN LATERAL (SELECT date_trunc('month', at, 'UTC') + n * interval '1 month' AS day) AS months
$$
"""

MISSING = f"""
CREATE FUNCTION month_missing(at timestamptz, months integer)
RETURNS TABLE (parent text, month integer, lower bigint, upper bigint) LANGUAGE sql STABLE AS $$
    SELECT t.parent, m.month, m.lower, m.upper
    FROM unnest(ARRAY[{", ".join(f"'{table}'" for table in TABLES)}]) AS t(parent), month_ahead(at, months) AS m
    -- The first of them has all that is older.
    WHERE m.month >= (SELECT min(known.month) FROM month known) AND NOT EXISTS (
        SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = format('public.%I', t.parent)::regclass AND c.relname = t.parent || '_' || m.month
    )
    ORDER BY m.month, t.parent
$$
"""

MAKE = f"""
CREATE FUNCTION month_make(at timestamptz, months integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    wanted record;
    made text;
BEGIN
    -- One partition by call: each has a transaction of its own, and holds few locks.
    PERFORM pg_advisory_xact_lock(hashtext('paysaga.month'));
    SELECT * INTO wanted FROM month_missing(at, months) LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    made := format('months.%I', wanted.parent || '_' || wanted.month);
    -- Made on its own and then attached, it does not hold up those who write to the others.
    EXECUTE format('CREATE TABLE %s (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', made, wanted.parent);
    IF wanted.parent IN ({", ".join(f"'{table}'" for table in KEPT_WHOLE)}) THEN
        EXECUTE format('CREATE TRIGGER append_only_table BEFORE TRUNCATE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', made);
    END IF;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)',
        wanted.parent, made, wanted.lower, wanted.upper);
    RETURN made;
END $$
"""

BEGIN = f"""
CREATE FUNCTION month_begin(at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    begins integer := month_of(at);
    numbered text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('paysaga.month'));
    IF begins <= (SELECT coalesce(max(m.month), 0) FROM month m) OR EXISTS (SELECT FROM month_missing(at, 0)) THEN
        RETURN NULL;
    END IF;
    -- Each waits for those who have taken a number of it and are not done, and new ones wait for this to commit. So
    -- whoever began after `begun_at` has the new month's numbers.
    FOREACH numbered IN ARRAY ARRAY[{", ".join(f"'{table}'" for table in NUMBERED)}] LOOP
        EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', pg_get_serial_sequence('public.' || numbered, 'seq'),
            begins * {SIZE} + 1);
    END LOOP;
    INSERT INTO month (month, begun_at) VALUES (begins, clock_timestamp());
    RETURN begins;
END $$
"""

DROP = """
CREATE FUNCTION month_drop_outbox(older_than interval) RETURNS text
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
        SELECT c.relname, substring(c.relname FROM '[0-9]{4}$')::integer AS month
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.outbox'::regclass ORDER BY 2 LIMIT 1
    ) AS p
    CROSS JOIN LATERAL (SELECT m.begun_at FROM month m WHERE m.month > p.month ORDER BY m.month LIMIT 1) AS next
    WHERE next.begun_at < now() - older_than;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM months.%I WHERE published_at IS NULL)', oldest) INTO waits;
    IF waits THEN
        RETURN NULL;
    END IF;
    -- The files are removed once the locks have been given back.
    EXECUTE format('DROP TABLE months.%I', oldest);
    UPDATE month SET outbox_from = (begun_at = ended);
    RETURN oldest;
END $$
"""

FUNCTIONS = (
    ("month_of(timestamptz)", MONTH_OF),
    ("month_ahead(timestamptz, integer)", AHEAD),
    ("month_missing(timestamptz, integer)", MISSING),
    ("month_make(timestamptz, integer)", MAKE),
    ("month_begin(timestamptz)", BEGIN),
    ("month_drop_outbox(interval)", DROP),
)

# Its postings are of its month, which is the latest: earlier ones are left out as the query begins. So one plan does
# for all months; to make it anew each time costs six times as much as to ask. An upper bound would do harm: between two
# bounds that it does not know, PostgreSQL supposes so few numbers that it may prefer the primary key.
BALANCED = f"""
CREATE FUNCTION check_ledger_transaction(wanted text, number bigint) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    month bigint := number - number % {SIZE};
    lines bigint;
    unbalanced text;
BEGIN
    SELECT sum(n), string_agg(currency, ', ') FILTER (WHERE total <> 0) INTO lines, unbalanced
    FROM (SELECT currency, sum(amount) AS total, count(*) AS n
          FROM ledger_posting WHERE transaction_id = wanted AND seq >= month GROUP BY currency) AS per_currency;
    IF coalesce(lines, 0) < 2 THEN
        RAISE EXCEPTION 'ledger transaction % has fewer than two postings', wanted USING ERRCODE = 'check_violation';
    END IF;
    IF unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'ledger transaction % does not sum to zero in %', wanted, unbalanced
            USING ERRCODE = 'check_violation';
    END IF;
END $$
"""

BALANCED_BEFORE = """
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

BALANCED_TRIGGER = """
CREATE OR REPLACE FUNCTION ledger_transaction_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_ledger_transaction({});
    RETURN NULL;
END $$
"""


def _dress(table: str, parts: Parts) -> None:
    """Give a new table what the one before it had."""
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY (seq)")
    for name, index in parts.indexes.items():
        op.execute(f"CREATE INDEX {name} ON {table} {index}")
    for name, key in parts.keys.items():
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY {key}")
    for name, trigger in parts.triggers.items():
        op.execute(f"CREATE TRIGGER {name} {trigger.format(table)}")
    if table in KEPT_WHOLE:
        op.execute(
            f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(f"ALTER TABLE {table} ALTER seq ADD GENERATED ALWAYS AS IDENTITY")
    op.execute(f"GRANT {parts.rights} ON {table} TO paysaga_app")


def _partition(table: str, parts: Parts, month: int, upper: int) -> None:
    """Make the table the first partition of one of its name."""
    first = f"months.{table}_{month}"
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_{month}")
    op.execute(f"ALTER TABLE {table}_{month} SET SCHEMA months")
    op.execute(f"ALTER TABLE {first} ALTER seq DROP IDENTITY")
    for trigger in parts.triggers:
        op.execute(f"DROP TRIGGER {trigger} ON {first}")
    op.execute(f"REVOKE ALL ON {first} FROM paysaga_app")
    op.execute(f"CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS INCLUDING COMMENTS) PARTITION BY RANGE (seq)")
    if table == "ledger_posting":
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_ledger_posting_amount CHECK (amount <> 0)")
    _dress(table, parts)
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ({upper})")
    op.execute(f"ALTER TABLE {first} DROP CONSTRAINT before_months")
    op.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'seq'), max(seq)) FROM {table}")


def upgrade() -> None:
    month, upper = _this_month()
    # What is numbered before this is done is below the next month, so traffic can go on while it is looked at.
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS before_months")
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT before_months CHECK (seq < {upper}) NOT VALID")
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT before_months")
    op.execute("CREATE SCHEMA months")
    op.execute("""
        CREATE TABLE month (
            month integer NOT NULL CONSTRAINT pk_month PRIMARY KEY,
            begun_at timestamptz NOT NULL,
            outbox_from boolean DEFAULT false NOT NULL
        )
    """)
    op.execute("COMMENT ON COLUMN month.month IS 'YYMM'")
    op.execute("COMMENT ON COLUMN month.outbox_from IS 'what the outbox had before it was dropped'")
    op.execute("GRANT SELECT ON month TO paysaga_app")
    for _, function in FUNCTIONS:
        op.execute(function)
    op.execute("DROP FUNCTION check_ledger_transaction(text)")
    op.execute(BALANCED)
    op.execute(BALANCED_TRIGGER.format("NEW.id, NEW.seq"))
    op.execute(f"LOCK TABLE ledger_transaction, {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
    op.execute("ALTER TABLE outbox DROP CONSTRAINT uq_outbox_id")
    for table, parts in TABLES.items():
        _partition(table, parts, month, upper)
    op.execute(f"INSERT INTO month (month, begun_at) VALUES ({month}, now())")
    op.execute("DO $$ BEGIN WHILE month_make(now(), 3) IS NOT NULL LOOP END LOOP; END $$")
    for signature, _ in FUNCTIONS[3:]:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO paysaga_app")


def _this_month() -> tuple[int, int]:
    """(YYMM, the first number of the month after it)."""
    row = (
        op.get_bind()
        .execute(
            sa.text("""
        SELECT to_char(day, 'YYMM')::integer, to_char(day + interval '1 month', 'YYMM')::bigint
        FROM date_trunc('month', now() AT TIME ZONE 'UTC') AS day
    """)
        )
        .one()
    )
    return int(row[0]), int(row[1]) * SIZE


def downgrade() -> None:
    """Copy every row into one table again."""
    for table, parts in TABLES.items():
        op.execute(f"ALTER TABLE {table} ALTER seq DROP IDENTITY")
        op.execute(
            f"CREATE TABLE {table}_whole (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)"
        )
        op.execute(f"INSERT INTO {table}_whole SELECT * FROM {table}")
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE {table}_whole RENAME TO {table}")
        _dress(table, parts)
        op.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'seq'), max(seq)) FROM {table}")
    op.execute("ALTER TABLE outbox ADD CONSTRAINT uq_outbox_id UNIQUE (id)")
    op.execute("DROP FUNCTION check_ledger_transaction(text, bigint)")
    op.execute(BALANCED_BEFORE)
    op.execute(BALANCED_TRIGGER.format("NEW.id"))
    for signature, _ in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP TABLE month")
    op.execute("DROP SCHEMA months CASCADE")

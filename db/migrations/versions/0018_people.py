"""People: a key for each of whom something is stored encrypted, so that it can be destroyed; what is kept for a time
alone can be found by its age; a note in the audit log can be replaced, and nothing else of it."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# The application may change nothing in the audit log by itself: it calls this, which puts one word in the place of what
# people wrote about these objects. The setting is worth nothing to a login that has no right to UPDATE.
FORGET = """
CREATE FUNCTION forget_notes(objects text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM set_config('paysaga.forgetting', 'on', true);
    UPDATE public.audit_log SET detail = detail || '{"note": "forgotten"}'
    WHERE object_id = ANY(objects) AND jsonb_typeof(detail -> 'note') = 'string' AND detail ->> 'note' <> 'forgotten';
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('paysaga.forgetting', 'off', true);
    RETURN changed;
END $$
"""


def upgrade() -> None:
    op.alter_column("payment", "next_action", comment="in clear, of an earlier release")
    op.add_column(
        "payment",
        sa.Column("sealed_action", sa.LargeBinary(), nullable=True, comment="the buyer's next step, encrypted"),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("buyer_id", sa.Text(), nullable=False),
        sa.Column(
            "key",
            sa.LargeBinary(),
            nullable=True,
            comment="wrapped by the keyring; null: destroyed, and nobody reads what it encrypted",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_person_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("tenant_id", "buyer_id", name=op.f("uq_person_tenant_id_buyer_id")),
    )
    op.create_table(
        "person_email",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="keyed by the ring"),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("email", sa.LargeBinary(), nullable=False, comment="encrypted under the person's key"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_person_email_person_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_person_email_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "digest", "person_id", name=op.f("pk_person_email")),
    )
    op.create_index(op.f("ix_person_email_person_id"), "person_email", ["person_id"], unique=False)
    op.create_index(
        "ix_webhook_inbox_kept",
        "webhook_inbox",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("payload <> '{}'"),
    )
    op.create_index("ix_idempotency_key_created", "idempotency_key", ["created_at"], unique=False)
    op.execute("GRANT SELECT, INSERT, UPDATE ON person, person_email TO paysaga_app")
    op.execute("GRANT DELETE ON person_email, idempotency_key TO paysaga_app")
    op.execute("DROP TRIGGER append_only_rows ON audit_log")
    op.execute(
        "CREATE TRIGGER append_only_rows BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER append_only_values BEFORE UPDATE ON audit_log FOR EACH ROW"
        " WHEN (current_setting('paysaga.forgetting', true) IS DISTINCT FROM 'on'"
        " OR (OLD.seq, OLD.tenant_id, OLD.actor, OLD.action, OLD.object_id, OLD.at, OLD.address, OLD.detail - 'note')"
        " IS DISTINCT FROM"
        " (NEW.seq, NEW.tenant_id, NEW.actor, NEW.action, NEW.object_id, NEW.at, NEW.address, NEW.detail - 'note'))"
        " EXECUTE FUNCTION refuse_change()"
    )
    op.execute(FORGET)
    op.execute("REVOKE ALL ON FUNCTION forget_notes(text[]) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION forget_notes(text[]) TO paysaga_app")


def downgrade() -> None:
    """Take it back; values that are encrypted under the keys of people cannot be read afterwards."""
    op.execute("DROP FUNCTION forget_notes(text[])")
    op.execute("DROP TRIGGER append_only_values ON audit_log")
    op.execute("DROP TRIGGER append_only_rows ON audit_log")
    op.execute(
        "CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON audit_log"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute("REVOKE DELETE ON idempotency_key FROM paysaga_app")
    op.drop_index("ix_idempotency_key_created", table_name="idempotency_key")
    op.drop_index("ix_webhook_inbox_kept", table_name="webhook_inbox", postgresql_where=sa.text("payload <> '{}'"))
    op.drop_index(op.f("ix_person_email_person_id"), table_name="person_email")
    op.drop_table("person_email")
    op.drop_table("person")
    op.drop_column("payment", "sealed_action")
    op.alter_column("payment", "next_action", comment=None)

"""What the officer reads: the ledger sorted, policies kept, lists by time and by kind."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("twin", sa.String(length=64), nullable=True),
        sa.Column("policy", sa.String(length=64), nullable=True),
        sa.Column("policy_version", sa.Integer(), nullable=True),
        sa.Column("policy_digest", sa.String(length=80), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("recorded", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger_entries")),
    )
    for first in ("event", "passed", "policy", "twin"):
        op.create_index(f"ix_ledger_entries_{first}_seq", "ledger_entries", [first, "seq"])
    op.create_index(op.f("ix_ledger_entries_recorded"), "ledger_entries", ["recorded"])
    op.create_table(
        "ledger_twins",
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("twin", "seq", name=op.f("pk_ledger_twins")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_sums",
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "type", name=op.f("pk_ledger_sums")),
    )
    op.create_table(
        "policies",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policies")),
    )
    op.create_index(op.f("ix_runs_created"), "runs", ["created"])
    op.create_index("ix_audit_events_action_seq", "audit_events", ["action", "seq"])
    op.create_index("ix_audit_events_subject_seq", "audit_events", ["subject", "seq"])


def downgrade() -> None:
    op.drop_index("ix_audit_events_subject_seq", table_name="audit_events")
    op.drop_index("ix_audit_events_action_seq", table_name="audit_events")
    op.drop_index(op.f("ix_runs_created"), table_name="runs")
    op.drop_table("policies")
    op.drop_table("ledger_sums")
    op.drop_table("ledger_twins")
    op.drop_table("ledger_entries")

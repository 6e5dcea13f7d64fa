"""What the officer's console counts by, as indexes: servers of runs, policies of entries."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_runs_server"), "runs", ["server"], unique=False)
    op.create_index(
        "ix_ledger_entries_policy_digest", "ledger_entries", ["policy_digest"], unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_ledger_entries_policy_digest", table_name="ledger_entries")
    op.drop_index(op.f("ix_runs_server"), table_name="runs")

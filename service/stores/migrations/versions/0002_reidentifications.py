"""Requests to re-identify."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reidentifications",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("requested", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=True),
        sa.Column("decided", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'approved', 'refused', 'answered')",
            name=op.f("ck_reidentifications_state"),
        ),
        sa.CheckConstraint(
            "decided_by IS NULL OR decided_by <> requested_by",
            name=op.f("ck_reidentifications_two_people"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reidentifications")),
    )
    op.create_index(op.f("ix_reidentifications_twin"), "reidentifications", ["twin"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_reidentifications_twin"), table_name="reidentifications")
    op.drop_table("reidentifications")

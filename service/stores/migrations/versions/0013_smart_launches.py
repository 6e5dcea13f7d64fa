"""Launches from an EHR that are under way."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "smart_launches",
        sa.Column("state_hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_smart_launches")),
    )
    op.create_index(op.f("ix_smart_launches_expires"), "smart_launches", ["expires"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_smart_launches_expires"), table_name="smart_launches")
    op.drop_table("smart_launches")

"""Audit: under which policy, and for what purpose."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("policy", "purpose"):
        op.add_column("audit_events", sa.Column(name, sa.String(length=64), nullable=True))


def downgrade() -> None:
    for name in ("policy", "purpose"):
        op.drop_column("audit_events", name)

"""Recalibrated versions of models, and their switches."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# BIGSERIAL on PostgreSQL; SQLite numbers rows by itself only for the type INTEGER.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "local_models",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_local_models")),
    )
    op.create_table(
        "local_model_switches",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("switched_by", sa.String(length=64), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_local_model_switches")),
    )
    op.create_index(
        "ix_local_model_switches_model_seq", "local_model_switches", ["model", "seq"], unique=False
    )


def downgrade() -> None:
    op.drop_table("local_model_switches")
    op.drop_table("local_models")

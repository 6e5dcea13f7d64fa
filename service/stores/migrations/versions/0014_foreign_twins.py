"""Twins from elsewhere, and the issuers whose keys are trusted."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "foreign_twins",
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.String(length=80), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("twin", "version", name=op.f("pk_foreign_twins")),
        sa.UniqueConstraint("digest", name=op.f("uq_foreign_twins_digest")),
    )
    op.create_table(
        "issuer_keys",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("x", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_issuer_keys")),
    )
    op.create_index(op.f("ix_issuer_keys_issuer"), "issuer_keys", ["issuer"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_issuer_keys_issuer"), table_name="issuer_keys")
    op.drop_table("issuer_keys")
    op.drop_table("foreign_twins")

"""CDS Hooks: used tokens, cards, feedback."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# BIGSERIAL on PostgreSQL; SQLite numbers rows by itself only for the type INTEGER.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cds_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_cds_tokens")),
    )
    op.create_index(op.f("ix_cds_tokens_expires"), "cds_tokens", ["expires"], unique=False)
    op.create_table(
        "cds_cards",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cds_cards")),
    )
    op.create_index(op.f("ix_cds_cards_created"), "cds_cards", ["created"], unique=False)
    op.create_index(op.f("ix_cds_cards_twin"), "cds_cards", ["twin"], unique=False)
    op.create_table(
        "cds_feedback",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("card", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("comment_dropped", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cds_feedback")),
        sa.UniqueConstraint("card", "outcome", "at", name=op.f("uq_cds_feedback_card_outcome_at")),
    )
    op.create_index(op.f("ix_cds_feedback_card"), "cds_feedback", ["card"], unique=False)


def downgrade() -> None:
    op.drop_table("cds_feedback")
    op.drop_table("cds_cards")
    op.drop_table("cds_tokens")

"""Health links: what they open, and who opened them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# BIGSERIAL on PostgreSQL; SQLite numbers rows by itself only for the type INTEGER.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "health_links",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("flag", sa.String(length=64), nullable=False),
        sa.Column("sealed_label", sa.LargeBinary(), nullable=False),
        sa.Column("passcode_hash", sa.LargeBinary(), nullable=True),
        sa.Column("attempts_left", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_health_links_token_hash")),
    )
    op.create_index(op.f("ix_health_links_twin"), "health_links", ["twin"], unique=False)
    op.create_index(op.f("ix_health_links_expires"), "health_links", ["expires"], unique=False)
    op.create_table(
        "health_link_files",
        sa.Column("link", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content_type", sa.String(length=64), nullable=False),
        sa.Column("jwe", sa.LargeBinary(), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["link"],
            ["health_links.id"],
            name=op.f("fk_health_link_files_link"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("link", "number", name=op.f("pk_health_link_files")),
    )
    op.create_table(
        "health_link_uses",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("link", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("sealed_recipient", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_health_link_uses")),
    )
    op.create_index(op.f("ix_health_link_uses_link"), "health_link_uses", ["link"], unique=False)


def downgrade() -> None:
    op.drop_table("health_link_uses")
    op.drop_table("health_link_files")
    op.drop_table("health_links")

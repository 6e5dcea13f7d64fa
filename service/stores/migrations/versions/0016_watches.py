"""Watched patients, subscriptions for them, and what is to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# BIGSERIAL on PostgreSQL; SQLite numbers rows by itself only for the type INTEGER.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "watches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("index", sa.String(length=64), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("sealed_request", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_kept", sa.LargeBinary(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("due", _TIME, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("checked", _TIME, nullable=True),
        sa.Column("twin", sa.String(length=64), nullable=True),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watches")),
        sa.UniqueConstraint("index", name=op.f("uq_watches_index")),
    )
    op.create_index(op.f("ix_watches_due"), "watches", ["due"], unique=False)
    op.create_table(
        "hooks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("watch", sa.String(length=64), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("dialect", sa.String(length=64), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_place", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("error", sa.String(length=64), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("ahead", sa.JSON(), nullable=False),
        sa.Column("gap_since", _TIME, nullable=True),
        sa.Column("heartbeat", sa.Integer(), nullable=False),
        sa.Column("seen", _TIME, nullable=True),
        sa.Column("ends", _TIME, nullable=True),
        sa.Column("look", _TIME, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hooks")),
        sa.UniqueConstraint("address_hash", name=op.f("uq_hooks_address_hash")),
    )
    op.create_index(op.f("ix_hooks_watch"), "hooks", ["watch"], unique=False)
    op.create_index(op.f("ix_hooks_look"), "hooks", ["look"], unique=False)
    op.create_table(
        "notices",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due", _TIME, nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_notices")),
    )
    op.create_index(op.f("ix_notices_due"), "notices", ["due"], unique=False)


def downgrade() -> None:
    for table in ("notices", "hooks", "watches"):
        op.drop_table(table)

"""Reviews of results, and the keys results are written under."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("snapshot", sa.String(length=80), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided", sa.DateTime(timezone=True), nullable=True),
        sa.Column("estimate", sa.Float(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("agreed", sa.String(length=16), nullable=True),
        sa.Column("warned", sa.Boolean(), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("own", sa.Float(), nullable=True),
        sa.Column("chart", sa.String(length=16), nullable=True),
        sa.Column("sealed_comment", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint(
            "twin",
            "model",
            "snapshot",
            "reviewer",
            name=op.f("uq_reviews_twin_model_snapshot_reviewer"),
        ),
    )
    op.create_index("ix_reviews_model_decided", "reviews", ["model", "decided"], unique=False)
    op.create_index("ix_reviews_chart", "reviews", ["chart"], unique=False)
    op.create_table(
        "result_keys",
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("snapshot", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("twin", "model", "snapshot", name=op.f("pk_result_keys")),
    )
    op.create_index(op.f("ix_result_keys_key"), "result_keys", ["key"], unique=False)


def downgrade() -> None:
    op.drop_table("result_keys")
    op.drop_table("reviews")

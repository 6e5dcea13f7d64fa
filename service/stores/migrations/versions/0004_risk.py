"""Risk: what is known outside of each held twin, and the officer's settings."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# BIGSERIAL on PostgreSQL; SQLite numbers rows by itself only for the type INTEGER.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PAGE = 50


def upgrade() -> None:
    traits = op.create_table(
        "risk_traits",
        sa.Column("twin", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("sex", sa.String(length=64), nullable=True),
        sa.Column("age", sa.Integer(), nullable=True),
        sa.Column("deceased", sa.Boolean(), nullable=True),
        sa.Column("conditions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("twin", name=op.f("pk_risk_traits")),
    )
    op.create_index(
        "ix_risk_traits_class", "risk_traits", ["policy", "sex", "age", "deceased"], unique=False
    )
    op.create_table(
        "risk_settings",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("threshold", sa.String(length=64), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("knows", sa.JSON(), nullable=False),
        sa.Column("population", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(length=160), nullable=False),
        sa.Column("people", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_risk_settings")),
    )
    _fill(traits)


def downgrade() -> None:
    op.drop_table("risk_settings")
    op.drop_index("ix_risk_traits_class", table_name="risk_traits")
    op.drop_table("risk_traits")


def _fill(traits: sa.Table) -> None:
    """The twins that are held already, a page at a time."""
    connection, after = op.get_bind(), ""
    page = sa.text(
        "SELECT pseudonym, policy, payload FROM twins t WHERE pseudonym > :after AND version = "
        "(SELECT max(version) FROM twins n WHERE n.pseudonym = t.pseudonym) "
        "ORDER BY pseudonym LIMIT :page"
    )
    while rows := connection.execute(page, {"after": after, "page": _PAGE}).all():
        after = rows[-1].pseudonym
        found = [_traits(row.pseudonym, row.policy, json.loads(row.payload)) for row in rows]
        connection.execute(traits.insert(), found)


def _traits(twin: str, policy: str, document: Mapping[str, Any]) -> dict[str, Any]:
    subject = document.get("subject", {})
    groups = {item["group"] for item in document.get("conditions", ()) if item.get("group")}
    return {
        "twin": twin,
        "policy": policy,
        "sex": subject.get("sex"),
        "age": subject.get("age"),
        "deceased": subject.get("deceased"),
        "conditions": " ".join(sorted(groups)),
    }

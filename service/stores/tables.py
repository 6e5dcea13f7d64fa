"""Every table. Identified content is in ``sealed…`` columns only, encrypted before it gets here."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Named constraints, so that a later migration can drop them on both databases.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time, also on SQLite, which has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the database are aware; this one has no zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        stored: datetime = value
        return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


class Base(DeclarativeBase):
    """Types shared by every table."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as declared
        datetime: UtcTime(),
        bytes: LargeBinary(),
        str: String(64),
        dict[str, int]: JSON(),
        list[str]: JSON(),
    }


# BIGSERIAL on PostgreSQL; SQLite numbers rows by itself only for the type INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")


class TwinRow(Base):
    """One version of one twin: the exact bytes that were signed, and the signature beside them."""

    __tablename__ = "twins"
    __table_args__ = (UniqueConstraint("digest"),)

    pseudonym: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    parent: Mapped[str | None] = mapped_column(String(80))
    digest: Mapped[str] = mapped_column(String(80))
    payload: Mapped[bytes]
    proof: Mapped[bytes]
    policy: Mapped[str]
    created: Mapped[datetime] = mapped_column(index=True)


class VaultRow(Base):
    """One patient's sealed record, found by a keyed index that says nothing by itself."""

    __tablename__ = "vault"

    index: Mapped[str] = mapped_column(primary_key=True)
    sealed_record: Mapped[bytes]
    version: Mapped[int]


class VaultKeyRow(Base):
    """A data key of the vault, wrapped under the key that is never in the database."""

    __tablename__ = "vault_keys"

    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(unique=True)
    sealed_key: Mapped[bytes]


class LedgerRow(Base):
    """One ledger entry: the exact signed line, and its digest, which the next entry names."""

    __tablename__ = "ledger"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(80), unique=True)
    line: Mapped[bytes]


class OutboxRow(Base):
    """One write-back under way. What is written and where is sealed; so is what came of it."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_state_created", "state", "created"),)

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    sealed_payload: Mapped[bytes]
    attempt: Mapped[int]
    detail: Mapped[str]
    sealed_result: Mapped[bytes | None]
    lease_until: Mapped[datetime | None]
    created: Mapped[datetime]
    updated: Mapped[datetime]


class RunRow(Base):
    """One piece of queued work. The request names a patient and is therefore sealed."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"
        ),
        Index("ix_runs_state_created", "state", "created"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    server: Mapped[str | None] = mapped_column(index=True)
    requested_by: Mapped[str | None] = mapped_column(index=True)
    sealed_request: Mapped[bytes | None]
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    cancel_asked: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str | None]
    counts: Mapped[dict[str, int]] = mapped_column(default=dict)
    twin: Mapped[str | None] = mapped_column(index=True)
    twin_version: Mapped[int | None]
    error: Mapped[str | None]
    created: Mapped[datetime] = mapped_column(index=True)
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]


class ApiKeyRow(Base):
    """A key of a program. Only the hash of its secret half is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    secret_hash: Mapped[bytes]
    label: Mapped[str]
    role: Mapped[str]
    scopes: Mapped[list[str]]
    twin: Mapped[str | None]
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]
    last_used: Mapped[date | None]


class SessionRow(Base):
    """A browser session. The cookie's value is never stored, only its keyed hash."""

    __tablename__ = "sessions"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(index=True)
    role: Mapped[str]
    twin: Mapped[str | None]
    created: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)
    revoked: Mapped[datetime | None]


class SignInCodeRow(Base):
    """A one-time code that opens a browser session; used at most once."""

    __tablename__ = "sign_in_codes"

    code_hash: Mapped[bytes] = mapped_column(primary_key=True)
    subject: Mapped[str]
    role: Mapped[str]
    twin: Mapped[str | None]
    created: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)
    used: Mapped[datetime | None]


class AttemptRow(Base):
    """How often a bucket (a keyed hash, never an address) was tried in one period of time."""

    __tablename__ = "attempts"

    bucket: Mapped[bytes] = mapped_column(primary_key=True)
    period: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    count: Mapped[int]
    expires: Mapped[datetime] = mapped_column(index=True)


class AuditRow(Base):
    """Who did what to which pseudonym, and how it ended. Codes and pseudonyms only."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_action_seq", "action", "seq"),
        Index("ix_audit_events_subject_seq", "subject", "seq"),
    )

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    time: Mapped[datetime] = mapped_column(index=True)
    role: Mapped[str]
    subject: Mapped[str]
    action: Mapped[str]
    object: Mapped[str | None] = mapped_column(index=True)
    outcome: Mapped[str]
    request_id: Mapped[str | None]
    policy: Mapped[str | None]
    purpose: Mapped[str | None]

"""Twins from elsewhere as they were signed there, and whose keys are trusted for that."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.errors import ConflictError
from service.stores.tables import Base


class IssuerKeyRow(Base):
    """One public key that somebody here trusts, under the name of its issuer."""

    __tablename__ = "issuer_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    x: Mapped[str]
    issuer: Mapped[str] = mapped_column(index=True)
    added: Mapped[datetime]


class ForeignTwinRow(Base):
    """One version. Never changed; the twins of this installation lie elsewhere."""

    __tablename__ = "foreign_twins"

    twin: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    parent: Mapped[str | None] = mapped_column(String(80))
    digest: Mapped[str] = mapped_column(String(80), unique=True)
    issuer: Mapped[str]
    kid: Mapped[str]
    payload: Mapped[bytes]
    proof: Mapped[bytes]
    received: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class IssuerKey:
    kid: str
    x: str
    issuer: str
    added: datetime


@dataclass(frozen=True, slots=True)
class ForeignTwin:
    twin: str
    version: int
    parent: str | None
    digest: str
    issuer: str
    kid: str
    payload: bytes
    proof: bytes
    received: datetime


class IssuerStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def add(self, kid: str, x: str, issuer: str) -> None:
        """``ConflictError`` where the key is already trusted under another name."""
        with self._database.write() as session:
            known = session.get(IssuerKeyRow, kid)
            if known is not None and known.issuer != issuer:
                raise ConflictError("issuers: this key is already trusted under another name")
            if known is None:
                session.add(IssuerKeyRow(kid=kid, x=x, issuer=issuer, added=self._clock()))

    def get(self, kid: str) -> IssuerKey | None:
        with self._database.read() as session:
            row = session.get(IssuerKeyRow, kid)
            return None if row is None else IssuerKey(row.kid, row.x, row.issuer, row.added)

    def all(self) -> list[IssuerKey]:
        query = select(IssuerKeyRow).order_by(IssuerKeyRow.issuer, IssuerKeyRow.kid)
        with self._database.read() as session:
            rows = session.scalars(query)
            return [IssuerKey(row.kid, row.x, row.issuer, row.added) for row in rows]

    def remove(self, name: str) -> int:
        """A key by its thumbprint, or every key of an issuer; how many."""
        query = select(IssuerKeyRow).where(
            (IssuerKeyRow.kid == name) | (IssuerKeyRow.issuer == name)
        )
        with self._database.write() as session:
            rows = session.scalars(query).all()
            for row in rows:
                session.delete(row)
            return len(rows)


class ForeignStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def add(
        self,
        *,
        twin: str,
        version: int,
        parent: str | None,
        digest: str,
        issuer: str,
        kid: str,
        payload: bytes,
        proof: bytes,
    ) -> None:
        """``ConflictError`` where another content is held under this twin and version."""
        row = ForeignTwinRow(
            twin=twin,
            version=version,
            parent=parent,
            digest=digest,
            issuer=issuer,
            kid=kid,
            payload=payload,
            proof=proof,
            received=self._clock(),
        )
        try:
            with self._database.write() as session:
                session.add(row)
                session.flush()
        except IntegrityError as error:
            raise ConflictError("foreign twins: this version is already held") from error

    def get(self, twin: str, version: int | None = None) -> ForeignTwin | None:
        """A version, the newest when none is named."""
        query = select(ForeignTwinRow).where(ForeignTwinRow.twin == twin)
        if version is not None:
            query = query.where(ForeignTwinRow.version == version)
        with self._database.read() as session:
            row = session.scalars(query.order_by(ForeignTwinRow.version.desc()).limit(1)).first()
            return None if row is None else _foreign(row)

    def by_digest(self, digest: str) -> ForeignTwin | None:
        query = select(ForeignTwinRow).where(ForeignTwinRow.digest == digest)
        with self._database.read() as session:
            row = session.scalars(query).first()
            return None if row is None else _foreign(row)

    def all(self) -> list[ForeignTwin]:
        query = select(ForeignTwinRow).order_by(ForeignTwinRow.twin, ForeignTwinRow.version)
        with self._database.read() as session:
            return [_foreign(row) for row in session.scalars(query)]


def _foreign(row: ForeignTwinRow) -> ForeignTwin:
    return ForeignTwin(
        row.twin,
        row.version,
        row.parent,
        row.digest,
        row.issuer,
        row.kid,
        row.payload,
        row.proof,
        row.received,
    )

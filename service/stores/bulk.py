"""Bulk exports, under way and done. Places on a server and the spool's key are sealed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from privacy.pseudonyms import new_pseudonym
from service.stores.database import Database, utc_now
from service.stores.errors import ConflictError
from service.stores.runs import code
from service.stores.tables import Base


class BulkState(StrEnum):
    WAITING = "waiting"  # the server prepares it
    LOADING = "loading"  # its files come in
    MAKING = "making"  # twins are made, one patient after the other
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_UNFINISHED = text("finished IS NULL")


class BulkJobRow(Base):
    """One export. At most one is unfinished for the same population of the same server."""

    __tablename__ = "bulk_jobs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('waiting', 'loading', 'making', 'done', 'failed', 'cancelled')",
            name="state",
        ),
        Index(
            "ix_bulk_jobs_unfinished",
            "lane",
            unique=True,
            sqlite_where=_UNFINISHED,
            postgresql_where=_UNFINISHED,
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(index=True)
    server: Mapped[str] = mapped_column(String(200))
    level: Mapped[str] = mapped_column(String(16))
    changes: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16))
    complete: Mapped[bool]
    sealed_job: Mapped[bytes | None]
    counts: Mapped[dict[str, int]]
    error: Mapped[str | None]
    transaction_time: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(index=True)
    updated: Mapped[datetime]
    finished: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class BulkJob:
    """An export as anybody may see it who may see the machine; `sealed` is for its key alone."""

    id: str
    server: str
    level: str
    changes: bool
    """Only what changed since an earlier export"""
    state: BulkState
    complete: bool
    """Done, and nothing that the server promised is missing"""
    counts: Mapping[str, int]
    error: str | None
    transaction_time: datetime | None
    created: datetime
    updated: datetime
    finished: datetime | None
    sealed: bytes | None = field(repr=False)

    @property
    def ended(self) -> bool:
        return self.finished is not None


class BulkStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def create(
        self, *, lane: str, server: str, level: str, changes: bool, seal: Callable[[str], bytes]
    ) -> BulkJob:
        """Written down before it can be forgotten. `ConflictError` where one is under way."""
        now, identity = self._clock(), new_pseudonym()
        row = BulkJobRow(
            id=identity,
            lane=lane,
            server=server[:200],
            level=level,
            changes=changes,
            state=BulkState.WAITING,
            complete=False,
            sealed_job=seal(identity),
            counts={},
            created=now,
            updated=now,
        )
        try:
            with self._database.write() as session:
                session.add(row)
                session.flush()
        except IntegrityError:
            raise ConflictError("bulk: an export of the same population is under way") from None
        return _job(row)

    def get(self, identity: str) -> BulkJob | None:
        with self._database.read() as session:
            row = session.get(BulkJobRow, identity)
            return None if row is None else _job(row)

    def unfinished(self, *, lane: str | None = None, server: str | None = None) -> list[BulkJob]:
        query = select(BulkJobRow).where(BulkJobRow.finished.is_(None))
        if lane is not None:
            query = query.where(BulkJobRow.lane == lane)
        if server is not None:
            query = query.where(BulkJobRow.server == server)
        with self._database.read() as session:
            return [_job(row) for row in session.scalars(query.order_by(BulkJobRow.created))]

    def recent(self, limit: int = 20) -> list[BulkJob]:
        """Latest first."""
        query = select(BulkJobRow).order_by(BulkJobRow.created.desc(), BulkJobRow.id).limit(limit)
        with self._database.read() as session:
            return [_job(row) for row in session.scalars(query)]

    def last_time(self, lane: str) -> datetime | None:
        """The moment whose state the last complete export of this population held."""
        query = (
            select(BulkJobRow.transaction_time)
            .where(BulkJobRow.lane == lane, BulkJobRow.complete)
            .order_by(BulkJobRow.created.desc())
            .limit(1)
        )
        with self._database.read() as session:
            return session.scalar(query)

    def update(self, identity: str, **values: Any) -> bool:
        """Change an unfinished one. False: it has ended in the meantime."""
        return self._change(identity, **values)

    def end(
        self,
        identity: str,
        state: BulkState,
        *,
        counts: Mapping[str, int] | None = None,
        error: str | None = None,
        complete: bool = False,
    ) -> bool:
        """The end of one. What was sealed goes with it, the key of its spool above all."""
        values: dict[str, Any] = {"state": state, "complete": complete, "sealed_job": None}
        if counts is not None:
            values["counts"] = dict(counts)
        if error is not None:
            values["error"] = code(error)
        return self._change(identity, finished=self._clock(), **values)

    def _change(self, identity: str, **values: Any) -> bool:
        where = (BulkJobRow.id == identity, BulkJobRow.finished.is_(None))
        change = update(BulkJobRow).where(*where).values(updated=self._clock(), **values)
        with self._database.write() as session:
            return session.execute(change.returning(BulkJobRow.id)).first() is not None


def _job(row: BulkJobRow) -> BulkJob:
    return BulkJob(
        id=row.id,
        server=row.server,
        level=row.level,
        changes=row.changes,
        state=BulkState(row.state),
        complete=row.complete,
        counts=dict(row.counts),
        error=row.error,
        transaction_time=row.transaction_time,
        created=row.created,
        updated=row.updated,
        finished=row.finished,
        sealed=row.sealed_job,
    )

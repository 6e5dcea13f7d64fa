"""Requests to re-identify a twin: asked by one person, decided by another, answered once."""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import CheckConstraint, ColumnElement, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.own import ResultRow
from service.stores.tables import Base, RunRow


class ReidentificationState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    ANSWERED = "answered"


class ReidentificationRow(Base):
    """One request. Holds a pseudonym, a reason's code and who acted; never who the twin is."""

    __tablename__ = "reidentifications"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'approved', 'refused', 'answered')", name="state"),
        CheckConstraint("decided_by IS NULL OR decided_by <> requested_by", name="two_people"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    twin: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str]
    requested: Mapped[datetime]
    expires: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided: Mapped[datetime | None]
    answered: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Reidentification:
    """A request as whoever may decide on it sees it."""

    id: str
    twin: str
    reason: str
    state: ReidentificationState
    requested_by: str
    requested: datetime
    expires: datetime
    decided_by: str | None
    decided: datetime | None
    answered: datetime | None


class ReidentificationStore:
    """Every change is one statement whose conditions hold in the moment of the change."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def ask(self, *, twin: str, reason: str, by: str, life: timedelta) -> Reidentification:
        now = self._clock()
        row = ReidentificationRow(
            id=secrets.token_hex(8),
            twin=twin,
            reason=reason,
            state=ReidentificationState.WAITING,
            requested_by=by,
            requested=now,
            expires=now + life,
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
        return _made(row)

    def get(self, request: str) -> Reidentification | None:
        with self._database.read() as session:
            row = session.get(ReidentificationRow, request)
            return None if row is None else _made(row)

    def newest(self, limit: int = 100) -> list[Reidentification]:
        query = select(ReidentificationRow).order_by(
            ReidentificationRow.requested.desc(), ReidentificationRow.id
        )
        with self._database.read() as session:
            return [_made(row) for row in session.scalars(query.limit(limit))]

    def decide(self, request: str, *, by: str, approve: bool) -> bool:
        """By somebody else than who asked, while it waits and has not expired; else False."""
        state = ReidentificationState.APPROVED if approve else ReidentificationState.REFUSED
        somebody_else = ReidentificationRow.requested_by != by
        values = {"state": state, "decided_by": by, "decided": self._clock()}
        return self._change(request, ReidentificationState.WAITING, somebody_else, values)

    def answer(self, request: str, *, by: str) -> bool:
        """To who asked, once, while the approval holds; else False."""
        the_same = ReidentificationRow.requested_by == by
        values = {"state": ReidentificationState.ANSWERED, "answered": self._clock()}
        return self._change(request, ReidentificationState.APPROVED, the_same, values)

    def forget(self, twins: Collection[str]) -> int:
        """Remove the sealed results of the runs that made these twins: they name the patient."""
        runs = select(RunRow.id).where(RunRow.twin.in_(twins))
        gone = delete(ResultRow).where(ResultRow.run.in_(runs)).returning(ResultRow.run)
        with self._database.write() as session:
            return len(session.execute(gone).all())

    def _change(
        self,
        request: str,
        state: ReidentificationState,
        condition: ColumnElement[bool],
        values: dict[str, object],
    ) -> bool:
        row = ReidentificationRow
        change = (
            update(row)
            .where(row.id == request, row.state == state, row.expires > self._clock(), condition)
            .values(**values)
            .returning(row.id)
        )
        with self._database.write() as session:
            return session.execute(change).first() is not None


def _made(row: ReidentificationRow) -> Reidentification:
    return Reidentification(
        row.id,
        row.twin,
        row.reason,
        ReidentificationState(row.state),
        row.requested_by,
        row.requested,
        row.expires,
        row.decided_by,
        row.decided,
        row.answered,
    )

"""What patients say is wrong in their twins: which entry of the record, and why in a code.

No value is kept here: an entry is named by its source's pseudonym, and what it said stands in the
version of the twin that was looked at.
"""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base


class DisputeRow(Base):
    """One entry of one twin's record that the patient disputes."""

    __tablename__ = "disputes"

    id: Mapped[str] = mapped_column(primary_key=True)
    twin: Mapped[str] = mapped_column(index=True)
    version: Mapped[int]
    source: Mapped[str]
    part: Mapped[str]
    name: Mapped[str]
    reason: Mapped[str]
    raised: Mapped[datetime]
    taken_back: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Which entry: its source, the part of the twin, and the name it stands under there."""

    source: str
    part: str
    name: str


@dataclass(frozen=True, slots=True)
class Dispute:
    id: str
    twin: str
    version: int  # that the patient looked at
    place: Place
    reason: str
    raised: datetime


class DisputeStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def raise_(self, twin: str, version: int, place: Place, reason: str) -> Dispute:
        """The same entry disputed again is the same dispute, with the newer reason."""
        with self._database.write() as session:
            self._database.lock(session, "disputes")
            row = session.scalar(_standing(twin).where(*_at(place)))
            if row is None:
                row = DisputeRow(
                    id=secrets.token_urlsafe(12),
                    twin=twin,
                    version=version,
                    source=place.source,
                    part=place.part,
                    name=place.name,
                    reason=reason,
                    raised=self._clock(),
                    taken_back=None,
                )
                session.add(row)
            row.version, row.reason = version, reason
            session.flush()
            return _dispute(row)

    def take_back(self, twin: str, identity: str) -> bool:
        mine = (DisputeRow.twin == twin, DisputeRow.id == identity, DisputeRow.taken_back.is_(None))
        change = update(DisputeRow).where(*mine).values(taken_back=self._clock())
        with self._database.write() as session:
            return session.connection().execute(change).rowcount == 1

    def of_twin(self, twin: str) -> list[Dispute]:
        """Those that were not taken back, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(_standing(twin).order_by(DisputeRow.raised, DisputeRow.id))
            return [_dispute(row) for row in rows]

    def forget(self, twins: Collection[str]) -> None:
        with self._database.write() as session:
            session.execute(delete(DisputeRow).where(DisputeRow.twin.in_(twins)))


def _standing(twin: str) -> Select[DisputeRow]:
    return select(DisputeRow).where(DisputeRow.twin == twin, DisputeRow.taken_back.is_(None))


def _at(place: Place) -> tuple[ColumnElement[bool], ...]:
    return (
        DisputeRow.source == place.source,
        DisputeRow.part == place.part,
        DisputeRow.name == place.name,
    )


def _dispute(row: DisputeRow) -> Dispute:
    place = Place(row.source, row.part, row.name)
    return Dispute(row.id, row.twin, row.version, place, row.reason, row.raised)

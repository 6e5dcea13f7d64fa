"""Recalibrated versions of models, and who switched them on and off. Holds nothing of a patient."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, func, select
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base, Serial

Json = dict[str, Any]
LONGEST_WHY = 200


class LocalModelRow(Base):
    """One recalibrated version; it never changes."""

    __tablename__ = "local_models"

    model: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[Json] = mapped_column(JSON())
    made: Mapped[datetime]


class LocalSwitchRow(Base):
    """Somebody switched a version on or off; the newest row of a model holds."""

    __tablename__ = "local_model_switches"
    __table_args__ = (Index("ix_local_model_switches_model_seq", "model", "seq"),)

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    model: Mapped[str]
    number: Mapped[int | None]  # none: the published version
    switched_by: Mapped[str]
    why: Mapped[str] = mapped_column(String(LONGEST_WHY))
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Switch:
    """Which version of a model runs since when, by whose decision; `number` None: the published."""

    model: str
    number: int | None
    switched_by: str
    why: str
    at: datetime


class LocalModelStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def add(self, model: str, content: Callable[[int], Mapping[str, Any]]) -> int:
        """Keep what `content` makes of the next number, which is returned."""
        highest = select(func.max(LocalModelRow.number)).where(LocalModelRow.model == model)
        with self._database.write() as session:
            number = (session.scalar(highest) or 0) + 1
            row = LocalModelRow(
                model=model, number=number, content=dict(content(number)), made=self._clock()
            )
            session.add(row)
        return number

    def get(self, model: str, number: int) -> Json | None:
        with self._database.read() as session:
            row = session.get(LocalModelRow, (model, number))
            return None if row is None else dict(row.content)

    def all(self) -> Sequence[Json]:
        query = select(LocalModelRow.content).order_by(LocalModelRow.model, LocalModelRow.number)
        with self._database.read() as session:
            return [dict(content) for content in session.scalars(query)]

    def switch(self, model: str, number: int | None, who: str, why: str) -> None:
        """`number` None switches back to the published version."""
        row = LocalSwitchRow(
            model=model, number=number, switched_by=who, why=why[:LONGEST_WHY], at=self._clock()
        )
        with self._database.write() as session:
            session.add(row)

    def active(self) -> dict[str, Switch]:
        """The decisions in force: models whose newest switch names a local version."""
        with self._database.ask() as connection:
            return {row.model: _made(row) for row in connection.execute(_IN_FORCE)}

    def history(self, model: str) -> Sequence[Switch]:
        """Every decision about a model, oldest first."""
        query = select(LocalSwitchRow).where(LocalSwitchRow.model == model)
        with self._database.read() as session:
            return [_made(row) for row in session.scalars(query.order_by(LocalSwitchRow.seq))]


_NEWEST = select(func.max(LocalSwitchRow.seq)).group_by(LocalSwitchRow.model)
_IN_FORCE = select(LocalSwitchRow).where(
    LocalSwitchRow.seq.in_(_NEWEST), LocalSwitchRow.number.is_not(None)
)


def _made(row: Any) -> Switch:
    """Of a row, or of its columns."""
    return Switch(row.model, row.number, row.switched_by, row.why, row.at)

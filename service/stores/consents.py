"""What patients allow their data to be used for. Decisions are added, never changed.

A person is known here by a keyed hash, so that a decision holds for every twin of theirs, also one
that is made later under another policy.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, execute, utc_now
from service.stores.tables import Base, Serial

_UNKNOWN = "twin:"


class ConsentRow(Base):
    """One decision of one person on one purpose; the newest holds."""

    __tablename__ = "consents"

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    person: Mapped[str] = mapped_column(index=True)
    purpose: Mapped[str]
    allowed: Mapped[bool]
    decided: Mapped[datetime]


class ConsentPersonRow(Base):
    """Whose a twin is, as a keyed hash. Erasure removes it."""

    __tablename__ = "consent_people"

    twin: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(index=True)


@dataclass(frozen=True, slots=True)
class Decision:
    purpose: str
    allowed: bool
    decided: datetime


class ConsentStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def know(self, person: str, twin: str) -> None:
        """This twin is this person's. What was decided before that was known is theirs too."""
        add = self._database.insert_new(ConsentPersonRow)
        with self._database.write() as session:
            execute(session, add, {"twin": twin, "person": person})
            execute(session, _TAKE_OVER, {"unknown": unknown(twin), "known": person})

    def person(self, twin: str) -> str:
        """Of a twin that was made before this was kept, itself until its next run."""
        with self._database.read() as session:
            row = session.get(ConsentPersonRow, twin)
            return unknown(twin) if row is None else row.person

    def decide(self, person: str, purpose: str, *, allowed: bool) -> None:
        with self._database.write() as session:
            row = ConsentRow(person=person, purpose=purpose, allowed=allowed, decided=self._clock())
            session.add(row)

    def decisions(self, person: str) -> dict[str, Decision]:
        """The newest decision on each purpose."""
        with self._database.ask() as connection:
            rows = connection.execute(_DECIDED, {"person": person})
            return {row.purpose: Decision(*row) for row in rows}

    def refusing(self, purpose: str) -> list[str]:
        """The twins of everybody whose newest decision on it is a no."""
        last = select(func.max(ConsentRow.seq)).where(ConsentRow.purpose == purpose)
        newest = ConsentRow.seq.in_(last.group_by(ConsentRow.person))
        said_no = select(ConsentRow.person).where(newest, ConsentRow.allowed.is_(False))
        theirs = select(ConsentPersonRow.twin).where(ConsentPersonRow.person.in_(said_no))
        with self._database.read() as session:
            alone = [one for one in session.scalars(said_no) if one.startswith(_UNKNOWN)]
            return sorted({*session.scalars(theirs), *(one[len(_UNKNOWN) :] for one in alone)})

    def forget(self, twins: Collection[str]) -> None:
        """Whose they are, and what that person decided."""
        mine = select(ConsentPersonRow.person).where(ConsentPersonRow.twin.in_(twins))
        with self._database.write() as session:
            people = [*session.scalars(mine), *map(unknown, twins)]
            session.execute(delete(ConsentRow).where(ConsentRow.person.in_(people)))
            session.execute(delete(ConsentPersonRow).where(ConsentPersonRow.person.in_(people)))


_LAST = (
    select(func.max(ConsentRow.seq))
    .where(ConsentRow.person == bindparam("person"))
    .group_by(ConsentRow.purpose)
)
_DECIDED = select(ConsentRow.purpose, ConsentRow.allowed, ConsentRow.decided).where(
    ConsentRow.seq.in_(_LAST)
)
_TAKE_OVER = (
    update(ConsentRow)
    .where(ConsentRow.person == bindparam("unknown"))
    .values(person=bindparam("known"))
)


def unknown(twin: str) -> str:
    """A person of whom only this twin is known."""
    return f"{_UNKNOWN}{twin}"

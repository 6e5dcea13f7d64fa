"""How each FHIR server wants to be asked, as earlier runs found out. Codes of ours, no patient."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import JSON, String, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base

LOCK = "server-lessons"  # of two runs that are the first on a server, one writes the row
GOOD_FOR = timedelta(days=7)
"""A server may change without saying so: what was learned is found out anew after a week."""


class LessonsRow(Base):
    """What was learned of one server while it stated what `digest` stands for."""

    __tablename__ = "server_lessons"

    base: Mapped[str] = mapped_column(String(500), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    words: Mapped[list[str]] = mapped_column(JSON())
    learned: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Lessons:
    base: str
    words: tuple[str, ...]
    learned: datetime


class LessonStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    def of(self, base: str, digest: str) -> set[str]:
        """What still holds; nothing where the server states something else than it did then."""
        with self._database.ask() as connection:
            row = connection.execute(_OF_BASE, {"base": base}).first()
        holds = row is not None and row.digest == digest and not self._is_old(row.learned)
        return set(row.words) if row is not None and holds else set()

    def keep(self, base: str, digest: str, words: Set[str], known: Set[str] = frozenset()) -> None:
        """Lessons grow until they are too old; then all of them are learned anew.

        `known`: what the run began with. What another one has learned meanwhile stays; what this
        one has unlearned goes.
        """
        with self._database.write() as session:
            self._database.lock(session, LOCK)
            row = session.get(LessonsRow, base)
            if row is None:
                row = LessonsRow(base=base, digest=digest, words=[], learned=self._clock())
                session.add(row)
            elif row.digest != digest or self._is_old(row.learned):
                row.digest, row.words, row.learned = digest, [], self._clock()
            row.words = sorted((set(row.words) - (known - words)) | words)

    def known(self) -> list[Lessons]:
        with self._database.read() as session:
            rows = session.scalars(select(LessonsRow).order_by(LessonsRow.base))
            return [Lessons(row.base, tuple(row.words), row.learned) for row in rows]

    def any_of(self, base: str, ending: str) -> bool:
        """Whether a server was found, of any type, to be such a one; however long ago."""
        with self._database.read() as session:
            row = session.get(LessonsRow, base)
            return row is not None and any(word.endswith(f":{ending}") for word in row.words)

    def forget(self, base: str) -> bool:
        with self._database.write() as session:
            row = session.get(LessonsRow, base)
            if row is not None:
                session.delete(row)
            return row is not None

    def _is_old(self, learned: datetime) -> bool:
        return self._clock() - learned > GOOD_FOR


_OF_BASE = select(LessonsRow).where(LessonsRow.base == bindparam("base"))

"""Resources that we made, as the façade shows them, and the sealed results of runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Index,
    String,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, execute, utc_now
from service.stores.tables import Base


class OwnRow(Base):
    """One resource of ours. `content` names a twin and never a patient."""

    __tablename__ = "own_resources"
    __table_args__ = (Index("ix_own_resources_type_twin", "type", "twin"),)

    type: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    updated: Mapped[datetime]
    twin: Mapped[str | None]
    system: Mapped[str | None] = mapped_column(String(200))
    value: Mapped[str | None] = mapped_column(String(200), index=True)
    target: Mapped[str | None] = mapped_column(String(100), index=True)
    content: Mapped[bytes]


class ResultRow(Base):
    """What a finished run answered, with its references to the server: sealed."""

    __tablename__ = "run_results"

    run: Mapped[str] = mapped_column(primary_key=True)
    sealed_bundle: Mapped[bytes]
    created: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True, slots=True)
class Own:
    """A resource to keep, or as kept (then `version` and `updated` are set)."""

    type: str
    id: str
    twin: str | None
    content: bytes
    system: str | None = None
    value: str | None = None
    target: str | None = None
    version: int = 0
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class OwnFilter:
    """All given parts must hold; of the values within one, any may."""

    type: str
    twins: Sequence[str] | None = None
    ids: Sequence[str] | None = None
    identifiers: Sequence[tuple[str | None, str]] | None = None  # system None: any
    targets: Sequence[str] | None = None
    updated: Sequence[tuple[datetime | None, datetime | None]] = ()
    without: Sequence[str] = ()  # twins

    def clauses(self) -> list[ColumnElement[bool]]:
        found = [OwnRow.type == self.type]
        if self.without:
            found.append(or_(OwnRow.twin.is_(None), OwnRow.twin.not_in(self.without)))
        for column, values in (
            (OwnRow.twin, self.twins),
            (OwnRow.id, self.ids),
            (OwnRow.target, self.targets),
        ):
            if values is not None:
                found.append(column.in_(values))
        if self.identifiers is not None:
            found.append(or_(False, *(_token(*pair) for pair in self.identifiers)))
        return found + [clause for bound in self.updated for clause in _within(*bound)]


class OwnStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def keep(self, resources: Iterable[Own]) -> None:
        """Add or replace; the version counts up only where the content changed."""
        kept = {(own.type, own.id): own for own in resources}
        with self._database.write() as session:
            rows = execute(session, _HELD, {"ids": [own.id for own in kept.values()]})
            held = {(row.type, row.id): row.content for row in rows}
            # Of a model's Device others may write the same now: in one order, and once.
            if new := [_row(kept[key], self._clock()) for key in sorted(kept.keys() - held)]:
                execute(session, self._database.insert_new(OwnRow), new)
            for key, content in held.items():
                if key in kept and content != kept[key].content:
                    execute(session, _REPLACE, _renewed(kept[key], self._clock()))

    def get(self, kind: str, identity: str) -> Own | None:
        with self._database.read() as session:
            row = session.get(OwnRow, (kind, identity))
            return None if row is None else _own(row)

    def search(self, where: OwnFilter, *, limit: int, after: str | None) -> tuple[list[Own], int]:
        """One page in the order of ids (one more than `limit` tells that there are more), and the
        number of all matches."""
        clauses = where.clauses()
        page = select(OwnRow).where(*clauses).order_by(OwnRow.id).limit(limit + 1)
        if after is not None:
            page = page.where(OwnRow.id > after)
        with self._database.read() as session:
            total = session.scalar(select(func.count()).select_from(OwnRow).where(*clauses)) or 0
            return [_own(row) for row in session.scalars(page)], total


class ResultStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def keep(self, run: str, sealed: bytes) -> None:
        values = {"run": run, "sealed_bundle": sealed, "created": self._clock()}
        with self._database.write() as session:
            execute(session, _put_result(self._database.insert(ResultRow)), values)

    def get(self, run: str) -> bytes | None:
        with self._database.ask() as connection:
            found: bytes | None = connection.scalar(_RESULT, {"run": run})
            return found


def _token(system: str | None, value: str) -> ColumnElement[bool]:
    same = OwnRow.value == value
    return same if system is None else and_(same, OwnRow.system == (system or None))


def _within(start: datetime | None, end: datetime | None) -> Iterable[ColumnElement[bool]]:
    if start is not None:
        yield OwnRow.updated >= start
    if end is not None:
        yield OwnRow.updated < end


_HELD = select(OwnRow.type, OwnRow.id, OwnRow.content).where(
    OwnRow.id.in_(bindparam("ids", expanding=True))
)
_REPLACE = (
    update(OwnRow)
    .where(OwnRow.type == bindparam("its_type"), OwnRow.id == bindparam("its_id"))
    .values(version=OwnRow.version + 1)
)
_RESULT = select(ResultRow.sealed_bundle).where(ResultRow.run == bindparam("run"))


@cache
def _put_result(insert: Any) -> Any:
    new = {name: insert.excluded[name] for name in ("sealed_bundle", "created")}
    return insert.on_conflict_do_update(index_elements=["run"], set_=new)


def _row(own: Own, now: datetime) -> dict[str, Any]:
    return {
        "type": own.type,
        "id": own.id,
        "version": 1,
        "updated": now,
        "twin": own.twin,
        "system": own.system,
        "value": own.value,
        "target": own.target,
        "content": own.content,
    }


def _renewed(own: Own, now: datetime) -> dict[str, Any]:
    return {"its_type": own.type, "its_id": own.id, "content": own.content, "updated": now}


def _own(row: OwnRow) -> Own:
    return Own(
        row.type,
        row.id,
        row.twin,
        row.content,
        row.system,
        row.value,
        row.target,
        row.version,
        row.updated,
    )

"""Twins by pseudonym and version. A version is written once and never changed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, select, tuple_
from sqlalchemy.exc import IntegrityError

from service.stores.database import Database, execute, utc_now
from service.stores.errors import ConflictError
from service.stores.tables import TwinRow


@dataclass(frozen=True, slots=True)
class TwinVersion:
    """What is known of a version without its content."""

    pseudonym: str
    version: int
    parent: str | None
    digest: str
    policy: str
    created: datetime


@dataclass(frozen=True, slots=True)
class StoredTwin:
    """One version with the exact bytes that were signed and the detached signature."""

    about: TwinVersion
    payload: bytes
    proof: bytes


class TwinStore:
    """The twins of this installation."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(
        self,
        *,
        pseudonym: str,
        version: int,
        parent: str | None,
        digest: str,
        payload: bytes,
        proof: bytes,
        policy: str,
    ) -> TwinVersion:
        """`keep` of one that was made just now."""
        about = TwinVersion(pseudonym, version, parent, digest, policy, self._clock())
        self.keep(about, payload, proof)
        return about

    def keep(self, about: TwinVersion, payload: bytes, proof: bytes) -> None:
        """Keep a new version; ``ConflictError`` unless it directly follows the newest one."""
        try:
            with self._database.write() as session:
                newest = execute(session, _LAST, {"pseudonym": about.pseudonym}).first()
                _check_follows(about.version, about.parent, newest)
                row = {name: getattr(about, name) for name in TwinVersion.__slots__}
                execute(session, insert(TwinRow), row | {"payload": payload, "proof": proof})
        except IntegrityError as error:
            raise ConflictError("twins: this version was written by another run") from error

    def get(self, pseudonym: str, version: int | None = None) -> StoredTwin | None:
        """A version, the newest when none is named."""
        asked = {"pseudonym": pseudonym, "version": version}
        with self._database.ask() as connection:
            row = connection.execute(_NEWEST if version is None else _NAMED, asked).first()
        return None if row is None else _stored(row)

    def by_digest(self, digest: str) -> StoredTwin | None:
        with self._database.read() as session:
            row = session.scalars(select(TwinRow).where(TwinRow.digest == digest)).first()
            return None if row is None else _stored(row)

    def versions(self, pseudonym: str) -> list[TwinVersion]:
        """Every version of a twin, oldest first."""
        query = _ABOUT.where(TwinRow.pseudonym == pseudonym).order_by(TwinRow.version)
        return self._list(query)

    def newest(self, limit: int = 100, offset: int = 0) -> list[TwinVersion]:
        """The newest version of each twin, latest first."""
        last = select(TwinRow.pseudonym, func.max(TwinRow.version)).group_by(TwinRow.pseudonym)
        query = _ABOUT.where(tuple_(TwinRow.pseudonym, TwinRow.version).in_(last))
        order = (TwinRow.created.desc(), TwinRow.pseudonym)
        return self._list(query.order_by(*order).limit(limit).offset(offset))

    def count(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.count(TwinRow.pseudonym.distinct()))) or 0

    def _list(self, query: "_About") -> list[TwinVersion]:
        with self._database.read() as session:
            return [TwinVersion(*row) for row in session.execute(query)]


_About = Select[str, int, str | None, str, str, datetime]
_ABOUT: _About = select(
    TwinRow.pseudonym,
    TwinRow.version,
    TwinRow.parent,
    TwinRow.digest,
    TwinRow.policy,
    TwinRow.created,
)


_MINE = TwinRow.pseudonym == bindparam("pseudonym")
_NEWEST = select(TwinRow).where(_MINE).order_by(TwinRow.version.desc()).limit(1)
_NAMED = select(TwinRow).where(_MINE, TwinRow.version == bindparam("version"))
_LAST = _NEWEST.with_only_columns(TwinRow.version, TwinRow.digest)


def _check_follows(version: int, parent: str | None, newest: Any) -> None:
    expected = (1, None) if newest is None else (newest.version + 1, newest.digest)
    if (version, parent) != expected:
        raise ConflictError("twins: a version must name the newest one as its parent")


def _about(row: Any) -> TwinVersion:
    return TwinVersion(row.pseudonym, row.version, row.parent, row.digest, row.policy, row.created)


def _stored(row: Any) -> StoredTwin:
    """Of a row, or of its columns."""
    return StoredTwin(_about(row), row.payload, row.proof)

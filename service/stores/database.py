"""Engines and transactions: the only place that knows how SQLite and PostgreSQL differ."""

import importlib
import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    Table,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from service.stores.errors import HalfDoneError

_NOT_WAITED_FOR = text("SET LOCAL synchronous_commit TO off")
_BROKEN, _CONNECTION = "twinport_broken", "twinport_connection"


class Disk(Enum):
    """When what a transaction has written is on the disk, and so outlasts a loss of power. That our
    process is killed takes nothing away in either case.

    `WITH_NEXT` is for what nobody outside can know of before a later transaction that is `AT_ONCE`
    has ended: that one takes along all that was committed before it, by whomever, and what is lost
    is lost from the end. See docs/operations.md § After a loss of power.
    """

    AT_ONCE = "FULL"
    WITH_NEXT = "NORMAL"


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_engine(url: str, *, pool_size: int = 5, busy_seconds: int = 10) -> Engine:
    """An engine with the settings both databases need for durable, concurrent use."""
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite(url, busy_seconds)
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={"connect_timeout": busy_seconds},
        hide_parameters=True,
    )


def open_database(url: str, *, pool_size: int = 5, busy_seconds: int = 10) -> "Database":
    return Database(open_engine(url, pool_size=pool_size, busy_seconds=busy_seconds))


def _sqlite(url: str, busy_seconds: int) -> Engine:
    _create_private(make_url(url).database)
    engine = create_engine(url, connect_args={"timeout": busy_seconds}, hide_parameters=True)
    _begins_with(engine, "BEGIN", Disk.AT_ONCE)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # SQLAlchemy begins transactions as it is told below; the driver must not begin its own.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    return engine


def for_writing(engine: Engine, disk: Disk = Disk.AT_ONCE) -> Engine:
    """The same connections. Of SQLite, a reader that turns writer midway fails at once where
    another writes; taking the write lock at the start makes it wait its turn instead."""
    if engine.dialect.name != "sqlite":
        return engine
    writing = engine.execution_options()  # who listens to the one hears the other, too
    writing.dialect = copy(engine.dialect)
    _begins_with(writing, "BEGIN IMMEDIATE", disk)
    return writing


def _begins_with(engine: Engine, statement: str, disk: Disk) -> None:
    """A listener for `begin` would do as well, but an engine that has one looks for listeners at
    every statement, too: a third of the time of a small one. Each transaction says for itself how
    it ends: none finds what another has left on the connection."""
    settle = f"PRAGMA synchronous={disk.value}"

    def begin(connection: Any) -> None:
        connection.execute(settle)
        connection.execute(statement)

    engine.dialect.do_begin = begin  # type: ignore[assignment,method-assign]


def _create_private(database: str | None) -> None:
    """SQLite gives its journal files the mode of the database file: 0600 from the first byte."""
    if not database or database == ":memory:":
        return
    path = Path(database)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


class Database:
    """Transactions over one engine.

    ``write()`` inside ``write()`` of the same thread joins the outer transaction, so a caller
    can make several repositories' changes one: all of them happen, or none. After an error inside
    the outer one can't be committed any more, whoever catches it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = {disk: for_writing(engine, disk) for disk in Disk}
        self._open = threading.local()

    @property
    def is_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def write(self, disk: Disk = Disk.AT_ONCE) -> Iterator[Session]:
        """A transaction that commits at the end and rolls back on any error. `disk`: only its owner
        knows what follows; who joins has no say."""
        outer = self._current()
        if outer is not None:
            with _joined(outer):
                yield outer
            return
        # The transaction is the connection's: a session that is not used costs next to nothing.
        with self._begun(disk) as connection, _session(connection) as session:
            self._open.session = session
            try:
                yield session
                session.flush()
            finally:
                self._open.session = None
            if _BROKEN in session.info:
                raise HalfDoneError("a part of this transaction failed: nothing of it is kept")

    @contextmanager
    def _begun(self, disk: Disk) -> Iterator[Connection]:
        with self._writing[disk].begin() as connection:
            if self.is_postgresql and disk is Disk.WITH_NEXT:
                connection.execute(_NOT_WAITED_FOR)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction for reading; inside ``write()`` it sees what was written there."""
        outer = self._current()
        if outer is not None:
            yield outer
            return
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def ask(self) -> Iterator[Connection]:
        """The same for statements that were put together once, with their values as parameters:
        past the unit of work and its objects, for a third of the time."""
        outer = self._current()
        if outer is not None:
            outer.flush()
            yield outer.info[_CONNECTION]
            return
        with self.engine.connect() as connection:
            yield connection

    def lock(self, session: Session, name: str) -> None:
        """Let one writer at a time pass, until the transaction ends."""
        if self.is_postgresql:  # SQLite writers already have the whole database
            number = zlib.crc32(name.encode())
            session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def insert(self, table: type[Any]) -> Any:
        """An INSERT with the ON CONFLICT clause that both databases understand. The same object
        each time, so that what is made of it can be kept."""
        return _insert(self.engine.dialect.name, table.__table__)

    def insert_new(self, table: type[Any]) -> Any:
        """The same, passing over what is there already."""
        return _insert_new(self.engine.dialect.name, table.__table__)

    @property
    def is_writing(self) -> bool:
        """Whether this thread is inside ``write()``: nobody else sees yet what it does."""
        return self._current() is not None

    def close(self) -> None:
        self.engine.dispose()

    def _current(self) -> Session | None:
        return getattr(self._open, "session", None)


def _session(connection: Connection) -> Session:
    session = Session(connection, expire_on_commit=False)
    session.info[_CONNECTION] = connection
    return session


@cache
def _insert(dialect: str, table: Table) -> Any:
    # SQLAlchemy's dialects are large: only the one in use is loaded.
    return importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


@cache
def _insert_new(dialect: str, table: Table) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing()


def execute(
    session: Session,
    statement: Executable,
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> CursorResult[Any]:
    """A statement that changes rows nobody holds as objects. Past the unit of work, which would
    look for them among its own: half the time of a small statement."""
    session.flush()
    connection: Connection = session.info[_CONNECTION]
    return connection.execute(statement, rows)


@contextmanager
def _joined(outer: Session) -> Iterator[None]:
    """Not a savepoint, which costs two statements more for every part of a transaction."""
    try:
        yield
        outer.flush()  # what the database refuses is said to whoever asked for it
    except BaseException:
        outer.info[_BROKEN] = True
        raise

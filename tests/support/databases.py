"""A fresh database for every test: SQLite, or PostgreSQL where TWINPORT_TEST_DATABASE_URL says so.

Tests may run side by side: each gets a file of its own (SQLite), or has the schema of its process
to itself (PostgreSQL). Migrating takes longer than most tests, so it is done once for all of them.
What speaks to databases is loaded where a test asks for one.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from service.stores import Database

Run = Callable[[str], object]
SERVER = os.environ.get("TWINPORT_TEST_DATABASE_URL", "")


class Clock:
    """A clock that tests move by hand, at a moment that is not midnight."""

    def __init__(self) -> None:
        self.now = datetime(2031, 3, 9, 23, 59, 30, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def _run() -> Iterator[Run]:
    """What is between tests, told to the server over one connection."""
    import psycopg

    address = SERVER.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection:
        yield lambda statement: connection.execute(statement.encode())


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without any table."""
    if not SERVER:
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with _schema(request.getfixturevalue("_run")) as name:
        yield _url(name)


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every test starts from a copy."""
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _migrated_schema(_run: Run) -> Iterator[str]:
    """Every test leaves it as it was made, whatever it did: see `_EMPTY`."""
    with _schema(_run) as name:
        _migrate(_url(name))
        yield name


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database at the newest revision."""
    if not SERVER:
        path = tmp_path / "twinport.db"
        shutil.copyfile(request.getfixturevalue("_migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    schema = request.getfixturevalue("_migrated_schema")
    yield _url(schema)
    request.getfixturevalue("_run")(_EMPTY.format(schema=schema))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    from service.stores import open_engine

    engine = open_engine(database_url, pool_size=20)
    yield engine
    engine.dispose()


@pytest.fixture
def database(engine: Engine) -> Database:
    from service.stores import Database

    return Database(engine)


# Whoever a test left connected could still write: first they go, then every row. What keeps rows
# (foreign keys) is off meanwhile, and numbers start from one again.
_EMPTY = """
DO $$ DECLARE found record; BEGIN
  PERFORM pg_terminate_backend(pid, 5000)
     FROM pg_stat_activity WHERE application_name = '{schema}' AND pid <> pg_backend_pid();
  SET LOCAL session_replication_role = replica;
  FOR found IN SELECT tablename AS name FROM pg_tables
      WHERE schemaname = '{schema}' AND tablename <> 'alembic_version'
    LOOP EXECUTE 'DELETE FROM {schema}.' || quote_ident(found.name); END LOOP;
  FOR found IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = '{schema}'
    LOOP EXECUTE 'ALTER SEQUENCE {schema}.' || quote_ident(found.name) || ' RESTART'; END LOOP;
END $$"""


@contextmanager
def _schema(run: Run) -> Iterator[str]:
    """A PostgreSQL schema with a random name, dropped at the end."""
    name = f"t_{secrets.token_hex(8)}"
    run(f"CREATE SCHEMA {name}")
    yield name
    run(f"DROP SCHEMA {name} CASCADE")


def _url(schema: str) -> str:
    from sqlalchemy.engine import make_url

    chosen = {"options": f"-csearch_path={schema}", "application_name": schema}
    return make_url(SERVER).update_query_dict(chosen).render_as_string(hide_password=False)


def _migrate(url: str) -> None:
    from service.stores import open_engine, upgrade

    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()

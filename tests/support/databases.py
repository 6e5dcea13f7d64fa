"""A fresh database for every test: SQLite, or PostgreSQL where TWINPORT_TEST_DATABASE_URL says so.

Each test gets a schema (PostgreSQL) or a file (SQLite) of its own, so tests may run side by side.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from service.stores import Database, open_engine, upgrade

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


@pytest.fixture
def empty_database_url(tmp_path: Path) -> Iterator[str]:
    """The address of a database without any table."""
    if not SERVER:
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with _schema() as url:
        yield url


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once; every test starts from a copy."""
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database at the newest revision."""
    if not SERVER:
        path = tmp_path / "twinport.db"
        shutil.copyfile(request.getfixturevalue("_migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    with _schema() as url:
        engine = open_engine(url)
        upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, pool_size=20)
    yield engine
    engine.dispose()


@pytest.fixture
def database(engine: Engine) -> Database:
    return Database(engine)


class _schema:  # noqa: N801 - used as a context manager only
    """A PostgreSQL schema with a random name, dropped at the end."""

    def __enter__(self) -> str:
        self._name = f"t_{secrets.token_hex(8)}"
        self._run(f"CREATE SCHEMA {self._name}")
        options = {"options": f"-csearch_path={self._name}"}
        url = make_url(SERVER).update_query_dict(options)
        return url.render_as_string(hide_password=False)

    def __exit__(self, *_: object) -> None:
        self._run(f"DROP SCHEMA {self._name} CASCADE")

    def _run(self, statement: str) -> None:
        engine = open_engine(SERVER)
        with engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()

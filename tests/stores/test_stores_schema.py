"""Models and migrations say the same, on whichever database the suite runs."""

import os
import stat
from pathlib import Path

import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect
from support.threads import at_once

from service.stores import Database, current_revision, head_revision, open_engine, upgrade
from service.stores.errors import SchemaMismatchError
from service.stores.migrate import PLACE, require_head
from service.stores.risk import RiskStore
from service.stores.schema import METADATA
from service.stores.twins import TwinStore


def test_the_migrations_lead_to_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_the_newest_script_is_where_the_line_of_migrations_ends() -> None:
    config = Config()
    config.set_main_option("script_location", ":".join(PLACE))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [head_revision()]


def test_an_upgrade_may_be_repeated(engine: Engine) -> None:
    upgrade(engine)
    assert current_revision(engine) == head_revision()


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    at_once(4, lambda _: upgrade(engine))
    assert current_revision(engine) == head_revision()
    engine.dispose()


def test_work_on_a_database_of_another_revision_is_refused(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    with pytest.raises(SchemaMismatchError, match="twinport db upgrade"):
        require_head(engine)
    upgrade(engine)
    require_head(engine)
    engine.dispose()


def test_columns_that_could_identify_somebody_are_sealed() -> None:
    """Bytes are hashes, signed documents, chained entries, encrypted files, or named as sealed."""
    harmless = {
        "content",
        "line",
        "payload",
        "proof",
        "secret_hash",
        "address_hash",
        "code_hash",
        "state_hash",
        "token_hash",
        "bucket",
        "passcode_hash",
        "jwe",  # encrypted under a key that is not kept
    }
    for table in METADATA.sorted_tables:
        for column in table.columns:
            if "LargeBinary" in repr(column.type):
                assert column.name in harmless or column.name.startswith("sealed"), column


def test_a_sqlite_file_is_closed_to_others(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        engine = open_engine(f"sqlite:///{tmp_path / 'sub' / 'x.db'}")
        upgrade(engine)
        modes = [stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "sub").iterdir()]
        engine.dispose()
    finally:
        os.umask(previous)
    assert modes
    assert set(modes) == {0o600}


def test_sqlite_runs_with_journal_and_foreign_keys(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.connect() as connection:
        read = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "secure_delete")
        }
    engine.dispose()
    assert read == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 10_000,
        "secure_delete": 1,
    }


def test_errors_of_the_database_hide_the_values(engine: Engine) -> None:
    with pytest.raises(Exception, match="hidden") as caught, engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)", ("Erika Mustermann",))
    assert "Mustermann" not in str(caught.value)


def test_every_table_is_there(engine: Engine) -> None:
    found = set(inspect(engine).get_table_names())
    assert {table.name for table in METADATA.sorted_tables} <= found


def test_twins_from_before_risk_was_measured_are_counted_too(empty_database_url: str) -> None:
    """More than one page of them, of two versions each: the newer one counts."""
    engine = open_engine(empty_database_url)
    upgrade(engine, "0003")
    database = Database(engine)
    with database.write():
        for number in range(51):
            _two_versions(database, f"twin-{number}")
    upgrade(engine)
    found = RiskStore(database).classes("safe-harbor", ("sex", "age", "deceased", "conditions"))
    assert found == {("female", 42, False, "asthma gout"): 51}
    engine.dispose()


def _two_versions(database: Database, twin: str) -> None:
    parent = None
    conditions = [{"group": "gout"}, {"group": "asthma"}, {"code": "1"}]
    for version in (1, 2):
        subject = {"sex": "female", "age": 40 + version, "deceased": False}
        made = TwinStore(database).add(
            pseudonym=twin, version=version, parent=parent, digest=f"sha256:{twin}-{version}",
            payload=orjson.dumps({"subject": subject, "conditions": conditions}), proof=b"",
            policy="safe-harbor",
        )  # fmt: skip
        parent = made.digest

"""A ledger that takes no entry: the database itself refuses it, as a full disk would."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from service.config import load_config
from service.pipeline.runtime import open_runtime
from service.stores import Database

KEPT = ("twins", "vault", "outbox", "ledger", "audit_events")


def stop_recording(home: Path) -> None:
    """An installation with keys and schema, in which no entry can be written any more."""
    open_runtime(load_config({"TWINPORT_HOME": str(home)})).close()
    with closing(sqlite3.connect(home / "twinport.db")) as database, database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN INSERT INTO nowhere VALUES (1); END"
        )


def kept(home: Path) -> dict[str, int]:
    """How many rows there are of what a run leaves behind."""
    with closing(sqlite3.connect(home / "twinport.db")) as database:
        return {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in KEPT
        }


def rows(database: Database) -> dict[str, int]:
    """The same, in whichever database it is."""
    with database.read() as session:
        return {table: session.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in KEPT}

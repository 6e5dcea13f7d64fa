"""Migrations, run by the program itself: the scripts ship inside the package."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from service.stores.database import WRITES, Database
from service.stores.errors import SchemaMismatchError
from service.stores.ledger_index import LedgerIndex

_LOCK = 0x7477696E  # "twin": two processes starting together must not both migrate


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to ``revision``. Safe to call at every start, from every process."""
    config = _config()
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    if revision == "head":
        LedgerIndex(Database(engine)).catch_up()


def current_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def require_head(engine: Engine) -> None:
    """Refuse to work on a database of another revision."""
    if current_revision(engine) != head_revision():
        raise SchemaMismatchError("the database needs an upgrade. Next: twinport db upgrade")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "service.stores:migrations")
    config.set_main_option("path_separator", "os")
    return config

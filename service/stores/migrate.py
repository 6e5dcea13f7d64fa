"""Migrations, run by the program itself: the scripts ship inside the package.

Almost every start finds the database as it should be. That is seen without Alembic, which takes
longer to load than a small command takes to run.
"""

from importlib.resources import files

from sqlalchemy import Engine, inspect, text

from service.stores.database import Database, for_writing
from service.stores.errors import SchemaMismatchError
from service.stores.ledger_index import LedgerIndex

PLACE = "service.stores", "migrations"
_LOCK = 0x7477696E  # "twin": two processes starting together must not both migrate


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to ``revision``. Safe to call at every start, from every process."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", ":".join(PLACE))
    config.set_main_option("path_separator", "os")
    with for_writing(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    if revision == "head":
        LedgerIndex(Database(engine)).catch_up()


def current_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def head_revision() -> str:
    """The newest script. They form one line and are named by their place in it."""
    package, folder = PLACE
    scripts = files(package).joinpath(folder, "versions").iterdir()
    return max(script.name.partition("_")[0] for script in scripts if script.name[0].isdigit())


def require_head(engine: Engine) -> None:
    """Refuse to work on a database of another revision."""
    if current_revision(engine) != head_revision():
        raise SchemaMismatchError("the database needs an upgrade. Next: twinport db upgrade")

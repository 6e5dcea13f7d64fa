"""`twinport db`: the schema of the database."""

import click

from service.cli.output import say
from service.config import load_config
from service.stores import current_revision, head_revision, open_database, upgrade


@click.group("db")
def command() -> None:
    """The database: SQLite in the home by default, PostgreSQL by `database.url`."""


@command.command("upgrade")
def upgrade_command() -> None:
    """Bring the database to the current schema. Safe to repeat, safe beside running services."""
    database = open_database(load_config().database_url)
    try:
        before = current_revision(database.engine)
        upgrade(database.engine)
        after = current_revision(database.engine)
    finally:
        database.close()
    say(
        f"already at {after}"
        if before == after
        else f"upgraded from {before or 'empty'} to {after}"
    )


@command.command("status")
def status() -> None:
    """Say which schema the database has, and which this version needs."""
    database = open_database(load_config().database_url)
    try:
        click.echo(
            f"database {current_revision(database.engine) or 'empty'}, needed {head_revision()}"
        )
    finally:
        database.close()

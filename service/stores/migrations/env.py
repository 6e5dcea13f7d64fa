"""Alembic's entry: migrates over the connection that ``service.stores.migrate`` hands in."""

from alembic import context

from service.stores.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a table in place; batch mode copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

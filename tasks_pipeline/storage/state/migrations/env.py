"""How Alembic runs the migrations: on the connection that `state.py` hands over, or on a URL given to its command line."""

from alembic import context
from sqlalchemy import Connection, create_engine

from tasks_pipeline.storage.state.tables import metadata


def run(connection: Connection) -> None:
    """Run what is asked for on an open connection."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").connect() as opened:
        run(opened)

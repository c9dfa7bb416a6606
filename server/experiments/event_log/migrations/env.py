"""Run by Alembic: on the connection, and in the transaction, that `opening` hands over."""

from alembic import context

from server.experiments.event_log.opening import VERSIONS
from server.experiments.event_log.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSIONS,
)
with context.begin_transaction():
    context.run_migrations()

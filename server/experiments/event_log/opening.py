"""A database brought to the tables of this version, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, event, make_url, text

from server.database import is_sqlite, number_lock, open_engine, writing
from server.experiments.event_log.checkpoints import postpone

VERSIONS = "etalage_event_versions"
"""The table that says of which revision the others are."""

_BACKENDS = ("sqlite", "postgresql")
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATING = number_lock("migration of events")


class DatabaseUnusable(RuntimeError):
    """Says why events can't be kept there."""


def open_events(url: str | URL) -> Engine:
    """Of several processes that start at once, one brings it up to date and the others wait.

    Raises DatabaseUnusable, sqlalchemy.exc.SQLAlchemyError, ImportError, OSError.
    """
    parsed = make_url(url)
    if (backend := parsed.get_backend_name()) not in _BACKENDS:
        raise DatabaseUnusable(f"{backend}: events are kept in {' or '.join(_BACKENDS)} alone")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise DatabaseUnusable("sqlite without a file: nothing would be kept")
    engine = open_engine(url)
    if is_sqlite(engine):
        event.listen(engine, "connect", postpone)
    try:
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def upgrade(engine: Engine, revision: str = "head") -> None:
    """All of it or nothing. Raises DatabaseUnusable where a later version was here already."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with writing(engine) as connection:
        if not is_sqlite(engine):
            take = text("SELECT pg_advisory_xact_lock(:number)")
            connection.execute(take, {"number": _MIGRATING})
        present = read_revision(connection)
        known = [script.revision for script in scripts.walk_revisions()]
        if present is not None and present not in known:
            raise DatabaseUnusable(
                f"its tables of events are of revision {present!r}, which this version does not "
                f"know: it knows up to {known[0]!r}"
            )
        if present != scripts.as_revision_number(revision):
            config.attributes["connection"] = connection
            command.upgrade(config, revision)


def read_revision(connection: Connection) -> str | None:
    """None where there are no tables yet."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSIONS})
    return context.get_current_revision()

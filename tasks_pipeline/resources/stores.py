"""The stores of an installation as a Dagster resource."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import duckdb
import psycopg
import psycopg2
from sqlalchemy.exc import DBAPIError

from tasks_pipeline.facts.origin import Source, recorded_by
from tasks_pipeline.home import Home
from tasks_pipeline.outages import one_line
from tasks_pipeline.storage.ledger.backlog import first_day
from tasks_pipeline.storage.spool.interface import SpoolError
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.locks import LockLost
from tasks_pipeline.stores import Stores, open_stores

log = logging.getLogger(__name__)

_AWAY = (
    "server closed the connection",
    "terminating connection",
    "Connection refused",
    "could not connect to server",
)
"""In what DuckDB says when Postgres is away."""
DAYS_OFFERED = 366
"""Where the stores cannot say when the first envelope came."""


@contextmanager
def _recorded(stores: AbstractContextManager[Stores]) -> Iterator[Stores]:
    with recorded_by(*_origin()), told_in_a_line(), stores as opened:
        yield opened


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Have a database that is away be told in a line by the run or tick that met it: what SQLAlchemy and DuckDB say of that fills pages,
    and each attempt would leave them in Dagster's store."""
    try:
        yield
    except Exception as error:
        if not _is_away(error):
            raise
        raise dg.Failure(f"a database is away, and this is tried again: {one_line(error)}") from None


def _is_away(error: Exception) -> bool:
    """Whether an error says nothing but that Postgres does not answer, or ended the session."""
    if isinstance(error, DBAPIError):
        return isinstance(
            error.orig, (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg.OperationalError)
        )
    if isinstance(error, SpoolError):
        return isinstance(error.__cause__, (DBAPIError, psycopg.OperationalError))
    return isinstance(error, LockLost) or (
        isinstance(error, duckdb.Error) and any(word in str(error) for word in _AWAY)
    )


def _origin() -> tuple[Source, str | None]:
    """Who is at work: the schedule or sensor that started the run, a person where neither did, a sensor outside of runs."""
    try:
        run = dg.OpExecutionContext.get().run
    except dg.DagsterInvariantViolationError:
        return "sensor", None
    if "dagster/schedule_name" in run.tags:
        return "schedule", run.run_id
    return ("sensor" if "dagster/sensor_name" in run.tags else "ui"), run.run_id


class StoresResource(dg.ConfigurableResource[None]):
    """Opens spool, lake, state database and blobs of a home.

    `home` is the home directory; empty takes TASKS_PIPELINE_HOME or the default, read when a run starts.
    """

    home: str = ""

    def resolve(self) -> Home:
        """The home."""
        return Home.resolve(self.home or None)

    def open(self) -> AbstractContextManager[Stores]:
        """Open stores for the time of a `with` block. Facts that are recorded in it come from the run around it, or a sensor."""
        return _recorded(open_stores(self.resolve()))

    def first_day(self) -> date:
        """The UTC day of the first envelope; today while there is none.

        Asked when definitions are loaded, which must be possible while a database is away: the watch is among them.
        """
        today = datetime.now(UTC).date()
        try:
            home = self.resolve()
            if home.embedded and not home.spool_dir.exists():
                return today  # nothing was ever here, and nothing is made by looking
            with closing(StateDatabase(home)) as state, closing(open_spool(home)) as spool:
                return first_day(state, spool) or today
        except Exception:
            log.exception(
                "the stores do not say when the first envelope came; %d days are shown", DAYS_OFFERED
            )
            return today - timedelta(days=DAYS_OFFERED)

    def week_starts(self) -> str:
        """The first day of weeks in reports, asked when definitions are loaded: which must be possible while the configuration
        cannot be read."""
        try:
            home = self.resolve()
            # Nothing is made by looking: without a file a key would be.
            return home.config_in_force().config.reports.week_starts if home.has_config else "monday"
        except Exception:
            log.exception("the configuration does not say when weeks begin; they are shown from Monday")
            return "monday"

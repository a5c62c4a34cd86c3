"""The stores of an installation as a Dagster resource."""

from contextlib import AbstractContextManager

import dagster as dg

from tasks_pipeline.home import Home
from tasks_pipeline.stores import Stores, open_stores


class StoresResource(dg.ConfigurableResource[None]):
    """Opens spool, lake, state database and blobs of a home.

    `home` is the home directory; empty takes TASKS_PIPELINE_HOME or the default, read when a run starts.
    """

    home: str = ""

    def resolve(self) -> Home:
        """The home."""
        return Home.resolve(self.home or None)

    def open(self) -> AbstractContextManager[Stores]:
        """Open stores for the time of a `with` block."""
        return open_stores(self.resolve())

"""All stores of an installation, opened together and handed around as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.processing.tools import Tools
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.lake import Lake
from tasks_pipeline.storage.spool import Spool, open_spool
from tasks_pipeline.storage.state import StateDatabase


@dataclass(frozen=True, slots=True)
class Stores:
    """Open stores, the configuration they are used with, and the tools that steps make of it."""

    home: Home
    config: Config
    spool: Spool
    state: StateDatabase
    lake: Lake
    blobs: BlobStore
    tools: Tools

    @property
    def slugs(self) -> dict[int, str]:
        """Slug of each configured project by its number."""
        return {p.id: p.slug for p in self.config.projects}


@contextmanager
def open_stores(home: Home) -> Iterator[Stores]:
    """Open the stores and close them again. Raises ConfigError when the configuration cannot be used."""
    config = home.config()
    stores = Stores(
        home=home,
        config=config,
        spool=open_spool(home),
        state=StateDatabase(home),
        lake=Lake(home),
        blobs=BlobStore(home.blobs_url),
        tools=Tools(config),
    )
    try:
        yield stores
    finally:
        stores.lake.close()
        stores.state.close()
        stores.spool.close()

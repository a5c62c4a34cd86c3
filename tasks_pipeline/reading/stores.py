"""What answers are read from, open for as long as a process serves: pages and the Web API share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.reading.lake_reader import LakeReader
from tasks_pipeline.storage.state.database import StateDatabase


@dataclass(frozen=True, slots=True)
class Reading:
    """Open stores; `config` gives the configuration in force."""

    home: Home
    state: StateDatabase
    lake: LakeReader
    config: Callable[[], Config]

    def close(self) -> None:
        """Close them; call it when nobody asks any more."""
        self.lake.close()
        self.state.close()

"""Runs of sync that die at a moment."""

from __future__ import annotations

import os

from tasks_pipeline.home import Home
from tasks_pipeline.integrations import commenting, pushing
from tasks_pipeline.integrations.sync import sync_integrations
from tasks_pipeline.stores import open_stores
from tests.support.crash import Moment, at, die

RUN = "the-run-that-dies"
MOMENTS = {
    "close: about to be sent": Moment(pushing, "note_sending"),
    "close: made there, not recorded": Moment(pushing, "finish", after=False),
    "close: recorded, not committed": Moment(pushing, "agree_with_others"),
    "comment: about to be sent": Moment(commenting, "note_sending"),
    "comment: made there, not recorded": Moment(commenting, "finish", after=False),
    "comment: recorded, not committed": Moment(commenting, "note_copy"),
}


def sync_and_die(home: Home, moment: str, token: str) -> None:
    """Sync once and die at the moment."""
    os.environ["HUB_TOKEN"] = token
    with open_stores(home) as stores, at(MOMENTS[moment], die):
        sync_integrations(stores, run_id=RUN, linger_seconds=0, max_run_seconds=60)

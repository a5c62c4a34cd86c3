"""A day stored again from its raw envelopes, or its stored events symbolicated and grouped again: Dagster is asked to, and how far it is."""

from __future__ import annotations

import re
from datetime import date

from starlette.responses import Response

from tasks_pipeline.lanes import RECOMPUTE
from tasks_pipeline.pages.answers import Refused, go, no_such
from tasks_pipeline.pages.view import View
from tasks_pipeline.service.dagster_client import DagsterError, backfill_progress, launch_backfill
from tasks_pipeline.service.running import running_service

_MODES = ("recompute", "reprocess")
_BACKFILL = re.compile(r"[a-z0-9]{4,40}")


def start(view: View) -> Response:
    """Start it, as `tasks-pipeline backfill` does, and show how far it is."""
    _check(view)
    mode = view.posted("mode")
    try:
        day = date.fromisoformat(view.param("day"))
    except ValueError:
        raise no_such("day") from None
    if mode not in _MODES:
        raise Refused(400, f"A day is worked on by one of {', '.join(_MODES)}.")
    config = {"ops": {"process_event": {"config": {"mode": mode}}}}
    try:
        made = launch_backfill(_ui(view), "process_event", [day], RECOMPUTE.tags, f"{mode} {day}", config)
    except DagsterError as error:
        raise Refused(503, f"{error}.") from error
    return go(view.link(f"/pipeline/backfills/{made}/", back=view.posted("return")))


def progress(view: View) -> Response:
    """How far it is."""
    _check(view)
    number = view.param("id")
    if not _BACKFILL.fullmatch(number):
        raise no_such("backfill")
    ui_url = _ui(view)
    try:
        found = backfill_progress(ui_url, number)
    except DagsterError as error:
        raise Refused(503, f"{error}.") from error
    return view.page("backfill.html", number=number, found=found, ui_url=ui_url, back=view.arg("back"))


def _check(view: View) -> None:
    """Raises Refused."""
    if not view.viewer.may("admin") or view.viewer.projects is not None:
        raise Refused(403, "This takes the role admin of all projects: a day is that of all of them.")


def _ui(view: View) -> str:
    """Where Dagster's webserver is. Raises Refused where none runs here."""
    service = running_service(view.reading.home)
    if service is None:
        raise Refused(
            409, "Dagster does not run beside these pages; `tasks-pipeline backfill` does it by itself."
        )
    return service.ui_url

"""Health and adoption beside releases that are listed or shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks_pipeline.commands.common.bars import with_bar
from tasks_pipeline.commands.common.queries import lake_of
from tasks_pipeline.commands.releases.health import health_json, percent

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.releases.adoption import Adoption
    from tasks_pipeline.releases.health_figures import Figures
    from tasks_pipeline.releases.known import Row
    from tasks_pipeline.releases.stages import Stage
    from tasks_pipeline.storage.lake.lake import Lake
    from tasks_pipeline.storage.state.database import StateDatabase

HEALTH_COLUMNS = {"sessions": "sessions", "crash_free": "crash-free", "adopted": "adoption", "stage": "stage"}


@contextmanager
def counted_lake(home: Home, state: StateDatabase) -> Iterator[Lake | None]:
    """The lake, where health of any day was computed; else None, and it is not opened."""
    from tasks_pipeline.releases.adoption import has_health

    with state.read() as connection:
        counted = has_health(connection)
    with lake_of(home, state) if counted else nullcontext() as lake:
        yield lake


def add_health(
    lake: Lake | None,
    state: StateDatabase,
    rows: Sequence[Row],
    summaries: Sequence[dict[str, Any]],
    now: datetime,
) -> list[dict[str, Any]]:
    """Fill in what summaries say of sessions, of the last 14 days: `sessions`, `crash_free_sessions`, `crash_free_users` and
    `adoption` (shares of 0 to 1, the latter of sessions of the last 24 full hours) over all environments, `stages` by
    environment. Gives what a table says of it."""
    from tasks_pipeline.releases.health_figures import Figures
    from tasks_pipeline.releases.stages import current_stages

    named = {(row["project_id"], row["version"]) for row in rows}
    with state.read() as connection:
        stages = current_stages(connection, named)
    figures, shares = _of_lake(lake, rows, now) if lake is not None and rows else ({}, {})
    shown = []
    for row, summary in zip(rows, summaries, strict=True):
        key = row["project_id"], row["version"]
        found, share = figures.get(key, Figures()), shares.get(key)
        summary |= {
            "sessions": found.all_sessions,
            "crash_free_sessions": found.crash_free_sessions,
            "crash_free_users": found.crash_free_users,
            "adoption": share and share.of_sessions,
            "stages": {environment: stage.stage for environment, stage in stages.get(key, {}).items()},
        }
        shown.append(_shown(found, share, stages.get(key, {})))
    return shown


def _of_lake(
    lake: Lake, rows: Sequence[Row], now: datetime
) -> tuple[dict[tuple[int, str], Figures], dict[tuple[int, str], Adoption]]:
    from tasks_pipeline.releases.adoption import adoption_at
    from tasks_pipeline.releases.health_figures import SHOWN_DAYS, last_days, releases_health
    from tasks_pipeline.releases.spans import full_hour

    named = {(row["project_id"], row["version"]) for row in rows}
    at = full_hour(now)
    health = releases_health(lake, rows, last_days(SHOWN_DAYS, now))
    active = adoption_at(lake, at, {project_id for project_id, _ in named}, named=named)
    shares = {
        (project_id, version): one
        for (project_id, environment, version), one in active.items()
        if environment is None
    }
    return {key: of_release[None] for key, of_release in health.items()}, shares


def _shown(figures: Figures, share: Adoption | None, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """What a table says of it."""
    from tasks_pipeline.releases.shares import crash_free_text, percent_text
    from tasks_pipeline.releases.stages import overall

    crash_free = percent(crash_free_text(figures.crashed, figures.all_sessions))
    adoption = percent(percent_text(share.sessions, share.all_sessions)) if share else None
    stage = overall(list(stages.values()))
    return {
        "sessions": figures.all_sessions,
        "crash_free": with_bar(figures.crash_free_sessions, crash_free),
        "adopted": with_bar(share.of_sessions if share else None, adoption),
        "stage": stage.stage.replace("_", " ") if stage else "",
    }


def health_of(lake: Lake | None, row: Row, now: datetime) -> tuple[dict[str, Any], dict[str | None, Figures]]:
    """The health of one release in the last 14 days by environment (empty: sessions that named none): for JSON, and its figures,
    by None those of all environments."""
    from tasks_pipeline.releases.health_figures import (
        RELEASE,
        RELEASE_AND_ENVIRONMENT,
        SHOWN_DAYS,
        last_days,
        releases_health,
    )

    if lake is None:
        return {}, {}
    span = last_days(SHOWN_DAYS, now)
    levels = [RELEASE, RELEASE_AND_ENVIRONMENT]
    found = releases_health(lake, [row], span, levels=levels, durations=True)
    of_release = found.get((row["project_id"], row["version"]), {})
    more = {"final": span.is_final(now), "since": span.since, "until": span.until}
    shown = {name: health_json(figures) | more for name, figures in of_release.items() if name is not None}
    return shown, of_release

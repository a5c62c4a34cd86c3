"""release_moves: releases that were created, finalised, deployed, adopted or replaced on a day, at the moment it happened."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, String, func, or_, select

from tasks_pipeline.analytics.statistics.work import Work
from tasks_pipeline.releases.stages import ADOPTED, REPLACED
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import commits, deploys, release_commits, release_stages, releases
from tasks_pipeline.storage.state.wanted import wanted as as_table

TABLES = ("release_moves",)
_KEY = ("project_id", "version", "at", "move", "environment")


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table. A release that was deleted since was there all the same: its creation and deploys stay told;
    stages may be taken back."""
    with work.stores.state.read() as connection:
        found = {tuple(row[name] for name in _KEY): row for row in _moves(work, connection)}
        authors = _authors(connection, {row["version"] for row in found.values()})
    for row in found.values():
        row["commits"], row["authors"] = authors.get(row["version"], (0, 0))
    for row in work.former("release_moves"):
        if row["move"] not in (ADOPTED, REPLACED):
            found.setdefault(tuple(row[name] for name in _KEY), row)
    work.add_rows("release_moves", found.values())


def _moves(work: Work, connection: Connection) -> Iterator[dict[str, Any]]:
    r, d, s = releases.c, deploys.c, release_stages.c
    for move, column in (("created", r.created_at), ("finalised", r.released_at)):
        query = select(r.project_id, r.version, column.label("at"))
        for row in connection.execute(query.where(column >= work.begin, column < work.end)):
            yield {**row._mapping, "move": move, "environment": ""}
    at = func.coalesce(d.finished_at, d.created_at, type_=d.created_at.type)
    ended = (d.finished_at.is_not(None)) & (d.finished_at >= work.begin) & (d.finished_at < work.end)
    told = d.finished_at.is_(None) & (d.created_at >= work.begin) & (d.created_at < work.end)
    for condition in (ended, told):  # one after the other, each is found by its index
        query = select(d.project_id, d.version, at.label("at"), d.environment).where(condition)
        for row in connection.execute(query):
            yield {**row._mapping, "move": "deployed"}
    query = select(s.project_id, s.version, s.since.label("at"), s.stage.label("move"), s.environment)
    for row in connection.execute(
        query.where(s.since >= work.begin, s.since < work.end, or_(s.stage == ADOPTED, s.stage == REPLACED))
    ):
        yield dict(row._mapping)


def _authors(connection: Connection, versions: Collection[str]) -> dict[str, tuple[int, int]]:
    """Commits of releases and how many people wrote them, by version; as they are known now."""
    found: dict[str, tuple[int, int]] = {}
    for some in chunks(sorted(versions)):
        named = as_table(connection, ((version,) for version in some), version=String())
        query = (
            select(release_commits.c.version, func.count(), func.count(func.distinct(commits.c.author_key)))
            .join_from(named, release_commits, release_commits.c.version == named.c.version)
            .join(commits, commits.c.sha == release_commits.c.sha)
            .group_by(release_commits.c.version)
        )
        found |= {version: (n, people) for version, n, people in connection.execute(query)}
    return found

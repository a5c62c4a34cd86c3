"""Grouping algorithms that projects have used: for a while after a change the former one is asked too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups, project_algorithms


def in_transition(
    state: StateDatabase, connection: Connection, present: Mapping[int, tuple[str, int]], *, note: bool = True
) -> set[int]:
    """The projects whose groups may still be known by the keys of a former algorithm alone.

    `present`: the algorithm in use by project id, and for how many days after its first use the former one is asked.
    An algorithm that is used for the first time is noted, in the caller's transaction, unless `note` is false.
    """
    used = _used(connection, list(present))
    now = datetime.now(UTC)
    found = set()
    for project_id, (algorithm, days) in present.items():
        known = used[project_id]
        if algorithm not in known:
            noted = {algorithm: now} | ({} if known else _of_groups(connection, project_id))
            if note:
                _note(state, connection, project_id, noted)
            known |= noted
        if len(known) > 1 and now - known[algorithm] <= timedelta(days=days):
            found.add(project_id)
    return found


def _used(connection: Connection, project_ids: Sequence[int]) -> dict[int, dict[str, datetime]]:
    rows = connection.execute(
        select(project_algorithms).where(project_algorithms.c.project_id.in_(project_ids))
    )
    used: dict[int, dict[str, datetime]] = defaultdict(dict)
    for row in rows:
        used[row.project_id][row.algorithm] = row.first_used_at
    return used


def _of_groups(connection: Connection, project_id: int) -> dict[str, datetime]:
    """The algorithms of the groups of a project, of before algorithms were noted."""
    rows = connection.execute(
        select(groups.c.algorithm, func.min(groups.c.created_at).label("first_used_at"))
        .where(groups.c.project_id == project_id)
        .group_by(groups.c.algorithm)
    )
    return {row.algorithm: row.first_used_at for row in rows}


def _note(
    state: StateDatabase, connection: Connection, project_id: int, first_used: Mapping[str, datetime]
) -> None:
    rows = [
        {"project_id": project_id, "algorithm": algorithm, "first_used_at": at}
        for algorithm, at in sorted(first_used.items())
    ]
    connection.execute(state.insert(project_algorithms).on_conflict_do_nothing(), rows)

"""Groups in the state database: which one an event belongs to, the keys of each, and making new ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.groups.algorithms import in_transition
from tasks_pipeline.groups.explanations import keep_explanation
from tasks_pipeline.groups.texts import GroupTexts, keep_texts
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_hashes, groups, projects


@dataclass(frozen=True, slots=True)
class NewGroup:
    """What a group is created with: what its first event says."""

    project_id: int
    keys: tuple[str, ...]
    title: str
    culprit: str
    level: str
    platform: str
    type: str
    metadata: Mapping[str, str]
    algorithm: str
    transition_days: int = 0
    """For how many days after the first use of the algorithm `previous_keys` are asked for."""
    previous_keys: Callable[[], tuple[str, ...]] = tuple
    """The keys of the event by the former algorithm."""
    explanation: Callable[[], Mapping[str, Any] | None] = dict
    """Why the event is grouped as it is."""
    texts: Callable[[], GroupTexts | None] = lambda: None
    """What the event says, for those who look for words in it."""
    received_at: datetime | None = None
    """Receipt of the event; None where none makes the group."""


def assign_groups(
    state: StateDatabase,
    connection: Connection,
    wanted: Sequence[NewGroup],
    slugs: Mapping[int, str],
    made: set[int] | None = None,
) -> list[int]:
    """The group id of each event: the group of its first known key, else a new one. New keys are attached to it.

    Where none is known and the project has changed its algorithm not long ago, the group is looked for by the former keys.
    `made` takes the ids of groups that are new. Runs in the caller's transaction. Of several transactions at once only one makes new keys; the primary key of
    group_hashes guards it.
    """
    known = _known_keys(connection, wanted)
    if any((event.project_id, key) not in known for event in wanted for key in event.keys):
        state.serialise(connection, "group_hashes")
        known = _known_keys(connection, wanted)
    changed = _changed_projects(state, connection, wanted, known)
    result: list[int] = []
    for event in wanted:
        hits = (known.get((event.project_id, key)) for key in event.keys)
        group_id = next((g for g in hits if g is not None), None)
        if group_id is None and event.project_id in changed:
            group_id = former_group(connection, event)
        if group_id is None:
            group_id = create_group(state, connection, event, slugs[event.project_id])
            if made is not None:
                made.add(group_id)
        missing = [key for key in event.keys if (event.project_id, key) not in known]
        if missing:
            _attach(connection, event.project_id, missing, group_id)
            known.update({(event.project_id, key): group_id for key in missing})
        result.append(group_id)
    return result


def _changed_projects(
    state: StateDatabase,
    connection: Connection,
    wanted: Sequence[NewGroup],
    known: Mapping[tuple[int, str], int],
) -> set[int]:
    """Projects in which events of no known key may belong to a group of the former algorithm."""
    new = [event for event in wanted if not any((event.project_id, key) in known for key in event.keys)]
    present = {event.project_id: (event.algorithm, event.transition_days) for event in new}
    return in_transition(state, connection, present) if present else set()


def former_group(connection: Connection, event: NewGroup) -> int | None:
    """The group that knows the event by its keys of the former algorithm."""
    keys = [(event.project_id, key) for key in event.previous_keys()]
    known = known_keys(connection, keys)
    return next((known[key] for key in keys if key in known), None)


def _known_keys(connection: Connection, wanted: Sequence[NewGroup]) -> dict[tuple[int, str], int]:
    return known_keys(connection, ((event.project_id, key) for event in wanted for key in event.keys))


def known_keys(connection: Connection, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The group of each (project id, key) that belongs to one."""
    by_project: dict[int, set[str]] = defaultdict(set)
    for project_id, key in keys:
        by_project[project_id].add(key)
    known: dict[tuple[int, str], int] = {}
    for project_id, of_project in by_project.items():
        for chunk in chunks(sorted(of_project)):
            rows = connection.execute(
                select(group_hashes.c.key, group_hashes.c.group_id).where(
                    group_hashes.c.project_id == project_id, group_hashes.c.key.in_(chunk)
                )
            )
            known.update({(project_id, row.key): row.group_id for row in rows})
    return known


def _attach(connection: Connection, project_id: int, keys: Sequence[str], group_id: int) -> None:
    now = datetime.now(UTC)
    rows = [{"project_id": project_id, "key": key, "group_id": group_id, "created_at": now} for key in keys]
    connection.execute(group_hashes.insert(), rows)


def create_group(state: StateDatabase, connection: Connection, event: NewGroup, slug: str) -> int:
    """Make a group with the next short id of its project, without keys; gives its id. In the caller's transaction."""
    insert = state.insert(projects).values(id=event.project_id, slug=slug, last_short_id=1)
    short_id = connection.execute(
        insert.on_conflict_do_update(
            index_elements=[projects.c.id],
            set_={"last_short_id": projects.c.last_short_id + 1, "slug": slug},
        ).returning(projects.c.last_short_id)
    ).scalar_one()
    group_id = int(
        connection.execute(
            groups.insert()
            .values(
                project_id=event.project_id,
                short_id=short_id,
                title=event.title,
                culprit=event.culprit,
                level=event.level,
                platform=event.platform,
                type=event.type,
                metadata=dict(event.metadata),
                algorithm=event.algorithm,
                created_at=event.received_at or datetime.now(UTC),
            )
            .returning(groups.c.id)
        ).scalar_one()
    )
    if explanation := event.explanation():
        keep_explanation(connection, group_id, explanation)
    if texts := event.texts():
        keep_texts(connection, group_id, texts)
    return group_id

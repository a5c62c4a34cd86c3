"""Looking for suspect commits: of new groups in the transaction that counts their first events, of all others afterwards.

What a commit is suspected by is in `releases/suspects.py`. A drain looks only where commits are known, and not where a release
changed so much that others would wait; whatever it leaves is due, and found by `find_due_suspects`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from tasks_pipeline.config import Config
from tasks_pipeline.groups.suspects import (
    any_suspects,
    assign_suspects,
    due_groups,
    forget_suspects,
    keep_suspects,
    nothing_to_find,
    still_due,
    suspects_of,
)
from tasks_pipeline.notifications.frames import mapping_of, paths_of, stack_of
from tasks_pipeline.notifications.routing import members_of, owners_of
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.releases.changes import (
    change_sets,
    count_files,
    have_commits,
    read_changes,
    releases_up_to,
)
from tasks_pipeline.releases.suspects import Changes, FramePath, Suspect, frame_paths
from tasks_pipeline.storage.lake.events import payloads_of, place_of
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.passed_over import Failure, each_alone, is_own_fault, note_passed_over
from tasks_pipeline.storage.state.tables import group_days, groups

if TYPE_CHECKING:
    from tasks_pipeline.stores import Stores

MOST_FILES_AT_ONCE = 20_000
"""Changed files of the releases of a group that a drain reads: others wait for its transaction."""
MOST_FILES_A_LOOK = 200_000
"""Changed files that are in memory at once: where a release and those before it changed more, fewer of these are looked at."""
GROUPS_AT_ONCE = 200  # whose newest events are in memory
GROUPS_A_RUN = 2_000
KIND = "suspect commits"  # what is passed over


@dataclass(frozen=True, slots=True)
class Failed:
    """An event of a group, as far as suspects are concerned: when it happened, the release in which its group was first seen, its
    frames, and what rules of ownership look at (paths, url, tags)."""

    group_id: int
    project_id: int
    release: str | None
    happened: datetime
    frames: Sequence[FramePath | None]
    owned: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class SuspectReport:
    """What a run did: groups looked at, those of which a commit is suspected, and those that were assigned."""

    looked_at: int = 0
    suspected: int = 0
    assigned: int = 0

    def figures(self) -> dict[str, int]:
        """For people."""
        return {
            "groups_looked_at": self.looked_at,
            "groups_with_suspects": self.suspected,
            "groups_assigned": self.assigned,
        }


def frames_of(event: Mapping[str, Any]) -> tuple[FramePath | None, ...]:
    """The frames of a stored event (its payload) that are compared with what was changed."""
    return frame_paths(stack_of(event))


def find_suspects(
    connection: Connection, events: Iterable[Failed], now: datetime
) -> dict[int, list[Suspect]]:
    """Look for the suspects of groups and store what was found, also when it is nothing. In the caller's transaction.

    Groups whose releases changed more than MOST_FILES_AT_ONCE files are left out, and go on being due. So are those of a group
    without a first release, which never are.
    """
    found: dict[int, list[Suspect]] = {}
    for (project_id, release), of_release in _by_release(events):
        versions = releases_up_to(connection, project_id, release)
        if count_files(connection, versions) <= MOST_FILES_AT_ONCE:
            changes = read_changes(connection, versions)
            found |= {e.group_id: changes.suspects(e.frames, e.happened) for e in of_release}
    keep_suspects(connection, found, now)
    return found


def _by_release(events: Iterable[Failed]) -> list[tuple[tuple[int, str], list[Failed]]]:
    """Events by project and the release in which their groups were first seen, without those that tell none."""
    found: dict[tuple[int, str], list[Failed]] = defaultdict(list)
    for event in events:
        if event.release is not None:
            found[event.project_id, event.release].append(event)
    return sorted(found.items())


def assign_to_authors(
    state: StateDatabase, connection: Connection, config: Config, events: Iterable[Failed]
) -> dict[int, str]:
    """Assign groups to the members who wrote their likeliest commits, in projects that want it; not where a rule of ownership
    names somebody, nor where a person decided. Gives who got which group."""
    wanting = {project.id for project in config.projects if project.suspect_commits.assign}
    free = [e.group_id for e in events if e.project_id in wanting and not _owners(config, e)]
    if not free:
        return {}
    chosen = {}
    for group_id, suspects in suspects_of(connection, free).items():
        by_mail = {(s["author"]["email"] or "").lower(): s["sha"] for s in reversed(suspects)}
        mails = [(s["author"]["email"] or "").lower() for s in suspects]
        for member in members_of(config, mails)[:1]:
            chosen[group_id] = member.email, by_mail[member.email]
    return assign_suspects(state, connection, chosen)


def suspect_new_groups(
    state: StateDatabase, connection: Connection, config: Config, events: Sequence[Failed], now: datetime
) -> dict[int, str]:
    """Find and store the suspects of groups that are new in the caller's transaction, and assign them; gives who got which.

    What would take too long is left to `find_due_suspects`.
    """
    first = first_releases(connection, [event.group_id for event in events])
    known = [replace(e, release=first.get(e.group_id) or e.release) for e in events]
    found = find_suspects(connection, known, now)
    return assign_to_authors(state, connection, config, [e for e in known if found.get(e.group_id)])


def _owners(config: Config, event: Failed) -> tuple[str, ...]:
    owned = event.owned
    return owners_of(
        config, event.project_id, owned.get("paths") or (), owned.get("tags") or {}, owned.get("url")
    )


def find_due_suspects(
    stores: Stores, now: datetime | None = None, limit: int = GROUPS_A_RUN
) -> SuspectReport:
    """Look for the suspects that are due, the newest groups first, `limit` at most. Doing it again finds nothing to do.

    Groups of releases without commits are passed by without reading an event, all of a release at once.
    """
    now, report = now or datetime.now(UTC), SuspectReport()
    with stores.state.read() as connection:
        if not any_suspects(connection):
            return report
        due = due_groups(connection, limit)
        empty = _without_commits(connection, {(project_id, release) for _, project_id, release in due})
    for project_id, release in sorted(empty):
        with stores.state.write() as connection:
            stores.state.serialise(connection, "group_hashes")
            forget_suspects(connection, project_id, release)
            report.looked_at += nothing_to_find(connection, project_id, [release], now)
    wanted = {group: (project, release) for group, project, release in due if (project, release) not in empty}
    for start in range(0, len(wanted), GROUPS_AT_ONCE):
        some = dict(list(wanted.items())[start : start + GROUPS_AT_ONCE])
        _find_of(stores, some, now, report)
    return report


def _without_commits(connection: Connection, named: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    return {
        (project_id, release)
        for project_id, release in named
        if not have_commits(connection, releases_up_to(connection, project_id, release))
    }


def _find_of(
    stores: Stores, wanted: Mapping[int, tuple[int, str]], now: datetime, report: SuspectReport
) -> None:
    """Some groups, those of a release in one transaction. An event that nothing can be made of tells no frames."""
    unread: list[Failure] = []
    events = [*_newest(stores, wanted, unread)]
    known = {event.group_id for event in events}
    gone = [Failed(group, *wanted[group], now, ()) for group in wanted if group not in known]
    for (project_id, release), of_release in _by_release([*events, *gone]):
        _find_of_release(stores, project_id, release, of_release, now, report)
    if unread:
        with stores.state.write() as connection:
            note_passed_over(stores.state, connection, KIND, unread, now)


def _find_of_release(
    stores: Stores,
    project_id: int,
    release: str,
    events: Sequence[Failed],
    now: datetime,
    report: SuspectReport,
) -> None:
    """Groups that were first seen in a release, with what was found of them and who got them in one transaction.

    What was changed is read before it, since everybody who writes waits for it; so nothing is stored of what changed meanwhile,
    and goes on being due. A group that raises costs itself: nothing is found of it.
    """
    with stores.state.read() as connection:
        versions = _fitting(connection, releases_up_to(connection, project_id, release))
        changes = read_changes(connection, versions)
    found, failures = _suspects(changes, events)
    with stores.state.write() as connection:
        stores.state.serialise(connection, "group_hashes")
        if _fitting(connection, releases_up_to(connection, project_id, release)) != versions:
            return
        if change_sets(connection, versions) != changes.commits:
            return
        due = still_due(connection, found, release)
        assigned, raised = each_alone(
            connection,
            [event for event in events if event.group_id in due],
            lambda some: _keep(stores, connection, [(e, found[e.group_id]) for e in some], now),
        )
        keep_suspects(connection, {event.group_id: () for event, _ in raised}, now)
        failures += [(f"suspects of group {event.group_id}", error) for event, error in raised]
        note_passed_over(stores.state, connection, KIND, failures, now)
    report.looked_at += len(due)
    report.suspected += sum(bool(found[group_id]) for group_id in due)
    report.assigned += sum(map(len, assigned))


def _keep(
    stores: Stores, connection: Connection, found: Sequence[tuple[Failed, Sequence[Suspect]]], now: datetime
) -> dict[int, str]:
    keep_suspects(connection, {event.group_id: suspects for event, suspects in found}, now)
    events = [event for event, suspects in found if suspects]
    return assign_to_authors(stores.state, connection, stores.config, events)


def _fitting(connection: Connection, versions: Sequence[str]) -> Sequence[str]:
    """As many of these releases, the newest first, as changed MOST_FILES_A_LOOK files together; at least one."""
    while len(versions) > 1 and count_files(connection, versions) > MOST_FILES_A_LOOK:
        versions = versions[:-1]
    return versions


def _suspects(
    changes: Changes, events: Iterable[Failed]
) -> tuple[dict[int, Sequence[Suspect]], list[Failure]]:
    """The suspects of groups, none of those that raise."""
    found: dict[int, Sequence[Suspect]] = {}
    failures: list[Failure] = []
    for event in events:
        try:
            found[event.group_id] = changes.suspects(event.frames, event.happened)
        except Exception as error:
            if not is_own_fault(error):
                raise
            found[event.group_id] = ()
            failures.append((f"suspects of group {event.group_id}", error))
    return found, failures


def _newest(stores: Stores, wanted: Mapping[int, tuple[int, str]], unread: list[Failure]) -> Iterable[Failed]:
    """The newest event of each group that still has one, read from the days on which those were received; but those that raise,
    which are noted in `unread`."""
    with stores.state.read() as connection:
        days = _newest_days(connection, wanted)
    if not days:
        return
    numbers = ", ".join(str(group_id) for group_id in sorted(wanted))
    on = ", ".join(f"DATE '{day}'" for day in sorted(days))
    rows = stores.lake.query(
        "SELECT group_id, max(timestamp) AS timestamp, unnest(arg_max({'day': day, 'part': part, 'position': position, "
        "'item': item}, (timestamp, day, part, position, item))) "
        f"FROM lake.events WHERE day IN ({on}) AND group_id IN ({numbers}) GROUP BY group_id ORDER BY group_id"
    )
    payloads = payloads_of(stores.state, stores.lake, rows)
    for row in rows:
        payload = payloads.get(place_of(row))
        if payload is None:
            continue
        group_id = row["group_id"]
        try:
            event = _failed(group_id, *wanted[group_id], row["timestamp"], payload)
        except Exception as error:
            if not is_own_fault(error):
                raise
            unread.append((f"the newest event of group {group_id}", error))
        else:
            yield event


def _failed(group_id: int, project_id: int, release: str, happened: datetime, payload: Any) -> Failed:
    event = decode_json(payload)
    owned = {
        "paths": paths_of(event),
        "url": mapping_of(event.get("request")).get("url"),
        "tags": mapping_of(event.get("tags")),
    }
    return Failed(group_id, project_id, release, happened, frames_of(event), owned)


def _newest_days(connection: Connection, group_ids: Iterable[int]) -> set[Any]:
    """The day of receipt on which each group's newest event came."""
    newest: dict[int, tuple[datetime, Any]] = {}
    for some in chunks(sorted(group_ids)):
        query = select(group_days.c.group_id, group_days.c.last_seen, group_days.c.day).where(
            group_days.c.group_id.in_(some)
        )
        for row in connection.execute(query):
            newest[row.group_id] = max(
                newest.get(row.group_id, (row.last_seen, row.day)), (row.last_seen, row.day)
            )
    return {day for _, day in newest.values()}


def first_releases(connection: Connection, group_ids: Iterable[int]) -> dict[int, str | None]:
    """The release in which each group was first seen."""
    found: dict[int, str | None] = {}
    for some in chunks(sorted(group_ids)):
        query = select(groups.c.id, groups.c.first_release).where(groups.c.id.in_(some))
        found.update({row.id: row.first_release for row in connection.execute(query)})
    return found

"""A release with everything of it: its events, sessions and check-ins, files that were uploaded for it, its commits and deploys, and the
groups that no other event belongs to. Its name stays where it is a label of counts and in what people decided."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, and_, bindparam, delete, exists, func, select, update

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.groups import choose_groups, forget_groups, forget_keys, ids_of_events, numbers
from tasks_pipeline.deletion.messages import count_alerts, empty_alerts, empty_messages, named_messages
from tasks_pipeline.deletion.raw import Envelopes, sent_again
from tasks_pipeline.deletion.rules import LAKE
from tasks_pipeline.deletion.state_rows import count_rows, delete_rows
from tasks_pipeline.deletion.subject import Deletion
from tasks_pipeline.deletion.waiting import wait_for_batches
from tasks_pipeline.erasure.selection import Erased, Selection
from tasks_pipeline.erasure.stored_reports import report_digests, sweep
from tasks_pipeline.groups.derived import lake_values
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.groups.regrouping import RACE, finish_regroupings, open_regrouping
from tasks_pipeline.releases.known import delete_release, find_releases
from tasks_pipeline.storage.lake.asked import Asked
from tasks_pipeline.storage.lake.flush import flush_locked
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.database import CHUNK, StateDatabase, chunks
from tasks_pipeline.storage.state.tables import (
    alerts,
    artifact_bundles,
    debug_files,
    group_hashes,
    group_values,
    groups,
    releases,
)
from tasks_pipeline.stores import Stores

FOLLOW = ("event_payloads", "attachments")
"""Tables whose rows go with events."""
NAMED = "deleted_release"
"""The temporary table with the name of the release."""
_OF_IT = f"release IN (SELECT version FROM {NAMED})"
_gv = group_values.c


class UnknownRelease(LookupError):
    """Nothing is known of a release; the message says of which."""


def choose_release(stores: Stores, version: str, project_ids: Sequence[int] | None = None) -> Chosen:
    """A release in the projects that know it or have stored something of it, or in these of them. Raises UnknownRelease."""
    with stores.state.read() as connection:
        query = select(releases.c.project_id).where(releases.c.version == version)
        found = set(connection.execute(query).scalars())
    tables = (name for name in LAKE["release"] if name not in FOLLOW)
    union = " UNION ".join(f"SELECT project_id FROM lake.{name} WHERE release = $version" for name in tables)
    found.update(row["project_id"] for row in stores.lake.query(union, {"version": version}))
    if project_ids is not None:
        found &= set(project_ids)
    if not found:
        raise UnknownRelease(
            f"nothing is stored of release {version[:200]!r}; `tasks-pipeline releases list --status all` shows them"
        )
    return Chosen("release", tuple(sorted(found)), version=version)


class Release(Deletion):
    """The subject of an erasure: a release in some projects."""

    kind = "release"
    about = "a release"

    @contextmanager
    def selected(self, stores: Stores) -> Iterator[Selection]:
        """Rows of the release, and what follows its events."""
        with self._named(stores.lake):
            rows = self._rows
            of_release = rows["events"]
            again = sent_again(lambda ids: ids_of_events(stores, of_release, ids))
            yield Selection(
                self.reason, rows, Envelopes(stores, self.chosen.projects, ("duplicate",), [again])
            )

    @contextmanager
    def archived(self, stores: Stores, day: OpenedDay) -> Iterator[Mapping[str, str]]:
        """The same rows of an archived day."""
        with self._named(day):
            yield self._rows

    @property
    def _rows(self) -> dict[str, str]:
        of_release = f"project_id IN ({numbers(self.chosen.projects)}) AND {_OF_IT}"
        return {name: of_release for name in LAKE["release"] if name not in FOLLOW}

    @contextmanager
    def _named(self, lake: Asked) -> Iterator[None]:
        with lake.given(NAMED, [pa.table({"version": [self.chosen.version]})]):
            yield

    def forget(self, stores: Stores) -> Sequence[Erased]:
        """Its rows in the state database and its files; groups that nothing is left of; users and environments of others."""
        state, found = stores.state, list[Erased]()
        touched = self._groups(state)
        empty = _without_events(stores.lake, touched | _left_behind(state, self.chosen.projects))
        if empty:
            chosen = choose_groups(state, sorted(empty))
            chosen = chosen.named(short_ids(state, stores.slugs, chosen.groups))
            forget_keys(stores, chosen)
            wait_for_batches(stores)
            found += forget_groups(stores, chosen)
        found += empty_alerts(state, alerts.c.project_id.in_(self.chosen.projects), self._is_about)
        ids, digests = named_messages(stores, self.chosen.named_in(), self._tells)
        swept = sweep(stores, digests - report_digests(state)) + sweep(stores, self._digests(state))
        found += empty_messages(state, ids)
        found += _count_values_again(stores, touched - empty, self.chosen.version)
        found += delete_rows(state, self.chosen)
        known = _known(state, self.chosen)
        if delete_release(state, self.chosen.projects, self.chosen.version):
            found.append(Erased("state.releases", known, "deleted"))
        found.append(Erased("blobs", swept, "deleted"))
        return [each for each in found if each.rows]

    def _groups(self, state: StateDatabase) -> set[int]:
        """Groups that had events of it: known until their values are counted again."""
        found: set[int] = set()
        after = 0
        while True:  # the key of values begins with the group
            query = (
                select(_gv.group_id).distinct()
                .join(groups, groups.c.id == _gv.group_id)
                .where(groups.c.project_id.in_(self.chosen.projects), _gv.group_id > after)
                .where(_gv.kind == "release", _gv.value == self.chosen.version)
                .order_by(_gv.group_id).limit(CHUNK)
            )  # fmt: skip
            with state.read() as connection:
                some = list(connection.execute(query).scalars())
            found.update(some)
            if len(some) < CHUNK:
                return found
            after = some[-1]

    def _is_about(self, alert: Any) -> bool:
        return bool(alert.data.get("release") == self.chosen.version)

    def _tells(self, row: Any) -> bool:
        return (
            row.type == "deploy"
            and row.thread == f"release:{self.chosen.version}"[:200]
            and row.project_id in self.chosen.projects
        )

    def _digests(self, state: StateDatabase) -> set[str]:
        """Blobs of its bundles that no other upload has."""
        b = artifact_bundles.c
        mine: set[str] = set()
        others: set[str] = set()
        with state.read() as connection:
            for digest, project_id, release in connection.execute(select(b.digest, b.project_id, b.release)):
                of_it = release == self.chosen.version and project_id in self.chosen.projects
                (mine if of_it else others).add(digest)
            others.update(connection.execute(select(debug_files.c.digest)).scalars() if mine else ())
        return mine - others

    def found(self, stores: Stores) -> Sequence[Erased]:
        """Files of it. Its programs may go on sending: what they send from then on makes it again, and is not what was deleted."""
        return list(count_rows(stores.state, self.chosen))

    def told(self, erased: Sequence[Erased]) -> Sequence[Erased]:
        """All: groups that stay show other events."""
        return erased

    def counted(self, stores: Stores) -> Sequence[Erased]:
        """Rows, messages and alerts of it."""
        found = list(count_rows(stores.state, self.chosen))
        found += count_alerts(stores.state, alerts.c.project_id.in_(self.chosen.projects), self._is_about)
        ids, _ = named_messages(stores, self.chosen.named_in(), self._tells)
        found.append(Erased("state.notifications", len(ids), "overwritten"))
        found.append(Erased("state.releases", _known(stores.state, self.chosen), "deleted"))
        return [each for each in found if each.rows]


def _known(state: StateDatabase, chosen: Chosen) -> int:
    with state.read() as connection:
        return len(find_releases(connection, chosen.projects, chosen.version))


def _left_behind(state: StateDatabase, project_ids: Collection[int]) -> set[int]:
    """Groups without keys that are part of no other: somebody was killed who deleted them."""
    g, into = groups.c, groups.alias("into")
    keyed = exists().where(group_hashes.c.group_id == g.id)
    merged = exists().where(into.c.id == g.merged_into)
    query = select(g.id).where(g.project_id.in_(project_ids), g.times_seen > 0, ~keyed, ~merged)
    with state.read() as connection:
        return set(connection.execute(query).scalars())


def _without_events(lake: Lake, group_ids: Collection[int]) -> set[int]:
    """Groups of which no event is stored."""
    left: set[int] = set()
    for some in chunks(sorted(group_ids)):
        rows = lake.query(f"SELECT DISTINCT group_id FROM lake.events WHERE group_id IN ({numbers(some)})")
        left.update(row["group_id"] for row in rows)
    return set(group_ids) - left


def _count_values_again(stores: Stores, group_ids: Collection[int], version: str) -> list[Erased]:
    """Users, releases and environments of groups on the days on which they had events of a release, from what is left of these. How often
    groups were seen stays counted."""
    gone = 0
    for group_id in sorted(group_ids):
        with stores.lake.lock(), _nobody_counts(stores, group_id):
            gone += _of_group(stores, group_id, version)
    return [Erased("state.group_values", gone, "deleted")] if gone else []


@contextmanager
def _nobody_counts(stores: Stores, group_id: int) -> Iterator[None]:
    """While a regrouping is open no batch goes into the tail, and one that goes into files needs the lock that the caller holds."""
    with stores.state.write() as connection:
        project_id = connection.execute(
            select(groups.c.project_id).where(groups.c.id == group_id)
        ).scalar_one()
        open_regrouping(connection, project_id, [group_id], RACE)
    flush_locked(stores.state, stores.lake)  # what was being added to the tail is seen
    yield
    finish_regroupings(stores.state, stores.lake)


def _of_group(stores: Stores, group_id: int, version: str) -> int:
    of_release = _gv.group_id == group_id, _gv.kind == "release", _gv.value == version
    with stores.state.read() as connection:
        days = list(connection.execute(select(_gv.day).where(*of_release)).scalars())
    gone = 0
    for day in sorted(days):
        found = lake_values(stores.lake, f"day = DATE '{day}' AND group_id = {int(group_id)}")
        left = {(row["kind"], row["value"]) for row in found}
        with stores.state.write() as connection:
            gone += _drop_others(connection, group_id, day, left)
    return gone


def _drop_others(connection: Connection, group_id: int, day: Any, left: Collection[tuple[str, str]]) -> int:
    of_day = _gv.group_id == group_id, _gv.day == day
    known = connection.execute(select(_gv.kind, _gv.value).where(*of_day)).all()
    lost = [{"k": row.kind, "v": row.value} for row in known if (row.kind, row.value) not in left]
    if lost:
        one = and_(*of_day, _gv.kind == bindparam("k"), _gv.value == bindparam("v"))
        connection.execute(delete(group_values).where(one), lost)
    users = select(_gv.value).where(_gv.group_id == group_id, _gv.kind == "user").distinct().subquery()
    count = select(func.count()).select_from(users).scalar_subquery()
    connection.execute(update(groups).where(groups.c.id == group_id).values(users=count))
    return len(lost)

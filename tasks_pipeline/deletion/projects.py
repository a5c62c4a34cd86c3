"""A project with everything of it. Its number stays as a stone: nothing is ever taken for it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.messages import empty_messages, named_messages
from tasks_pipeline.deletion.raw import Envelopes
from tasks_pipeline.deletion.reports import without, without_project
from tasks_pipeline.deletion.rules import LAKE
from tasks_pipeline.deletion.state_rows import count_lake, count_rows, delete_rows
from tasks_pipeline.deletion.subject import Deletion
from tasks_pipeline.erasure.selection import Erased, Selection
from tasks_pipeline.erasure.stored_reports import Anew, named_revisions, report_digests, sweep, write_again
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.releases.known import delete_release
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.pieces import delete_in_pieces
from tasks_pipeline.storage.state.stones import deleted_projects, set_stone
from tasks_pipeline.storage.state.tables import (
    analytics_dead,
    artifact_bundles,
    debug_files,
    probes,
    projects,
    releases,
    report_revisions,
    reports,
    symbol_arrivals,
)
from tasks_pipeline.stores import Stores

_RELEASES_AT_ONCE = 200


class Configured(ValueError):
    """A project stands in the configuration: clients could send to it while it goes. The message says what to do."""


class UnknownProject(LookupError):
    """No project has this name or number, and nothing is stored of one."""


def choose_project(stores: Stores, name: str) -> Chosen:
    """The project with this slug or number, which must not be in the configuration any more. Raises Configured, UnknownProject."""
    for project in stores.config.projects:
        if name.lower() in (project.slug, str(project.id)):
            raise Configured(
                f"project {project.slug} ({project.id}) is in {stores.home.config_path}: clients may send to it; "
                "take it out of the file first, and its number is never used again"
            )
    with stores.state.read() as connection:
        known = dict(connection.execute(select(projects.c.id, projects.c.slug)).tuples().all())
        gone = deleted_projects(connection)
    by_name = {slug: number for number, slug in known.items() if slug}
    number = by_name.get(name.lower())
    if number is None and name.isascii() and name.isdecimal() and 0 < int(name) < 2**63:
        number = int(name)
    if number is None:
        there = ", ".join(f"{slug} ({number})" for slug, number in sorted(by_name.items())) or "none"
        raise UnknownProject(f"no project {name[:100]!r}; projects that something is stored of: {there}")
    chosen = Chosen("project", (number,), names=(known.get(number) or str(number),))
    if number not in known and number not in gone and not _is_stored(stores, chosen):
        raise UnknownProject(f"nothing is stored of project {number}")
    return chosen


def list_projects(state: StateDatabase, slugs: Mapping[int, str]) -> list[dict[str, Any]]:
    """Projects by number: id, slug, status (configured, stored or deleted), deleted_at."""
    with state.read() as connection:
        known = dict(connection.execute(select(projects.c.id, projects.c.slug)).tuples().all())
        gone = deleted_projects(connection)
    rows = []
    for number in sorted({*known, *slugs}):
        status = "deleted" if number in gone else "configured" if number in slugs else "stored"
        slug = slugs.get(number) or known.get(number, "")
        rows.append({"id": number, "slug": slug, "status": status, "deleted_at": gone.get(number)})
    return rows


def _is_stored(stores: Stores, chosen: Chosen) -> bool:
    (number,) = chosen.projects
    union = " UNION ALL ".join(
        f"SELECT 1 FROM lake.{name} WHERE project_id = {number}" for name in LAKE["project"]
    )
    return (
        bool(stores.lake.query(f"SELECT 1 FROM ({union}) LIMIT 1"))
        or next(count_rows(stores.state, chosen), None) is not None
    )


class Project(Deletion):
    """The subject of an erasure: a project."""

    kind = "project"
    about = "a project"
    is_whole = True

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        (self.number,) = self.chosen.projects
        (self.name,) = self.chosen.names

    def begin(self, stores: Stores) -> None:
        """Have nothing taken for it from here on."""
        now = datetime.now(UTC)
        with stores.state.write() as connection:
            set_stone(stores.state, connection, self.number, now)
        stores.home.note_deleted_project(self.number, now.date().isoformat())
        super().begin(stores)

    @contextmanager
    def selected(self, stores: Stores) -> Iterator[Selection]:
        """All rows of it."""
        yield Selection(self.reason, self._rows, Envelopes(stores, self.chosen.projects, ()))

    @contextmanager
    def archived(self, stores: Stores, day: OpenedDay) -> Iterator[Mapping[str, str]]:
        """All rows of it."""
        yield self._rows

    def forget(self, stores: Stores) -> Sequence[Erased]:
        """Everything of it in the state database, its files, and what reports say of it."""
        state, found = stores.state, list[Erased]()
        found.append(Erased("state.releases", self._forget_releases(stores), "deleted"))
        rewritten = write_again(stores, self._nameless)
        swept = sweep(stores, self._digests(state))
        ids, digests = named_messages(stores, self.chosen.named_in(), self._is_about)
        swept += sweep(stores, digests - report_digests(state))
        found += empty_messages(state, ids)
        found += delete_rows(state, self.chosen)
        self._forget_notes(stores)
        found += [
            Erased("blobs", swept, "deleted"),
            Erased("state.report_revisions", rewritten, "overwritten"),
        ]
        return [each for each in found if each.rows]

    def _is_about(self, row: Any) -> bool:
        """Whether a message is about the project: of its deploys, or a report of it."""
        return bool(row.thread.endswith(f":project:{self.number}"))

    def _nameless(self, content: bytes) -> Anew | None:
        return without(content, lambda report: without_project(report, self.name, self.number))

    def _forget_releases(self, stores: Stores) -> int:
        query = (
            select(releases.c.version).where(releases.c.project_id == self.number).limit(_RELEASES_AT_ONCE)
        )
        count = 0
        while True:
            with stores.state.read() as connection:
                versions = list(connection.execute(query).scalars())
            for version in versions:
                count += delete_release(stores.state, [self.number], version)
            if not versions:
                return count

    def _digests(self, state: StateDatabase) -> set[str]:
        """Blobs of its files and reports that no other project has."""
        mine: set[str] = set()
        others: set[str] = set()
        with state.read() as connection:
            for table in (debug_files, artifact_bundles):
                for digest, project_id in connection.execute(select(table.c.digest, table.c.project_id)):
                    (mine if project_id == self.number else others).add(digest)
            v = report_revisions.c
            query = select(reports.c.scope, v.files).join(report_revisions, v.report_id == reports.c.id)
            for scope, files in connection.execute(query):
                (mine if scope == f"project:{self.number}" else others).update(files.values())
        return mine - others

    def _forget_notes(self, stores: Stores) -> None:
        """Numbers that must not come again stay without a name; notes of the pipeline about it go."""
        state, now = stores.state, datetime.now(UTC)
        with state.write() as connection:
            a = symbol_arrivals.c
            connection.execute(
                update(symbol_arrivals).where(a.project_id == self.number).values(key="", project_id=0)
            )
            _forget_dead(connection, self.number)
        delete_in_pieces(state, probes, _noted(self.number, self.name))
        sync_monitors(state, stores.config, now)

    def found(self, stores: Stores) -> Sequence[Erased]:
        """Everything that has its number or name."""
        return [*count_lake(stores.lake, self._rows), *self.counted(stores)]

    @property
    def _rows(self) -> dict[str, str]:
        return dict.fromkeys(LAKE["project"], f"project_id = {self.number}")

    def counted(self, stores: Stores) -> Sequence[Erased]:
        """Rows and messages of it, and reports that name it."""
        found = list(count_rows(stores.state, self.chosen))
        with stores.state.read() as connection:
            known = connection.execute(
                select(func.count()).where(releases.c.project_id == self.number)
            ).scalar_one()
        ids, _ = named_messages(stores, self.chosen.named_in(), self._is_about)
        rewritten = sum(1 for _ in named_revisions(stores, self._nameless))
        found += [
            Erased("state.releases", int(known), "deleted"),
            Erased("state.notifications", len(ids), "overwritten"),
            Erased("state.report_revisions", rewritten, "overwritten"),
        ]
        return [each for each in found if each.rows]


def _forget_dead(connection: Connection, project_id: int) -> None:
    d = analytics_dead.c
    query = select(d.id, d.data)
    ids = [row.id for row in connection.execute(query) if (row.data or {}).get("project_id") == project_id]
    if ids:
        connection.execute(analytics_dead.delete().where(d.id.in_(ids)))


def _noted(project_id: int, name: str) -> Any:
    """Notes of the pipeline that name a project."""
    detail = probes.c.detail
    said = [detail.contains(f"project {project_id}", autoescape=True)]
    if name != str(project_id):
        said.append(detail.contains(name, autoescape=True))
    return or_(*said, probes.c.name == "monitors_configured")

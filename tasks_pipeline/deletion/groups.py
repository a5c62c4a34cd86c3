"""Groups with everything of them. Unlike one that is discarded, a group that is deleted leaves nothing: the next event of its kind
makes a new one, with a new short id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pyarrow as pa
from sqlalchemy import delete, select, update

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.messages import count_alerts, empty_alerts, empty_messages, named_messages
from tasks_pipeline.deletion.raw import Envelopes, dropped, sent_again
from tasks_pipeline.deletion.reports import without, without_groups
from tasks_pipeline.deletion.rules import LAKE
from tasks_pipeline.deletion.state_rows import count_lake, count_rows, delete_rows
from tasks_pipeline.deletion.stone_group import set_stone_group
from tasks_pipeline.deletion.subject import Deletion
from tasks_pipeline.erasure.selection import Erased, Selection
from tasks_pipeline.erasure.stored_reports import named_revisions, report_digests, sweep, write_again
from tasks_pipeline.groups.decisions import cluster, discarded_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.reports.report import Report
from tasks_pipeline.retention.lake import write_again as write_day_again
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import alerts, group_hashes, groups, incidents, regroupings
from tasks_pipeline.stores import Stores

DELETE = "delete"
"""Reason of the regrouping that tells whoever computed groups before that they are others now."""


def choose_groups(state: StateDatabase, group_ids: Sequence[int]) -> Chosen:
    """Groups with all that are part of them; what people call them is `named`."""
    with state.read() as connection:
        ids = sorted({each for group_id in group_ids for each in cluster(connection, group_id)})
        g, found, keys = groups.c, dict[int, tuple[int, int]](), set[str]()
        for some in chunks(ids):
            rows = connection.execute(select(g.id, g.project_id, g.short_id).where(g.id.in_(some)))
            found |= {row.id: (row.project_id, row.short_id) for row in rows}
            of_groups = select(group_hashes.c.key).where(group_hashes.c.group_id.in_(some))
            keys.update(connection.execute(of_groups).scalars())
    projects = {project_id for project_id, _ in found.values()}
    short = tuple(found[each][1] if each in found else 0 for each in ids)
    return Chosen("groups", tuple(sorted(projects)), tuple(ids), short_ids=short, keys=tuple(sorted(keys)))


class Groups(Deletion):
    """The subject of an erasure: groups."""

    kind = "group"
    about = "groups"

    def begin(self, stores: Stores) -> None:
        """Let no event find the groups any more."""
        forget_keys(stores, self.chosen)

    @contextmanager
    def selected(self, stores: Stores) -> Iterator[Selection]:
        """Events of the groups, and what follows them."""
        of_groups = f"group_id IN ({numbers(self.chosen.groups)})"
        yield Selection(self.reason, {"events": of_groups}, self._without_rows(stores, of_groups))

    @contextmanager
    def archived(self, stores: Stores, day: OpenedDay) -> Iterator[Mapping[str, str]]:
        """Events of the groups, and of those that a restore would make part of them."""
        yield {"events": f"group_id IN ({numbers(self._archived_ids(stores, day))})"}

    def _archived_ids(self, stores: Stores, day: OpenedDay) -> set[int]:
        """Numbers in the archive: those with the same short id too, for numbers were given again; and groups with their keys that are not
        there under their own number any more."""
        chosen = set(zip(self.chosen.groups, self.chosen.short_ids, strict=False))
        known = {row["id"]: row["short_id"] for row in day.query("SELECT id, short_id FROM archived.groups")}
        found = {number for number, short_id in known.items() if (number, short_id) in chosen}
        with day.given("deleted_keys", [pa.table({"key": pa.array(self.chosen.keys, pa.string())})]):
            rows = day.query(
                "SELECT DISTINCT group_id FROM archived.group_hashes SEMI JOIN deleted_keys USING (key)"
            )
        with_keys = {row["group_id"] for row in rows} - found
        there: set[tuple[int, int]] = set()
        for some in chunks(sorted(with_keys)):
            with stores.state.read() as connection:
                alive = select(groups.c.id, groups.c.short_id).where(
                    groups.c.id.in_(some), groups.c.project_id == day.project_id
                )
                there.update((row.id, row.short_id) for row in connection.execute(alive))
        return found | {number for number in with_keys if (number, known.get(number)) not in there}

    def _without_rows(self, stores: Stores, of_groups: str) -> Envelopes:
        """What was sent twice; of discarded groups also what was dropped."""
        again = sent_again(lambda ids: ids_of_events(stores, of_groups, ids))
        if _is_discarded(stores, self.chosen):
            return Envelopes(stores, self.chosen.projects, (), [again, dropped(stores)])
        return Envelopes(stores, self.chosen.projects, ("duplicate",), [again])

    def forget(self, stores: Stores) -> Sequence[Erased]:
        """Everything of them in the state database, and what reports say of them."""
        return forget_groups(stores, self.chosen)

    def counted(self, stores: Stores) -> Sequence[Erased]:
        """Rows, messages and reports of them."""
        return [*count_rows(stores.state, self.chosen), *_elsewhere(stores, self.chosen)]

    def found(self, stores: Stores) -> Sequence[Erased]:
        """The same, and their events."""
        of_groups = f"group_id IN ({numbers(self.chosen.groups)})"
        return [*count_lake(stores.lake, {"events": of_groups}), *self.counted(stores)]


def forget_keys(stores: Stores, chosen: Chosen) -> None:
    """Take the keys of groups away. Who asked before may still store events of them, until their batches are done."""
    with stores.lake.lock():
        finish_regroupings(stores.state, stores.lake)  # events of merged groups are where they belong
        with stores.state.write() as connection:
            stores.state.serialise(connection, "group_hashes")
            known = connection.execute(
                select(group_hashes.c.key).where(chosen.among(group_hashes.c.group_id)).limit(1)
            )
            if known.first() is not None:
                connection.execute(delete(group_hashes).where(chosen.among(group_hashes.c.group_id)))
                set_stone_group(stores.state, connection)
                now = datetime.now(UTC)
                told = {"project_id": chosen.projects[0], "group_ids": list(chosen.groups), "reason": DELETE}
                connection.execute(regroupings.insert().values(**told, opened_at=now, done_at=now))


def _is_discarded(stores: Stores, chosen: Chosen) -> bool:
    with stores.state.read() as connection:
        return bool(discarded_groups(connection, chosen.groups))


def _write_dropped_again(lake: Lake) -> None:
    """A discard only marks rows of files as gone: have no file hold them. Raises DayChanging."""
    masked: dict[date, dict[str, str]] = {}
    for file in lake.live_files():
        if file.deletes is not None and file.table in LAKE["groups"]:
            masked.setdefault(file.day, {})[file.table] = "true"
    for day, tables in sorted(masked.items()):
        write_day_again(lake, day, tables)


def forget_groups(stores: Stores, chosen: Chosen) -> list[Erased]:
    """Remove everything of groups that has no place in the lake. Doing it again changes nothing."""
    state = stores.state
    if _is_discarded(stores, chosen):
        _write_dropped_again(stores.lake)
    found = empty_alerts(state, chosen.among(alerts.c.group_id))
    rewritten = write_again(stores, lambda content: without(content, _nameless(chosen)))
    ids, digests = named_messages(stores, chosen.named_in())
    swept = sweep(stores, digests - report_digests(state))
    found += empty_messages(state, ids)
    with state.write() as connection:  # an incident that goes on is the monitor's
        loose = chosen.among(incidents.c.group_id), incidents.c.closed_at.is_(None)
        connection.execute(update(incidents).where(*loose).values(group_id=None))
    found += delete_rows(state, chosen)
    found += [Erased("blobs", swept, "deleted"), Erased("state.report_revisions", rewritten, "overwritten")]
    return [each for each in found if each.rows]


def _nameless(chosen: Chosen) -> Callable[[Report], Report]:
    ids = set(chosen.groups)
    return lambda report: without_groups(report, ids)


def _elsewhere(stores: Stores, chosen: Chosen) -> Iterator[Erased]:
    yield from count_alerts(stores.state, chosen.among(alerts.c.group_id))
    ids, _ = named_messages(stores, chosen.named_in())
    rewritten = sum(1 for _ in named_revisions(stores, lambda content: without(content, _nameless(chosen))))
    for where, rows in (("state.notifications", len(ids)), ("state.report_revisions", rewritten)):
        if rows:
            yield Erased(where, rows, "overwritten")


def ids_of_events(stores: Stores, condition: str, ids: Collection[str]) -> set[str]:
    """Those of some event ids that events which meet a condition have."""
    rows = stores.lake.query(
        f"SELECT DISTINCT event_id FROM lake.events WHERE ({condition}) AND list_contains(?::VARCHAR[], event_id)",
        [sorted(ids)],
    )
    return {row["event_id"] for row in rows}


def numbers(ids: Collection[int]) -> str:
    """Numbers for SQL."""
    return ", ".join(str(int(each)) for each in sorted(ids)) or "NULL"

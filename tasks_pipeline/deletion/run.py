"""Planning and asking for deletions of groups, releases and projects; they are done in `erasure`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tasks_pipeline.deletion.chosen import Chosen, Kind
from tasks_pipeline.deletion.groups import Groups
from tasks_pipeline.deletion.projects import Project
from tasks_pipeline.deletion.releases import Release
from tasks_pipeline.deletion.subject import Deletion
from tasks_pipeline.deletion.waiting import PATIENCE_SECONDS
from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.finish import Done, finish
from tasks_pipeline.erasure.lake_rows import count_going
from tasks_pipeline.erasure.progress import Report
from tasks_pipeline.erasure.raw import count_envelopes
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.storage.state.erasures import open_request
from tasks_pipeline.stores import Stores

KINDS: Mapping[str, Callable[[Mapping[str, Any]], Deletion]] = {
    each.kind: each for each in (Groups, Release, Project)
}
"""How a subject is made of the data of a request, by its kind."""
_OF: Mapping[Kind, type[Deletion]] = {"groups": Groups, "release": Release, "project": Project}


def plan(stores: Stores, chosen: Chosen) -> list[Erased]:
    """What would go now, by place; nothing is changed. Rows that follow others in the state database are counted when they go."""
    subject = _OF[chosen.kind](chosen.as_dict())
    rows: Counter[tuple[str, str]] = Counter()
    archives = Archives(stores, subject)
    with subject.selected(stores) as selection, archives.doomed(selection) as conditions:
        for going in count_going(stores.lake, conditions):
            rows[f"lake.{going.table}", "deleted"] += going.rows
        rows["spool", "erased"] += count_envelopes(stores, selection)
        for each in archives.count():
            rows[each.where, each.how] += each.rows
    for each in subject.counted(stores):
        rows[each.where, each.how] += each.rows
    return [Erased(where, count, how) for (where, how), count in sorted(rows.items()) if count]


def delete(
    stores: Stores,
    chosen: Chosen,
    by: str,
    on_erased: Report = lambda _erased: None,
    *,
    patience: float = PATIENCE_SECONDS,
) -> Done:
    """Delete what is chosen, for good. Raises Waits where something waits for `patience` seconds, DayChanging, and NotAllGone; the request
    stays open then, and the nightly cleanup goes on with it."""
    kind = _OF[chosen.kind].kind
    request = open_request(stores.state, kind, chosen.as_dict(), by)
    return finish(stores, request, KINDS[kind], on_erased, patience=patience)

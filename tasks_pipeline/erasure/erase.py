"""erase: all that a subject selects goes from every store. Each step finds anew what is left to do, so whoever is killed is followed by
another who begins again and comes to the same end.

Rows of the lake go last of what names them: until then each step can ask which they are. What has to be known later is remembered in
the request.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.blobs import sweep_blobs
from tasks_pipeline.erasure.dagster_store import count_dagster, overwrite_dagster
from tasks_pipeline.erasure.figures import forget_users
from tasks_pipeline.erasure.files_overwritten import count_logs, overwrite_logs
from tasks_pipeline.erasure.lake_rows import (
    count_going,
    doomed_envelopes,
    doomed_groups,
    remove_rows,
)
from tasks_pipeline.erasure.letters import count_letters, overwrite_letters
from tasks_pipeline.erasure.physical import empty_pages, forget_files, refuse_backup
from tasks_pipeline.erasure.progress import (
    Progress,
    Report,
    Superseded,
    archives_of,
    told_of_archives,
)
from tasks_pipeline.erasure.raw import Waits, await_waiting, erase_envelopes
from tasks_pipeline.erasure.selection import Erased, Reason, Selection, Subject
from tasks_pipeline.erasure.shown_groups import (
    show_others,
    silence_alerts,
    texts_of_archived,
    texts_of_doomed,
    uncount_users,
)
from tasks_pipeline.erasure.state_texts import count_texts, overwrite_texts
from tasks_pipeline.erasure.stored_reports import count_reports, overwrite_reports
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.retention.notes import Going, note_going
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.erasures import Request, begin_generation, remember
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

MOST_OWNERS = 50_000
"""Events that a request remembers when what follows them in an archive cannot be looked for."""


def erase(
    stores: Stores,
    request: Request,
    subject: Subject,
    on_erased: Report = lambda _erased: None,
    *,
    patience: float = 0,
) -> tuple[list[Erased], Request]:
    """Do all of a request but its end; gives what went, also by processes that were killed at it, and the request with what it remembers.
    `on_erased` hears of each step. The caller holds the lock of erasures.

    Raises Waits where something received before waits to be processed for `patience` seconds, a backup is under way, or others replace a
    day again and again; and, when all else is done, where an archive cannot be reached or read. Then the request stays open.
    """
    before = request.data.get("done") or ()
    done = Progress(on_erased, [each for each in before if not each["where"].startswith("archive.")])
    began = datetime.now(UTC)
    await_waiting(stores, began, patience)
    refuse_backup(stores)
    flush(stores.state, stores.lake)
    archives = archives_of(stores, request, subject)
    with subject.selected(stores) as selection, archives.doomed(selection) as conditions:
        selection, request = _remembered(stores, request, selection)
        selection, request = _remove(stores, request, selection, conditions, archives, began, done)
    done.add(told_of_archives(request))
    request = remember(stores.state, request, done=done.told, going={})
    with stores.lake.lock():  # figures of rows that went are written from here on no more
        begin_generation(stores.state)
    done.add(uncount_users(stores, selection.user_keys))
    done.add(forget_users(stores.lake, selection.user_hashes))
    done.add(subject.forget(stores))
    done.add(overwrite(stores, selection))
    request = remember(stores.state, request, done=done.told)
    make_physical(stores)
    refuse_unseen(archives.problems)
    return done.all, request


def make_physical(stores: Stores) -> None:
    """Have no file hold any more what no row holds."""
    forget_files(stores)
    if left_in := empty_pages(stores):
        log.warning(
            "a reader keeps the log of %s; it is emptied when the database is tidied next", ", ".join(left_in)
        )


def refuse_unseen(problems: Sequence[str]) -> None:
    """Raise Waits where something of the archive could not be looked at."""
    if problems:
        raise Waits(
            f"{'; '.join(problems)}. What is archived there stays until then, and the deletion open: all else was done, and the "
            "nightly cleanup tries again, or ask again. What cannot be brought back may be removed by hand (docs/archive.md)"
        )


def left_in_archives(stores: Stores, request: Request, subject: Subject) -> list[Erased]:
    """Look for a subject in archives once more. Raises Waits where that cannot be done."""
    archives = archives_of(stores, request, subject)
    with subject.selected(stores) as selection, archives.doomed(selection):
        found = archives.count()
    refuse_unseen(archives.problems)
    return found


def count_left(stores: Stores, texts: Texts, project_id: int | None = None) -> list[Erased]:
    """Where texts still stand in rows and files that stay."""
    return [
        *count_texts(stores.state, texts, project_id), *count_reports(stores, texts), *count_letters(stores, texts), *count_dagster(stores.home, texts),
        *count_logs(stores.home, texts),
    ]  # fmt: skip


def _remove(
    stores: Stores,
    request: Request,
    selection: Selection,
    conditions: Mapping[str, str],
    archives: Archives,
    began: datetime,
    done: Progress,
) -> tuple[Selection, Request]:
    """All that goes because rows of the lake do, and then these rows."""
    going = count_going(stores.lake, conditions)
    rows = Counter[str]()
    for each in going:
        rows[each.table] += each.rows
    # What an earlier process had noted, and perhaps removed, before it died.
    noted: Mapping[str, int] = request.data.get("going") or {}
    note_received(stores, going, selection.reason)
    rows |= Counter(noted)  # the greater of the two
    request = remember(stores.state, request, going=dict(rows))
    done.add(_raw(stores, selection))
    if "attachments" in conditions:
        swept = sweep_blobs(stores, conditions["attachments"], began)
        done.add([Erased("blobs", swept, "deleted")])
    group_ids = doomed_groups(stores.lake)
    done.add(show_others(stores, group_ids))
    done.add(silence_alerts(stores, group_ids))
    over = Superseded(stores, request)
    done.add(archives.take_followers(over.note))
    texts = texts_of_archived(stores.lake, archives.said_by_others)
    selection = replace(selection, texts=selection.texts | texts)
    known = {**over.request.data["found"], "texts": sorted(selection.texts.wanted)}
    over.request = remember(stores.state, over.request, found=known)
    if archives.problems:
        over.request = remember_owners(stores, over.request, archives)
    remove_rows(stores.lake, conditions, going)
    done.add(Erased(f"lake.{name}", count, "deleted") for name, count in rows.items())
    archives.take_owners(over.note)
    return selection, over.request


def note_received(stores: Stores, going: Sequence[Going], reason: Reason) -> None:
    """Note rows of what was received, which are in the books, and that their days changed. Figures of days that are over stay what they
    are; those of days that are not are computed from what is left."""
    received = [each for each in going if each.table in RECEIVED_TABLES]
    days = [each.day for each in received]
    note_going(
        stores,
        received,
        reason,
        lambda connection, now: note_day_changes(stores.state, connection, days, reason, now),
    )


def remember_owners(stores: Stores, request: Request, archives: Archives) -> Request:
    """Keep the ids of events that go, since what follows them cannot be looked for. Raises Waits where they are too many: then they stay."""
    owners = archives.owners(MOST_OWNERS)
    if owners is None:
        raise Waits(
            f"{'; '.join(archives.problems)}. More than {MOST_OWNERS:,} events would go that attachments and reports there may belong to: "
            "they stay until then, and the nightly cleanup goes on with it"
        )
    return remember(stores.state, request, owners=owners)


def _raw(stores: Stores, selection: Selection) -> Iterable[Erased]:
    erased, further = 0, selection.envelopes
    seen: set[date] = set()
    for day, places in doomed_envelopes(stores.lake):  # a day at a time is in memory
        erased += erase_envelopes(stores, day, {*places, *further.get(day, ())})
        seen.add(day)
    for day in sorted(set(further) - seen):
        erased += erase_envelopes(stores, day, further[day])
    return [Erased("spool", erased, "erased")]


def overwrite(stores: Stores, selection: Selection) -> Iterator[Erased]:
    """Overwrite texts of a selection wherever they still stand. Dagster's store and the logs come last: what is printed meanwhile is in them. What is deleted by its number is found by it in rows
    that stay: there a text of it may be somebody else's too."""
    texts = selection.texts
    if selection.reason == "privacy":
        yield from overwrite_texts(stores.state, texts, selection.project_id)
    begin_generation(stores.state)  # nor reports that name what was overwritten
    if selection.reason == "privacy":
        yield from overwrite_reports(stores, texts)
        yield from overwrite_letters(stores, texts)
    yield from overwrite_dagster(stores.home, texts)
    yield from overwrite_logs(stores.home, texts)


def _remembered(stores: Stores, request: Request, selection: Selection) -> tuple[Selection, Request]:
    """The selection with what an earlier process found, and the request that knows what this one did."""
    known = request.data.get("found") or {}
    texts = selection.texts | Texts.of(known.get("texts", ()))
    texts = texts | texts_of_doomed(stores.lake)
    found = replace(
        selection,
        texts=texts,
        user_keys=joined(selection.user_keys, known.get("user_keys", {})),
        user_hashes=joined(selection.user_hashes, known.get("user_hashes", {})),
    )
    told = {
        **selection.further,
        "texts": sorted(found.texts.wanted),
        "user_keys": {str(project): sorted(keys) for project, keys in found.user_keys.items()},
        "user_hashes": {str(project): sorted(each) for project, each in found.user_hashes.items()},
    }
    return found, remember(stores.state, request, found=told)


def joined(one: Mapping[int, Collection[Any]], other: Mapping[str, Collection[Any]]) -> dict[int, set[Any]]:
    """Values by project, with those that a request remembers."""
    found = {project: set(values) for project, values in one.items()}
    for project, values in other.items():
        found.setdefault(int(project), set()).update(values)
    return found

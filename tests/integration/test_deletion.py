"""Deleting groups, releases and projects with everything of them: nothing of it is found anywhere, and nothing else is missing."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import select

from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.config import ConfigError
from tasks_pipeline.config import parse_config as parsed
from tasks_pipeline.deletion import groups as deletion_of_groups
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.groups import choose_groups
from tasks_pipeline.deletion.projects import Configured, UnknownProject, choose_project, list_projects
from tasks_pipeline.deletion.releases import UnknownRelease, choose_release
from tasks_pipeline.deletion.run import Done, delete, plan
from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.groups.merging import discard_groups, merge_groups
from tasks_pipeline.home import DELETED_PROJECTS
from tasks_pipeline.processing import process_batch
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.releases.known import save_release
from tasks_pipeline.reports.many import compute_reports
from tasks_pipeline.reports.store import read_report
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.storage.state.tables import group_values, metadata
from tasks_pipeline.stores import Stores, open_stores, unusable
from tasks_pipeline.uploads.facts import Bundle, DebugObject
from tasks_pipeline.uploads.known import add_bundle, add_debug_file
from tests.integration.test_cleanup import make_old
from tests.integration.test_privacy import keep_mail
from tests.support.alerting import alert_rows, outbox
from tests.support.crash import Moment, at
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.planted import each_place
from tests.support.sessions import session

FIRST = date(2020, 1, 1)
SHOP, OTHER = 1000, 1001
SECRET = "Xq4471 planted"
NOW = datetime(2020, 1, 3, 3, tzinfo=UTC)
"""Days are over, and their reports are due."""
CONFIG = """
projects:
- {id: 1000, slug: shop, keys: [{public_key: abcdef}]}
- {id: 1001, slug: other, keys: [{public_key: fedcba}]}
channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]
alert_rules: [{name: all, when: [new_group], notify: ['channel:hook']}]
"""
WITHOUT_SHOP = CONFIG.replace("- {id: 1000, slug: shop, keys: [{public_key: abcdef}]}\n", "")


def planted(problem: str = "Bad", **fields: Any) -> dict[str, Any]:
    """An event with the secret wherever one may stand."""
    sent = event(problem, user={"id": SECRET}, tags={"said": SECRET}, **fields)
    sent["exception"]["values"][0]["value"] = f"it is {SECRET}"
    sent["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"] = {"v": SECRET}
    return sent


@pytest.fixture
def filled(own: Stores) -> Day:
    """Two projects in stores of one test."""
    return fill(own)


def fill(own: Stores) -> Day:
    """Two projects, with groups and a release that hold the secret, alerts, figures and reports."""
    day = Day(replace(own, config=parsed(CONFIG)), FIRST, SHOP)
    secret = planted(release="bad@1", environment="production")
    day.spool(
        day.receipt(secret, item("attachment", SECRET.encode(), filename=SECRET)),
        day.receipt(secret, seconds=1),  # again
        day.receipt(
            event("Good", user={"id": "anna"}, release="good@1"),
            item("attachment", b"kept", filename="a"),
            seconds=2,
        ),
        day.receipt(planted("Also", release="bad@1"), seconds=3),
        day.receipt(session(day, 1, release="bad@1"), session(day, 2, release="good@1"), seconds=4),
    )
    other = replace(day, project=OTHER)
    other.spool(other.receipt(event("Theirs", user={"id": "ben"}, release="bad@1"), seconds=5))
    day.drain()
    compute_statistics(day.stores, [FIRST], NOW)
    list(compute_reports(day.stores, "day", [FIRST], NOW))
    return day


def group_of(day: Day, problem: str) -> dict[str, Any]:
    """The group of a problem."""
    (found,) = [group for group in day.groups() if group["title"].startswith(problem)]
    return found


def chosen_groups(stores: Stores, *ids: int) -> Chosen:
    """Groups as a person chooses them."""
    chosen = choose_groups(stores.state, ids)
    return chosen.named(short_ids(stores.state, stores.slugs, chosen.groups))


def test_a_group_goes_with_everything_and_nothing_else(filled: Day) -> None:
    day, stores = filled, filled.stores
    bad, also, good = (group_of(day, name) for name in ("Bad", "Also", "Good"))
    merge_groups(stores.state, bad["id"], [also["id"]])
    resolve_groups(stores.state, [bad["id"]], "anna")
    other = replace(day, project=OTHER)
    kept = [row for row in day.rows("events") if row["group_id"] == good["id"]], other.state(), other.groups()
    figures = day.rows("event_stats"), day.rows("group_stats")
    chosen = chosen_groups(stores, bad["id"])
    shown = {each.where: each.rows for each in plan(stores, chosen)}
    assert (shown["lake.events"], shown["spool"], shown["state.groups"]) == (2, 3, 2)
    keep_mail(stores, f"{short_ids(stores.state, stores.slugs, [bad['id']])[bad['id']]}: {SECRET}")
    assert places_of(stores, SECRET)

    gone = {each.where: each.rows for each in delete(stores, chosen, "anna").erased}

    assert (gone["lake.events"], gone["lake.attachments"], gone["spool"], gone["state.groups"]) == (
        2,
        1,
        3,
        2,
    )
    assert places_of(stores, SECRET) == []
    now = [row for row in day.rows("events") if row["group_id"] == good["id"]], other.state(), other.groups()
    assert now == kept
    assert (day.rows("event_stats"), day.rows("group_stats")) == figures
    assert [a["data"] == {} for a in alert_rows(stores, SHOP)] == [True, False, True]
    assert [m["status"] for m in outbox(stores, SHOP)] == ["skipped", "waiting", "skipped"]
    report = read_report(stores, "day", FIRST, "project:shop")
    assert {row.title for row in report.groups.top if row.id != good["id"]} == {"(deleted)"}
    assert report.figures["errors"] == 3
    day.assert_balanced()
    with pytest.raises(RawGone, match="deleted"):
        day.recompute()

    day.spool(day.receipt(planted("Bad"), seconds=60))
    day.drain()
    new = group_of(day, "Bad")
    assert (new["id"] > also["id"], new["times_seen"], new["status"]) == (True, 1, "unresolved")
    assert new["short_id"] not in (bad["short_id"], also["short_id"])


def test_a_discarded_group_goes_with_what_was_dropped_of_it(filled: Day) -> None:
    day, stores = filled, filled.stores
    bad, also = group_of(day, "Bad"), group_of(day, "Also")
    discard_groups(stores.state, [bad["id"]])
    day.send(planted("Bad"))
    day.drain()
    assert day.outcomes()["discarded", "group"] == 1
    delete(stores, chosen_groups(stores, bad["id"], also["id"]), "anna")
    make_old(day)
    delete_old_file_attachments(stores, NOW)  # of what was dropped before
    assert places_of(stores, SECRET) == []
    assert [group["title"] for group in day.groups()] == [group_of(day, "Good")["title"]]
    day.assert_balanced()


def test_a_batch_that_found_the_group_before_is_waited_for(filled: Day) -> None:
    day, home = filled, filled.stores.home
    bad, also = group_of(day, "Bad"), group_of(day, "Also")
    chosen = chosen_groups(day.stores, bad["id"], also["id"])
    keys_gone = threading.Event()

    def deleting() -> Done:
        with open_stores(home) as opened, at(Moment(deletion_of_groups, "forget_keys"), keys_gone.set):
            return delete(opened, chosen, "anna")

    with ThreadPoolExecutor(1) as pool:
        done: list[Future[Done]] = []

        def meanwhile() -> None:
            """The events of the batch have their groups, and nothing of it is stored."""
            done.append(pool.submit(deleting))
            assert keys_gone.wait(60)

        day.send(planted("Bad"))
        with at(Moment(process_batch, "_into_tail", after=False), meanwhile):
            day.drain()
        gone = {each.where: each.rows for each in done[0].result().erased}
    assert gone["lake.events"] == 3
    assert places_of(day.stores, SECRET) == []
    assert [group["title"] for group in day.groups()] == ["Good: it went wrong"]
    day.assert_balanced()


def test_a_release_goes_with_its_events(filled: Day) -> None:
    day, stores = filled, filled.stores
    mixed = group_of(day, "Good")
    day.spool(day.receipt(planted("Good", release="bad@1"), seconds=30))
    day.drain()
    save_release(stores.state, [SHOP], "bad@1", {"url": f"http://{SECRET}"})
    digest = stores.blobs.put(SECRET.encode() * 2)
    add_bundle(
        stores.state, [SHOP], sha1="a" * 40, digest=digest, size=9, release="bad@1", dist=None, bundle=Bundle("bad@1", None, ())
    )  # fmt: skip
    other = replace(day, project=OTHER)
    kept = of_project(other), other.state(), other.groups()
    chosen = choose_release(stores, "bad@1", [SHOP])
    assert choose_release(stores, "bad@1").projects == (SHOP, OTHER)

    delete(stores, chosen, "anna")

    assert places_of(stores, SECRET) == []
    assert (of_project(other), other.state(), other.groups()) == kept
    assert {row["release"] for row in day.rows("events") if row["project_id"] == SHOP} == {"good@1"}
    assert [row["release"] for row in day.rows("sessions")] == ["good@1"]
    (left,) = day.groups()
    assert (left["id"], left["times_seen"], left["users"]) == (mixed["id"], 2, 1)
    with stores.state.read() as connection:
        assert set(connection.execute(select(group_values.c.value)).scalars()) >= {"good@1", "id:anna"}
    day.assert_balanced()
    with pytest.raises(UnknownRelease, match=r"bad@1"):
        choose_release(stores, "bad@1", [SHOP])


def test_a_project_goes_and_its_number_is_used_up(filled: Day) -> None:
    day, stores = filled, filled.stores
    with pytest.raises(Configured, match="take it out of the file first"):
        choose_project(stores, "shop")
    digest = stores.blobs.put(SECRET.encode() * 3)
    one = DebugObject("a-1", None, "elf", "dbg", "x86", ())
    add_debug_file(stores.state, SHOP, sha1="b" * 40, digest=digest, size=9, name=SECRET, objects=[one])
    stores = replace(stores, config=parsed(WITHOUT_SHOP))
    day = replace(day, stores=stores)
    other = replace(day, project=OTHER)
    kept = of_project(other), other.state(), other.groups()
    chosen = choose_project(stores, "shop")
    assert choose_project(stores, "1000") == chosen

    delete(stores, chosen, "anna")

    assert places_of(stores, SECRET) == []
    assert (of_project(other), other.state(), other.groups()) == kept
    assert rows_of_project(stores, SHOP) == {"projects": 1, "retention_removals": rows_noted(stores)}
    assert {row["id"]: row["status"] for row in list_projects(stores.state, stores.slugs)} == {
        SHOP: "deleted",
        OTHER: "configured",
    }
    day.assert_balanced()

    day.spool(day.receipt(planted(), seconds=90))
    day.drain()
    assert (day.groups(), day.outcomes()["discarded", "project"]) == ([], 1)
    day.assert_balanced()
    stores.home.config_path.write_text(CONFIG)
    with pytest.raises(
        ConfigError, match=r":3: projects\[0\].id: project 1000 was deleted on .*take another"
    ):
        stores.home.config()
    (stores.home.root / DELETED_PROJECTS).unlink()
    assert (unusable(stores.home), [*stores.home.deleted_projects()]) == ("", [SHOP])
    with pytest.raises(UnknownProject, match=r"no project 'nothing'.*other \(1001\)"):
        choose_project(stores, "nothing")


def rows_of_project(stores: Stores, project_id: int) -> dict[str, int]:
    """Rows of each table of the state database that have the number of a project, and of the lake."""
    found = {}
    with stores.state.read() as connection:
        for table in metadata.tables.values():
            column = table.c.get("id") if table.name == "projects" else table.c.get("project_id")
            if column is not None and (
                rows := connection.execute(select(table).where(column == project_id)).all()
            ):
                found[table.name] = len(rows)
    return found


def rows_noted(stores: Stores) -> int:
    """Notes of rows that were removed."""
    with stores.state.read() as connection:
        return len(connection.execute(select(metadata.tables["retention_removals"])).all())


def of_project(day: Day) -> list[dict[str, Any]]:
    """Events of the day's project."""
    return [row for row in day.rows("events") if row["project_id"] == day.project]


def places_of(stores: Stores, secret: str) -> list[str]:
    """Files and tables that hold a text."""
    wanted = secret.encode()
    return [str(place) for place in each_place(stores, [wanted])[wanted]]

"""Every query of a batch, a tick and a sender finds its rows by an index, and costs the same however long the history is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, select, update

from tasks_pipeline.alerts.windows import evaluate_windows
from tasks_pipeline.analytics.facts_stored import newest_facts, prove_facts
from tasks_pipeline.analytics.process_analytics_event import store_facts
from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.analytics.statistics.days import closed_due, recent_due
from tasks_pipeline.analytics.statistics.proofs import prove as prove_statistics
from tasks_pipeline.facts.outbox import waiting_facts
from tasks_pipeline.groups.decisions import DecisionError, resolve_groups, resolve_in_release
from tasks_pipeline.groups.incidents import monitor_of_group
from tasks_pipeline.groups.lists import OPEN, SORTS, find_group, list_groups
from tasks_pipeline.groups.merging import merge_groups
from tasks_pipeline.groups.of_release import new_group_counts, new_groups, regressed_groups, resolved_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.groups.shipped import commits_of_group, resolution_of
from tasks_pipeline.groups.suspects import suspects_of
from tasks_pipeline.home import Home
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.monitors.loop import monitors_due
from tasks_pipeline.notifications.digests import digests_due, send_digest
from tasks_pipeline.notifications.outbox import release_claims, waiting_notifications
from tasks_pipeline.processing.books import books_of_state, group_figures
from tasks_pipeline.processing.catch_up import catch_up_releases
from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.releases.commit_lists import contents_of, list_commits, previous_with_commits
from tasks_pipeline.releases.commits import set_commits, set_refs
from tasks_pipeline.releases.deploys import add_deploy, deploy_counts, list_deploys
from tasks_pipeline.releases.figures import count_releases
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.releases.health_days import due_days
from tasks_pipeline.releases.known import delete_release, first_after, last_before, save_release
from tasks_pipeline.releases.proofs import prove
from tasks_pipeline.releases.sent_commits import SentCommit, SentRef
from tasks_pipeline.shipping.loop import ship_releases
from tasks_pipeline.storage import sqlite_space
from tasks_pipeline.storage.lake.events import EventFilter, event_ids_beginning, find_event, newest_events
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.ledger.drains import active_drains, end_drains_of_run, last_sign_of_run
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import open_stores
from tasks_pipeline.uploads.arrivals import announce, arrivals, last_arrival
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.prometheus import render
from tasks_pipeline.watch.watching import watch_pipeline
from tests.support.alerting import alerting, send
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.outside import http_receiver
from tests.support.plans import counted_steps, recorded, scans, schema, sqlite_scans

REQUIRE_NEWEST = "TASKS_PIPELINE_TEST_REQUIRE_NEWEST_SQLITE"
HOURLY = {"schedule": {"type": "crontab", "value": "0 * * * *"}, "checkin_margin": 5, "max_runtime": 10}
CONFIG = """
channels:
  - {{name: hook, type: webhook, url: '{url}/hook'}}
  - {{name: other, type: webhook, url: '{url}/other'}}
members: [{{email: m@acme.example, notifications: {{delivery: digest, digest: {{min_delay_minutes: 0, max_delay_minutes: 1}}, channel: hook}}}}]
alert_rules:
  - {{name: all, when: [new_group, regression, unignored, monitor, escalation], notify: ['channel:hook', members]}}
  - {{name: often, when: [{{type: events, count: 2, window_minutes: 60}}, {{type: users, count: 2, window_minutes: 60}}], notify: ['channel:other']}}
  - {{name: errors, when: [{{type: metric, metric: error_count, window_minutes: 60, critical: 3}}], notify: ['channel:hook']}}
watch: {{operators: ['channel:hook']}}
"""
Steps = dict[str, Callable[[], object]]


@dataclass
class Work:
    """What the pipeline does all day, in parts; doing it again is the same work again."""

    day: Day
    round: int = 0

    @property
    def now(self) -> datetime:
        """Some seconds after the last events."""
        return self.day.at(self.round * 4000 + 50)

    def parts(self) -> Steps:
        """By name, in order."""
        return {
            "batch": self.batch, "ticks": self.ticks, "windows": self.windows, "monitors": self.monitors, "sender": self.sender,
            "digest": self.digest, "watch": self.watch, "symbols": self.symbols, "merge": self.merge, "people": self.people,
            "shipping": self.shipping, "shipped": self.shipped, "health": self.health, "facts": self.facts, "statistics": self.statistics,
        }  # fmt: skip

    def batch(self) -> None:
        """New groups and known ones, new users and known ones, twice the same event, check-ins, sessions."""
        self.round += 1
        now = self.now - timedelta(seconds=50)
        again = event("Known", user={"id": "1"}, release="s@1", environment="prod", timestamp=now.isoformat())
        frame = {
            "function": "f",
            "filename": "https://x.example/a.js",
            "abs_path": "https://x.example/a.js",
            "lineno": 1,
            "colno": 2,
        }
        script = event(f"Script{self.round}", platform="javascript", release="s@1", timestamp=now.isoformat())
        script["exception"]["values"][0]["stacktrace"]["frames"] = [frame]
        script["debug_meta"] = {
            "images": [
                {"type": "sourcemap", "code_file": frame["abs_path"], "debug_id": str(uuid.UUID(int=7))}
            ]
        }
        events = [
            again, again, script,
            *(event("Known", user={"id": f"{self.round}-{n}"}, release=f"s@{n % 3}", timestamp=now.isoformat()) for n in range(40)),
            *(event(f"New{self.round}-{n}", user={"id": "1"}, timestamp=now.isoformat()) for n in range(3)),
        ]  # fmt: skip
        session = {
            "sid": uuid.uuid4().hex,
            "started": now.isoformat(),
            "attrs": {"release": "s@1"},
            "status": "ok",
            "init": True,
        }
        begun = {"monitor_slug": "nightly", "status": "in_progress", "monitor_config": HOURLY}
        done = {"monitor_slug": "nightly", "status": "ok"}
        seconds = (now - self.day.at()).total_seconds()
        contents: list[Any] = [
            *events,
            item("session", session),
            item("check_in", begun),
            item("check_in", done),
        ]
        self.day.spool(*(self.day.receipt(each, seconds=seconds) for each in contents))
        self.day.drain(run_id="run")

    def ticks(self) -> None:
        """What sensors ask when they tick, and what is done for a run that died."""
        state, now = self.day.stores.state, datetime.now(UTC)
        active_drains(state)
        backlogs(state, self.day.stores.spool)
        last_sign_of_run(state, "run")
        waiting_notifications(state, now)
        digests_due(state, self.day.stores.config, now)
        with state.read() as connection:
            arrivals(connection, max(0, last_arrival(connection) - 3))
        end_drains_of_run(state, "run")
        release_claims(state, "run", now)
        books_of_state(self.day.stores, self.day.date)
        group_figures(self.day.stores, self.day.date)

    def windows(self) -> None:
        """Rules on windows of time."""
        evaluate_windows(self.day.stores, self.now)

    def monitors(self) -> None:
        """A check-in that did not come, and a run that takes too long."""
        stuck = {"monitor_slug": "stuck", "status": "in_progress", "monitor_config": HOURLY}
        self.day.spool(
            self.day.receipt(item("check_in", stuck), seconds=(self.now - self.day.at()).total_seconds())
        )
        self.day.drain()
        monitors_due(self.day.stores, self.now)
        check_monitors(self.day.stores, self.now + timedelta(seconds=3700))

    def sender(self) -> None:
        """What is due, and one that another sender had in flight for too long."""
        n = t.notifications.c
        with self.day.stores.state.write() as connection:
            first = connection.execute(
                select(n.id).where(n.status == "waiting").order_by(n.id).limit(1)
            ).scalar()
            if first is not None:
                lost = update(t.notifications).where(n.id == first)
                connection.execute(lost.values(status="sending", lease_until=self.day.at()))
        send(self.day.stores)

    def digest(self) -> None:
        """What was collected, and its message."""
        put = send_digest(self.day.stores, datetime.now(UTC) + timedelta(minutes=5)).put
        now = update(t.notifications).where(t.notifications.c.key.in_(put)).values(not_before=self.day.at())
        with self.day.stores.state.write() as connection:
            connection.execute(now)
        send(self.day.stores)

    def watch(self) -> None:
        """Probes, and what Prometheus reads."""
        watch_pipeline(self.day.stores, DagsterFacts(), datetime.now(UTC))
        render(self.day.stores.state, datetime.now(UTC))

    def symbols(self) -> None:
        """Stored events are healed."""
        state = self.day.stores.state
        with state.write() as connection:
            announce(state, connection, [(self.day.project, "debug_id:none")])
        reprocess_events(
            self.day.stores, self.day.date, wanted={(self.day.project, f"debug_id:{uuid.UUID(int=7)}")}
        )

    def merge(self) -> None:
        """Two small groups become one, and their events follow."""
        new = {
            g["title"].partition(":")[0]: g["id"] for g in list_groups(self.day.stores.state, {}, limit=20)
        }
        merge_groups(self.day.stores.state, new[f"New{self.round}-0"], [new[f"New{self.round}-1"]])
        with self.day.stores.lake.lock():
            finish_regroupings(self.day.stores.state, self.day.stores.lake)

    def shipping(self) -> None:
        """A release with commits that fix a group, a deploy, another that holds the same; lists of it, and its end."""
        stores, project = self.day.stores, self.day.project
        state, versions = stores.state, [f"ship@{self.round}.{n}" for n in range(3)]
        shown = list_groups(state, stores.slugs, limit=1)[0]["short_id"]
        sent = [
            SentCommit(
                f"{self.round}{n}",
                "acme/s",
                f"fixes {shown}",
                "M",
                "m@acme.example",
                self.now,
                ((f"f{n}", "M"),),
            )
            for n in range(3)
        ]
        for version in versions:
            save_release(state, [project], version, {})
            with state.write() as connection:
                set_commits(state, connection, version, sent)
                set_refs(state, connection, version, [SentRef("acme/s", f"{self.round}0")])
            add_deploy(state, [project], version, {"environment": "production", "finished_at": self.now})
        ship_releases(stores, linger_seconds=0)
        count_releases(state, stores.lake, datetime.now(UTC) + timedelta(hours=self.round))
        with state.read() as connection:
            assert previous_with_commits(connection, [project], versions[1]) == versions[0]
            assert [row["sha"] for row in list_commits(connection, versions[0], limit=1)] == [
                f"{self.round}0"
            ]
            assert contents_of(connection, versions[0]).files == 3
            assert len(list_deploys(connection, [project], versions[0], 10)) == 1
            assert deploy_counts(connection, {(project, version) for version in versions})
        assert delete_release(state, [project], versions[2])

    def health(self) -> None:
        """What schedules ask for, and the sessions of a day."""
        state, lake = self.day.stores.state, self.day.stores.lake
        with state.read() as connection:
            assert self.day.date in due_days(connection, self.day.date - timedelta(days=1))
            due_days(connection)
        compute_health(lake, state, self.day.date)
        prove(lake, state, self.day.date)

    def facts(self) -> None:
        """What was recorded goes to the lake; the schedule's question, the check's, and a person's."""
        stores, project = self.day.stores, self.day.project
        with stores.state.read() as connection:
            assert waiting_facts(connection).count
        assert store_facts(stores).stored
        today = datetime.now(UTC)
        assert not prove_facts(stores.state, stores.lake, today.date()).differing
        newest_facts(
            stores.state, stores.lake, types=["group.created"], project_id=project, since=today, limit=5
        )
        newest_facts(stores.state, stores.lake, since=today, limit=5)

    def statistics(self) -> None:
        """What sensor and schedule ask for, and the figures of the day."""
        stores, later = self.day.stores, self.day.at() + timedelta(days=2)
        with stores.state.read() as connection:
            assert self.day.date in closed_due(connection, [], later).days
            recent_due(connection, self.day.at())
        compute_statistics(stores, [self.day.date], later)
        prove_statistics(stores, self.day.date)

    def people(self) -> None:
        """Lists of groups, in each form."""
        state = self.day.stores.state
        shown = list_groups(state, {}, limit=20)
        find_group(state, {}, group_id=shown[0]["id"])
        list_groups(state, {}, project_id=self.day.project, limit=20)
        list_groups(state, {}, project_id=self.day.project, status="unresolved", limit=20)
        list_groups(state, {}, status="discarded", limit=20)
        found = self.day.rows("events")[0]["event_id"]
        assert find_event(state, self.day.stores.lake, found) is not None
        list_groups(state, {}, project_id=self.day.project, status="discarded", limit=20)
        since = self.now - timedelta(hours=1)
        for project in (None, self.day.project):
            list_groups(
                state, {}, project_id=project, status=OPEN, search="nothing like it", since=since, limit=20
            )
            list_groups(
                state,
                {},
                project_id=project,
                status=("resolved", "discarded"),
                assignee="nobody",
                since=since,
                limit=20,
            )
            list_groups(
                state, {}, project_id=project, environment="prod", release="s@1", since=since, limit=20
            )
            for sort in SORTS:
                list_groups(state, {}, project_id=project, status=OPEN, sort=sort, since=since, limit=20)
        assert event_ids_beginning(state, found[:8]) == [found]
        lake = self.day.stores.lake
        newest_events(state, lake, shown[0]["id"])
        newest_events(state, lake, wanted=EventFilter(search="New", since=since), limit=5)
        monitor_of_group(state, shown[0]["id"])

    def shipped(self) -> None:
        """Groups that are resolved in releases and commits, some of which come back; what releases show of their groups."""
        state, project = self.day.stores.state, self.day.project
        names = [f"Fixed{self.round}-{letter}" for letter in "abcd"]
        seconds = (self.now - self.day.at()).total_seconds()

        def come(release: str) -> None:
            made = (event(name, release=release, timestamp=self.now.isoformat()) for name in names)
            self.day.spool(*(self.day.receipt(each, seconds=seconds) for each in made))
            self.day.drain()

        come("s@1")
        known = {g["title"].partition(":")[0]: g["id"] for g in list_groups(state, {}, limit=100)}
        ways: list[dict[str, Any]] = [
            {}, {"in_release": "s@2"}, {"in_next_release": True}, {"in_commit": f"{self.round:040x}"},
        ]  # fmt: skip
        for name, how in zip(names, ways, strict=True):
            resolve_groups(state, [known[name]], "ann", **how)
        come("s@0")
        come(f"s@3.{self.round}")
        with state.write() as connection:
            resolve_in_release(state, connection, dict.fromkeys(list(known.values())[:3], ("ann", {})), "s@2")
        with state.read() as connection:
            new_group_counts(connection, [(project, "s@1"), (project, "s@2")])
            for groups_of in (new_groups, resolved_groups, regressed_groups):
                groups_of(connection, project, "shop", "s@2")
            for name in names:
                found = find_group(state, {}, group_id=known[name])
                assert found is not None
                resolution_of(connection, found)
                commits_of_group(connection, known[name])
                suspects_of(connection, [known[name]])
            first_after(connection, project, "s@1", self.now)
            first_after(connection, project, "c0ffee", self.now)
            last_before(connection, project, "s@1", self.now)
            last_before(connection, project, "c0ffee", self.now)
        for name in ("abcd", "r1047"):
            with suppress(DecisionError):
                resolve_groups(state, [known[names[0]]], "ann", in_commit=name)
        catch_up_releases(self.day.stores)


@contextmanager
def working(home: Home) -> Iterator[Work]:
    """The pipeline, after one round of everything."""
    with open_stores(home) as stores, http_receiver() as http:
        day = alerting(Day(stores, date(2020, 1, 1), 1000), CONFIG.format(url=http.url))
        work = Work(day)
        for part in work.parts().values():
            part()
        yield work


def everything(work: Work) -> dict[str, Any]:
    """The statements of all parts, and of storing the day again; afterwards there is history."""
    with recorded(work.day.stores.state) as statements:
        for part in work.parts().values():
            part()
        work.day.recompute()
    assert len(statements) > 100
    write(work.day, history(work.day, HISTORY) | uploads_and_monitors(work.day, HISTORY))
    return statements


@dataclass(frozen=True)
class Seen:
    """What SQLite was asked, how it makes the tables, and what it would read whole; also with statistics of all tables."""

    statements: dict[str, Any]
    tables: str
    scans: list[str]
    scans_by_statistics: list[str]


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Seen:
    """By the SQLite of this Python."""
    root = tmp_path_factory.mktemp("plans")
    with working(new_home(root)) as work:
        statements, state = everything(work), work.day.stores.state
        found = scans(state, statements)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sqlite_space, "WORTH_STATISTICS", 1_000)
            assert sqlite_space.take_statistics(root / "state.sqlite", lambda _seconds: None) > 20
        state.close()  # who has it open already plans as before
        return Seen(statements, schema(state), found, scans(state, statements))


def test_nor_does_it_when_it_knows_how_tables_are_made(on_sqlite: Seen) -> None:
    assert on_sqlite.scans_by_statistics == [], "\n\n".join(on_sqlite.scans_by_statistics)


def test_sqlite_reads_no_growing_table_from_end_to_end(on_sqlite: Seen) -> None:
    assert on_sqlite.scans == [], "\n\n".join(on_sqlite.scans)


def test_nor_does_the_newest_sqlite(on_sqlite: Seen) -> None:
    """Which is not the one that Python came with; each plans in its own way."""
    try:
        import pysqlite3
    except ImportError:
        if os.environ.get(REQUIRE_NEWEST) == "1":
            pytest.fail(f"{REQUIRE_NEWEST}=1, but pysqlite3 is not installed")
        pytest.skip("pysqlite3, which brings the newest SQLite, is not installed")
    newest = pysqlite3.connect(":memory:")
    newest.executescript(on_sqlite.tables)
    found = sqlite_scans(lambda sql, given: newest.execute(sql, given).fetchall(), on_sqlite.statements)
    assert found == [], f"SQLite {pysqlite3.sqlite_version}: " + "\n\n".join(found)


def test_postgres_reads_no_growing_table_from_end_to_end(postgres_home: Home) -> None:
    with working(postgres_home) as work:
        found = scans(work.day.stores.state, everything(work))
        assert found == [], "\n\n".join(found)


def test_a_scan_would_be_found(any_home: Home) -> None:
    """Of a table, of all of an index, and beneath a limit that has to sort first."""
    with open_stores(any_home) as stores, recorded(stores.state) as statements:
        n = t.notifications.c
        with stores.state.read() as connection:
            connection.execute(select(t.alerts.c.id).where(t.alerts.c.severity == "info"))
            connection.execute(select(n.channel).distinct())
            connection.execute(select(n.id).order_by(n.reason).limit(1))
            connection.execute(select(n.id).order_by(n.id.desc()).limit(1))
            connection.execute(select(n.id).where(n.key == "x"))
        assert len(scans(stores.state, statements)) == 3


HISTORY = 5_000
STEPS_A_GROUP = 4


def test_history_costs_nothing(home: Home) -> None:
    """What SQLite does for each part of the work, before and after years of history."""
    with working(home) as work:
        parts = work.parts()

        def measured() -> dict[str, int]:
            found = {}
            with counted_steps(work.day.stores.state) as steps:
                for name, part in parts.items():
                    steps()
                    part()
                    found[name] = steps()
            return found

        measured()
        before = measured()
        write(work.day, history(work.day, HISTORY))
        after = measured()
        # Levels are told of all groups that there are; of each it is little, however long its past.
        assert after.pop("statistics") < before["statistics"] + STEPS_A_GROUP * HISTORY
        # Some of what is asked is about the day, which had a round more: that may show.
        grown = {name: (before[name], n) for name, n in after.items() if n > 1.3 * before[name] + 50}
        assert grown == {}


def write(day: Day, tables: dict[Table, list[dict[str, Any]]]) -> None:
    for table, rows in tables.items():
        with day.stores.state.write() as connection:
            connection.execute(insert(table), rows)


def uploads_and_monitors(day: Day, count: int) -> dict[Table, list[dict[str, Any]]]:
    """Artifacts that nobody asks for, and monitors that are not due for long."""
    later, first = datetime(2099, 1, 1, tzinfo=UTC), 1_000_000
    monitor = {
        "project_id": day.project, "type": "cron", "name": "", "config": {}, "source": "check_in", "created_at": later, "updated_at": later,
    }  # fmt: skip
    environment = {
        "environment": "production",
        "status": "ok",
        "next_at": later,
        "late_at": later,
        "data": {},
    }
    bundle = {"project_id": day.project, "size": 1, "files": 1, "created_at": later}
    artifact = {"path": "a", "project_id": day.project, "type": "source_map"}
    return {
        t.artifact_bundles: [
            {**bundle, "id": first + n, "sha1": f"{n}", "digest": f"{n}"} for n in range(count)
        ],
        t.artifacts: [
            {**artifact, "bundle_id": first + n, "debug_id": f"{n}", "release": f"{n}"} for n in range(count)
        ],
        t.monitors: [{**monitor, "id": first + n, "slug": f"m{n}"} for n in range(count)],
        t.monitor_environments: [{**environment, "monitor_id": first + n} for n in range(count)],
    }


def history(day: Day, count: int) -> dict[Table, list[dict[str, Any]]]:
    """So many rows in each table that has them, of long ago and finished; in the same project, groups and monitors."""
    long_ago, old = datetime(2019, 1, 1, tzinfo=UTC), date(2019, 1, 1)
    known = {g["title"].partition(":")[0]: g["id"] for g in list_groups(day.stores.state, {}, limit=100)}[
        "Known"
    ]
    with day.stores.state.read() as connection:
        environments = list(connection.execute(select(t.monitor_environments.c.id)).scalars())
    numbers, first = range(count), 1_000_000
    group = {
        "project_id": day.project, "title": "Old", "culprit": "", "level": "error", "platform": "python", "type": "error", "metadata": {},
        "algorithm": "a", "times_seen": 1, "first_seen": long_ago, "last_seen": long_ago, "created_at": long_ago,
        "first_release": "old@1",
    }  # fmt: skip
    batch = {
        "day": old,
        "part": "r0",
        "status": "done",
        "attempt": 1,
        "drain_id": "x",
        "opened_at": long_ago,
        "done_at": long_ago,
    }
    alert = {
        "project_id": day.project,
        "kind": "new_group",
        "status": "firing",
        "severity": "info",
        "data": {},
        "at": long_ago,
    }
    message = {
        "type": "alert", "project_id": day.project, "address": "", "data": {}, "created_at": long_ago, "not_before": long_ago,
        "thread": "t", "channel": "hook",
    }  # fmt: skip
    sent = {**message, "target": "channel:hook", "status": "sent", "sent_at": long_ago, "digest_id": None}
    collected = {**message, "target": "member:m@acme.example", "status": "digest"}
    return {
        t.drains: [
            {"id": f"d{n}", "day": old, "run_id": f"r{n}", "host": "h", "pid": 1, "started_at": long_ago, "heartbeat_at": long_ago,
             "ended_at": long_ago} for n in numbers
        ],
        t.analytics_outbox: [
            {"fact": n.to_bytes(16, "big"), "type": "group.created", "version": 1, "at": long_ago, "project_id": day.project,
             "actor_kind": "system", "source": "drain", "stored_in": 1 + n // 100} for n in numbers
        ],
        t.batches: [{**batch, "first_position": n, "last_position": n} for n in numbers],
        t.groups: [
            {**group, "id": first + n, "short_id": first + n, "status": "unresolved" if n % 100 else "discarded"} for n in numbers
        ],
        t.group_hashes: [{"project_id": day.project, "key": f"k{n}", "group_id": first + n, "created_at": long_ago} for n in numbers],
        t.group_days: [
            {"group_id": first + n, "day": old, "times_seen": 1, "first_seen": long_ago, "last_seen": long_ago, "first_place": ""}
            for n in numbers
        ],
        t.health_days: [
            {"day": date(1990, 1, 1) + timedelta(days=n), "changed_at": long_ago, "changes": 1, "computed": 1} for n in numbers
        ],
        t.group_values: [
            {"group_id": known, "kind": "user", "value": f"id:old{n}", "day": old, "times_seen": 1} for n in numbers
        ],
        t.event_ids: [
            {"project_id": day.project, "event_id": n.to_bytes(16, "big"), "day": old, "part": "r0", "position": n, "item": 0} for n in numbers
        ],
        t.regroupings: [
            {"project_id": day.project, "group_ids": [n], "reason": "merge", "opened_at": long_ago, "done_at": long_ago} for n in numbers
        ],
        t.replacements: [{"id": f"r{n}", "day": old, "started_at": long_ago, "done_at": long_ago} for n in numbers],
        t.symbol_arrivals: [{"project_id": day.project, "key": f"old{n}", "at": long_ago} for n in numbers],
        t.group_actions: [
            {"project_id": day.project, "group_id": known, "action": "resolve", "data": {}, "actor": "a", "at": long_ago,
             "release": f"old@{n}"} for n in numbers
        ],
        t.releases: [
            {"project_id": day.project, "version": f"old@{n}", "created_at": long_ago, "order_date": long_ago, "package": "old",
             "version_key": f"{n:09}", "processed_at": long_ago} for n in numbers
        ],
        t.release_commits: [{"version": f"old@{n}", "position": 0, "sha": f"{first + n:040x}"} for n in numbers],
        t.commits: [{"sha": f"{first + n:040x}", "created_at": long_ago} for n in numbers],
        t.group_commits: [
            {"group_id": first + n, "sha": f"{first + n:040x}", "version": f"old@{n}", "at": long_ago, "resolved": True} for n in numbers
        ],
        t.alerts: [{**alert, "key": f"old{n}", "rule": "all", "thread": f"group:{n}", "group_id": known} for n in numbers],
        t.rule_states: [
            {"project_id": day.project, "rule": "all", "thread": f"old{n}", "status": "ok", "changed_at": long_ago, "data": {}}
            for n in numbers
        ],
        t.notifications: [{**(sent if n % 2 else collected | {"sent_at": None, "digest_id": first + n}), "key": f"old{n}", "id": first + n} for n in numbers],
        t.deliveries: [
            {"notification_id": first + n, "attempt": 1, "started_at": long_ago, "outcome": "sent", "run_id": f"r{n}"} for n in numbers
        ],
        t.incidents: [
            {"project_id": day.project, "kind": "cron", "environment_id": environments[n % len(environments)], "reason": "missed",
             "detail": "", "opened_at": long_ago, "closed_at": long_ago} for n in numbers
        ],
        t.releases: [
            {"project_id": day.project, "version": f"old{n}", "created_at": long_ago, "order_date": long_ago, "processed_at": long_ago,
             "changed_at": long_ago, "figures_at": long_ago, "commit_count": n % 2} for n in numbers
        ],
        t.deploys: [
            {"project_id": day.project, "version": f"old{n}", "environment": "production", "created_at": long_ago, "digest": f"{n}",
             "told_at": long_ago} for n in numbers
        ],
        t.release_environments: [
            {"project_id": day.project, "version": f"old{n}", "environment": "prod", "first_at": long_ago} for n in numbers
        ],
        t.release_stages: [
            {"project_id": day.project, "version": f"old{n}", "environment": "production", "since": long_ago, "until": long_ago,
             "stage": "low_adoption"} for n in numbers
        ],
        t.commits: [{"sha": f"old{n}", "author_key": f"old{n}", "created_at": long_ago} for n in numbers],
        t.commit_authors: [{"author_key": f"old{n}", "name": "Old"} for n in numbers],
        t.commit_files: [{"sha": f"old{n}", "path": "f", "type": "M"} for n in numbers],
        t.release_commits: [{"version": f"old{n}", "position": 0, "sha": f"old{n}"} for n in numbers],
        t.release_heads: [{"version": f"old{n}", "repository": "acme/s", "sha": f"old{n}"} for n in numbers],
        t.group_commits: [
            {"group_id": known, "sha": f"old{n}", "version": f"old{n}", "at": long_ago, "resolved": True} for n in numbers
        ],
        t.monitor_check_ins: [
            {"environment_id": environments[n % len(environments)], "status": "ok", "started_at": long_ago, "ended_at": long_ago}
            for n in numbers
        ],
    }  # fmt: skip

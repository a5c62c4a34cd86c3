"""Figures of days: from what is sent, through a drain, to the tables."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from tasks_pipeline.alerts.counts import error_count, events_in_window
from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.analytics.statistics.proofs import prove, users_of
from tasks_pipeline.analytics.statistics.status import OPEN, standings
from tasks_pipeline.groups.decisions import (
    assign_groups_to,
    ignore_groups,
    log_action,
    resolve_groups,
    unresolve_groups,
)
from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.home import Home
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.known import save_release
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.storage.state.facts import member_hash, user_key
from tasks_pipeline.stores import Stores, open_stores
from tests.support.day import Day, damage
from tests.support.events import event, item, receipt
from tests.support.figures import (
    LATER,
    assert_proved,
    count,
    decided_at,
    ids,
    log_of,
    regroup,
    rows,
    transaction,
)
from tests.support.release_cases import cases

# ── what is counted


def test_events_and_their_users_by_slot(day: Day) -> None:
    sent = [
        (0, event("A", user={"id": "1"}, release="shop@1", environment="prod", level="error")),
        (10, event("A", user={"id": "2"}, release="shop@1", environment="prod", level="error")),
        (899, event("A", user={"id": "1"}, release="shop@2", level="warning")),
        (900, event("B", user={"id": "1"}, release="shop@1", environment="prod", level="error")),
    ]
    day.spool(*(day.receipt(each, seconds=seconds) for seconds, each in sent))
    day.drain()
    report = count(day)
    assert (report.errors, report.users, report.hours[12]) == (4, 2, 4)
    noon, quarter = day.at(), day.at(900)
    found = [
        (r["slot"], r["release"], r["environment"], r["level"], r["events"], r["new_groups"])
        for r in rows(day, "event_stats")
    ]
    assert found == [
        (noon, "shop@1", "prod", "error", 2, 1), (noon, "shop@2", "", "warning", 1, 0), (quarter, "shop@1", "prod", "error", 1, 1),
    ]  # fmt: skip
    key = user_key(day.stores.state)
    one, two = (user_hash(key, day.project, f"id:{n}") for n in "12")
    assert {(r["user_hash"], r["release"]): r["slots"] for r in rows(day, "event_users")} == {
        (one, "shop@1"): [48, 49], (one, "shop@2"): [48], (two, "shop@1"): [48],
    }  # fmt: skip
    groups = {r["group_id"]: r for r in rows(day, "group_stats")}
    first = groups[ids(day)["A"]]
    assert (first["events"], first["user_count"], first["slots"]) == (3, 2, {48: 3})
    assert first["users"] == {one: [48], two: [48]}
    assert_proved(day)


def test_a_group_with_very_many_users_counts_them(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks_pipeline.analytics.statistics.events.USERS_OF_A_GROUP", 2)
    day.send(*(event("A", user={"id": str(n)}) for n in range(3)), event("B", user={"id": "1"}))
    day.drain()
    count(day)
    found = {r["group_id"]: (r["user_count"], r["users"]) for r in rows(day, "group_stats")}
    assert found[ids(day)["A"]] == (3, None)
    assert len(found[ids(day)["B"]][1]) == 1


def test_transactions_are_judged_by_the_project(alone: Day) -> None:
    """The case of the specification: apdex 0.65, failure rate 2/10."""
    day = alone
    durations = [(100, "ok"), (200, "ok"), (300, "ok"), (301, "ok"), (900, "not_found"), (1200, "ok"), (1201, "ok"),
                 (50, "internal_error"), (5000, "cancelled"), (250, None)]  # fmt: skip
    sent = [
        transaction(day, n, ms, **({} if status is None else {"status": status}))
        for n, (ms, status) in enumerate(durations, 1)
    ]
    day.spool(*(day.receipt(each) for each in sent))
    day.drain()
    count(day)
    (row,) = rows(day, "transaction_stats")
    assert (row["count"], row["failed"], row["satisfied"], row["tolerable"]) == (10, 2, 5, 3)
    assert row["sum_ms"] == pytest.approx(sum(ms for ms, _ in durations))
    assert row["durations"] == dict(Counter(math.ceil(math.log(ms) / math.log(1.02)) for ms, _ in durations))


def test_outcomes_lie_in_quarters_of_an_hour_and_are_the_books(day: Day) -> None:
    first = event("A")
    day.spool(
        day.receipt(first),
        day.receipt(first, seconds=1000),
        day.receipt(item("event", b"no json"), seconds=1900),
    )
    day.drain()
    count(day)
    found = {(r["slot"], r["outcome"]): r["quantity"] for r in rows(day, "outcome_stats")}
    assert found == {
        (day.at(), "stored"): 1, (day.at(900), "duplicate"): 1, (day.at(1800), "invalid"): 1,
    }  # fmt: skip
    assert [(row["slot"], row["accepted"], row["stored"]) for row in rows(day, "pipeline_stats")][:2] == [
        (day.at(), 1, 1), (day.at(900), 1, 0),
    ]  # fmt: skip


def test_outcomes_of_earlier_versions_count_in_their_hour(alone: Day) -> None:
    alone.spool(alone.receipt(event("A"), seconds=1000))
    alone.drain()
    damage(alone.stores, "UPDATE stored.outcomes SET slot = NULL")
    count(alone)
    assert [r["slot"] for r in rows(alone, "outcome_stats")] == [alone.at()]


def test_what_became_of_groups_is_told_by_the_log(own_day: Day) -> None:
    """The balance of the specification, on other days: what is decided later never reaches back."""
    day = own_day
    day.send(event("A"), event("B"), event("C"))
    day.drain()
    group = ids(day)
    state = day.stores.state
    resolve_groups(state, [group["A"]], "ann@acme.example")
    assign_groups_to(state, [group["B"]], "ann@acme.example", "bob@acme.example")
    ignore_groups(state, [group["B"]], "ann@acme.example")
    unresolve_groups(state, [group["B"]], "ann@acme.example")
    resolve_groups(state, [group["B"]], "ann@acme.example")
    numbers = [row.id for row in log_of(day)]
    seconds = [3600, 3700, 3800, 3900, 86_400]
    decided_at(day, {n: day.at(s) for n, s in zip(numbers, seconds, strict=True)})
    count(day)
    found = [
        (r["group_id"], r["move"], r["status_from"], r["status_to"], r["by"], r["opened_at"])
        for r in sorted(rows(day, "group_moves"), key=lambda r: r["at"])
    ]
    a, b = group["A"], group["B"]
    made = [day.at(n) for n in range(3)]
    assert found[3:] == [
        (a, "resolve", "unresolved", "resolved", "person", made[0]),
        (b, "assign", "unresolved", "unresolved", "person", made[1]),
        (b, "ignore", "unresolved", "ignored", "person", made[1]),
        (b, "unresolve", "ignored", "unresolved", "person", None),
    ]
    assert [r[1] for r in found[:3]] == ["created"] * 3
    hashed = member_hash(user_key(state), "bob@acme.example")
    assert rows(day, "group_moves")[-1]["assignee"] in (hashed, None)
    levels = {(r["status"], r["assigned"], r["open_days"]): r["groups"] for r in rows(day, "group_levels")}
    assert levels == {("resolved", False, None): 1, ("unresolved", True, 0): 1, ("unresolved", False, 0): 1}
    assert_proved(day)
    after = day.next()
    count(after)
    (move,) = rows(after, "group_moves")
    assert (move["move"], move["opened_at"]) == ("resolve", day.at(3900))
    levels = {(r["status"], r["assigned"], r["open_days"]): r["groups"] for r in rows(after, "group_levels")}
    assert levels == {("resolved", False, None): 1, ("resolved", True, None): 1, ("unresolved", False, 1): 1}
    assert_proved(after)


@cases("figures", "groups")
def test_the_balance_of_groups_follows_from_their_moves(alone: Day, case: dict[str, Any]) -> None:
    """Groups by stored events, decisions by the functions of commands; the moments of those are the case's."""
    stores, project = alone.stores, alone.project
    for each in case["groups"]:
        moment = datetime.fromisoformat(each["created_at"])
        day = Day(stores, moment.date(), project)
        day.spool(receipt(moment, project, event(each["id"])))
        day.drain()
    group = ids(alone)
    for action in case["actions"]:
        _decide(stores, action["action"], group, action["group"], project)
        decided_at(
            alone,
            {
                max(row.id for row in log_of(alone) if row.status or row.assignee): datetime.fromisoformat(
                    action["at"]
                )
            },
        )
    start, end = (datetime.fromisoformat(case[name]) for name in ("start", "end"))
    moments = [
        datetime.fromisoformat(m)
        for m in (*(g["created_at"] for g in case["groups"]), *(a["at"] for a in case["actions"]))
    ]
    days = [Day(stores, day, project) for day in sorted({m.date() for m in moments if start <= m < end})]
    compute_statistics(stores, [day.date for day in days], end + LATER)  # on other days nothing moved
    moves = [row for day in days for row in rows(day, "group_moves")]
    expected = dict(case["expect"])
    with stores.state.read() as connection:
        at_start, at_end = (sum(one.is_open for one in standings(connection, at)) for at in (start, end))
    entered = [m for m in moves if m["status_to"] in OPEN and m["status_from"] not in OPEN]
    left = [m for m in moves if m["status_from"] in OPEN and m["status_to"] not in OPEN]
    made = [m for m in moves if m["move"] == "created"]
    found = {
        "open_at_start": at_start, "open_at_end": at_end, "entered": len(entered), "left": len(left), "new": len(made),
        "reopened": len(entered) - len(made),
        **{name: sum(m["status_to"] == name for m in left) for name in ("resolved", "ignored", "merged")},
    }  # fmt: skip
    assert found == {name: expected[name] for name in found}
    spans = sorted((m["at"] - m["opened_at"]).total_seconds() for m in left if m["status_to"] == "resolved")
    resolution = {
        "resolved": len(spans),
        "p50_seconds": nearest(spans, 50),
        "p90_seconds": nearest(spans, 90),
    }
    assert resolution == expected["resolution"]
    firsts = [
        min((m["at"] for m in moves if m["group_id"] == g["group_id"] and m["by"] == "person"), default=None)
        for g in made
    ]
    waits = sorted(
        math.inf if at is None else (at - g["at"]).total_seconds() for at, g in zip(firsts, made, strict=True)
    )
    assert {
        "groups": len(made), "responded": sum(wait < math.inf for wait in waits),
        "p50_seconds": nearest(waits, 50), "p90_seconds": nearest(waits, 90),
    } == expected["first_response"]  # fmt: skip
    assert all(prove(stores, day.date).balance.holds for day in days)


def nearest(values: list[float], percent: int) -> float | None:
    """By the nearest rank; None for none, and for one that is infinite."""
    found = values[-(-percent * len(values) // 100) - 1] if values else math.inf
    return None if found == math.inf else found


def _decide(stores: Stores, action: str, group: dict[str, int], name: str, project: int) -> None:
    state, one = stores.state, [group[name]]
    if action == "resolve":
        resolve_groups(state, one, "ann")
    elif action == "ignore":
        ignore_groups(state, one, "ann")
    elif action == "assign":
        assign_groups_to(state, one, "ann", "ann@acme.example")
    elif action == "merge":
        merge_groups(state, next(number for other, number in group.items() if other != name), one, "ann")
    else:
        assert action == "regress"
        with state.write() as connection:
            log_action(state, connection, project, one[0], "regress", status="regressed")


def test_a_merged_group_was_there(own_day: Day) -> None:
    day = own_day
    day.send(event("A"), event("B"))
    day.drain()
    group = ids(day)
    merge_groups(day.stores.state, group["A"], [group["B"]], "ann")
    regroup(day)
    after = day.next()
    (merged,) = [row.id for row in log_of(day) if row.status == "merged"]
    decided_at(day, {merged: after.at()})
    for each in (day, after):
        count(each)
        assert_proved(each)
    assert Counter(r["move"] for r in rows(day, "group_moves")) == {"created": 2}
    (move,) = rows(after, "group_moves")
    assert (move["move"], move["status_from"], move["status_to"]) == ("merge", "unresolved", "merged")
    assert [r["groups"] for r in rows(after, "group_levels")] == [1]
    assert sum(r["new_groups"] for r in rows(day, "event_stats")) == 2
    unmerge_group(day.stores.state, group["B"], "ann")
    regroup(day)
    assert Counter(ids(day).values()) == Counter(group.values())


def test_monitors_messages_and_releases_have_their_slots(own_day: Day) -> None:
    day, state = own_day, own_day.stores.state
    save_release(state, [day.project], "shop@1", {"released_at": day.at(60)})
    add_deploy(state, [day.project], "shop@1", {"environment": "production", "finished_at": day.at(120)})
    with state.write() as connection:
        run_id = connection.execute(
            insert(t.monitors)
            .values(
                project_id=day.project,
                slug="nightly",
                type="cron",
                name="",
                config={},
                source="file",
                created_at=day.at(),
                updated_at=day.at(),
            )
            .returning(t.monitors.c.id)
        ).scalar_one()
        of = connection.execute(
            insert(t.monitor_environments)
            .values(monitor_id=run_id, environment="prod", status="ok", data={})
            .returning(t.monitor_environments.c.id)
        ).scalar_one()
        connection.execute(
            insert(t.monitor_check_ins),
            [
                {
                    "environment_id": of,
                    "status": status,
                    "expected_at": day.at(due),
                    "started_at": day.at(due + late),
                    "duration_s": 2.0,
                }
                for status, due, late in (
                    ("ok", 0, 5),
                    ("missed", 3600, 0),
                    ("ok", 7199, 2),
                    ("unknown", 9000, 0),
                )
            ],
        )
        connection.execute(
            insert(t.notifications).values(
                key="k",
                type="alert",
                project_id=day.project,
                target="channel:x",
                channel="x",
                thread="t",
                data={},
                status="sent",
                created_at=day.at(),
                not_before=day.at(),
                sent_at=day.at(1),
            )
        )
    count(day)
    found = {r["slot"]: (r["expected"], r["ok"], r["missed"]) for r in rows(day, "monitor_stats")}
    assert found == {day.at(): (1, 1, 0), day.at(3600): (1, 0, 1), day.at(6300): (1, 1, 0)}
    (message,) = rows(day, "notification_stats")
    assert (message["kind"], message["status"], message["count"], sum(message["seconds"].values())) == (
        "alert",
        "sent",
        1,
        1,
    )
    assert {(r["move"], r["environment"]) for r in rows(day, "release_moves")} >= {
        ("finalised", ""),
        ("deployed", "production"),
    }
    before = rows(day, "notification_stats"), rows(day, "release_moves")
    with state.write() as connection:
        connection.execute(t.notifications.delete())
        connection.execute(t.deploys.delete())
    count(day)
    assert (rows(day, "notification_stats"), rows(day, "release_moves")) == before, "counted again from less"


def test_looks_that_are_forgotten_stay_counted(alone: Day) -> None:
    day, state, c = alone, alone.stores.state, t.monitor_check_ins.c
    with state.write() as connection:
        number = connection.execute(
            insert(t.monitors)
            .values(
                project_id=day.project,
                slug="up",
                type="uptime",
                name="",
                config={"interval_seconds": 60},
                source="file",
                created_at=day.at(),
                updated_at=day.at(),
            )
            .returning(t.monitors.c.id)
        ).scalar_one()
        of = connection.execute(
            insert(t.monitor_environments)
            .values(monitor_id=number, environment="", status="ok", data={})
            .returning(t.monitor_environments.c.id)
        ).scalar_one()
        looks = [
            {"environment_id": of, "status": "ok", "started_at": day.at(60 * n), "duration_s": 0.1}
            for n in range(60)
        ]
        connection.execute(insert(t.monitor_check_ins), looks)
        connection.execute(
            insert(t.incidents).values(
                project_id=day.project,
                kind="uptime",
                environment_id=of,
                reason="down",
                detail="",
                opened_at=day.at(600),
                closed_at=day.at(1200),
            )
        )
    count(day)
    before = rows(day, "monitor_stats")
    assert [r["expected"] for r in before] == [15, 15, 15, 15, 0], "the last look tells of the time behind it"
    assert sum(r["down_seconds"] for r in before) == 600
    assert sum(r["observed_seconds"] for r in before) == 3660
    with state.write() as connection:
        connection.execute(t.monitor_check_ins.delete().where(c.started_at < day.at(1000)))
    count(day)
    assert rows(day, "monitor_stats") == before


# ── one definition


def test_all_that_count_the_same_say_the_same(alone: Day) -> None:
    """Figures, the lake, counters of groups as lists show them, and what alert rules count."""
    day = alone
    sent = [event("ABC"[n % 3], user={"id": str(n % 5)}, environment="prod") for n in range(30)]
    day.spool(*(day.receipt(each, seconds=200 * n) for n, each in enumerate(sent)))
    day.drain()
    count(day)
    figures = {r["group_id"]: r for r in rows(day, "group_stats")}
    shown = {g["id"]: g for g in list_groups(day.stores.state, day.stores.slugs, project_id=day.project)}
    assert {g: (f["events"], f["user_count"]) for g, f in figures.items()} == {
        g: (row["times_seen"], row["users"]) for g, row in shown.items()
    }
    since, until = day.at(900), day.at(3600)
    in_span = [r for r in rows(day, "event_stats") if since <= r["slot"] < until]
    assert sum(r["events"] for r in in_span) == error_count(day.stores, day.project, since, until, "prod")
    windows = events_in_window(day.stores, day.project, since, until)
    slots = range(49, 52)
    assert {g: w.count for g, w in windows.items()} == {
        g: sum(n for slot, n in f["slots"].items() if slot in slots) for g, f in figures.items()
    }
    assert {g: w.users for g, w in windows.items()} == {
        g: sum(any(s in slots for s in of_user) for of_user in f["users"].values())
        for g, f in figures.items()
    }


_PEOPLE = st.sampled_from([None, "1", "2", "3", "4"])
_SENT = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(-43_200, 43_199), st.sampled_from("ABC"), _PEOPLE,
        st.sampled_from([None, "s@1", "s@2"]), st.sampled_from([None, "prod"]), st.sampled_from(["error", "fatal"]),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=_SENT)
def test_tables_add_up_to_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home], sent: list[Any]
) -> None:
    """Counted naively beside: events by slot, distinct users of any span of slots and days."""
    with open_stores(new_home(tmp_path_factory.mktemp("figures"))) as stores:
        days = [Day(stores, date(2020, 1, 1) + timedelta(days=n), 1) for n in range(3)]
        for number, seconds, problem, user, release, environment, level in sent:
            fields = {
                "user": {"id": user} if user else None,
                "release": release,
                "environment": environment,
                "level": level,
            }
            given_fields = {name: value for name, value in fields.items() if value is not None}
            days[number].spool(days[number].receipt(event(problem, **given_fields), seconds=seconds))
        for each in days:
            each.drain()
        compute_statistics(stores, [each.date for each in days], days[2].at() + LATER)
        naive: dict[Any, int] = Counter()
        users: dict[Any, set[str]] = defaultdict(set)
        for number, seconds, _problem, user, release, environment, level in sent:
            slot = (43_200 + seconds) // 900
            naive[number, slot, release or "", environment or "", level] += 1
            if user:
                users[number, slot].add(user)
        counted = {
            (
                n,
                (r["slot"] - each.at(-43_200)) // timedelta(minutes=15),
                r["release"],
                r["environment"],
                r["level"],
            ): r["events"]
            for n, each in enumerate(days)
            for r in rows(each, "event_stats")
        }
        assert counted == naive
        found: dict[Any, set[int]] = defaultdict(set)
        for n, each in enumerate(days):
            for row in rows(each, "event_users"):
                for slot in row["slots"]:
                    found[n, slot].add(row["user_hash"])
            assert_proved(each)
        assert {key: len(hashes) for key, hashes in found.items()} == {
            key: len(people) for key, people in users.items()
        }
        everybody = {user for people in users.values() for user in people}
        assert users_of(stores, [each.date for each in days])[0] == len(everybody)

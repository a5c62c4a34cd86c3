"""What reports say, by figures that are counted once more in Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.home import Home
from tasks_pipeline.reports.content.balance import balance_of, read_log
from tasks_pipeline.reports.content.groups import read_lists
from tasks_pipeline.reports.content.spans import Bounds
from tasks_pipeline.reports.generate import generate_analytics_report
from tasks_pipeline.reports.periods import Period, period_of
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.scopes import ScopeError, organisation
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores, open_stores
from tests.support.events import event, receipt
from tests.support.figure_rows import Error, Facts, Move, Timed, write_figures
from tests.support.health_rows import Seen, write_health
from tests.support.release_cases import cases

NOW = datetime(2026, 12, 20, tzinfo=UTC)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CONFIG = """
members: [{email: anna@acme.example}]
teams: [{slug: web, projects: [shop]}, {slug: ops}]
projects:
  - {id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk, quotas: [{category: error, limit: 100, window_seconds: 3600}]}]}
  - {id: 2, slug: site, timezone: Asia/Kolkata, keys: [{public_key: llllllllllllllllllllllllllllllll}]}
"""


def made(home: Home) -> Iterator[Stores]:
    home.config_path.write_text(CONFIG)
    with open_stores(home) as stores:
        yield stores


@pytest.fixture
def stores(home: Home) -> Iterator[Stores]:
    yield from made(home)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Stores]:
    yield from made(new_home(tmp_path_factory.mktemp("reports")))


def week(zone: str = "UTC", key: date = date(2026, 11, 16)) -> Period:
    return period_of("week", key, zone)


def report(stores: Stores, period: Period | None = None, scope: str = "organisation", **more: Any) -> Report:
    return generate_analytics_report(stores, period or week(), scope, NOW, **more)


def days_of(facts: Facts) -> set[date]:
    return {each.at.date() for each in (*facts.errors, *facts.moves, *facts.timed)}


def write(stores: Stores, facts: Facts) -> None:
    write_figures(stores, facts, days_of(facts), now=NOW)


def put_groups(stores: Stores, *numbers: int, project: int = 1) -> None:
    rows = [
        {
            "id": n, "project_id": project, "short_id": n, "title": f"Error {n}", "culprit": "shop.pay", "level": "error",
            "platform": "python", "type": "error", "metadata": {}, "algorithm": "a", "created_at": MONDAY,
        }
        for n in numbers
    ]  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(groups.insert(), rows)


# ── the cases


def moves_of(case: dict[str, Any]) -> list[Move]:
    """A case about groups as moves, as the log tells them."""
    after = {"resolve": "resolved", "ignore": "ignored", "regress": "regressed", "merge": "merged"}
    numbers = {group["id"]: n for n, group in enumerate(case["groups"], start=1)}
    moves = [
        Move(datetime.fromisoformat(g["created_at"]), numbers[g["id"]], "created", "unresolved")
        for g in case["groups"]
    ]
    status = dict.fromkeys(numbers.values(), "unresolved")
    for action in sorted(case["actions"], key=lambda a: a["at"]):
        group = numbers[action["group"]]
        status[group] = after.get(
            action["action"], "unresolved" if action["action"][:2] == "un" else status[group]
        )
        moves.append(
            Move(datetime.fromisoformat(action["at"]), group, action["action"], status[group], action["by"])
        )
    return moves


@cases("figures", "groups")
def test_balance_of_cases(case: dict[str, Any], stores: Stores) -> None:
    write(stores, Facts(moves=moves_of(case)))
    span = Bounds(*(datetime.fromisoformat(case[end]) for end in ("start", "end")))
    found = balance_of(read_log(stores.lake, span))
    expected = dict(case["expect"])
    for part in ("first_response", "resolution"):
        told = getattr(found, part)
        for name, value in expected.pop(part).items():
            assert getattr(told, name) == value, (part, name)
    assert {name: getattr(found, name) for name in expected} == expected


# ── worked examples


HOURLY = [
    ("day", "Europe/Berlin", "2026-10-24", 24), ("day", "Europe/Berlin", "2026-10-25", 25), ("day", "Europe/Berlin", "2026-10-26", 24),
    ("week", "Europe/Berlin", "2026-10-19", 169), ("week", "Europe/Berlin", "2026-10-26", 168), ("week", "America/New_York", "2026-10-26", 169),
    ("week", "UTC", "2026-10-19", 168), ("month", "Asia/Kolkata", "2026-11-01", 720), ("day", "Australia/Lord_Howe", "2026-10-04", 24),
    ("month", "Europe/Berlin", "2026-10-01", 745),
]  # fmt: skip


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Stores]:
    """One event at minute 30 of every UTC hour, of one user and group; nothing else."""
    for stores in made(new_home(tmp_path_factory.mktemp("hourly"))):
        first = datetime(2026, 8, 31, 0, 30, tzinfo=UTC)
        errors = [Error(first + n * HOUR, user=7) for n in range(24 * 93)]
        facts = Facts(errors, [Move(first, 1, "created", "unresolved")])
        write(stores, facts)
        put_groups(stores, 1)
        yield stores


@pytest.mark.parametrize(("kind", "zone", "key", "events"), HOURLY)
def test_an_event_an_hour(hourly: Stores, kind: Any, zone: str, key: str, events: int) -> None:
    found = report(hourly, period_of(kind, date.fromisoformat(key), zone))
    assert found.figures["errors"] == sum(found.series.errors) == found.books.stored == events
    assert found.figures["users"] == 1
    assert found.groups.top[0].events == events
    change = found.changes["errors"]
    if zone != "Australia/Lord_Howe":  # its 24 events of 23.5 hours are more an hour
        assert change.text == "0 %"
    if kind != "month":
        assert change.baseline == pytest.approx(events, rel=0.03)
    assert found.groups.balance.open_at_start == found.groups.balance.open_at_end == 1


def test_series_are_of_local_hours_and_days(hourly: Stores) -> None:
    day = report(hourly, period_of("day", date(2026, 10, 25), "Europe/Berlin"))
    assert len(day.series.errors) == 25
    assert day.series.starts[0] == day.start
    assert len(day.series.before) == 24
    half = report(hourly, period_of("day", date(2026, 11, 10), "Asia/Kolkata")).series
    assert half.errors == [1] * 24
    assert half.starts[1] - half.starts[0] == HOUR
    assert report(hourly, week("Europe/Berlin", date(2026, 10, 19))).series.errors == [24] * 6 + [25]


def test_users_are_distinct_over_the_period_and_cut_to_its_slots(stores: Stores) -> None:
    end = MONDAY + 7 * DAY
    errors = [
        Error(MONDAY, user=1), Error(MONDAY + DAY, user=1), Error(MONDAY + 2 * DAY, user=2),
        Error(MONDAY - HOUR, user=3), Error(end - HOUR, user=4), Error(end, user=5), Error(MONDAY, user=1, project=2),
    ]  # fmt: skip
    write(stores, Facts(errors))
    assert report(stores).figures["users"] == 4
    berlin = report(stores, week("Europe/Berlin"))
    assert (berlin.figures["users"], berlin.figures["errors"]) == (4, 5)
    assert berlin.start == MONDAY - HOUR
    by_project = {row.project: row.figures["users"] for row in report(stores).projects}
    assert by_project == {"shop": 3, "site": 1}


def test_lists_of_groups(stores: Stores) -> None:
    put_groups(stores, *range(1, 32))
    write(
        stores,
        Facts(
            [
                *(Error(MONDAY + HOUR, group=1, user=1) for _ in range(40)),
                *(Error(MONDAY + HOUR, group=2, user=n) for n in range(20)),
                *(Error(MONDAY + HOUR, group=3) for _ in range(3)),
                *(Error(MONDAY + HOUR, group=n) for n in range(5, 30)),
                *(Error(MONDAY - DAY, group=1) for _ in range(10)),
                *(Error(MONDAY + HOUR, group=n) for n in (30, 31) for _ in range(9)),
            ],
            [
                *(Move(MONDAY - 9 * DAY, n, "created", "unresolved") for n in (1, 2, 4)),
                Move(MONDAY + HOUR, 3, "created", "unresolved"),
                Move(MONDAY - DAY, 4, "resolve", "resolved", "person"),
                Move(MONDAY + 2 * HOUR, 4, "regress", "regressed"),
                Move(MONDAY + 3 * HOUR, 2, "assign", "unresolved", "person", assignee="team:ops"),
                *(Move(MONDAY - 9 * DAY, n, "created", "unresolved") for n in (30, 31)),
                Move(MONDAY - 8 * DAY, 30, "ignore", "ignored", "person"),
                Move(MONDAY - 8 * DAY, 31, "resolve", "resolved", "person"),
            ],
        ),
    )
    found = report(stores).groups
    most = [(row.id, row.events, row.before) for row in found.top[:5]]
    assert most == [(1, 40, 10), (2, 20, 0), (30, 9, 0), (31, 9, 0), (3, 3, 0)]
    assert len(found.top) == 10
    assert [row.id for row in found.top[5:]] == list(range(5, 10))  # ties by the number of the group
    assert (found.top[1].short_id, found.top[1].title, found.top[1].assignee) == (
        "SHOP-2",
        "Error 2",
        "team:ops",
    )
    assert [(row.id, row.users) for row in found.top_by_users] == [(2, 20), (1, 1)]
    assert [row.id for row in found.new] == [3]
    assert [row.id for row in found.returning] == [4]
    # 2, 30 and 31 are loud too, but somebody took, ignored or resolved them
    assert [row.id for row in found.noisy] == [1]
    assert len(report(stores, period_of("day", MONDAY.date(), "UTC")).groups.top) == 5
    assigned = report(stores, scope="team:ops")
    assert [row.id for row in assigned.groups.top] == [2]
    assert assigned.groups.balance.open_at_end == 1
    assert [(row.assignee, row.open) for row in assigned.groups.by_assignee] == [("team:ops", 1)]
    assert report(stores, scope="team:web").figures["errors"] == report(stores).figures["errors"]


def test_ages_of_open_groups(stores: Stores) -> None:
    end = MONDAY + 7 * DAY
    at = {1: 0.5, 2: 1, 3: 6.9, 4: 7, 5: 89, 6: 90, 7: 400}
    moves = [Move(end - n * DAY, group, "created", "unresolved") for group, n in at.items()]
    moves.append(Move(end - 60 * DAY, 7, "resolve", "resolved", "person"))
    moves.append(Move(end - 50 * DAY, 7, "unresolve", "unresolved", "person"))
    write(stores, Facts(moves=moves))
    assert report(stores).groups.open_ages == {0: 1, 1: 2, 7: 1, 30: 2, 90: 1}


def test_transactions(stores: Stores) -> None:
    durations = [100.0, 200, 300, 301, 900, 1200, 1201, 50, 5000, 250]
    timed = [Timed(MONDAY + HOUR, ms, failed=n in (4, 7)) for n, ms in enumerate(durations)]
    timed += [Timed(MONDAY + HOUR, 10, "quick", project=2) for _ in range(60)]
    timed += [Timed(MONDAY + HOUR, 40, "slow", failed=n < 6, project=2) for n in range(50)]
    timed += [Timed(MONDAY - HOUR, 10, "slow", project=2) for _ in range(50)]
    grown = {
        "tiny": (2, 8),
        "hardly": (1000, 1050),
        "more": (1000, 1200),
    }  # by too few ms, by too small a share, by enough
    for name, (before, after) in grown.items():
        timed += [
            Timed(at, ms, name, project=2)
            for at, ms in ((MONDAY - HOUR, before), (MONDAY, after))
            for _ in range(50)
        ]
    write(stores, Facts(timed=timed))
    shop = report(stores, scope="project:shop").transactions
    assert (shop.count, shop.apdex, shop.failure_rate) == (10, 0.65, 0.2)
    assert (shop.p50_ms, shop.p75_ms, shop.p95_ms) == pytest.approx((300, 1200, 5000), rel=0.0101)
    assert shop.slowest == []  # a name that came ten times says nothing
    found = report(stores).transactions
    assert [row.name for row in found.growing] == ["slow", "more"]
    slow, quick = (next(row for row in found.slowest if row.name == name) for name in ("slow", "quick"))
    assert (slow.name, quick.name, slow.failure_rate) == ("slow", "quick", 0.12)
    assert slow.growth == pytest.approx(3, rel=0.05)
    assert quick.growth is None
    assert [row.name for row in found.heaviest] == ["more", "hardly", "slow", "quick", "tiny"]
    assert report(stores, scope="team:ops").transactions.count == 0


def test_keys_and_books(stores: Stores) -> None:
    at = MONDAY + HOUR
    facts = Facts([Error(at) for _ in range(60)])
    facts.outcomes += [
        (at, "error", "rate_limited", 40), (at + HOUR, "error", "rate_limited", 2), (at, "error", "filtered", 5),
        (at, "error", "duplicate", 1), (at, "attachment", "client_discard", 3),
    ]  # fmt: skip
    write_figures(stores, facts, [MONDAY.date()], now=NOW)
    found = report(stores)
    key = next(row for row in found.keys if row.category == "error")
    assert (key.accepted, key.refused, key.refused_hours, key.share) == (66, 42, 2, 0.66)
    assert next(row for row in found.keys if row.category == "attachment").dropped_by_clients == 3
    assert (found.books.accepted, found.books.stored, found.books.gone, found.books.balanced) == (
        66,
        60,
        0,
        True,
    )
    assert found.books.outcomes["error"]["rate_limited"] == 42


def test_crash_free_sessions_and_their_change(stores: Stores) -> None:
    seen = [
        Seen(MONDAY + HOUR, "shop@1", sessions=190, user=1), Seen(MONDAY + HOUR, "shop@1", state="crashed", sessions=10, user=2),
        Seen(MONDAY - HOUR, "shop@1", sessions=200, user=1),
    ]  # fmt: skip
    write_health(stores.state, stores.lake, seen)
    write(stores, Facts([Error(MONDAY - HOUR), Error(MONDAY)]))
    found = report(stores)
    assert found.figures["crash_free_sessions"] == 0.95
    assert found.figures["crash_free_users"] == 0.5
    assert found.changes["crash_free_sessions"].text == "-5.00 points"
    assert found.changes["crash_free_users"].text.startswith("too few to tell")
    (row,) = found.releases.rows
    assert (row.version, row.sessions, row.crash_free_sessions, row.adoption) == ("shop@1", 200, 0.95, 1)


def test_a_period_that_goes_on_is_compared_with_nothing(stores: Stores) -> None:
    write(stores, Facts([Error(MONDAY - HOUR), Error(MONDAY)]))
    found = generate_analytics_report(stores, week(), "organisation", MONDAY + DAY)
    assert (found.running, found.final, found.changes, found.revision) == (True, False, {}, 0)
    assert found.figures["errors"] == 1


def test_before_the_first_event_there_are_no_data(stores: Stores) -> None:
    write(stores, Facts([Error(MONDAY + HOUR)]))
    found = report(stores)
    assert found.previous is None
    assert found.changes["errors"].text == "no data yet"
    early = report(stores, week("UTC", date(2026, 11, 2)))
    assert early.is_empty
    assert early.figures == {"errors": 0, "users": 0, "new_groups": 0, "open_groups": 0}
    empty = report(stores, period_of("day", date(2011, 12, 30), "Pacific/Apia"))
    assert empty.hours == 0


def test_scopes(stores: Stores) -> None:
    write(stores, Facts([Error(MONDAY), Error(MONDAY, project=2), Error(MONDAY, project=9)]))
    assert report(stores).figures["errors"] == 3  # also of a project that is not configured any more
    assert report(stores, projects=["site"]).figures["errors"] == 1
    assert report(stores, projects=[]).is_empty
    assert {row.project for row in report(stores).projects} == {"shop", "site", "9"}
    for name in ("project:nine", "team:none", "everybody"):
        with pytest.raises(ScopeError):
            report(stores, scope=name)


# ── the same by another way

STATES = ("unresolved", "resolved", "ignored", "regressed")
minutes = st.integers(0, 9 * 24 * 60 - 1)
events = st.lists(
    st.tuples(minutes, st.integers(1, 4), st.none() | st.integers(1, 6), st.integers(1, 2)), max_size=60
)
moved = st.lists(st.tuples(minutes, st.integers(1, 4), st.sampled_from(STATES)), max_size=25)
periods = st.tuples(
    st.sampled_from(["day", "week"]),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]),
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, moved, periods, st.data())
def test_counted_once_more(shared: Stores, found: Any, moved: Any, which: Any, data: Any) -> None:
    first = MONDAY - DAY
    kind, zone = which
    key = date(2026, 11, 16) + timedelta(days=data.draw(st.integers(0, 5)) if kind == "day" else 0)
    period = period_of(kind, key, zone)
    errors = [
        Error(first + timedelta(minutes=m), group * 10 + project, user, project)
        for m, group, user, project in found
    ]
    created = [Move(first, group, "created", "unresolved") for group in sorted({g for _, g, _ in moved})]
    moves = created + [Move(first + timedelta(minutes=m + 1), g, "set", status) for m, g, status in moved]
    write_figures(shared, Facts(errors, moves), [first.date() + n * DAY for n in range(10)], now=NOW)
    told = generate_analytics_report(shared, period, "organisation", NOW)
    inside = [e for e in errors if period.start <= e.at < period.end]
    assert told.figures["errors"] == len(inside) == sum(told.series.errors)
    assert told.figures["users"] == len({(e.project, e.user) for e in inside if e.user is not None})
    b = told.groups.balance
    assert (b.open_at_start, b.open_at_end) == tuple(open_at(moves, at) for at in (period.start, period.end))
    assert b.open_at_start + b.entered - b.left == b.open_at_end == told.figures["open_groups"]
    events = Counter(e.group for e in inside)
    assert [(row["group_id"], row["events"]) for row in listed(shared, period)] == sorted(
        events.items(), key=lambda each: (-each[1], each[0])
    )


def listed(stores: Stores, period: Period) -> list[dict[str, Any]]:
    lists = read_lists(stores.lake, stores.state, Bounds(period.start, period.end), None)
    return lists.of(organisation(stores.config))["top"]


def open_at(moves: list[Move], at: datetime) -> int:
    status = {m.group: m.status for m in sorted(moves, key=lambda m: m.at) if m.at < at}
    return sum(each in ("unresolved", "regressed") for each in status.values())


def test_check_ins_are_those_that_were_received(stores: Stores) -> None:
    """What was expected and did not come is told of each monitor, beside them."""
    facts = Facts(
        [Error(MONDAY)], outcomes=[(MONDAY, "monitor", "stored", 4), (MONDAY, "monitor", "invalid", 2)]
    )
    place = {"day": MONDAY.date(), "slot": MONDAY, "project_id": 1, "monitor": "backup", "kind": "cron"}
    counts = {
        "expected": 9,
        "ok": 3,
        "error": 1,
        "missed": 5,
        "timed_out": 0,
        "down_seconds": 0,
        "observed_seconds": 0,
    }
    facts.rows["monitor_stats"] = [{**place, "environment": "production", **counts, "durations": []}]
    write_figures(stores, facts, [MONDAY.date()], now=NOW)
    found = report(stores)
    assert (found.figures["check_ins"], found.monitors.rows[0].expected) == (4, 9)


def test_what_came_after_the_end_is_not_missing(stores: Stores) -> None:
    """The last UTC day of a week in Kolkata goes on for five and a half hours, with envelopes under way all the time."""
    kolkata = week("Asia/Kolkata")
    write(stores, Facts([Error(MONDAY)]))
    with closing(stores.spool.writer()) as writer:
        writer.append([receipt(kolkata.end + HOUR, 1, event("Later"))])
        assert generate_analytics_report(stores, kolkata, "organisation", NOW).incomplete == 0
        writer.append([receipt(kolkata.end - 20 * HOUR, 1, event("Before"))])
        assert generate_analytics_report(stores, kolkata, "organisation", NOW).incomplete > 0

"""Reports as they are stored: one content per revision, whatever is computed again, changed, killed or done twice at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from tasks_pipeline.analytics.statistics.days import put_version, versions_of
from tasks_pipeline.cli import main
from tasks_pipeline.commands.reports import backfill
from tasks_pipeline.config import parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.reports.compute import Computing, FiguresGone
from tasks_pipeline.reports.compute import Result as Computed
from tasks_pipeline.reports.due import OVERLAP, Due, reports_due
from tasks_pipeline.reports.generate import Generator
from tasks_pipeline.reports.many import compute_reports
from tasks_pipeline.reports.periods import Period, period_of
from tasks_pipeline.reports.proofs import stored_reports, too_early, unbalanced, unequal_sums
from tasks_pipeline.reports.rendering.words import state_words
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.revisions import told
from tasks_pipeline.reports.scopes import Scope, scope_named
from tasks_pipeline.reports.store import ReportMissing, list_reports, read_report, revisions_of
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.proofs import note_check, of_day
from tasks_pipeline.storage.state.tables import (
    day_changes,
    groups,
    health_days,
    report_deliveries,
    report_revisions,
    reports,
    statistics_days,
)
from tasks_pipeline.stores import Stores, open_stores
from tests.support.events import event, receipt
from tests.support.figure_rows import Error, Facts, Move, write_figures
from tests.support.plans import recorded, scans

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = MONDAY + 7 * DAY
NOW = END + 2 * HOUR
CONFIG = """
projects:
  - {id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk}]}
"""
WEEK = period_of("week", MONDAY.date(), "UTC")
DAYS = [MONDAY.date() + n * DAY for n in range(-1, 8)]


@pytest.fixture
def stores(home: Home) -> Iterator[Stores]:
    home.config_path.write_text(CONFIG)
    with open_stores(home) as stores:
        yield stores


@pytest.fixture
def facts(stores: Stores) -> Facts:
    """An event a day of one group, with the figures of all days computed when the week had ended."""
    facts = Facts(
        [Error(MONDAY + n * DAY + HOUR, user=n) for n in range(7)], [Move(MONDAY, 1, "created", "unresolved")]
    )
    write_figures(stores, facts, DAYS, now=END + HOUR)
    row = {
        "id": 1, "project_id": 1, "short_id": 900, "title": "<script>=HYPERLINK(", "culprit": "", "level": "error",
        "platform": "python", "type": "error", "metadata": {}, "algorithm": "a", "created_at": MONDAY,
    }  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(groups.insert().values(**row))
    return facts


def receive(stores: Stores, at: datetime = MONDAY) -> None:
    """An envelope, which waits: reports are of the time since the first one."""
    with closing(stores.spool.writer()) as writer:
        writer.append([receipt(at, 1, event("First"))])


def compute(
    stores: Stores, now: datetime = NOW, period: Period = WEEK, scope: str = "organisation"
) -> Computed:
    with closing(Computing(stores, now)) as computing:
        return computing.compute(period, scope_named(stores.config, scope))


def change(stores: Stores, facts: Facts, *errors: Error, now: datetime, cause: str = "reprocessed") -> None:
    facts.errors += errors
    write_figures(stores, facts, {e.at.date() for e in errors}, now=now, cause=cause)


def rows(stores: Stores) -> list[Any]:
    with stores.state.read() as connection:
        return list(connection.execute(select(report_revisions).order_by(report_revisions.c.revision)))


def run(stores: Stores, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(stores.home.root), *words])


def test_the_same_figures_change_nothing(stores: Stores, facts: Facts) -> None:
    first = compute(stores)
    assert (first.revision, first.is_new, first.report.figures["errors"]) == (1, True, 7)
    (row,) = rows(stores)
    again = compute(stores, NOW + HOUR)
    assert (again.revision, again.is_new, again.files) == (1, False, first.files)
    assert rows(stores) == [row]
    assert read_report(stores, "week", WEEK.key, "organisation") == first.report
    found = list(stored_reports(stores, "week", WEEK.key))
    assert unequal_sums(stores, found) + unbalanced(found) + too_early(stores, found, NOW) == []


def test_other_figures_make_a_revision_that_says_what_and_why(stores: Stores, facts: Facts) -> None:
    compute(stores)
    change(stores, facts, Error(MONDAY + 2 * DAY, user=77), now=NOW + HOUR)
    second = compute(stores, NOW + 2 * HOUR)
    assert (second.revision, second.report.revision) == (2, 2)
    assert second.changes[0] == {"figure": "errors", "before": 7, "after": 8, "cause": "late symbols"}
    assert {row["figure"] for row in second.changes} == {
        "errors",
        "users",
        "items",
    }  # no section that says the same
    assert [r["changes"] for r in revisions_of(stores, "week", WEEK.key, "organisation")] == [
        [],
        second.changes,
    ]
    assert read_report(stores, "week", WEEK.key, "organisation", 1).figures["errors"] == 7
    following = compute(stores, NOW + 8 * DAY, WEEK.next())
    assert following.report.revised == [
        "errors 7 → 8, users affected 7 → 8, items received 7 → 8 (late symbols)"
    ]
    shown = run(stores, "reports", "show", "week", "2026-W47").output
    assert "errors 7 → 8, users affected 7 → 8, items received 7 → 8 (late symbols)" in shown
    assert "<script>=HYPERLINK(" in shown
    assert (
        "the newest are 1, 2" in run(stores, "reports", "show", "week", "2026-W47", "--revision", "9").output
    )


def test_what_is_called_otherwise_now_is_no_other_report(stores: Stores, facts: Facts) -> None:
    compute(stores)
    with stores.state.write() as connection:
        connection.execute(update(groups).values(title="renamed"))
    again = compute(stores, NOW + HOUR)
    assert not again.is_new
    assert read_report(stores, "week", WEEK.key, "organisation").groups.top[0].title == "renamed"


def test_of_two_at_once_one_wins(stores: Stores, facts: Facts) -> None:
    """The other computes again, and finds nothing changed."""
    with closing(Computing(stores, NOW)) as one:
        made = one.generator.report
        scope = scope_named(stores.config, "organisation")

        def meanwhile(*given: Any) -> Any:
            one.generator.report = made  # type: ignore[method-assign]
            report = made(*given)
            assert compute(stores).revision == 1
            return report

        one.generator.report = meanwhile  # type: ignore[method-assign]
        late = one.compute(WEEK, scope)
        change(stores, facts, Error(MONDAY + DAY), now=NOW + HOUR)
    assert (late.revision, late.is_new) == (1, False)
    assert len(rows(stores)) == 1
    with closing(Computing(stores, NOW + 2 * HOUR)) as one:
        made = one.generator.report

        def then(*given: Any) -> Any:
            one.generator.report = made  # type: ignore[method-assign]
            compute(stores, NOW + 2 * HOUR)
            return made(*given)

        one.generator.report = then  # type: ignore[method-assign]
        assert (one.compute(WEEK, scope).revision, len(rows(stores))) == (2, 2)


def test_figures_that_change_while_a_report_is_made_leave_it_to_be_made_again(
    stores: Stores, facts: Facts
) -> None:
    with closing(Computing(stores, NOW)) as computing:
        change(stores, facts, Error(MONDAY + DAY), now=NOW + HOUR)
        made = computing.compute(WEEK, scope_named(stores.config, "organisation"))
    assert made.report.figures["errors"] == 8  # read after the versions were noted
    with stores.state.read() as connection:
        newest = connection.execute(
            select(statistics_days.c.digest).where(statistics_days.c.day == MONDAY.date() + DAY)
            .order_by(statistics_days.c.version.desc())
        ).scalars().first()  # fmt: skip
    assert rows(stores)[0].inputs["2026-11-17"]["digest"] != newest
    receive(stores)
    assert due(stores, NOW + 2 * HOUR).stale == {"week": [WEEK.key]}
    assert compute(stores, NOW + 2 * HOUR).is_new is False
    assert due(stores, NOW + 2 * HOUR).stale == {}


def test_killed_before_its_row_a_report_leaves_the_former_one(
    stores: Stores, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(stores)
    change(stores, facts, Error(MONDAY + DAY), now=NOW + HOUR)
    with monkeypatch.context() as patched:
        patched.setattr("tasks_pipeline.reports.compute._claim", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compute(stores, NOW + 2 * HOUR)
    assert read_report(stores, "week", WEEK.key, "organisation").figures["errors"] == 7
    assert compute(stores, NOW + 3 * HOUR).revision == 2


def test_a_report_is_never_computed_from_less(stores: Stores, facts: Facts) -> None:
    compute(stores)
    with stores.state.write() as connection:
        connection.execute(statistics_days.delete().where(statistics_days.c.day == MONDAY.date()))
    with pytest.raises(FiguresGone, match=r"2026-11-16 are beyond retention\.analytics_days"):
        compute(stores, NOW + HOUR)
    assert read_report(stores, "week", WEEK.key, "organisation").revision == 1
    receive(stores)
    result = run(stores, "backfill", "--report", "week", "--from", "2026-11-16", "--to", "2026-11-16")
    assert result.exit_code == 1
    assert "stays at revision 1" in result.output


def test_a_period_that_goes_on_has_no_report(stores: Stores, facts: Facts) -> None:
    with pytest.raises(ValueError, match="goes on until 2026-11-23 00:00 UTC"):
        compute(stores, END - HOUR)
    receive(stores)
    with pytest.raises(ReportMissing, match="reports preview week"):
        read_report(stores, "week", WEEK.key, "organisation")


# ── when they are due


def due(stores: Stores, now: datetime, since: datetime | None = None) -> Due:
    return reports_due(stores.state, stores.spool, stores.config, now, since)


def settle(stores: Stores, *days: date, computed: int = 1) -> None:
    """Note that something came on these days, and how much of it the figures have."""
    with stores.state.write() as connection:
        note_day_changes(stores.state, connection, days, "batch", NOW)
        connection.execute(update(day_changes).values(computed=computed))


def test_what_is_due_and_what_it_waits_for(stores: Stores, facts: Facts) -> None:
    assert due(stores, NOW).fresh == {}  # nothing was ever received
    receive(stores, END - HOUR)
    last = END.date() - DAY
    waiting = due(stores, NOW)
    assert waiting.fresh == {}
    assert "weekly 2026-W47 in UTC: 1 envelope received before its end waits" in waiting.waits
    assert due(stores, END + 7 * HOUR).fresh == {
        "day": [last],
        "week": [WEEK.key],
    }  # it is late; and says what is missing
    late = compute(stores, END + 7 * HOUR)
    assert (late.report.incomplete, late.report.final) == (1, False)

    from tasks_pipeline.processing.drain import drain

    drain(stores, last, linger_seconds=0)
    settle(stores, last, computed=0)
    lacks = f"in UTC: the figures of {last} are not computed as of its end"
    assert sorted(due(stores, NOW).waits) == [f"daily {last} {lacks}", f"weekly 2026-W47 {lacks}"]
    change(stores, facts, Error(END - HOUR), now=NOW, cause="batch")
    settle(stores, last, computed=99)
    found = due(stores, NOW)
    assert (found.fresh, found.waits) == ({"day": [last], "week": [WEEK.key]}, [])
    compute(stores, NOW, period_of("day", last, "UTC"))
    compute(stores, NOW, period_of("day", last, "UTC"), scope="project:shop")
    compute(stores, NOW, scope="project:shop")
    assert due(stores, NOW, NOW).fresh == {}
    assert due(stores, NOW, NOW).next_end == END + DAY


def test_reports_of_changed_days_are_stale_and_no_others(stores: Stores, facts: Facts) -> None:
    receive(stores)
    tuesday = period_of("day", MONDAY.date() + DAY, "UTC")
    for period in (WEEK, tuesday, tuesday.next(), period_of("month", date(2026, 10, 1), "UTC")):
        for scope in ("organisation", "project:shop"):
            compute(stores, NOW, period, scope)
    seen = due(stores, NOW).seen
    assert seen == NOW - OVERLAP
    assert due(stores, NOW, seen).stale == {}
    change(stores, facts, Error(MONDAY + DAY), now=NOW + HOUR, cause="regrouped")
    found = due(stores, NOW + 2 * HOUR, seen)
    assert found.stale == {"day": [tuesday.key], "week": [WEEK.key]}
    assert found.seen == seen  # not before all are computed
    compute(stores, NOW + 2 * HOUR)
    assert found.stale == due(stores, NOW + 3 * HOUR, seen).stale  # another of its reports is left
    compute(stores, NOW + 2 * HOUR, scope="project:shop")
    assert due(stores, NOW + 3 * HOUR, seen).stale == {"day": [tuesday.key]}


def test_figures_that_were_begun_before_a_report_and_came_after_it_make_it_stale(
    stores: Stores, facts: Facts
) -> None:
    receive(stores)
    compute(stores, NOW)
    seen = due(stores, NOW).seen
    change(stores, facts, Error(MONDAY + DAY), now=NOW - 5 * timedelta(minutes=1))
    assert due(stores, NOW + HOUR / 2, seen).stale == {"week": [WEEK.key]}


def test_reports_that_are_computed_no_more_are_not_stale(stores: Stores, facts: Facts) -> None:
    """Of a project that is gone, and of weeks that began on another day."""
    receive(stores)
    for scope in ("organisation", "project:shop"):
        compute(stores, NOW, scope=scope)
    change(stores, facts, Error(MONDAY + DAY), now=NOW + HOUR)
    compute(stores, NOW + 2 * HOUR)
    assert due(stores, NOW + 2 * HOUR).stale == {"week": [WEEK.key]}
    for others in (
        CONFIG.replace("id: 1, slug: shop", "id: 2, slug: site"),
        f"{CONFIG}reports: {{week_starts: sunday}}",
    ):
        config = parse_config(others)
        assert reports_due(stores.state, stores.spool, config, NOW + 2 * HOUR).stale == {}


def test_a_cause_that_left_a_report_as_it_was_is_not_told_of_the_next_revision(
    stores: Stores, facts: Facts
) -> None:
    compute(stores)
    s = statistics_days
    with stores.state.write() as connection:
        day = connection.execute(s.select().where(s.c.day == MONDAY.date())).one()
        other = {**day._mapping, "version": 2, "digest": "f" * 64, "causes": ["facts"]}
        connection.execute(s.insert().values(**other))
    assert not compute(stores, NOW + HOUR).is_new
    change(stores, facts, Error(MONDAY + HOUR, user=77), now=NOW + 2 * HOUR, cause="reprocessed")
    assert {each["cause"] for each in compute(stores, NOW + 3 * HOUR).changes} == {"late symbols"}


def test_a_report_that_raises_costs_itself_alone(
    stores: Stores, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(stores)
    report = Generator.report

    def raising(self: Generator, period: Period, scope: Scope) -> Report:
        if period.key == MONDAY.date() and scope.name == "organisation":
            raise ZeroDivisionError("division by zero")
        return report(self, period, scope)

    monkeypatch.setattr(Generator, "report", raising)
    first, second = compute_reports(stores, "day", [MONDAY.date(), MONDAY.date() + DAY], NOW)
    assert first.failed == ["report day 2026-11-16 of organisation: ZeroDivisionError: division by zero"]
    assert [len(first.results), len(second.results), second.failed] == [1, 2, []]


def test_what_became_final_while_nobody_looked_is_put_right(stores: Stores, facts: Facts) -> None:
    receive(stores, MONDAY - DAY)
    row = {"day": END.date() - DAY, "changed_at": NOW, "changes": 1, "computed": 1, "computed_at": NOW}
    with stores.state.write() as connection:
        connection.execute(health_days.insert().values(**row))
    assert not compute(stores).report.final  # sessions of its days may still come
    restart = END + 60 * DAY
    assert due(stores, restart, NOW).stale == {"week": [WEEK.key]}
    assert due(stores, restart, restart - HOUR).stale == {}  # it was seen to
    assert due(stores, END + 500 * DAY, NOW).stale == {}  # its figures are beyond retention
    compute(stores, restart)
    assert rows(stores)[0].final
    assert due(stores, restart + HOUR, NOW).stale == {}


def test_a_day_that_is_closed_without_change_may_make_its_reports_final(stores: Stores, facts: Facts) -> None:
    receive(stores, MONDAY - DAY)
    last = END.date() - DAY
    s = statistics_days.c
    with stores.state.write() as connection:
        connection.execute(update(statistics_days).where(s.day == last).values(closed=False))
    for scope in ("project:shop", "organisation"):
        assert not compute(stores, scope=scope).report.final
    assert due(stores, NOW + 2 * HOUR, NOW).stale == {}
    with stores.state.write() as connection:
        known = versions_of(connection, [last])[last]
        closed = replace(known, closed=True, computed_at=NOW + HOUR, checked_at=NOW + HOUR)
        put_version(stores.state, connection, known, closed)
    assert due(stores, NOW + 2 * HOUR, NOW).stale == {"week": [WEEK.key]}
    for scope in ("project:shop", "organisation"):
        again = compute(stores, NOW + 2 * HOUR, scope=scope)
        assert (again.is_new, again.report.final) == (False, True)
    with stores.state.write() as connection:
        put_version(
            stores.state,
            connection,
            versions_of(connection, [last])[last],
            replace(closed, computed_at=NOW + DAY),
        )
    assert due(stores, NOW + 2 * DAY, NOW + 2 * HOUR).stale == {}


def fails(stores: Stores, said: str, now: datetime, check: str = "all_events_counted") -> None:
    """How a check of the figures of the first day came out."""
    with stores.state.write() as connection:
        note_check(stores.state, connection, of_day(MONDAY.date()), check, now, said)


def test_days_that_are_known_to_be_wrong_are_waited_for(stores: Stores, facts: Facts) -> None:
    receive(stores, MONDAY - DAY)
    fails(stores, "0 events in the tables, 1 stored", NOW)
    said = "the figures of 2026-11-16 (all_events_counted: 0 events in the tables, 1 stored)"
    found = due(stores, NOW)
    assert f"weekly 2026-W47 in UTC: wrong are {said}" in found.waits
    assert WEEK.key not in found.fresh["week"]

    late = END + 7 * HOUR  # it is computed all the same, and says so
    assert WEEK.key in due(stores, late).fresh["week"]
    compute(stores, late, scope="project:shop")
    made = compute(stores, late).report
    assert (made.final, made.pipeline.wrong_days) == (False, [MONDAY.date()])
    assert "Figures of 2026-11-16 do not hold" in " ".join(state_words(made))
    assert "week" not in due(stores, late + HOUR, late).stale

    fails(stores, "", late + HOUR)  # computed again, with the same digest: it had been right once
    assert due(stores, late + 2 * HOUR, late).stale["week"] == [WEEK.key]
    compute(stores, late + 2 * HOUR, scope="project:shop")
    again = compute(stores, late + 2 * HOUR)
    assert (again.is_new, again.report.final) == (False, True)
    assert due(stores, late + 3 * HOUR, late).stale == {}


def test_of_several_zones_only_what_is_due_is_computed(stores: Stores, facts: Facts) -> None:
    """The day of Kolkata ended hours before that of UTC, of which something waits."""
    india = (
        "{id: 2, slug: api, timezone: Asia/Kolkata, keys: [{public_key: llllllllllllllllllllllllllllllll}]}"
    )
    own = replace(stores, config=parse_config(f"{CONFIG}  - {india}\n"))
    receive(own, MONDAY + DAY - HOUR)
    now = MONDAY + DAY + HOUR
    (found,) = compute_reports(own, "day", [MONDAY.date()], now, only_due=True)
    assert [result.report.scope for _, result in found.results] == ["project:api"]
    waits = "daily 2026-11-16 in UTC: 1 envelope received before its end waits"
    assert found.left_out == [f"organisation: {waits}", f"project:shop: {waits}"]
    assert found.early == []
    (by_hand,) = compute_reports(own, "day", [MONDAY.date()], now)
    assert (len(by_hand.results), by_hand.left_out, by_hand.early) == (3, [], [waits])


def test_sections_without_figures_are_told_by_name() -> None:
    change_ = {"figure": "previous", "before": None, "after": None, "cause": "settings"}
    assert told([change_]) == ["the period before (settings)"]


def test_days_that_had_no_figures_are_not_called_late(stores: Stores, facts: Facts) -> None:
    tuesday = MONDAY.date() + DAY
    with stores.state.write() as connection:
        connection.execute(statistics_days.delete().where(statistics_days.c.day == tuesday))
    compute(stores)
    change(stores, facts, Error(MONDAY + DAY, user=77), now=NOW + HOUR, cause="batch")
    assert compute(stores, NOW + 2 * HOUR).changes[0]["cause"] == "days that were not counted yet"


def test_what_is_due_is_found_by_indexes(stores: Stores, facts: Facts) -> None:
    receive(stores)
    compute(stores)
    with recorded(stores.state) as statements:
        due(stores, NOW, MONDAY)
        list_reports(stores.state, stores.config, kind=None, scope=None, limit=10)
        compute(stores, NOW)
    assert scans(stores.state, statements) == []


def test_all_of_it_on_postgres(postgres_home: Home) -> None:
    postgres_home.config_path.write_text(CONFIG)
    with open_stores(postgres_home) as stores:
        facts = Facts([Error(MONDAY + HOUR, user=1)], [Move(MONDAY, 1, "created", "unresolved")])
        write_figures(stores, facts, [MONDAY.date()], now=END + HOUR)
        receive(stores)
        assert compute(stores).is_new
        assert not compute(stores).is_new
        change(stores, facts, Error(MONDAY + HOUR, user=2), now=NOW + HOUR)
        assert due(stores, NOW + 2 * HOUR, NOW).waits
        assert due(stores, NOW + 9 * HOUR, NOW).fresh["week"] == [WEEK.key]
        assert compute(stores, NOW + 9 * HOUR).changes[0]["after"] == 2
        (row,) = list_reports(stores.state, stores.config, kind="week", scope=None, limit=10)
        assert (row["revision"], row["scope"], row["deliveries"]) == (2, "organisation", {})
        assert read_report(stores, "week", WEEK.key, "organisation").figures["users"] == 2


# ── commands


def test_commands(stores: Stores, facts: Facts) -> None:
    receive(stores)
    shown = json.loads(run(stores, "reports", "preview", "weekly", "--key", "2026-W47", "--json").output)
    assert (shown["figures"]["errors"], shown["revision"], shown["label"]) == (7, 0, "2026-W47")
    words = ("backfill", "--report", "week", "--from", "2026-11-18", "--to", "2026-11-20", "--json")
    assert json.loads(run(stores, *words).output) == [
        {"kind": "week", "key": "2026-11-16", "reports": 2, "new_revisions": 2, "result": "done"}
    ]
    assert json.loads(run(stores, *words).output)[0]["new_revisions"] == 0
    (row,) = json.loads(run(stores, "reports", "list", "--json", "--scope", "project:shop").output)
    assert {"kind", "key", "scope", "revision", "final", "computed_at", "deliveries"} <= set(row)
    stored = json.loads(run(stores, "reports", "show", "week", "2026-11-16", "--json").output)
    promised = "kind key label scope zone start end hours final revision figures previous changes groups releases transactions"
    assert {*promised.split(), "monitors", "notifications", "books"} <= set(stored)
    assert stored["start"] == "2026-11-16T00:00:00Z"
    assert run(stores, "reports", "list").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("preview day --key 2031-01-01", "is still to come"),
        ("preview day --key 2026-11-01", "nothing was received before 2026-11-16"),
        ("preview year", "allowed are day, week and month"),
        ("preview week --scope team:none", "no team 'none'"),
        ("preview week --for nobody@acme.example", "no member"),
        ("show week 2026-11-17", "begins on 2026-11-16"),
        ("show week 2026-W47 --zone Mars/Olympus", "not a time zone"),
        ("show day 2026-11-22", "backfill --report day --from 2026-11-22"),
        ("show day 2026-11-22 --scope project:shop", "preview day --key 2026-11-22 --scope project:shop"),
        ("show day 2031-01-01", "day 2031-01-01 is still to come: it begins at 2031-01-01 00:00 UTC"),
        ("export day 2026-11-01", "nothing was received before 2026-11-16"),
        ("show day 9999-12-31", "out of range"),
        ("show month 2026-13", "no date"),
        ("show week 2025-W53", "no date"),
        ("preview week --key 0001-W01", "out of range"),
    ],
)
def test_what_cannot_be_shown_is_said(stores: Stores, words: str, said: str) -> None:
    receive(stores)
    result = run(stores, "reports", *words.split())
    assert result.exit_code
    assert said in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--from 2026-11-01 --to 2026-11-15", "nothing was received before 2026-11-16"),
        ("--from 2031-01-01", "day 2031-01-01 is still to come"),
        ("--from 2026-11-20 --to 2026-11-19", "--to is before --from"),
        ("--from 9999-12-31", "9999-12-31 is out of range"),
        ("--from 0001-01-01 --to 0001-01-01", "0001-01-01 is out of range"),
    ],
)
def test_a_backfill_of_no_period_says_why(stores: Stores, words: str, said: str) -> None:
    receive(stores)
    result = run(stores, "backfill", "--report", "day", *words.split())
    assert result.exit_code
    assert said in result.output
    assert rows(stores) == []


def test_a_backfill_leaves_out_what_nothing_is_known_of(stores: Stores, facts: Facts) -> None:
    receive(stores)
    words = "backfill --report day --from 2026-11-01 --to 2026-11-17 --json".split()
    result = run(stores, *words)
    assert [row["key"] for row in json.loads(result.stdout)] == ["2026-11-16", "2026-11-17"]
    assert (
        "left out: nothing was received before 2026-11-16, so there are no data of day 2026-11-01; the same holds up to "
        "day 2026-11-15\n" in result.stderr
    )


def test_a_followed_backfill_tells_of_keys_that_lack_a_report(
    stores: Stores, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(stores)
    monkeypatch.setattr(backfill, "watched", lambda *_: iter(()))
    day = period_of("day", MONDAY.date(), "UTC")
    said = []
    for scope in ("organisation", "project:shop"):
        compute(stores, NOW, day, scope)
        (row,) = backfill._follow(stores, "", "", "day", [day.key], NOW)
        said.append((row["reports"], row["result"]))
    assert said == [(1, "not all computed: not started"), (2, "done")]


def test_a_backfill_names_all_that_it_leaves_out() -> None:
    asked: list[str] = []

    @click.command()
    def command() -> None:
        first, last = date(2026, 11, 1), date(2026, 11, 30)
        keys = backfill.keys_between(parse_config(CONFIG), "day", first, last, MONDAY.date(), NOW)
        asked.extend(key.isoformat() for key in keys)

    said = CliRunner().invoke(command).stderr.splitlines()
    assert asked == [f"2026-11-{n}" for n in range(16, 23)]
    assert [line.partition("; the same holds ")[2] for line in said] == [
        "up to day 2026-11-15",
        "",
        "up to day 2026-11-30",
    ]
    assert "day 2026-11-23 goes on" in said[1]
    assert "day 2026-11-24 is still to come" in said[2]


def test_a_report_shows_the_deliveries_that_tell_of_it(stores: Stores, facts: Facts) -> None:
    people = "{email: ann@acme.example}, {email: ben@acme.example, reports: {projects: [shop]}}"
    config = parse_config(
        f"{CONFIG}\nmembers: [{people}]\nteams: [{{slug: web, members: [], projects: [shop]}}]"
    )
    row = {"kind": "week", "key": WEEK.key, "due_at": NOW}
    for scope in ("organisation", "project:shop"):
        compute(stores, scope=scope)
    with stores.state.write() as connection:
        for target, decided in (
            ("member:ann@acme.example", None),
            ("member:ben@acme.example", NOW),
            ("team:web", NOW),
        ):
            connection.execute(report_deliveries.insert().values(target=target, decided_at=decided, **row))
    found = {
        each["scope"]: each["deliveries"]
        for each in list_reports(stores.state, config, kind=None, scope=None, limit=10)
    }
    assert found == {"organisation": {"waiting": 1}, "project:shop": {"skipped": 1}}


PEOPLE = """
channels: [{name: mail, type: mail, host: localhost, sender: a@acme.example}]
projects:
  - {id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk}]}
  - {id: 2, slug: site, timezone: Asia/Kolkata, keys: [{public_key: llllllllllllllllllllllllllllllll}]}
  - {id: 3, slug: app, keys: [{public_key: mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm}]}
members:
  - {email: anna@acme.example, reports: {projects: [site]}}
  - {email: ben@acme.example, reports: {projects: mine}}
  - {email: carl@acme.example, reports: {projects: mine}}
  - {email: dora@acme.example, address: U0123, reports: {projects: [site, app]}}
teams: [{slug: web, members: [ben@acme.example], projects: [shop, site], timezone: Europe/Berlin, reports: [daily]}]
"""


def test_a_preview_for_a_member_is_what_they_would_get(home: Home) -> None:
    """Of one project, of a team, of several projects, each in its zone; and why it would not be sent."""
    home.config_path.write_text(PEOPLE)
    with open_stores(home) as stores:
        counts = {1: 1, 2: 2, 3: 4}  # at the last hour of Sunday: in Kolkata and Berlin that is the next week
        late = [Error(END - HOUR, project=p) for p, count in counts.items() for _ in range(count)]
        early = [Error(MONDAY + DAY, project=p) for p in counts]
        write_figures(stores, Facts(late + early), DAYS, now=NOW)
        with closing(stores.spool.writer()) as writer:
            writer.append([receipt(MONDAY, 1, event("First"))])
        words = ("reports", "preview", "week", "--key", "2026-W47", "--for")
        found = {}
        for name in ("anna", "ben", "dora"):
            result = run(stores, *words, f"{name}@acme.example", "--json")
            told = json.loads(result.stdout)
            found[name] = (told["scope"], told["zone"], told["figures"]["errors"], result.stderr.strip())
        assert found == {
            "anna": ("project:site", "Asia/Kolkata", 1, ""),
            "ben": ("team:web", "Europe/Berlin", 2, ""),
            "dora": ("organisation", "UTC", 8, "note: it would not be sent to dora@acme.example: no address"),
        }
        nothing = run(stores, *words, "carl@acme.example")
        assert nothing.exit_code
        assert "carl@acme.example gets no reports: no projects" in nothing.output
    checked = run(stores, "config", "check").output
    assert "note: carl@acme.example is subscribed to weekly reports and gets none: no projects" in checked
    assert "note: dora@acme.example is subscribed to weekly reports and gets none: no address" in checked
    assert "note: team:web is subscribed to daily reports and gets none: no channel" in checked
    assert "anna@acme.example" not in checked


def test_periods_need_no_installation() -> None:
    words = ["reports", "period", "week", "--zone", "Europe/Berlin", "--at", "2026-10-25T22:59:59Z", "--json"]
    found = json.loads(CliRunner().invoke(main, ["--home", "/nowhere", *words]).output)
    assert found == {
        "start": "2026-10-18T22:00:00Z", "end": "2026-10-25T23:00:00Z", "hours": 169, "label": "2026-W43",
        "key": "2026-10-19", "previous_key": "2026-10-12",
    }  # fmt: skip


def test_reports_of_a_project_outlive_its_name(stores: Stores, facts: Facts) -> None:
    compute(stores, scope="project:shop")
    with stores.state.read() as connection:
        assert connection.execute(select(reports.c.scope)).scalars().all() == ["project:1"]
    assert read_report(stores, "week", WEEK.key, "project:1").figures["errors"] == 7

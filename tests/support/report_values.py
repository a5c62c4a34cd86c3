"""Reports as values: a rich one, an empty one, and one in which all that strangers can name is hostile; and storing one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from tasks_pipeline.reports.files import files_of
from tasks_pipeline.reports.periods import Kind, Period, period_of
from tasks_pipeline.reports.report import (
    Balance,
    BalanceRow,
    Books,
    Change,
    GroupRow,
    Groups,
    KeyRow,
    MonitorRow,
    Monitors,
    Notifications,
    Pipeline,
    ProjectRow,
    ReleaseRow,
    Releases,
    Report,
    Resolutions,
    Series,
    Spread,
    TransactionRow,
    Transactions,
)
from tasks_pipeline.reports.scopes import scope_named
from tasks_pipeline.storage.state.tables import report_revisions, reports
from tasks_pipeline.stores import Stores

WEEK = date(2026, 11, 16)
HOSTILE = (
    '=HYPERLINK("http://evil.example","x")<script>alert(1)</script>\r\n\u202e\'"&</style></svg>$\\frac{a}$'
)


def group_row(number: int, title: str = "", **more: Any) -> GroupRow:
    return GroupRow(
        **{
            "id": number, "short_id": f"SHOP-{number}", "project": "shop",
            "title": title or f"KeyError: 'cart_{number}' while the total was computed",
            "culprit": f"shop.cart in total_{number}", "level": "error", "status": "unresolved",
            "events": 4000 // (number or 1), "before": 3000 // (number or 1), "users": 90 - number, "first_release": "shop@1.9.0",
            "last_release": "shop@2.0.0", "assignee": "anna@acme.example" if number % 3 else None,
            "suspect_commit": "8097195a", "notifications": number, **more,
        }
    )  # fmt: skip


def report_value(
    kind: Kind = "week",
    key: date = WEEK,
    *,
    zone: str = "UTC",
    scope: str = "organisation",
    text: str = "",
    **more: Any,
) -> Report:
    """A report in which everything has something; `text` stands for each name that strangers choose."""
    period = period_of(kind, key, zone)
    starts = _starts(period)
    count = len(starts)
    errors = [120 + (37 * n) % 90 for n in range(count)]
    figures: dict[str, Any] = {
        "errors": sum(errors), "users": 412, "new_groups": 9, "open_groups": 31, "crash_free_sessions": 0.99932,
        "failed_monitors": 1, "items": 9000, "sessions": 8934, "transactions": 5200, "check_ins": 300, "moves": 14,
        "incidents": 2,
    }  # fmt: skip
    changes = {
        "errors": Change(change=0.12, text="+12 %", baseline=sum(errors) * 0.8, periods=3),
        "users": Change(change=-0.04, text="-4 %"),
        "new_groups": Change(change=None, text="new"),
        "open_groups": Change(change=2, text="+2", kind="difference"),
        "crash_free_sessions": Change(change=-0.0011, text="-0.11 points", kind="points"),
        "failed_monitors": Change(change=0.0, text="0 %"),
    }
    values: dict[str, Any] = {
        "kind": kind, "key": key, "label": period.label, "scope": scope, "zone": zone, "week_starts": "monday",
        "start": period.start, "end": period.end, "hours": period.hours, "final": True, "revision": 1,
        "figures": figures, "previous": {"errors": 1075, "users": 430, "new_groups": 0, "open_groups": 29,
                                         "crash_free_sessions": 0.99942, "failed_monitors": 1},
        "changes": changes,
        "series": Series(starts=starts, errors=errors, before=[e - 20 for e in errors], new_groups=[n % 3 for n in range(count)]),
        "groups": Groups(
            balance=Balance(
                open_at_start=29, new=9, reopened=3, resolved=8, ignored=2, merged=0, open_at_end=31, entered=12, left=10,
                first_response=Spread(groups=9, responded=6, p50_seconds=21_600.0, p90_seconds=None),
                resolution=Resolutions(resolved=8, p50_seconds=172_800.0, p90_seconds=1_296_000.0),
            ),
            open_ages={0: 3, 1: 9, 7: 10, 30: 6, 90: 3},
            by_assignee=[BalanceRow(assignee="anna@acme.example", open=7, resolved=5), BalanceRow(assignee="", open=20, resolved=0)],
            top=[group_row(n, text) for n in range(1, 11)], top_by_users=[group_row(n, text) for n in range(1, 6)],
            new=[group_row(n, text) for n in range(20, 29)], returning=[group_row(3, text)], noisy=[group_row(7, text)],
        ),
        "releases": Releases(rows=[
            ReleaseRow(project="shop", version=text or "shop@2.0.0", created=period.start + timedelta(hours=5), deploys=2,
                       new_groups=4, sessions=8934, crash_free_sessions=0.99932, crash_free_users=0.998, adoption=0.97681,
                       stages={"production": "adopted"}),
        ], deploys=2, deploys_per_week=2.0),
        "transactions": Transactions(
            count=5200, p50_ms=112.0, p75_ms=240.0, p95_ms=1204.0, apdex=0.93, failure_rate=0.012, per_minute=0.52,
            misery_users=12, misery=0.03,
            slowest=[TransactionRow(project="shop", name=text or f"/checkout/{n}", op="http.server", count=300, p50_ms=300.0,
                                    p95_ms=2400.0 - 300 * n, growth=0.2, failure_rate=0.01, total_ms=9e5) for n in range(5)],
            growing=[TransactionRow(project="shop", name=text or "/cart", op="http.server", count=900, p50_ms=90.0, p95_ms=400.0,
                                    growth=1.4, failure_rate=0.0, total_ms=9e4)],
        ),
        "monitors": Monitors(failed=1, incidents=2, rows=[
            MonitorRow(project="shop", monitor=text or "nightly-export", kind="cron", environment="production", expected=7, ok=5,
                       error=1, missed=1, timed_out=0, uptime=None, incidents=2),
            MonitorRow(project="shop", monitor="front", kind="uptime", environment="production", expected=10080, ok=10078, error=2,
                       missed=0, timed_out=0, uptime=0.9998, incidents=0),
        ]),
        "keys": [KeyRow(project="shop", public_key="abcdef0123456789", category="error", accepted=1400, refused=20,
                        dropped_by_clients=7, refused_hours=2, share=1.0)],
        "notifications": Notifications(sent=44, held_back={"quiet hours": 6}, failed=1, p50_seconds=2.0, p95_seconds=9.0,
                                       by_channel={"mail": 44}, noisy_rules={text or "all new": 31}),
        "pipeline": Pipeline(lag_p95_seconds=1.4, dead_letters=1, open_days=[period.end.date() - timedelta(days=1)]),
        "projects": [
            ProjectRow(project="shop", figures=dict(figures), changes=changes),
            ProjectRow(project="api", figures={"errors": 210, "users": 12, "new_groups": 1}, changes={}),
        ],
        "books": Books(outcomes={"error": {"accepted": sum(errors), "filtered": 12}}, accepted=sum(errors) + 12,
                       stored=sum(errors), gone=0, waiting=0, balanced=True),
        "revised": ["errors 1,204 → 1,260 (late symbols)"],
    }  # fmt: skip
    return Report(**{**values, **more})


def empty_report(kind: Kind = "week", key: date = WEEK) -> Report:
    """A period in which nothing happened."""
    full = report_value(kind, key)
    return msgspec.structs.replace(
        full,
        figures=dict.fromkeys(full.figures, 0),
        previous=None,
        changes={},
        series=Series(starts=full.series.starts, errors=[0] * len(full.series.starts), before=[]),
        groups=Groups(
            balance=Balance(
                first_response=Spread(groups=0, responded=0, p50_seconds=None, p90_seconds=None),
                resolution=Resolutions(resolved=0, p50_seconds=None, p90_seconds=None),
            )
        ),
        releases=Releases(),
        transactions=Transactions(),
        monitors=Monitors(),
        keys=[],
        notifications=Notifications(),
        pipeline=Pipeline(),
        projects=[],
        revised=[],
    )


def store_report(stores: Stores, report: Report, computed_at: datetime | None = None) -> None:
    """Store a report as the newest revision of its period and scope, as the asset does."""
    scope = scope_named(stores.config, report.scope)
    kept = {name: stores.blobs.put(content) for name, content in files_of(report).items()}
    at = computed_at or report.end + timedelta(minutes=10)
    values = {
        "kind": report.kind, "key": report.key, "scope": scope.stored, "zone": report.zone, "label": report.label,
        "start": report.start, "end": report.end, "revision": report.revision, "checked_at": at,
    }  # fmt: skip
    with stores.state.write() as connection:
        statement = stores.state.insert(reports).values(values)
        newest = {"revision": report.revision, "checked_at": at}
        kind_key = ["kind", "key", "zone", "scope"]
        connection.execute(statement.on_conflict_do_update(index_elements=kind_key, set_=newest))
        of_report = [getattr(reports.c, name) == values[name] for name in kind_key]
        number = connection.execute(reports.select().where(*of_report)).one().id
        connection.execute(
            report_revisions.insert().values(
                report_id=number, revision=report.revision, digest="0" * 64, computed_at=at, final=report.final,
                code_version="test", zones_version="test", inputs={}, changes=[], files=kept,
            )
        )  # fmt: skip


def _starts(period: Period) -> list[datetime]:
    step = timedelta(hours=1) if period.kind == "day" else timedelta(days=1)
    count = round((period.end - period.start) / step)
    return [(period.start + n * step).astimezone(UTC) for n in range(count)]

"""Report: the value that generate_analytics_report makes, and that mail, files, JSON and the terminal show. No rendering here.

Its JSON form is a contract with programs. All times are UTC, all shares 0 to 1, all durations seconds unless the name says
`_ms`; None: there is nothing to tell, which is not zero.
"""

from __future__ import annotations

from datetime import date, datetime

import msgspec

Number = int | float | None

HEADLINES = ("errors", "users", "new_groups", "open_groups", "crash_free_sessions", "failed_monitors")
"""Figures that a report begins with, in this order, as far as it has them."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A figure against the period before. `change`: relative (0.5: half more), of shares the difference in points, of levels,
    sets and scores the difference; None where there is none to tell. `kind`: relative, points or difference. `baseline`: mean of the periods
    before, at most four, and `periods` of how many; 0 where that was not noted yet."""

    change: float | None
    text: str
    kind: str = "relative"
    baseline: float | None = None
    periods: int = 0


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """A group in one of the lists. `users`: distinct in the period; `before`: events in the period before."""

    id: int
    short_id: str
    project: str
    title: str
    culprit: str = ""
    level: str = ""
    status: str = ""
    events: int = 0
    before: int = 0
    users: int = 0
    first_release: str | None = None
    last_release: str | None = None
    assignee: str | None = None
    suspect_commit: str | None = None
    notifications: int = 0


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until something happened, by nearest rank; None: of so many it did not happen yet."""

    groups: int
    responded: int
    p50_seconds: float | None
    p90_seconds: float | None


class Resolutions(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that groups resolved in the period were open."""

    resolved: int
    p50_seconds: float | None
    p90_seconds: float | None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What became of groups: `open_at_end` = `open_at_start` + `entered` - `left`."""

    open_at_start: int = 0
    new: int = 0
    reopened: int = 0
    resolved: int = 0
    ignored: int = 0
    merged: int = 0
    open_at_end: int = 0
    entered: int = 0
    left: int = 0
    first_response: Spread
    resolution: Resolutions


class BalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """The balance of an assignee (a member's address, team:slug, or empty for nobody): open at the end, resolved in the period."""

    assignee: str
    open: int
    resolved: int


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of a report. `open_ages`: groups open at the end by days they are open at least (0, 1, 7, 30, 90)."""

    balance: Balance
    open_ages: dict[int, int] = {}
    by_assignee: list[BalanceRow] = []
    top: list[GroupRow] = []
    top_by_users: list[GroupRow] = []
    new: list[GroupRow] = []
    returning: list[GroupRow] = []
    noisy: list[GroupRow] = []


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A release that came, was deployed or was used in the period."""

    project: str
    version: str
    created: datetime | None = None
    deploys: int = 0
    new_groups: int = 0
    sessions: int = 0
    crash_free_sessions: float | None = None
    crash_free_users: float | None = None
    adoption: float | None = None
    stages: dict[str, str] = {}


class Releases(msgspec.Struct, frozen=True, kw_only=True):
    """Releases of a report; the last four are told of months (seconds, median)."""

    rows: list[ReleaseRow] = []
    deploys: int = 0
    deploys_per_week: float | None = None
    lead_time_seconds: float | None = None
    change_failure_rate: float | None = None
    restore_seconds: float | None = None


class TransactionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One name of transactions. `growth`: of p95 against the period before."""

    project: str
    name: str
    op: str
    count: int
    p50_ms: float | None
    p95_ms: float | None
    growth: float | None
    failure_rate: float | None
    total_ms: float


class Transactions(msgspec.Struct, frozen=True, kw_only=True):
    """Transactions of a report; percentiles within one percent."""

    count: int = 0
    p50_ms: float | None = None
    p75_ms: float | None = None
    p95_ms: float | None = None
    apdex: float | None = None
    failure_rate: float | None = None
    per_minute: float | None = None
    misery_users: int | None = None
    misery: float | None = None
    slowest: list[TransactionRow] = []
    growing: list[TransactionRow] = []
    failing: list[TransactionRow] = []
    heaviest: list[TransactionRow] = []


class MonitorRow(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor. `uptime` is of addresses, the counts are of runs or looks."""

    project: str
    monitor: str
    kind: str
    environment: str
    expected: int
    ok: int
    error: int
    missed: int
    timed_out: int
    uptime: float | None
    incidents: int


class Monitors(msgspec.Struct, frozen=True, kw_only=True):
    """Monitors of a report. `failed`: with an incident in the period."""

    failed: int = 0
    incidents: int = 0
    rows: list[MonitorRow] = []


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key and category of which items were refused or dropped. `share`: of its quota in the busiest window."""

    project: str
    public_key: str
    category: str
    accepted: int
    refused: int
    dropped_by_clients: int
    refused_hours: int
    share: float | None


class Notifications(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of a report. Seconds are from the alert until sent."""

    sent: int = 0
    held_back: dict[str, int] = {}
    failed: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    by_channel: dict[str, int] = {}
    noisy_rules: dict[str, int] = {}


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """How the pipeline itself fared. `open_days` may still change; of `wrong_days` a check says that the figures do not hold."""

    lag_p95_seconds: float | None = None
    dead_letters: int = 0
    open_days: list[date] = []
    wrong_days: list[date] = []


class ProjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """A project of an organisation's or a team's report."""

    project: str
    figures: dict[str, Number]
    changes: dict[str, Change]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Errors by part of the period (hours of a day, else days): begin of each part, and counts; `before`: the period before."""

    starts: list[datetime]
    errors: list[int]
    before: list[int]
    new_groups: list[int] = []


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Items received in the period, by category and outcome; `balanced`: accepted errors = stored + all others, and stored
    errors = what the tables of figures have. `waiting`: envelopes that were not processed when it was computed."""

    outcomes: dict[str, dict[str, int]]
    accepted: int
    stored: int
    gone: int
    waiting: int
    balanced: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a period came to. `revision` is 0 of a preview; `final`: nothing of its days can change by what may still be
    received; `incomplete`: envelopes that waited when it had to be computed; `running`: the period has not ended yet.

    `previous` are the figures of the period before, None where there are no data of it.
    """

    kind: str
    key: date
    label: str
    scope: str
    zone: str
    week_starts: str
    start: datetime
    end: datetime
    hours: float
    final: bool
    running: bool = False
    incomplete: int = 0
    revision: int = 0
    figures: dict[str, Number]
    previous: dict[str, Number] | None
    changes: dict[str, Change]
    series: Series
    groups: Groups
    releases: Releases
    transactions: Transactions
    monitors: Monitors
    keys: list[KeyRow] = []
    notifications: Notifications
    pipeline: Pipeline = Pipeline()
    projects: list[ProjectRow] = []
    books: Books
    revised: list[str] = []
    """Of the period before: what its newest revision changed, in words."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all happened, so that nobody is told."""
        return not any(
            self.figures.get(name)
            for name in ("items", "moves", "incidents", "sessions", "transactions", "check_ins", "errors")
        )

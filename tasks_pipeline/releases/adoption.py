"""Adoption of releases: the stages that hours of sessions tell, brought up to date, and shares of sessions and users.

The rules of stages are in stages.py; how a day's sessions are counted is no matter of this module."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlalchemy import Connection, func, select

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import ReleaseAdopted, ReleaseReplaced
from tasks_pipeline.protocol.release import MAX_RELEASE
from tasks_pipeline.releases.deploys import MAX_ENVIRONMENT
from tasks_pipeline.releases.spans import (
    DAY,
    HOUR,
    MOST_DAYS,
    PLACES,
    SLOT,
    Queried,
    begin_of,
    days_between,
    full_hour,
)
from tasks_pipeline.releases.stages import (
    ADOPTED,
    LOCK,
    REPLACED,
    WINDOW,
    Key,
    Share,
    Stage,
    StageFold,
    is_adopted,
    read_former,
    releases_among,
    replace_stages,
    stages_before,
)
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.state.tables import health_days, stage_days

_TOLD = (ADOPTED, REPLACED)
"""Stages that are facts of their own; that few use a release yet is none."""
STRETCH = 3 * DAY
"""So much of the lake is read at once."""
MOST_RELEASES = 1_000
"""Of a place, those with the most sessions, are looked at at each full hour."""
MOST_PLACES = 1_000
"""Environments of a project, those with the most sessions, are looked at at each full hour."""
MOST_KEYS = 10 * MOST_PLACES
"""Releases of all places of a project: those that may be adopted, ten at each place, always fit."""


@dataclass(frozen=True, slots=True)
class StagesDue:
    """What stages are to be told from: full hours after `start` up to `end`, and the days of health that changed."""

    start: datetime
    end: datetime
    days: Mapping[date, datetime]


@dataclass(slots=True)
class StageReport:
    """What was folded: hours of sessions, the days that had changed, the stages that are new and how many went."""

    hours: int = 0
    days: tuple[date, ...] = ()
    through: datetime | None = None
    added: list[Stage] = field(default_factory=list)
    gone: int = 0

    def stages(self) -> Counter[str]:
        """How many of the new stages are of which kind."""
        return Counter(stage.stage for stage in self.added)


def stages_due(connection: Connection, now: datetime) -> StagesDue | None:
    """What there is to do; None when nothing changed. Asks the state database alone.

    A day of health that was computed again is told again from its begin on. Without anything new, stages may change for as
    long as the window reaches back to the newest day: what was used then is replaced when nobody uses it any more.
    """
    h, s = health_days.c, stage_days.c
    query = select(h.day, h.computed_at, s.computed_at.label("told")).select_from(
        health_days.outerjoin(stage_days, s.day == h.day)
    )
    now_hour = full_hour(now)
    rows = [
        row
        for row in connection.execute(
            query.where(h.computed_at.is_not(None), h.day >= (now - MOST_DAYS * DAY).date())
        )
        if begin_of(row.day) < now_hour
    ]
    if not rows:
        return None
    changed = {row.day: row.computed_at for row in rows if row.told != row.computed_at}
    through = connection.execute(select(func.max(s.through))).scalar()
    end = min(now_hour, begin_of(max(row.day for row in rows)) + DAY + WINDOW)
    if not changed and through is not None and through >= end:
        return None
    starts = [begin_of(day) for day in changed]
    return StagesDue(min([*starts, *([through] if through else [])]), end, changed)


def has_health(connection: Connection) -> bool:
    """Whether the health of any day was ever computed."""
    c = health_days.c
    query = select(c.day).where(c.computed_at.is_not(None)).order_by(c.day.desc()).limit(1)
    return connection.execute(query).first() is not None


def tell_stages(state: StateDatabase, lake: Queried, now: datetime) -> StageReport:
    """Bring the stages of releases up to the last full hour. All of it becomes visible at once; doing it again changes nothing.

    Sessions of names that are no release count among those of all, and have no stage."""
    with process_lock(state.home, "stages"):
        with state.read() as connection:
            due = stages_due(
                connection, now
            )  # before the lake is read: a day that changes meanwhile is due again
            if due is None:
                return StageReport()
            former = read_former(connection, due.start)
        fold, before = StageFold(), dict[Key, Stage]()
        asked: set[Key] = set()
        here: set[tuple[int, str]] = set()
        told: list[Stage] = []
        for first, until in _stretches(due.start, due.end):
            windows = windows_between(lake, first, until)
            keys = {key for window in windows.values() for key in window} - asked
            asked |= keys
            with state.read() as connection:
                known = stages_before(connection, former, keys)
                here |= releases_among(connection, {(key[0], key[2]) for key in keys})
            here.update(stage.release for stage in known)
            before |= {stage.key: stage for stage in known}
            fold.expect(known)
            for at in sorted(windows):
                told += (stage for stage in fold.hour(at, windows[at]) if stage.release in here)
        with state.write() as connection:
            state.serialise(connection, LOCK)
            added, gone = replace_stages(state, connection, former, before, told)
            record_all(state, connection, [_happened(one) for one in added if one.stage in _TOLD])
            _note_days(state, connection, due)
            days = {stage.since.date() for stage in added} | (due.days.keys() if gone else set())
            note_day_changes(state, connection, days, "sessions", now)
    hours_told = max(0, (due.end - due.start) // HOUR)
    return StageReport(hours_told, tuple(sorted(due.days)), due.end, added, gone)


def _happened(stage: Stage) -> Happened:
    """What began with a stage, as a fact; telling it again changes nothing."""
    release = {"version": stage.version, "environment": stage.environment}
    if stage.stage == ADOPTED:
        return Happened(ReleaseAdopted(**release), stage.since, stage.project_id)
    seconds = (stage.since - stage.adopted_at).total_seconds() if stage.adopted_at else None
    return Happened(ReleaseReplaced(**release, seconds=seconds), stage.since, stage.project_id)


def _note_days(state: StateDatabase, connection: Connection, due: StagesDue) -> None:
    """Remember what stages were told from, and up to when."""
    days = dict(due.days)
    if not days:
        newest = connection.execute(select(stage_days).order_by(stage_days.c.day.desc()).limit(1)).one()
        days[newest.day] = newest.computed_at
    statement = state.insert(stage_days)
    values = {name: statement.excluded[name] for name in ("computed_at", "through")}
    rows = [{"day": day, "computed_at": at, "through": due.end} for day, at in days.items()]
    connection.execute(statement.on_conflict_do_update(index_elements=["day"], set_=values), rows)


_SESSIONS = (
    "SELECT epoch_us(slot) // 3600000000 AS hour, project_id, environment, release, sum(sessions) AS sessions "
    "FROM lake.release_health WHERE {days} AND slot >= $first AND slot < $until "
    f"AND environment <> '' AND length(environment) <= {MAX_ENVIRONMENT} AND length(release) <= {MAX_RELEASE} "
    "GROUP BY ALL HAVING sum(sessions) > 0"
)
_PLACE = "PARTITION BY full_hour, project_id, environment"
_WINDOWS = (
    f"WITH hours AS ({_SESSIONS}), windows AS ("
    "SELECT hour + ahead AS full_hour, project_id, environment, release, sum(sessions) AS sessions "
    f"FROM hours, range(1, {WINDOW // HOUR + 1}) t(ahead) WHERE full_hour > $told AND full_hour <= $end GROUP BY ALL), "
    f"ranked AS (SELECT *, sum(sessions) OVER ({_PLACE}) AS everyone, "
    f"row_number() OVER ({_PLACE} ORDER BY sessions DESC, release) AS number FROM windows "
    "QUALIFY number <= $releases), "
    "placed AS (SELECT *, dense_rank() OVER (PARTITION BY full_hour, project_id ORDER BY everyone DESC, environment) AS place "
    "FROM ranked QUALIFY place <= $places), "
    "chosen AS (SELECT * FROM placed QUALIFY row_number() OVER (PARTITION BY full_hour, project_id "
    "ORDER BY number, sessions DESC, environment, release) <= $keys) "
    "SELECT full_hour, project_id, environment, release, sessions, everyone FROM chosen "
    "QUALIFY number = 1 OR {adopted} "
    "OR row_number() OVER (PARTITION BY project_id, environment, release ORDER BY full_hour) = 1"
)
"""Sessions of the hours before each full hour, of the releases that are looked at: chosen anew for each full hour, so that it
does not matter how many hours are told at once. Names are invented by whoever can send: all of them never leave the lake.

What is left out among those would change no stage: one that was there at an hour before, and has less than a tenth. The
first of each place says that there are sessions."""


def windows_between(lake: Queried, first: datetime, until: datetime) -> dict[datetime, dict[Key, Share]]:
    """What stages follow from, by the full hours after `first` up to `until`: see StageFold.hour."""
    start = first - WINDOW
    rows = lake.query(
        _WINDOWS.format(days=days_between(start, until), adopted=is_adopted("sessions", "everyone")),
        {
            "first": start, "until": until, "told": _number(first), "end": _number(until),
            "releases": MOST_RELEASES, "places": MOST_PLACES, "keys": MOST_KEYS,
        },
    )  # fmt: skip
    found: defaultdict[datetime, dict[Key, Share]] = defaultdict(dict)
    for row in rows:
        at = datetime.fromtimestamp(row["full_hour"] * 3600, UTC)
        share = int(row["sessions"]), int(row["everyone"])
        found[at][row["project_id"], row["environment"], row["release"]] = share
    return found


def _number(hour: datetime) -> int:
    return int(hour.timestamp()) // 3600


def _stretches(first: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Spans that are told at once; with the hours before the first of them, STRETCH is read."""
    while first < until:
        yield first, min(first + STRETCH - WINDOW, until)
        first += STRETCH - WINDOW


# ── shares


@dataclass(frozen=True, slots=True)
class Adoption:
    """Sessions and users of a release in the 24 hours before a full hour, and those of all releases there."""

    sessions: int = 0
    users: int = 0
    all_sessions: int = 0
    all_users: int = 0

    @property
    def of_sessions(self) -> float | None:
        """Its share of the sessions; None where there are none."""
        return self.sessions / self.all_sessions if self.all_sessions else None

    @property
    def of_users(self) -> float | None:
        """Its share of the users; those of all releases together may be more than the whole, as a user may use two."""
        return self.users / self.all_users if self.all_users else None


AdoptionKey = tuple[int, str | None, str]
"""Project, environment (None for all together), version."""


def adoption_at(
    lake: Queried,
    at: datetime,
    project_ids: Collection[int],
    *,
    named: Collection[tuple[int, str]] | None = None,
    environment: str | None = None,
) -> dict[AdoptionKey, Adoption]:
    """Adoption at a full hour of the releases that were active in the 24 hours before, in each environment and in all.

    `named` (project and version) and `environment` narrow what is given, not what it is a share of.
    """
    sessions = _shares(lake, at, project_ids, "release_health", "sum(sessions)", named, environment)
    users = _shares(lake, at, project_ids, "session_users", "count(DISTINCT user_hash)", named, environment)
    return {
        (project_id, place, version): Adoption(
            count,
            users.get((project_id, place, version), 0),
            sessions[project_id, place, None],
            users.get((project_id, place, None), 0),
        )
        for (project_id, place, version), count in sessions.items()
        if version is not None and count
    }


def _shares(
    lake: Queried,
    at: datetime,
    project_ids: Collection[int],
    table: str,
    figure: str,
    named: Collection[tuple[int, str]] | None,
    environment: str | None,
) -> dict[tuple[int, str | None, str | None], int]:
    """A figure by project, environment (None: all) and release (None: all)."""
    first = at - DAY
    began = "slot >= $first AND slot < $until"
    parameters: dict[str, object] = {"first": first, "until": at}
    if table == "session_users":
        began = _states_between(first, at)
        parameters = {}
    query = (
        f"SELECT project_id, environment, release, {figure} AS n FROM lake.{table} "
        f"WHERE {days_between(first, at)} AND {began} AND list_contains($projects, project_id) "
        "GROUP BY GROUPING SETS ((project_id), (project_id, environment), (project_id, release), "
        "(project_id, environment, release))"
    )
    conditions = ["true"]
    if named is not None:
        parameters |= {"named": [p for p, _ in named], "versions": [version for _, version in named]}
        conditions.append(
            "(release IS NULL OR (project_id, release) IN "
            "(SELECT (unnest($named::BIGINT[]), unnest($versions::VARCHAR[]))))"
        )
    if environment is not None:
        parameters["environment"] = environment
        conditions.append("environment = $environment")
    rows = lake.query(
        f"SELECT * FROM ({query}) WHERE {' AND '.join(conditions)}",
        {**parameters, "projects": list(project_ids)},
    )
    return {(row["project_id"], row["environment"], row["release"]): int(row["n"]) for row in rows}


def _states_between(first: datetime, until: datetime) -> str:
    """Whose sessions began between two full hours that are a day apart."""
    if first.hour == 0:
        return "true"
    slot = first.hour * (HOUR // SLOT) * PLACES
    return (
        f"CASE day WHEN DATE '{first.date().isoformat()}' THEN list_max(states) >= {slot} "
        f"ELSE list_min(states) < {slot} END"
    )

"""Cases about sessions: sent to a receiver, drained and computed receipt day by receipt day, and read from the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from unittest.mock import patch

import httpx

from tasks_pipeline.home import Home
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.protocol.envelope import Envelope, write_envelope
from tasks_pipeline.receiver import intake
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.releases.durations import percentile
from tasks_pipeline.releases.fold import STATES
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.releases.health_days import due_days
from tasks_pipeline.stores import Stores, open_stores
from tests.support.events import item
from tests.support.receiver import serving

Totals = dict[str, Any]
Case = dict[str, Any]


class Clock(datetime):
    """The receiver's clock, which says what a test wants."""

    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.moment


@contextmanager
def receiving(home: Home) -> Iterator[httpx.Client]:
    """A receiver on the home's spool, whose clock is `Clock`; gives a client of it."""
    with (
        patch.object(intake, "datetime", Clock),
        serving(create_app(home)) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        yield client


def post(client: httpx.Client, project: int, kind: str, payload: object) -> None:
    """Send one item in an envelope of its own."""
    body = write_envelope(Envelope({}, [item(kind, payload)]))
    answer = client.post(f"/api/{project}/envelope/?sentry_key=key{project}", content=body)
    assert answer.status_code == 200, answer.text


def configuration(projects: Iterable[int]) -> str:
    """Projects with a key each."""
    lines = (f"  - {{id: {n}, slug: p{n}, keys: [{{public_key: key{n}}}]}}\n" for n in projects)
    return "projects:\n" + "".join(lines)


@dataclass
class Answers:
    """What the tables say of each case: at the end, and after each day of receipt."""

    key: bytes
    final: dict[str, Tables] = field(default_factory=dict)
    as_of: dict[str, dict[date, Tables]] = field(default_factory=dict)


def answers(home: Home, cases: Mapping[str, Case]) -> Answers:
    """Send the items of all cases, each case to projects of its own, and read what became of them."""
    projects = {id: _projects(number, case) for number, (id, case) in enumerate(cases.items())}
    home.config_path.write_text(configuration(n for each in projects.values() for n in each.values()))
    by_day: dict[date, list[tuple[int, Any]]] = {}
    for id, case in cases.items():
        for sent in case["items"]:
            moment = datetime.fromisoformat(sent["received_at"])
            by_day.setdefault(moment.date(), []).append((projects[id][sent["project"]], sent))
    with receiving(home) as client, open_stores(home) as stores:
        found = Answers(stores.tools.of(0).user_key(), as_of={id: {} for id in cases})
        for day, items in sorted(by_day.items()):
            for project, sent in items:
                Clock.moment = datetime.fromisoformat(sent["received_at"])
                post(client, project, sent["type"], sent["payload"])
            drain(stores, day, linger_seconds=0)
            compute_due(stores)
            now = Tables.read(stores, (n for each in projects.values() for n in each.values()))
            for id in cases:
                found.as_of[id][day] = now.of(set(projects[id].values()))
        found.final = {id: each[max(each)] for id, each in found.as_of.items()}
    return found


def compute_due(stores: Stores) -> list[date]:
    """Compute the days that are due; gives them."""
    with stores.state.read() as connection:
        days = due_days(connection)
    for day in days:
        compute_health(stores.lake, stores.state, day)
    return days


def _projects(number: int, case: Case) -> dict[int, int]:
    names = sorted({sent["project"] for sent in case["items"]})
    return {name: 1000 + 10 * number + place for place, name in enumerate(names)}


@dataclass(frozen=True)
class Tables:
    """Rows of `release_health` and `session_users` of some projects."""

    health: list[dict[str, Any]]
    users: list[dict[str, Any]]

    @classmethod
    def read(cls, stores: Stores, projects: Iterable[int]) -> Tables:
        """As they are now."""
        names = ", ".join(map(str, projects))
        return cls(
            *(
                stores.lake.query(f"SELECT * FROM lake.{table} WHERE project_id IN ({names}) ORDER BY ALL")
                for table in ("release_health", "session_users")
            )
        )

    def of(self, projects: set[int]) -> Tables:
        """Of some of the projects."""
        kept = ([r for r in rows if r["project_id"] in projects] for rows in (self.health, self.users))
        return Tables(*kept)

    def where(self, **columns: Any) -> Tables:
        """The rows with these values."""
        kept = ([r for r in rows if r.items() >= columns.items()] for rows in (self.health, self.users))
        return Tables(*kept)

    def in_hour(self, hour: datetime) -> Tables:
        """What began in an hour."""
        slots = range(4 * hour.hour, 4 * hour.hour + 4)
        users = [
            {**row, "states": states}
            for row in self.users
            if row["day"] == hour.date() and (states := [s for s in row["states"] if s // 8 in slots])
        ]
        health = [
            row for row in self.health if row["slot"].replace(minute=0) == hour and row["day"] == hour.date()
        ]
        return Tables(health, users)

    def between(self, first: date, last: date) -> Tables:
        """Some days."""
        kept = ([r for r in rows if first <= r["day"] <= last] for rows in (self.health, self.users))
        return Tables(*kept)

    def values(self, column: str) -> set[Any]:
        """The values of a column of `release_health`."""
        return {row[column] for row in self.health}

    @property
    def histogram(self) -> dict[int, int]:
        """The durations of all rows."""
        found: dict[int, int] = {}
        for row in self.health:
            for bucket, count in row["durations"].items():
                found[bucket] = found.get(bucket, 0) + count
        return found

    def percentile(self, percent: int) -> float | None:
        """Of the durations, in seconds."""
        longest = max(
            (r["duration_max_s"] for r in self.health if r["duration_max_s"] is not None), default=None
        )
        return percentile(self.histogram, percent, longest)

    def worst(self) -> dict[tuple[int, int], int]:
        """By user, named with the project, the rank of the worst of their sessions."""
        found: dict[tuple[int, int], int] = {}
        for row in self.users:
            user = row["project_id"], row["user_hash"]
            found[user] = max(found.get(user, 0), *(state % 8 for state in row["states"]))
        return found

    def totals(self) -> Totals:
        """Sessions, the five states, users, and users with a crash."""
        sums = {name: sum(row[name] for row in self.health) for name in ("sessions", *STATES)}
        worst = self.worst()
        return sums | {"users": len(worst), "crashed_users": sum(rank == 5 for rank in worst.values())}

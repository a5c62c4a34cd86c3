"""What a plan of weeks comes to, counted item by item with nothing but Python: the answers that tables, reports and SQL must give."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.weeks import DAY, HOUR, MONITOR, SILENT, ZONES, Decided, Plan, Project, Sent

OPEN = ("unresolved", "regressed")
_STATUS = {"created": "unresolved", "resolve": "resolved", "regress": "regressed", "ignore": "ignored"}


@dataclass(frozen=True, slots=True)
class Move:
    """What became of a group, which is known by its project and problem. A regression is decided when its event is processed, up to
    a step later; what a monitor finds out, at its next check."""

    at: datetime
    project: Project
    problem: str
    move: str
    status_from: str | None
    status_to: str
    opened_at: datetime | None


class Truth:
    """A plan with all that it sends, counted."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sent = list(plan.sent())
        self.decided = plan.decided()
        self.moves = list(_moves(plan, self.sent, self.decided))

    def bounds(self, scope: str, first: date, days: int) -> tuple[datetime, datetime]:
        """The local days of a scope (organisation or a project's slug) in UTC."""
        zone = ZoneInfo(ZONES[scope])
        ends = (first, first + timedelta(days=days))
        begin, end = (datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in ends)
        return begin, end

    def of(self, kind: str, scope: str, start: datetime, end: datetime) -> list[Sent]:
        """The items of a kind that count in a span: sessions where they began, others by receipt."""
        return [
            one
            for one in self.sent
            if one.kind == kind and _in(scope, one.project) and start <= counted_at(one) < end
        ]

    def figures(self, scope: str, start: datetime, end: datetime) -> dict[str, Any]:
        """Figures of a scope in a span, as reports call them."""
        errors = self.of("event", scope, start, end)
        sessions = self.of("session", scope, start, end)
        moves = Counter(
            move.move for move in self.moves if _in(scope, move.project) and start <= move.at < end
        )
        crashed = sum(one.payload["status"] == "crashed" for one in sessions)
        return {
            "errors": len(errors),
            "users": len(people(errors)),
            "transactions": len(self.of("transaction", scope, start, end)),
            "sessions": len(sessions),
            "crashed": crashed,
            "crash_free_sessions": 1 - crashed / len(sessions) if sessions else None,
            "session_users": len(people(sessions)),
            "check_ins": len(self.of("check_in", scope, start, end)),
            "new_groups": moves["created"],
            "reopened": moves["regress"],
            "resolved": moves["resolve"],
            "ignored": moves["ignore"],
            "open_at_start": self.open_at(scope, start),
            "open_groups": self.open_at(scope, end),
            "deploys": sum(
                one.what == "deploy" and _in(scope, one.project) and start <= one.at < end
                for one in self.decided
            ),
            "top": dict(Counter(one.problem for one in errors).most_common(5)),
        }

    def open_at(self, scope: str, moment: datetime) -> int:
        """Groups that are open at a moment, by the log."""
        status: dict[tuple[int, str], str] = {}
        for move in self.moves:
            if _in(scope, move.project) and move.at < moment:
                status[move.project.id, move.problem] = move.status_to
        return sum(each in OPEN for each in status.values())

    def as_json(self) -> dict[str, Any]:
        """Counts by UTC day, by local hour of each project, and of each whole local week of each scope."""
        by_day: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        by_hour: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for one in self.sent:
            slug, at = one.project.slug, counted_at(one)
            by_day[slug][at.date().isoformat()][one.kind] += 1
            if one.kind == "event":
                local = at.astimezone(ZoneInfo(ZONES[slug]))
                by_hour[slug][local.replace(minute=0, second=0, microsecond=0).isoformat()] += 1
        return {
            "plan": {
                "first": self.plan.first.isoformat(), "days": self.plan.days, "a_day": self.plan.a_day, "seed": self.plan.seed,
                "zones": ZONES, "items": len(self.sent),
            },
            "by_day": by_day,
            "errors_by_local_hour": by_hour,
            "weeks": {
                scope: {
                    key.isoformat(): self.figures(scope, *self.bounds(scope, key, 7)) for key in self.weeks(scope)
                }
                for scope in ZONES
            },
        }  # fmt: skip

    def weeks(self, scope: str) -> list[date]:
        """Mondays of the local weeks of a scope that lie in the plan, the first of which may have begun before it."""
        found = []
        for number in range(self.plan.days // 7):
            key = self.plan.first + timedelta(days=7 * number)
            if self.bounds(scope, key, 7)[1] <= self.plan.end + 14 * HOUR:
                found.append(key)
        return found


def counted_at(one: Sent) -> datetime:
    """The moment at which an item counts."""
    return datetime.fromisoformat(one.payload["started"]) if one.kind == "session" else one.at


def people(items: Iterable[Sent]) -> set[tuple[int, str]]:
    """Who they are of, those that tell: a user is one of a project."""
    return {(one.project.id, one.user) for one in items if one.user is not None}


def _in(scope: str, project: Project) -> bool:
    return scope in ("organisation", project.slug)


def _moves(plan: Plan, sent: Iterable[Sent], decided: Iterable[Decided]) -> list[Move]:
    """What becomes of groups, in order."""
    found: list[Move] = []
    status: dict[tuple[int, str], str] = {}
    opened: dict[tuple[int, str], datetime] = {}
    changed: dict[tuple[int, str], datetime] = {}

    def move(at: datetime, project: Project, problem: str, what: str) -> None:
        key, was = (project.id, problem), status.get((project.id, problem))
        before = opened.get(key) if was in OPEN else None
        found.append(Move(at, project, problem, what, was, _STATUS[what], before))
        status[key], changed[key] = _STATUS[what], at
        if _STATUS[what] in OPEN:
            opened[key] = at

    happenings: list[Sent | Decided] = sorted([*sent, *decided], key=lambda one: one.at)
    for one in happenings:
        key = one.project.id, one.problem
        if isinstance(one, Decided):
            if one.what in ("resolve", "ignore"):
                move(one.at, one.project, one.problem, one.what)
        elif one.kind == "check_in":
            _nightly(one, status.get(key), move)
        elif one.kind == "event":
            happened = datetime.fromisoformat(one.payload["timestamp"])
            if key not in status:
                move(one.at, one.project, one.problem, "created")
            elif status[key] == "resolved" and happened > changed[key]:
                move(one.at, one.project, one.problem, "regress")
    missing = plan.at(SILENT) + 2 * HOUR  # three at night in Berlin, and the margin
    if plan.days > SILENT:
        found.append(Move(missing, plan.projects[0], MONITOR, "regress", "resolved", "regressed", None))
        found.append(
            Move(missing + DAY - HOUR, plan.projects[0], MONITOR, "resolve", "regressed", "resolved", missing)
        )
    return sorted(found, key=lambda one: one.at)


def _nightly(one: Sent, status: str | None, move: Any) -> None:
    """The group of the nightly job: opened by its failure, resolved by the next run that goes well."""
    if one.payload["status"] == "error":
        move(one.at, one.project, MONITOR, "created" if status is None else "regress")
    elif status in OPEN:
        move(one.at, one.project, MONITOR, "resolve")

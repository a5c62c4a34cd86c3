"""Weeks of made-up traffic as a plan: what is sent when, what people decide, and what of it must be counted. Nothing is stored here.

Two projects and an organisation in three time zones, one of them half an hour off, with the end of summer time in the second week.
A plan follows from its seed alone. `truth.py` counts it, `living.py` sends it through a real spool and real drains.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

FIRST = date(2026, 10, 12)
"""A Monday. Clocks go back in Berlin on the Sunday after the next one."""
ZONES = {"organisation": "Asia/Kolkata", "shop": "Europe/Berlin", "app": "America/New_York"}
ANNA, BEN, CHANDRA = "anna@acme.example", "ben@acme.example", "chandra@acme.example"
USERS = 300
"""Users of a project who may meet errors or have sessions."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCRIPT, SCRIPT_ID = "https://shop.test/assets/app.min.js", "248bcf3a-41a8-5d27-8cc8-87e636bed392"
"""A script of tests/data/symbols, whose source map comes late."""

Kind = Literal["event", "transaction", "session", "check_in"]


@dataclass(frozen=True, slots=True)
class Project:
    """An application: its releases by the day on which they are deployed, its errors and its transactions with their usual length."""

    id: int
    slug: str
    releases: dict[float, str]
    problems: tuple[Problem, ...]
    transactions: dict[str, float]

    @property
    def key(self) -> str:
        """Its client key."""
        return f"{self.id:032x}"

    def release_at(self, days: float) -> str:
        """The release in use so many days after the first."""
        return [version for since, version in self.releases.items() if since <= days][-1]


@dataclass(frozen=True, slots=True)
class Problem:
    """What goes wrong: how often beside others, from when until when (days after the first; several stretches)."""

    name: str
    weight: float
    stretches: tuple[tuple[float, float], ...] = ((0, 1e9),)
    level: str = "error"
    handled: bool | None = False
    type: str = ""
    """Of the exception; the name when empty."""
    minified: str = ""
    """In a browser: what the function is called as long as its source map is not there (`late_symbols`)."""

    @property
    def title(self) -> str:
        """Of its group."""
        return f"{self.type or self.name}: {self.name} went wrong"

    def happens_at(self, days: float) -> bool:
        """Whether it may happen then."""
        return any(since <= days < until for since, until in self.stretches)


@dataclass(frozen=True, slots=True)
class Sent:
    """An item that a client sends, received at `at`: its kind and payload, and what figures tell it apart by."""

    at: datetime
    project: Project
    kind: Kind
    payload: dict[str, Any]
    problem: str = ""
    user: str | None = None
    release: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person does: `what` is resolve, ignore, assign, release or deploy; of a group by its problem."""

    at: datetime
    project: Project
    what: Literal["resolve", "ignore", "assign", "release", "deploy"]
    by: str
    problem: str = ""
    to: str = ""
    version: str = ""


@dataclass(frozen=True)
class Plan:
    """What happens from the first day on for so many days; `a_day` errors, twice as many transactions and sessions."""

    first: date = FIRST
    days: int = 14
    a_day: float = 400
    seed: int = 1
    projects: tuple[Project, ...] = field(default_factory=lambda: (shop(), app()))

    def at(self, days: float) -> datetime:
        """So many days after the first begins (UTC)."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC) + days * DAY

    @property
    def end(self) -> datetime:
        """When nothing more happens."""
        return self.at(self.days)

    def sent(self) -> Iterator[Sent]:
        """All items by the time of their receipt."""
        chance = random.Random(self.seed)
        for hour in range(24 * self.days):
            begin = self.at(hour / 24)
            items = [one for project in self.projects for one in self._hour(project, begin, chance)]
            yield from sorted(items, key=lambda one: one.at)

    def decided(self) -> list[Decided]:
        """All decisions, by their time."""
        made = [
            Decided(self.at(since), project, what, BEN, version=version)
            for project in self.projects
            for since, version in project.releases.items()
            for what in ("release", "deploy")
        ]
        by_slug = {project.slug: project for project in self.projects}
        if {"shop", "app"} <= set(by_slug):
            made += self._about_groups(by_slug["shop"], by_slug["app"])
        return sorted((one for one in made if one.at < self.end), key=lambda one: one.at)

    def _about_groups(self, shop: Project, app: Project) -> list[Decided]:
        return [
            Decided(self.at(1.4), shop, "assign", ANNA, "SlowQuery", to="team:payments"),
            Decided(self.at(3.5), shop, "resolve", ANNA, "CartEmpty"),
            Decided(self.at(5.6), shop, "ignore", ANNA, "LegacyWarning"),
            Decided(self.at(8.45), shop, "resolve", ANNA, "SlowQuery"),
            Decided(self.at(2.7), app, "assign", BEN, "KeyError", to=BEN),
            Decided(self.at(6.3), app, "resolve", BEN, "KeyError"),
            Decided(self.at(11.7), app, "resolve", BEN, "DecodeError"),
        ]

    def _hour(self, project: Project, begin: datetime, chance: random.Random) -> Iterator[Sent]:
        """What is received of a project in an hour: more by day than by night, of its own zone."""
        local = begin.astimezone(ZoneInfo(ZONES.get(project.slug, "UTC"))).hour
        share = (1.6 if 8 <= local < 20 else 0.4) / 24 / len(self.projects)
        for kind, often in (("event", 1), ("transaction", 2), ("session", 2)):
            for _ in range(_about(self.a_day * share * often, chance)):
                at = begin + timedelta(microseconds=chance.randrange(3_600_000_000))
                days = (at - self.at(0)) / DAY
                if kind == "event":
                    possible = [problem for problem in project.problems if problem.happens_at(days)]
                    (problem,) = chance.choices(possible, [each.weight for each in possible])
                    yield _error(project, problem, at, days, chance)
                elif kind == "transaction":
                    yield _transaction(project, at, days, chance)
                else:
                    yield _session(project, at, days, chance)
        for problem in project.problems:  # however little there is, each stretch begins with one
            for since, _ in problem.stretches:
                if begin <= self.at(since) < begin + HOUR:
                    yield _error(project, problem, self.at(since) + timedelta(seconds=1), since, chance)
        if project.slug == "shop":
            yield from _check_ins(project, begin, (begin - self.at(0)) // DAY)


def _about(wanted: float, chance: random.Random) -> int:
    """A whole number that is `wanted` on average."""
    return int(wanted) + (chance.random() < wanted % 1)


def _place(project: Project, days: float, chance: random.Random) -> tuple[str | None, str, str]:
    """A user (one in ten is nobody), the release in use (old ones linger), and an environment."""
    user = None if chance.random() < 0.1 else f"{project.slug}-{chance.randrange(USERS)}"
    release = project.release_at(max(0.0, days - chance.choice((0, 0, 0, 0.5))))
    return user, release, chance.choice(("production", "production", "production", "staging"))


def _id(chance: random.Random) -> str:
    return UUID(int=chance.getrandbits(128), version=4).hex


def _error(project: Project, problem: Problem, at: datetime, days: float, chance: random.Random) -> Sent:
    user, release, environment = _place(project, days, chance)
    mechanism = (
        {} if problem.handled is None else {"mechanism": {"type": "generic", "handled": problem.handled}}
    )
    exception = {
        "type": problem.type or problem.name, "value": f"{problem.name} went wrong",
        "stacktrace": {"frames": _frames(project, problem)}, **mechanism,
    }  # fmt: skip
    payload = {
        "event_id": _id(chance), "timestamp": (at - timedelta(seconds=1)).isoformat(), "level": problem.level,
        "platform": "javascript" if problem.minified else "python", "release": release, "environment": environment,
        "exception": {"values": [exception]}, **({"user": {"id": user}} if user else {}),
        **({"debug_meta": {"images": [{"type": "sourcemap", "code_file": SCRIPT, "debug_id": SCRIPT_ID}]}} if problem.minified else {}),
    }  # fmt: skip
    return Sent(at, project, "event", payload, problem.name, user, release, environment)


def _frames(project: Project, problem: Problem) -> list[dict[str, Any]]:
    if problem.minified:
        place = {"filename": SCRIPT, "function": problem.minified, "lineno": 3, "in_app": True}
        return [{**place, "function": "start", "colno": 1}, {**place, "colno": 274}]
    file = f"{project.slug}/work.py"
    return [
        {"function": f"do_{problem.name}", "module": f"{project.slug}.work", "filename": file, "in_app": True}
    ]


def _transaction(project: Project, at: datetime, days: float, chance: random.Random) -> Sent:
    name = chance.choice(list(project.transactions))
    user, release, environment = _place(project, days, chance)
    usual = project.transactions[name] * (3 if days >= 7 and name.startswith("/checkout") else 1)
    seconds = usual * chance.lognormvariate(0, 0.4) / 1000
    trace = {
        "trace_id": _id(chance),
        "span_id": _id(chance)[:16],
        "op": "http.server",
        "status": chance.choice(("ok",) * 19 + ("internal_error",)),
    }
    payload = {
        "type": "transaction", "event_id": _id(chance), "transaction": name, "platform": "python", "contexts": {"trace": trace},
        "start_timestamp": (at - timedelta(seconds=1 + seconds)).isoformat(), "timestamp": (at - timedelta(seconds=1)).isoformat(),
        "release": release, "environment": environment, "spans": [], **({"user": {"id": user}} if user else {}),
    }  # fmt: skip
    return Sent(at, project, "transaction", payload, name, user, release, environment)


def _session(project: Project, at: datetime, days: float, chance: random.Random) -> Sent:
    user, release, environment = _place(project, days, chance)
    started = at - timedelta(seconds=chance.randrange(5, 1200))
    status = chance.choice(("exited",) * 97 + ("crashed",) * 2 + ("abnormal",))
    payload = {
        "sid": _id(chance), "init": True, "started": started.isoformat(), "timestamp": at.isoformat(), "status": status,
        "errors": int(status == "crashed"), "duration": (at - started).total_seconds(),
        "attrs": {"release": release, "environment": environment}, **({"did": user} if user else {}),
    }  # fmt: skip
    return Sent(at, project, "session", payload, "", user, release, environment)


MONITOR = "nightly"
FAILS, SILENT = 3, 8
"""Days (from 0) on which the nightly job fails, and on which it does not report."""


def _check_ins(project: Project, begin: datetime, day: int) -> Iterator[Sent]:
    """The nightly job at three, local time."""
    if begin.astimezone(ZoneInfo(ZONES["shop"])).hour == 3 and day != SILENT:
        payload = {
            "check_in_id": UUID(int=10_000 + day).hex, "monitor_slug": MONITOR, "status": "error" if day == FAILS else "ok",
            "duration": 20.0, "environment": "production",
        }  # fmt: skip
        yield Sent(
            begin + timedelta(seconds=20), project, "check_in", payload, MONITOR, environment="production"
        )


def shop() -> Project:
    """A shop in Berlin: a release that brings an error, one that was resolved and comes back, noise that nobody looks at."""
    problems = (
        Problem("Timeout", 40),
        Problem("PaymentError", 8),
        Problem("SlowQuery", 6, ((0.5, 8.3),), level="warning"),
        Problem("CartEmpty", 5, ((0.2, 3.2), (10.4, 1e9))),
        Problem("LegacyWarning", 9, level="warning", handled=True),
        Problem("ImportError", 4, ((3.1, 1e9),)),
        Problem("CheckoutFailed", 14, ((9.25, 1e9),), level="fatal"),
        Problem("NoPrice", 4, ((7.4, 1e9),), type="TypeError", minified="o.add"),
        Problem("NoItem", 4, ((8.4, 1e9),), type="TypeError", minified="u.drop"),
    )
    releases = {0.0: "shop@1.0.0", 4.5: "shop@1.1.0", 9.2: "shop@2.0.0"}
    return Project(1, "shop", releases, problems, {"/cart": 80, "/checkout": 220})


def app() -> Project:
    """An app in New York."""
    problems = (
        Problem("KeyError", 10, ((0.3, 6.0),)),
        Problem("DecodeError", 12, ((0.6, 11.5),), handled=None),
        Problem("NetworkDown", 20),
        Problem("OutOfMemory", 3, ((7.5, 1e9),), level="fatal"),
    )
    return Project(2, "app", {0.0: "app@5.0", 6.4: "app@5.1"}, problems, {"launch": 900, "sync": 400})


def many(count: int) -> tuple[Project, ...]:
    """So many projects, each as the app but for its name."""
    return tuple(replace(app(), id=10 + n, slug=f"p{n}") for n in range(count))


def configuration(plan: Plan, *, smtp_port: int = 9) -> str:
    """The configuration that the plan needs: members in three zones, who get mail by the server at a port of this machine."""
    shop, app = plan.projects[0].slug, plan.projects[-1].slug
    projects = "\n".join(f"  - {{{_settings(project)}}}" for project in plan.projects)
    rate = "{messages: 100000, seconds: 1, burst: 100000}"
    mail = f"type: mail, host: 127.0.0.1, port: {smtp_port}, security: none, sender: errors@acme.example"
    return f"""\
organisation: {{slug: acme, name: Acme}}
projects:
{projects}
reports: {{timezone: {ZONES["organisation"]}, unsubscribe_url: "http://127.0.0.1:9000"}}
retention: {{raw_days: 30}}
processing: {{linger_seconds: 0}}
channels: [{{name: mail, {mail}, rate: {rate}, target_rate: {rate}}}]
members:
  - {{email: {ANNA}, name: Anna, timezone: {ZONES["shop"]}, reports: {{weekly: true}}}}
  - {{email: {BEN}, name: Ben, timezone: {ZONES["app"]}, reports: {{daily: true, weekly: true, projects: [{app}]}}}}
  - {{email: {CHANDRA}, timezone: {ZONES["organisation"]}, notifications: {{delivery: none}}, reports: {{weekly: true}}}}
teams: [{{slug: payments, members: [{ANNA}], projects: [{shop}]}}]
alert_rules: [{{name: new errors, when: [new_group, regression, monitor], notify: ["{ANNA}", "{BEN}"]}}]
"""


def _settings(project: Project) -> str:
    zone = ZONES.get(project.slug, "UTC")
    found = (
        f"id: {project.id}, slug: {project.slug}, timezone: {zone}, keys: [{{public_key: '{project.key}'}}]"
    )
    if project.slug == "shop":
        found += (
            f", monitors: [{{slug: {MONITOR}, schedule: '0 3 * * *', timezone: {zone}, margin_minutes: 30}}]"
        )
    return found

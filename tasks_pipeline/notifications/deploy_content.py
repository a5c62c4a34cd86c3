"""What the message of a deploy says, and the facts that it is made of. Who gets one is decided in `shipping/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.message import GroupLine, Message, Section
from tasks_pipeline.notifications.what_to_do import typed
from tasks_pipeline.texts import clean
from tasks_pipeline.words import counted, lasting

SHOWN = 10
"""Authors, and groups of each kind, that are named; of the others there is a number."""


@dataclass(frozen=True, slots=True)
class DeployFacts:
    """A deploy as its message tells of it: plain data, as the row of the message holds it.

    `authors` are (name, number of commits), the most first; groups are (short id, title), as many as SHOWN.
    """

    version: str
    environment: str
    projects: tuple[str, ...]
    finished_at: str
    title: str
    name: str | None = None
    url: str | None = None
    duration_seconds: float | None = None
    commits: int = 0
    files: int = 0
    authors: tuple[tuple[str, int], ...] = ()
    more_authors: int = 0
    groups_resolved: int = 0
    resolved: tuple[tuple[str, str], ...] = ()
    groups_new: int = 0
    new: tuple[tuple[str, str], ...] = ()

    def data(self) -> dict[str, Any]:
        """For the outbox."""
        return asdict(self)


def deploy_title(version: str, environment: str) -> str:
    """What happened, in a line."""
    return f"{clean(version, 200)} is in {clean(environment, 64)}"


def deploy_message(config: Config, home: Home, row: Mapping[str, Any]) -> Message:
    """The message of a deploy's row in the outbox."""
    facts = DeployFacts(**row["data"])
    member = config.member(row["target"].removeprefix("member:"))
    zone = ZoneInfo(member.timezone if member else "UTC")
    finished = _in_zone(datetime.fromisoformat(facts.finished_at), zone)
    said: list[tuple[str, object]] = [
        ("Release", facts.version),
        ("Environment", facts.environment),
        ("Projects", ", ".join(facts.projects)),
        ("Deploy", facts.name),
        ("Finished", f"{finished:%Y-%m-%d %H:%M:%S %Z}"),
        ("Took", None if facts.duration_seconds is None else lasting(facts.duration_seconds)),
        ("Commits", f"{facts.commits:,}"),
        ("Files changed", f"{facts.files:,}"),
        ("Groups resolved", f"{facts.groups_resolved:,}"),
        ("New groups", f"{facts.groups_new:,}"),
        ("Address", facts.url),
    ]
    return Message(
        key=row["key"],
        thread=row["thread"],
        type="deploy",
        status="deploy",
        severity="info",
        subject=f"[{facts.projects[0]}] Deployed to {clean(facts.environment, 64)}",
        title=deploy_title(facts.version, facts.environment),
        project=facts.projects[0],
        changed=_changed(facts),
        facts=tuple((name, clean(value, 300)) for name, value in said if value),
        sections=tuple(_authors(facts)),
        groups=(
            *_lines(facts.resolved, "resolved by this release"),
            *_lines(facts.new, "new in this release"),
        ),
        more_groups=facts.groups_resolved + facts.groups_new - len(facts.resolved) - len(facts.new),
        commands=(typed(home, "releases", "show", facts.version, "--project", facts.projects[0]),),
        data=row["data"],
    )


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """As it is there; in UTC where that would be beyond the years that there are."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def _changed(facts: DeployFacts) -> str:
    if not facts.commits:
        return "No commits of it are known."
    authors = counted(len(facts.authors) + facts.more_authors, "author")
    return f"It holds {counted(facts.commits, 'commit')} by {authors}."


def _authors(facts: DeployFacts) -> list[Section]:
    if not facts.authors:
        return []
    rows = [(clean(name, 60), counted(count, "commit")) for name, count in facts.authors]
    if facts.more_authors:
        rows.append(("others", counted(facts.more_authors, "author")))
    return [Section("Commits by author", tuple(rows))]


def _lines(groups: tuple[tuple[str, str], ...], note: str) -> list[GroupLine]:
    return [GroupLine(short_id, clean(title, 200), note=note) for short_id, title in groups]

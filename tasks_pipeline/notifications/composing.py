"""message_of: what a row of the outbox says, from its alert, its group and its event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, select

from tasks_pipeline.config import Config
from tasks_pipeline.config.projects import PIPELINE, project_name
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.groups.suspects import author_of, suspects_of
from tasks_pipeline.notifications.deploy_content import deploy_message
from tasks_pipeline.notifications.digest_content import digest_message
from tasks_pipeline.notifications.message import GroupLine, Message, Section
from tasks_pipeline.notifications.report_content import report_message
from tasks_pipeline.notifications.routing import members_of, owners_of
from tasks_pipeline.notifications.story import TAGS, Crumb, Story, story_of
from tasks_pipeline.notifications.what_to_do import (
    about_group,
    about_integration,
    about_monitor,
    about_pipeline,
    about_rule,
)
from tasks_pipeline.service.links import Links, links
from tasks_pipeline.storage.lake.events import payload_of
from tasks_pipeline.storage.state.tables import alerts, groups, notifications
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean
from tasks_pipeline.words import minutes, short_commit

GONE = "The event is not kept any more, so its stack trace is missing here."
REPEATED = "This may be a repeat: an earlier attempt to send it ended without an answer."
GROUPS_SHOWN = 10
_KINDS = {
    "new_group": "New",
    "regression": "Back again",
    "unignored": "No longer ignored",
    "escalation": "Escalating",
    "events": "Frequent",
    "users": "Many users affected",
    "session_percent": "Many sessions affected",
    "metric": "Threshold crossed",
    "monitor": "Monitor",
    "pipeline": "Trouble",
    "integration": "Issue tracker",
}
_IN_UTC = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
"""How sentences that are stored say a time: who reads them has a zone of their own."""

StoryOf = Callable[[int, str, str], Story | None]
"""(project id, day, event id) to the story of a stored event; None when it is not kept any more."""


def stored_story(stores: Stores, project_id: int, day: str, event_id: str) -> Story | None:
    """What a message tells of a stored event; None when it is not kept any more."""
    payload = payload_of(stores.state, stores.lake, project_id, date.fromisoformat(day), event_id)
    return None if payload is None else story_of(payload)


def message_of(stores: Stores, row: Mapping[str, Any], story_at: StoryOf | None = None) -> Message:
    """The message of a row of `notifications`. What is not there any more is left out, and said.

    `story_at` stands in for `stored_story`: a sender remembers that of an alert for its other targets.
    """
    match row["type"]:
        case "digest":
            message = digest_message(stores, row)
        case "storm":
            message = _storm_message(stores, row)
        case "deploy":
            message = deploy_message(stores.config, stores.home, row)
        case "report":
            message = report_message(stores, row)
        case "test":
            message = test_message(row["key"], project_name(stores.slugs, row["project_id"]), row["target"])
        case _:
            message = _alert_message(stores, row, story_at or partial(stored_story, stores))
    message = _with_pages(links(stores.home, stores.config), message)
    if not row["ambiguous"]:
        return message
    return replace(message, notes=(*message.notes, REPEATED))


def _with_pages(pages: Links, message: Message) -> Message:
    """The same with where its page is: first of its links, which is where a phone leads (of a report it is that), and that of each of its groups."""
    short_id, event_id = message.data.get("short_id"), message.data.get("event_id")
    if short_id and event_id:
        link = f"Open {short_id}", pages.event(str(short_id), str(event_id))
    elif short_id:
        link = f"Open {short_id}", pages.group(str(short_id))
    elif message.type == "deploy":
        version = str(message.data["version"]).replace("\\", "\\\\").replace('"', '\\"')
        link = "Groups of this release", pages.groups(f'release:"{version}"')
    else:
        link = "All groups", pages.groups()
    named = (
        group if group.short_id == message.project else replace(group, url=pages.group(group.short_id))
        for group in message.groups
    )
    first = (*message.links, link) if message.type == "report" else (link, *message.links)
    return replace(message, links=first, groups=tuple(named))


def test_message(key: str, project: str, target: str) -> Message:
    """What `notifications test` sends."""
    return Message(
        key=key,
        thread=f"test:{target}",
        type="test",
        status="test",
        severity="info",
        subject="Test message",
        title="Notifications arrive here",
        project=project,
        changed="Somebody tried this target with `tasks-pipeline notifications test`. Nothing happened, nothing has to be done.",
        facts=(("Target", target), ("Sent at", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")),
    )


def _alert_message(stores: Stores, row: Mapping[str, Any], story_at: StoryOf) -> Message:
    with stores.state.read() as connection:
        alert = connection.execute(select(alerts).where(alerts.c.id == row["alert_id"])).one()
        of_group = select(groups.c.first_release).where(groups.c.id == alert.group_id)
        first = connection.execute(of_group).scalar() if alert.group_id is not None else None
        suspects = suspects_of(connection, [alert.group_id]).get(alert.group_id, []) if alert.group_id else []
    data: dict[str, Any] = {**alert.data, **({"first_release": first} if first else {})}
    project = project_name(stores.slugs, alert.project_id)
    short_id = _short_id(stores, project, data)
    recovered = alert.status == "recovered"
    zone = _zone(stores, row["target"])
    story = None if recovered else _story(story_at, alert.project_id, data)
    told = story or Story()
    suspects = [] if recovered else suspects
    return Message(
        key=row["key"],
        thread=row["thread"],
        type="alert",
        status=alert.status,
        severity=alert.severity,
        subject=_subject(alert.kind, recovered, short_id or project, data),
        title=clean(data.get("title") or data.get("detail") or alert.rule, 300),
        project=project,
        rule=alert.rule,
        culprit=clean(data.get("culprit") or "", 300),
        changed=" ".join(filter(None, (_zoned(data.get("changed"), zone, 500), _likely_from(suspects)))),
        facts=(*_suggested(stores.config, alert.project_id, data, suspects), *_facts(data, told, zone)),
        frames=told.frames,
        sections=tuple(_sections(data, told, zone)),
        links=_links(stores, data),
        commands=() if recovered else _commands(stores, alert, short_id, row["target"], data),
        notes=(GONE,) if story is None and _place(data) and not recovered else (),
        data={
            "alert_id": alert.id, "kind": alert.kind, "short_id": short_id, "group_id": alert.group_id,
            "incident_id": alert.incident_id, "event_id": (_place(data) or {}).get("event_id"), **_plain(data),
            **({"suspect_commits": [_plain_suspect(suspect) for suspect in suspects]} if suspects else {}),
        },
    )  # fmt: skip


def _likely_from(suspects: Sequence[Mapping[str, Any]]) -> str:
    """`Likely from 8097195 by Jo: Round totals`, of the likeliest commit."""
    if not suspects:
        return ""
    first = suspects[0]
    by = f" by {clean(author_of(first), 100)}" if author_of(first) else ""
    said = f": {clean(first['message'], 200)}" if first["message"] else ""
    return f"Likely from {clean(short_commit(first['sha']))}{by}{said}"


def _suggested(
    config: Config, project_id: int, data: Mapping[str, Any], suspects: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Who could take a group that is nobody's: its owners, else a member whose commit is suspected; and the further suspects."""
    if suspects and not data.get("assignee"):
        owners = owners_of(
            config, project_id, data.get("paths") or (), data.get("tags") or {}, data.get("url")
        )
        mails = [(suspect["author"]["email"] or "").lower() for suspect in suspects]
        named = owners or [member.email for member in members_of(config, mails)][:1]
        if named:
            yield "Suggested", ", ".join(name.removeprefix("member:") for name in named)
    others = [f"{clean(short_commit(s['sha']))} by {clean(author_of(s) or '?', 100)}" for s in suspects[1:]]
    if others:
        yield "Other suspects", ", ".join(others)


def _plain_suspect(suspect: Mapping[str, Any]) -> dict[str, Any]:
    """A suspect commit for programs, bounded as texts for people are."""
    at = suspect["committed_at"]
    return {
        **suspect,
        "message": clean(suspect["message"], 300),
        "committed_at": at.isoformat() if at else None,
    }


def _subject(kind: str, recovered: bool, about: str, data: Mapping[str, Any]) -> str:
    if recovered:
        return f"[{about}] Recovered"
    level = str(data.get("level") or "")
    what = _KINDS.get(kind, kind)
    return f"[{about}] {what}{f' {level}' if level and kind == 'new_group' else ''}"


def _facts(data: Mapping[str, Any], story: Story, zone: ZoneInfo) -> tuple[tuple[str, str], ...]:
    """What is known of the trouble, what matters most first: services show eight or ten of them."""
    window = data.get("window_minutes")
    value, threshold = data.get("value"), data.get("threshold")
    found: list[tuple[str, object]] = [
        (
            "Value",
            f"{value:,g}, threshold {threshold:,g}" + (f", in {minutes(window)}" if window else ""),
        )
        if isinstance(value, int | float) and isinstance(threshold, int | float)
        else ("Value", ""),
        ("Detail", _zoned(data.get("detail"), zone, 300) if data.get("title") else ""),
        ("Since", _when(data.get("since"), zone)),
        ("Environment", data.get("environment")),
        ("Release", data.get("release")),
        ("First seen in", data.get("first_release")),
        ("Events", f"{data['times_seen']:,}" if isinstance(data.get("times_seen"), int) else ""),
        ("Users", f"{data['users']:,}" if data.get("users") else ""),
        ("Event", (_place(data) or {}).get("event_id")),
        ("First seen", _when(data.get("first_seen"), zone)),
        ("Last seen", _when(data.get("last_seen"), zone)),
        ("Level", data.get("level")),
        ("Assigned to", data.get("assignee")),
        ("Server", story.server),
        ("Ran on", story.ran_on),
    ]
    monitor = data.get("monitor")
    if isinstance(monitor, Mapping):
        found += [
            ("Monitor", monitor.get("slug")),
            ("Expected", _when(monitor.get("expected_at"), zone)),
            ("Next", _when(monitor.get("next_at"), zone)),
        ]
    return tuple((name, clean(value, 300)) for name, value in found if value)


def _sections(data: Mapping[str, Any], story: Story, zone: ZoneInfo) -> Iterator[Section]:
    yield from story.sections
    known = data.get("tags")
    tags = story.tags or tuple(known.items() if isinstance(known, Mapping) else ())
    if tags:
        yield Section("Tags", tuple((clean(name, 40), clean(value, 200)) for name, value in tags[:TAGS]))
    if story.crumbs:
        yield Section("Breadcrumbs, the last first", tuple(_left(crumb, zone) for crumb in story.crumbs))


def _left(crumb: Crumb, zone: ZoneInfo) -> tuple[str, str]:
    """When a breadcrumb was left, and what it says."""
    at = f"{crumb.at.astimezone(zone):%H:%M:%S}" if crumb.at else "–"
    return at, " ".join(part for part in (crumb.what, crumb.text) if part)


def _when(value: object, zone: ZoneInfo) -> str:
    if not isinstance(value, str):
        return ""
    return f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _zoned(value: object, zone: ZoneInfo, limit: int) -> str:
    """A sentence with its times in the reader's zone."""
    return clean(_IN_UTC.sub(lambda found: _moved(found, zone), str(value or "")), limit)


def _moved(found: re.Match[str], zone: ZoneInfo) -> str:
    try:
        return _when(f"{found[1]}+00:00", zone)
    except (ValueError, OverflowError):  # digits that are no time
        return found[0]


def _zone(stores: Stores, target: str) -> ZoneInfo:
    member = stores.config.member(target.removeprefix("member:"))
    return ZoneInfo(member.timezone if member else "UTC")


def _place(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Where the event of an alert lies; None for one that is about no event."""
    place = data.get("event")
    return place if isinstance(place, Mapping) and "event_id" in place else None


def _story(story_at: StoryOf, project_id: int, data: Mapping[str, Any]) -> Story | None:
    place = _place(data)
    return story_at(project_id, place["day"], place["event_id"]) if place else None


def _links(stores: Stores, data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The day's partition in Dagster, which shows what was made of it; without its view the address opens another page."""
    ui, place = stores.config.notifications.ui_url, _place(data)
    if not ui or not place:
        return ()
    return (
        ("The day in Dagster", f"{ui.rstrip('/')}/assets/events?view=partitions&partition={place['day']}"),
    )


def _commands(
    stores: Stores, alert: Row[Any], short_id: str, target: str, data: Mapping[str, Any]
) -> tuple[str, ...]:
    """What to do about an alert, by what it is about."""
    home, monitor = stores.home, data.get("monitor")
    if isinstance(monitor, Mapping) and monitor.get("slug"):
        return about_monitor(home, monitor, short_id, target)
    if short_id:
        return about_group(home, short_id, target)
    if data.get("integration"):
        return about_integration(home, str(data["integration"]))
    if alert.project_id == PIPELINE:
        return about_pipeline(home, str(data.get("probe") or ""))
    return about_rule(home, alert.rule)


def _storm_message(stores: Stores, row: Mapping[str, Any]) -> Message:
    """One message for all that collapsed between `since` and now for this target."""
    zone = _zone(stores, row["target"])
    since = datetime.fromisoformat(row["data"]["since"])
    until = datetime.fromisoformat(row["data"]["until"])
    project = project_name(stores.slugs, row["project_id"])
    of_storm = (
        notifications.c.project_id == row["project_id"],
        notifications.c.rule == row["rule"],
        notifications.c.target == row["target"],
        notifications.c.status == "collapsed",
        # The row of a message is written a moment after its storm was noticed.
        notifications.c.created_at >= since - timedelta(seconds=5),
        notifications.c.created_at <= until + timedelta(seconds=5),
    )
    newest = (
        select(alerts)
        .join(notifications, notifications.c.alert_id == alerts.c.id)
        .where(*of_storm)
        .order_by(alerts.c.id.desc())
        .limit(GROUPS_SHOWN)
    )
    with stores.state.read() as connection:
        count = connection.execute(
            select(func.count()).select_from(notifications).where(*of_storm)
        ).scalar_one()
        shown = list(connection.execute(newest))
    return Message(
        key=row["key"],
        thread=row["thread"],
        type="storm",
        status="storm",
        severity="warning",
        subject=f"[{project}] {count:,} more alerts of “{row['rule']}”",
        title=f"{count:,} further alerts were not sent one by one",
        project=project,
        rule=row["rule"],
        changed=f"The rule fired more often than its storm limit allows, since {_when(row['data']['since'], zone)}.",
        groups=tuple(
            GroupLine(
                _short_id(stores, project, alert.data) or project,
                clean(alert.data.get("title") or alert.rule, 200),
                clean(alert.data.get("culprit") or "", 200),
                _KINDS.get(alert.kind, alert.kind).lower(),
                int(alert.data.get("times_seen") or 0),
                users=int(alert.data.get("users") or 0),
            )
            for alert in shown
        ),
        more_groups=max(0, count - len(shown)),
        commands=about_rule(stores.home, row["rule"]),
        data={"count": count, **row["data"]},
    )


def _short_id(stores: Stores, project: str, data: Mapping[str, Any]) -> str:
    number = data.get("short_id")
    return format_short_id(project, number) if isinstance(number, int) else str(number or "")


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("event", "short_id", "paths")}

"""message_of: what a row of the outbox says, from its alert, its group and its event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from tasks_pipeline.config.projects import project_name
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.notifications.digest_content import digest_message
from tasks_pipeline.notifications.frames import frames_of
from tasks_pipeline.notifications.message import Frame, GroupLine, Message, clean
from tasks_pipeline.storage.lake.events import payload_of
from tasks_pipeline.storage.state.tables import alerts, notifications
from tasks_pipeline.stores import Stores

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
    "pipeline": "Pipeline",
}


FramesOf = Callable[[int, str, str], tuple[Frame, ...] | None]
"""(project id, day, event id) to the frames of a stored event; None when it is not kept any more."""


def stored_frames(stores: Stores, project_id: int, day: str, event_id: str) -> tuple[Frame, ...] | None:
    """The frames that a message shows of a stored event; None when it is not kept any more."""
    payload = payload_of(stores.state, stores.lake, project_id, date.fromisoformat(day), event_id)
    return None if payload is None else frames_of(payload)


def message_of(stores: Stores, row: Mapping[str, Any], frames: FramesOf | None = None) -> Message:
    """The message of a row of `notifications`. What is not there any more is left out, and said.

    `frames` stands in for `stored_frames`: a sender remembers those of an alert for its other targets.
    """
    match row["type"]:
        case "digest":
            message = digest_message(stores, row)
        case "storm":
            message = _storm_message(stores, row)
        case "test":
            message = test_message(row["key"], project_name(stores.slugs, row["project_id"]), row["target"])
        case _:
            message = _alert_message(stores, row, frames or partial(stored_frames, stores))
    if not row["ambiguous"]:
        return message
    return _with_note(message, REPEATED)


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


def _with_note(message: Message, note: str) -> Message:
    from dataclasses import replace

    return replace(message, notes=(*message.notes, note))


def _alert_message(stores: Stores, row: Mapping[str, Any], frames_at: FramesOf) -> Message:
    with stores.state.read() as connection:
        alert = connection.execute(select(alerts).where(alerts.c.id == row["alert_id"])).one()
    data: dict[str, Any] = alert.data
    project = project_name(stores.slugs, alert.project_id)
    short_id = _short_id(stores, project, data)
    recovered = alert.status == "recovered"
    zone = _zone(stores, row["target"])
    frames, notes = ((), ()) if recovered else _frames(frames_at, alert.project_id, data)
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
        changed=clean(data.get("changed") or "", 500),
        facts=_facts(data, zone),
        frames=frames,
        links=_links(stores, data),
        commands=() if recovered or alert.group_id is None or not short_id else _commands(short_id),
        notes=notes,
        data={
            "alert_id": alert.id, "kind": alert.kind, "short_id": short_id, "group_id": alert.group_id,
            "incident_id": alert.incident_id, **_plain(data),
        },
    )  # fmt: skip


def _subject(kind: str, recovered: bool, about: str, data: Mapping[str, Any]) -> str:
    if recovered:
        return f"[{about}] Recovered"
    level = str(data.get("level") or "")
    what = _KINDS.get(kind, kind)
    return f"[{about}] {what}{f' {level}' if level and kind == 'new_group' else ''}"


def _facts(data: Mapping[str, Any], zone: ZoneInfo) -> tuple[tuple[str, str], ...]:
    window = data.get("window_minutes")
    value, threshold = data.get("value"), data.get("threshold")
    found: list[tuple[str, object]] = [
        ("Value", f"{value:,g}, threshold {threshold:,g}" + (f", in {window:g} minutes" if window else ""))
        if isinstance(value, int | float) and isinstance(threshold, int | float)
        else ("Value", ""),
        ("Detail", data.get("detail") if data.get("title") else ""),
        ("Level", data.get("level")),
        ("Events", f"{data['times_seen']:,}" if isinstance(data.get("times_seen"), int) else ""),
        ("Users", f"{data['users']:,}" if data.get("users") else ""),
        ("First seen", _when(data.get("first_seen"), zone)),
        ("Last seen", _when(data.get("last_seen"), zone)),
        ("Environment", data.get("environment")),
        ("Release", data.get("release")),
        ("Assigned to", data.get("assignee")),
    ]
    monitor = data.get("monitor")
    if isinstance(monitor, Mapping):
        found += [
            ("Monitor", monitor.get("slug")),
            ("Expected", _when(monitor.get("expected_at"), zone)),
            ("Next", _when(monitor.get("next_at"), zone)),
        ]
    tags = data.get("tags")
    if isinstance(tags, Mapping):
        found += [(clean(name, 40), value) for name, value in list(tags.items())[:6]]
    return tuple((name, clean(value, 300)) for name, value in found if value)


def _when(value: object, zone: ZoneInfo) -> str:
    if not isinstance(value, str):
        return ""
    return f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _zone(stores: Stores, target: str) -> ZoneInfo:
    member = stores.config.member(target.removeprefix("member:"))
    return ZoneInfo(member.timezone if member else "UTC")


def _frames(
    frames_at: FramesOf, project_id: int, data: Mapping[str, Any]
) -> tuple[tuple[Frame, ...], tuple[str, ...]]:
    """The frames of an alert's event, and a note when it is not there any more."""
    place = data.get("event")
    if not isinstance(place, Mapping) or "event_id" not in place:
        return (), ()
    frames = frames_at(project_id, place["day"], place["event_id"])
    if frames is None:
        return (), ("The event is not kept any more, so its stack trace is missing here.",)
    return frames, ()


def _links(stores: Stores, data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    ui, place = stores.config.notifications.ui_url, data.get("event")
    links: list[tuple[str, str]] = []
    if ui and isinstance(place, Mapping) and place.get("day"):
        links.append(("The day in Dagster", f"{ui.rstrip('/')}/assets/events?partition={place['day']}"))
    return tuple(links)


def _commands(short_id: str) -> tuple[str, ...]:
    return (
        f"tasks-pipeline groups show {short_id}",
        f"tasks-pipeline groups resolve {short_id}",
        f"tasks-pipeline groups ignore {short_id} --times 100",
        f"tasks-pipeline groups assign {short_id} you@your.example",
    )


def _storm_message(stores: Stores, row: Mapping[str, Any]) -> Message:
    """One message for all that collapsed between `since` and now for this target."""
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
        changed=f"The rule fired more often than its storm limit allows, since {since:%Y-%m-%d %H:%M:%S} UTC.",
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
        commands=(f'tasks-pipeline alerts list --rule "{row["rule"]}"',),
        data={"count": count, **row["data"]},
    )


def _short_id(stores: Stores, project: str, data: Mapping[str, Any]) -> str:
    number = data.get("short_id")
    return format_short_id(project, number) if isinstance(number, int) else str(number or "")


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("event", "short_id", "paths")}

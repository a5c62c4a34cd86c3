"""Pages of the whole installation, for admins: messages and their channels, the pipeline with its days and probes, the configuration in force."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from tasks_pipeline.access.tokens import list_tokens
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.notifications.outbox import channel_figures, notification_log
from tasks_pipeline.pages.sheets import Sheet, Table, for_admins, pages_of
from tasks_pipeline.pages.view import View
from tasks_pipeline.service.running import running_service
from tasks_pipeline.storage.state.tables import batches, drains, probes
from tasks_pipeline.watch.probes import DESCRIPTIONS

_DAYS = 30
_LOG = {
    "created_at": "decided", "target": "to", "channel": "by", "status": "status", "title": "what", "short_id": "group", "rule": "rule",
    "sent_at": "sent", "attempts": "attempts", "reason": "why",
}  # fmt: skip
_CHANNELS = {
    "channel": "channel", "waiting": "waiting", "dead": "given up", "sent_today": "sent in 24 h", "last_sent_at": "last sent",
    "failures": "failures in a row", "open_until": "paused until", "last_error": "last error",
}  # fmt: skip
_BOOKS = {
    "day": "day (UTC)", "batches": "batches", "items": "items", "stored": "stored", "duplicate": "duplicate", "filtered": "filtered",
    "discarded": "discarded", "invalid": "invalid", "open": "at work", "difference": "difference",
}  # fmt: skip
_COUNTS = ("items", "stored", "duplicate", "filtered", "discarded", "invalid")
_PROBES = {
    "name": "probe",
    "status": "status",
    "value": "value",
    "detail": "what it says",
    "since": "since",
    "measured_at": "measured",
}
_MEMBERS = {
    "email": "member",
    "name": "name",
    "role": "role",
    "sees": "sees",
    "teams": "teams",
    "timezone": "time zone",
}
_TOKENS = {
    "id": "token",
    "name": "name",
    "member": "member",
    "scopes": "may",
    "created_at": "made",
    "last_used_at": "last used",
}
_PROJECTS = {"slug": "project", "id": "number", "name": "name", "keys": "keys in force"}


def _messages(view: View, limit: int) -> Sheet:
    for_admins(view)
    state = view.reading.state
    rows = notification_log(state, since=view.now - timedelta(days=_DAYS), limit=limit)
    names = short_ids(state, view.asked.slugs, {row["group_id"] for row in rows if row["group_id"]})
    for row in rows:
        row["short_id"] = names.get(row["group_id"])
    sql = (
        "SELECT created_at, target, channel, status, rule, sent_at, attempts, reason FROM state.notifications "
        f"WHERE created_at >= now() - INTERVAL {_DAYS} DAY ORDER BY id DESC"
    )
    log = Table(
        "Messages",
        _LOG,
        rows,
        "None was decided on.",
        {"short_id": lambda row: f"/groups/{row['short_id']}/"},
    )
    channels = Table("Channels", _CHANNELS, channel_figures(state, view.now), "No channel was used.")
    note = f"Messages of the last {_DAYS} days. “tasks-pipeline notifications retry” sends again what was given up."
    return Sheet("Messages", [log, channels], sql, note)


def _pipeline(view: View, limit: int) -> Sheet:
    for_admins(view)
    b = batches.c
    sums = [func.coalesce(func.sum(b[name]), 0).label(name) for name in _COUNTS]
    undone = func.count().filter(b.done_at.is_(None)).label("open")
    query = (
        select(b.day, func.count().label("batches"), undone, *sums)
        .group_by(b.day)
        .order_by(b.day.desc())
        .limit(limit)
    )
    measured = (
        select(probes).where(probes.c.name.in_(DESCRIPTIONS)).order_by(probes.c.name)
    )  # others keep notes there
    with view.reading.state.read() as connection:
        days = [dict(row) for row in connection.execute(query).mappings()]
        looked = [dict(row) for row in connection.execute(measured).mappings()]
        at_work = connection.execute(
            select(func.count()).select_from(drains).where(drains.c.ended_at.is_(None), drains.c.heartbeat_at >= view.now - timedelta(minutes=1))
        ).scalar_one()  # fmt: skip
    for row in days:
        row["difference"] = row["items"] - sum(row[name] for name in _COUNTS[1:])
    service = running_service(view.reading.home)
    ui = view.config.notifications.ui_url or (service.ui_url if service else "")

    def of_day(row: Mapping[str, Any]) -> str:
        return f"{ui.rstrip('/')}/assets/events?view=partitions&partition={row['day']}" if ui else ""

    sql = (
        "SELECT day, count(*) AS batches, sum(items) AS items, sum(stored) AS stored, sum(duplicate) AS duplicate, sum(filtered) AS filtered, "
        "sum(discarded) AS discarded, sum(invalid) AS invalid FROM state.batches GROUP BY day ORDER BY day DESC"
    )
    tables = [
        Table("Days", _BOOKS, days, "Nothing was received yet.", {"day": of_day}),
        Table("Probes", _PROBES, looked, "Nothing was measured yet."),
    ]
    note = "What was taken from the spool: items are stored, duplicate, filtered, discarded or invalid. “tasks-pipeline status” counts what waits, too."
    ways = [("Dagster ↗", ui)] if ui else []
    return Sheet("Pipeline", tables, sql, note, facts=[("drains at work", at_work)], ways=ways)


def _settings(view: View, limit: int) -> Sheet:
    for_admins(view)
    config = view.config
    members = [
        {
            "email": m.email, "name": m.name, "role": m.role, "sees": m.sees if isinstance(m.sees, str) else ", ".join(m.sees),
            "teams": ", ".join(team.slug for team in config.teams if m.email in team.members), "timezone": m.timezone,
        }
        for m in config.members
    ]  # fmt: skip
    projects = [
        {"slug": p.slug, "id": str(p.id), "name": p.name, "keys": str(sum(key.enabled for key in p.keys))}
        for p in config.projects
    ]
    known = [
        row | {"scopes": " ".join(row["scopes"])}
        for row in list_tokens(view.reading.state)
        if row["revoked_at"] is None
    ]
    tables = [
        Table("Tokens", _TOKENS, [row | {"id": str(row["id"])} for row in known[-limit:]], "None was made."),
        Table("Members", _MEMBERS, members, "None is configured."),
        Table("Projects", _PROJECTS, projects),
    ]
    facts = [
        ("organisation", config.organisation.name or config.organisation.slug),
        ("people log in by", ", ".join(config.web.login) or "nothing: pages are for this machine"),
        ("pages are at", config.web.public_url),
        ("raw envelopes are kept", f"{config.retention.raw_days} days"),
        ("events are kept", f"{config.kept_days('event_days')} days"),
        ("channels", ", ".join(channel.name for channel in config.channels)),
        ("integrations", ", ".join(each.name for each in config.integrations)),
    ]
    note = "The configuration in force, without its secrets; it is a file, “tasks-pipeline config show” prints all of it."
    sql = "SELECT id, name, member, scopes, created_at, last_used_at FROM state.tokens WHERE revoked_at IS NULL ORDER BY id"
    return Sheet("Settings", tables, sql, note, facts=facts)


PAGES = (
    *pages_of("/notifications/", "messages", _messages),
    *pages_of("/pipeline/", "days", _pipeline),
    *pages_of("/settings/", "tokens", _settings),
)

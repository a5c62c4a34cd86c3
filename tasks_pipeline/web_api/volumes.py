"""What became of what was sent, over time: `stats_v2` of the organisation and `stats` of a project, from the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from tasks_pipeline.reading.event_tables import stretches
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.filters import PRESENTATION, chosen_projects, moment, period_of, span_of

OUTCOMES = {
    "stored": "accepted", "filtered": "filtered", "rate_limited": "rate_limited", "client_discard": "client_discard", "duplicate": "invalid",
    "discarded": "filtered", "invalid": "invalid", "refused": "invalid", "unsupported": "invalid",
}  # fmt: skip
"""Their word for each of ours; parts of what was stored are left out."""
FIELDS = ("sum(quantity)", "sum(times_seen)")
GROUPS = ("outcome", "category", "reason", "project")
_KNOWN = PRESENTATION | set("field groupBy category outcome reason project statsPeriod start end".split())
EVENTS = ("error", "default", "security")
"""Categories of what clients call events."""
MOST_GROUPS = 200
SMALLEST = timedelta(minutes=15)


def volumes(call: Call) -> Response:
    """Figures of outcomes, by what `groupBy` names."""
    for name in call.query:
        if name not in _KNOWN:
            raise ApiError(
                400, f"{name[:80]}: no such filter; allowed are {', '.join(sorted(_KNOWN - PRESENTATION))}"
            )
    fields = _several(call, "field", FIELDS) or [FIELDS[0]]
    by = _several(call, "groupBy", GROUPS)
    now = call.asked.now
    period = period_of(call) or Period(now - timedelta(days=1), now)
    every = _every(call, period)
    begins = stretches(period, every)
    rows = _rows(call, period, every)
    found: dict[tuple[Any, ...], dict[int, int]] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        series = found.setdefault(key, {})
        series[row["stretch"]] = series.get(row["stretch"], 0) + int(row["n"])
    shown = {
        "start": begins[0],
        "end": begins[-1] + every,
        "intervals": begins,
        "groups": [
            _group(by, key, series, fields, begins)
            for key, series in sorted(found.items(), key=str)[:MOST_GROUPS]
        ],
    }
    return answer(shown)


def of_project(call: Call) -> Response:
    """`[[seconds, events] …]` of a project: `stat` received, rejected or blacklisted; `resolution` 1h, 1d."""
    stat = call.query.get("stat", "received")
    if stat not in ("received", "rejected", "blacklisted"):
        raise ApiError(400, f"stat: {stat[:40]!r} is none; allowed are received, rejected, blacklisted")
    now = call.asked.now
    until = moment("until", call.query["until"]) if call.query.get("until") else now
    since = moment("since", call.query["since"]) if call.query.get("since") else until - timedelta(days=1)
    if since >= until:
        raise ApiError(400, "since: it is not before until")
    period = Period(since, until)
    every = max(span_of("resolution", call.query.get("resolution") or "1h"), SMALLEST)
    wanted = {"received": None, "rejected": ("rate_limited", "invalid"), "blacklisted": ("filtered",)}[stat]
    counted: dict[int, int] = {}
    for row in _rows(call, period, every, EVENTS):
        if wanted is None or row["outcome"] in wanted:
            counted[row["stretch"]] = counted.get(row["stretch"], 0) + int(row["n"])
    seconds = [int(begin.timestamp()) for begin in stretches(period, every)]
    return answer([[each, counted.get(each, 0)] for each in seconds])


def _group(
    by: Sequence[str],
    key: tuple[Any, ...],
    series: dict[int, int],
    fields: Sequence[str],
    begins: Sequence[datetime],
) -> dict[str, Any]:
    values = [series.get(int(begin.timestamp()), 0) for begin in begins]
    named = {name: "" if value is None else value for name, value in zip(by, key, strict=True)}
    return {
        "by": named,
        "totals": dict.fromkeys(fields, sum(values)),
        "series": dict.fromkeys(fields, values),
    }


def _rows(
    call: Call, period: Period, every: timedelta, categories: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Numbers of items by stretch, outcome, category, reason and project; of categories, unless the call names some."""
    projects = chosen_projects(call) or sorted(call.asked.slugs)
    outcomes, reasons = _values(call, "outcome"), _values(call, "reason")
    categories = _values(call, "category") or list(categories)
    theirs = {ours for ours, word in OUTCOMES.items() if not outcomes or word in outcomes}
    seconds = int(every.total_seconds())
    rows = call.lake.query(
        f"SELECT (epoch(coalesce(slot, hour))::BIGINT // {seconds}) * {seconds} AS stretch, outcome, category, coalesce(reason, '') AS reason, "
        "project_id, sum(quantity) AS n FROM lake.outcomes WHERE day >= ? AND day <= ? AND coalesce(slot, hour) >= ? "
        "AND coalesce(slot, hour) < ? AND project_id IN (SELECT unnest(?::BIGINT[])) AND outcome IN (SELECT unnest(?::VARCHAR[])) "
        "AND (len(?::VARCHAR[]) = 0 OR category IN (SELECT unnest(?::VARCHAR[]))) "
        "AND (len(?::VARCHAR[]) = 0 OR coalesce(reason, '') IN (SELECT unnest(?::VARCHAR[]))) GROUP BY ALL",
        [
            period.since.date(), period.until.date(), _floor(period.since, every), period.until, projects, sorted(theirs),
            categories, categories, reasons, reasons,
        ],
    )  # fmt: skip
    return [row | {"outcome": OUTCOMES[row["outcome"]], "project": row["project_id"]} for row in rows]


def _floor(when: datetime, every: timedelta) -> datetime:
    seconds = int(every.total_seconds())
    return datetime.fromtimestamp(int(when.timestamp()) // seconds * seconds, when.tzinfo)


def _every(call: Call, period: Period) -> timedelta:
    text = call.query.get("interval") or ("1h" if period.until - period.since <= timedelta(days=14) else "1d")
    return max(span_of("interval", text), SMALLEST)


def _several(call: Call, name: str, allowed: Sequence[str]) -> list[str]:
    found = _values(call, name)
    for value in found:
        if value not in allowed:
            raise ApiError(400, f"{name}: {value[:40]!r} is none; allowed are {', '.join(allowed)}")
    return found


def _values(call: Call, name: str) -> list[str]:
    return [value for value in dict.fromkeys(call.query.getlist(name)) if value][:100]

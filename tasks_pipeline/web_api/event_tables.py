"""Questions about all events: tables of fields and figures, whether such a question can be asked, series, and tags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from tasks_pipeline.reading.event_tables import SeriesQuery, TableQuery, read_series, read_table, stretches
from tasks_pipeline.reading.events import EventQuery
from tasks_pipeline.reading.fields import Field, NoSuchField, field_of
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.parse import QueryError, parse_query
from tasks_pipeline.reading.tags import tags_of
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.datasets import is_kept
from tasks_pipeline.web_api.filters import NARROWING, asking, check_parameters, period_of, span_of
from tasks_pipeline.web_api.paging import Place, page_answer, page_offset, page_size, size_asked
from tasks_pipeline.web_api.tag_json import tag_name

UNSAID = timedelta(days=14)
"""The time that is meant where none is given."""
MOST_SKIPPED = 10_000
_ASKING = NARROWING | {"dataset", "field", "orderby", "id"}
_SERIES = NARROWING | {"dataset", "field", "yAxis", "topEvents", "orderby", "excludeOther", "onDemandType"}


def table(call: Call) -> Response:
    """Rows of `field`; with a figure among them, grouped by the others."""
    check_parameters(call, _ASKING)
    if not is_kept(call):
        return answer({"data": [], "meta": {"fields": {}, "units": {}}})
    asked = asking(call, "", period=_period(call))
    assert asked.period is not None
    fields = _fields(call, asked.period, call.query.getlist("field"))
    limit, offset = size_asked(call, "limit") or page_size(call), min(page_offset(call), MOST_SKIPPED)
    order = _order(call, asked.period)
    wanted = TableQuery(asked.tree, asked.period, fields, order, limit + 1, offset)
    rows = read_table(call.asked, call.lake, wanted)
    kinds = {field.name: field.kind for field in fields}
    before = Place(f"0:{max(0, offset - limit)}:1", offset > 0)
    behind = Place(f"0:{offset + limit}:0", len(rows) > limit)
    meta = {"fields": kinds, "units": dict.fromkeys(kinds), "dataset": "errors", "isMetricsData": False}
    return page_answer(call, {"data": rows[:limit], "meta": meta}, before, behind)


def validate(call: Call) -> Response:
    """Whether a question can be asked; 400 when not, with what is wrong of each part."""
    dataset = call.query.get("dataset", "errors")
    seconds = _period(call)
    fields = [_validated(each, seconds) for each in call.query.getlist("field")]
    orders = [_validated(each.removeprefix("-"), seconds) for each in _orders(call)]
    wrong = None
    try:
        parse_query(call.query.get("query", ""))
    except QueryError as error:
        wrong = f"{error} (at character {error.at + 1})"
    known = _is_known(call)
    valid = known and wrong is None and all(each["valid"] for each in (*fields, *orders))
    said = {
        "valid": valid,
        "projects": [],
        "dataset": [
            {"name": dataset, "valid": known, "error": None if known else "there is no such data set"}
        ],
        "environment": [],
        "field": fields,
        "orderby": orders,
        "query": {"valid": wrong is None, "error": wrong, "fields": []},
    }
    return answer(said, 200 if valid else 400)


def _is_known(call: Call) -> bool:
    try:
        is_kept(call)
    except ApiError:
        return False
    return True


def _validated(name: str, period: Period) -> dict[str, Any]:
    try:
        field = field_of(name, (period.until - period.since).total_seconds())
    except NoSuchField as error:
        return {"name": name, "valid": False, "attrType": None, "error": str(error)}
    kind = {"integer": "number", "number": "number", "boolean": "boolean"}.get(field.kind, "string")
    return {"name": name, "valid": True, "attrType": kind, "error": None}


def series(call: Call) -> Response:
    """How figures of events went: `[[seconds, [{count}]] …]`; of several figures, and by fields, by name."""
    check_parameters(call, _SERIES)
    period = _period(call)
    every = _interval(call, period)
    named = [each for each in call.query.getlist("yAxis") if each] or ["count()"]
    figures = [each for each in _fields(call, period, list(dict.fromkeys(named))) if each.of_many]
    if not figures:
        raise ApiError(400, "yAxis: name a figure, as count()")
    by = [each for each in _fields(call, period, call.query.getlist("field")) if not each.of_many]
    top = size_asked(call, "topEvents", 20)
    if not is_kept(call):
        return answer(
            {"data": [], "start": int(period.since.timestamp()), "end": int(period.until.timestamp())}
        )
    asked = asking(call, "", period=period)
    wanted = SeriesQuery(asked.tree, period, figures, every, by if top else (), top or 1)
    begins = stretches(period, every)
    found = read_series(call.asked, call.lake, wanted)
    if not wanted.by:
        return answer(_figures_json(figures, begins, found[0].values, 0, period))
    return answer(
        {
            ",".join("" if value is None else str(value) for value in each.by):
                _figures_json(figures, begins, each.values, n, period)
            for n, each in enumerate(found)
        }
    )  # fmt: skip


def _figures_json(
    figures: Sequence[Field],
    begins: Sequence[datetime],
    values: Sequence[Sequence[Any]],
    order: int,
    period: Period,
) -> dict[str, Any]:
    def one(n: int) -> dict[str, Any]:
        return {
            "data": [
                [int(begin.timestamp()), [{"count": of[n]}]] for begin, of in zip(begins, values, strict=True)
            ],
            "order": order,
            "start": int(period.since.timestamp()),
            "end": int(period.until.timestamp()),
            "isMetricsData": False,
            "meta": {"fields": {figures[n].name: figures[n].kind}, "units": {}},
        }

    if len(figures) == 1:
        return one(0)
    return {figure.name: one(n) | {"order": n} for n, figure in enumerate(figures)}


def tags(call: Call) -> Response:
    """Tags of the newest events."""
    check_parameters(call, NARROWING | {"dataset", "use_cache", "useFlagsBackend"})
    if not is_kept(call):
        return answer([])
    asked = asking(call, "", period=period_of(call))
    found = tags_of(call.asked, call.lake, EventQuery(tree=asked.tree, period=asked.period))
    return answer(
        [
            {"key": tag.key, "name": tag_name(tag.key), "totalValues": tag.total, "uniqueValues": tag.unique}
            for tag in found.tags
        ]
    )


def _period(call: Call) -> Period:
    now = call.asked.now
    return period_of(call) or Period(now - UNSAID, now + timedelta(minutes=1))


def _interval(call: Call, period: Period) -> timedelta:
    if text := call.query.get("interval"):
        return span_of("interval", text)
    length = period.until - period.since
    for most, every in ((1, 5), (48, 60), (24 * 31, 60 * 24)):
        if length <= timedelta(hours=most, minutes=1):
            return timedelta(minutes=every)
    return timedelta(days=1)


def _fields(call: Call, period: Period, names: Sequence[str]) -> list[Field]:
    """Raises NoSuchField and ApiError."""
    seconds = (period.until - period.since).total_seconds()
    found = [field_of(name, seconds) for name in dict.fromkeys(names) if name.strip()]
    if not found and not call.query.getlist("yAxis") and "events-stats" not in call.request.scope["path"]:
        raise ApiError(400, "field: name one at least")
    return found


def _orders(call: Call) -> list[str]:
    return [each for name in ("sort", "orderby") for each in call.query.getlist(name) if each]


def _order(call: Call, period: Period) -> list[tuple[Field, bool]]:
    seconds = (period.until - period.since).total_seconds()
    found = []
    for each in _orders(call):
        name = each.removeprefix("-")
        if f"{name}()" in call.query.getlist("field"):  # some leave the parentheses out
            name = f"{name}()"
        found.append((field_of(name, seconds), each.startswith("-")))
    return found

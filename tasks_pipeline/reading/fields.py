"""Fields of events and figures of many, in the words of Sentry: what each is in the lake, and of which kind. What is no field is a tag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tasks_pipeline.reading.events_where import Sql

MOST_LENGTH = 200
_CALL = re.compile(r"([a-z_0-9]+)\(([^()]*)\)")
_TAG = re.compile(r"tags\[(.{1,200})\]|([A-Za-z0-9_.:\-]{1,200})")


class NoSuchField(ValueError):
    """What was named cannot be asked of events; the message says what can."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field, or a figure of many events (`of_many`). `kind`: string, integer, number, date, boolean. `shown`: how what is read becomes
    what is shown, where that is not the same: issue, project, handled."""

    name: str
    sql: Sql
    kind: str = "string"
    of_many: bool = False
    shown: str = ""


def _column(name: str, column: str, kind: str = "string", shown: str = "") -> Field:
    return Field(name, Sql(f'"{column}"'), kind, shown=shown)


_FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        _column("id", "event_id"),
        _column("title", "title"),
        _column("message", "title"),
        _column("issue", "group_id", shown="issue"),
        _column("issue.id", "group_id", "integer"),
        _column("project", "project_id", shown="project"),
        _column("project.name", "project_id", shown="project"),
        _column("project.id", "project_id", "integer"),
        _column("timestamp", "timestamp", "date"),
        _column("level", "level"),
        _column("culprit", "culprit"),
        _column("transaction", "transaction"),
        _column("release", "release"),
        _column("dist", "dist"),
        _column("environment", "environment"),
        _column("platform", "platform"),
        _column("platform.name", "platform"),
        _column("event.type", "type"),
        _column("error.type", "exception_type"),
        _column("error.value", "exception_value"),
        _column("error.handled", "handled", "boolean"),
        _column("error.unhandled", "handled", "boolean", shown="unhandled"),
        _column("logger", "logger"),
        _column("user", "user_key"),
        Field("user.display", Sql("coalesce(user_email, user_id, user_ip)")),
        _column("user.id", "user_id"),
        _column("user.email", "user_email"),
        _column("user.ip", "user_ip"),
        _column("sdk.name", "sdk_name"),
        _column("sdk.version", "sdk_version"),
        _column("trace", "trace_id"),
        _column("server_name", "server_name"),
    )
}
_OF_MANY: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field("count()", Sql("count(*)"), "integer", of_many=True),
        Field("last_seen()", Sql("max(timestamp)"), "date", of_many=True),
        Field("first_seen()", Sql("min(timestamp)"), "date", of_many=True),
        Field("epm()", Sql("count(*) / (? / 60.0)"), "number", of_many=True),
        Field("eps()", Sql("count(*) / ?"), "number", of_many=True),
        Field("failure_rate()", Sql("coalesce(avg(CASE WHEN handled = false THEN 1.0 ELSE 0.0 END), 0)"), "number", of_many=True),
    )
}  # fmt: skip
_RATES = ("epm()", "eps()")


def field_of(name: str, seconds: float) -> Field:
    """The field of a name; rates are of `seconds`. Raises NoSuchField for a figure that there is not."""
    name = name.strip()[:MOST_LENGTH]
    if (known := _FIELDS.get(name)) is not None:
        return known
    if (figure := _OF_MANY.get(name)) is not None:
        rate = Sql(figure.sql.text, (max(1.0, seconds),)) if name in _RATES else figure.sql
        return Field(name, rate, figure.kind, of_many=True)
    if (call := _CALL.fullmatch(name)) is not None:
        return _called(name, call[1], call[2].strip())
    tag = _TAG.fullmatch(name)
    if tag is None:
        raise NoSuchField(
            f"{name[:80]!r} is no field; allowed are {', '.join(_FIELDS)}, names of tags, and figures"
        )
    return Field(name, Sql("map_extract_value(tags, ?)", (tag[1] or tag[2],)))


def _called(name: str, function: str, argument: str) -> Field:
    inner = field_of(argument, 1) if argument else None
    if function == "count_unique" and inner is not None and not inner.of_many:
        return Field(
            name,
            Sql(f"approx_count_distinct({inner.sql.text})", inner.sql.parameters),
            "integer",
            of_many=True,
        )
    if function in ("min", "max") and inner is not None and inner.kind in ("date", "integer"):
        return Field(
            name, Sql(f"{function}({inner.sql.text})", inner.sql.parameters), inner.kind, of_many=True
        )
    if function == "count" and inner is not None and not inner.of_many:
        return Field(name, Sql(f"count({inner.sql.text})", inner.sql.parameters), "integer", of_many=True)
    allowed = ", ".join([*_OF_MANY, "count_unique(FIELD)", "min(timestamp)", "max(timestamp)"])
    raise NoSuchField(f"{name[:80]!r} is no figure of events; allowed are {allowed}")


def plain_fields() -> list[str]:
    """The names of fields that are no tags."""
    return list(_FIELDS)

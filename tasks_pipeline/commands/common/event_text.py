"""An event as lines for people: head, stack traces, what surrounds it. Whatever a stranger sent is made printable and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from tasks_pipeline.commands.common.json_output import encoded
from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.commands.common.queries import age
from tasks_pipeline.commands.common.tables import field_lines
from tasks_pipeline.notifications.frames import mapping_of, values_of

_LEAD = 8  # cells of the names in the head
_BREADCRUMBS = 10
_VALUE = 300  # characters of a variable, a header, a context; `--json` has all
_NAMED = 40  # variables of a frame, headers, contexts, extra values
_BRIEF_FRAMES = 5
_UPLOADS = {
    "js_no_source": "source map missing: upload it with `sentry-cli sourcemaps upload`",
    "native_missing_dsym": "debug file missing: upload it with `sentry-cli debug-files upload`",
    "native_missing_system_dsym": "debug file of the system missing",
    "proguard_missing_mapping": "mapping missing: upload it with `sentry-cli upload-proguard`",
}
_FRAME_ERRORS = ("js_", "native_", "proguard_")
_MOST_ERRORS = 5


def described(event: dict[str, Any], facts: dict[str, Any], now: datetime) -> list[str]:
    """A processed event as lines; `facts` is what this installation knows of it."""
    happened = datetime.fromisoformat(event["timestamp"])
    request = mapping_of(event.get("request"))
    trace = mapping_of(mapping_of(event.get("contexts")).get("trace"))
    lines = [
        f"{facts['short_id']}  {cell(facts['title'])}",
        *([cell(facts["culprit"])] if facts["culprit"] else []),
        "",
        *field_lines(
            [
                ("event", f"{event['event_id']}, {cell(event.get('level', 'error'))}, {cell(event.get('platform'))}"),
                ("happened", f"{cell(happened)} UTC, {age(happened, now)} ago"),
                ("received", f"{cell(facts['received_at'])} UTC, project {facts['project']}"),
                ("where", _joined(event, ("environment", "release", "dist", "server_name", "transaction", "logger"))),
                ("request", _request_line(request)),
                ("user", _joined(mapping_of(event.get("user")), ("id", "email", "username", "ip_address"))),
                ("tags", ", ".join(f"{cell(k)}={cell(v)}" for k, v in mapping_of(event.get("tags")).items())),
                ("page", cell(facts.get("page"))),
                ("trace", ", ".join(cell(trace[k])[:_VALUE] for k in ("trace_id", "op") if trace.get(k))),
            ],
            lead=_LEAD,
        ),
    ]  # fmt: skip
    lines += stack_lines(event)
    crumbs = values_of(event, "breadcrumbs")[-_BREADCRUMBS:]
    if crumbs:
        lines += ["", "breadcrumbs, the last first", *map(_breadcrumb, reversed(crumbs))]
    lines += _section("headers", _pairs(request.get("headers")))
    lines += _section("body", [("", request["data"])] if request.get("data") not in (None, "") else [])
    lines += _section("contexts", _contexts(mapping_of(event.get("contexts"))))
    return lines + _section("extra", mapping_of(event.get("extra")).items())


def stack_lines(event: dict[str, Any], *, brief: bool = False) -> list[str]:
    """Exceptions, the one that names the event first, with their frames; else the message and the stacks of threads.

    `brief` is the first of them that has frames alone, as in a mail, with the newest frames of the program itself.
    """
    lines: list[str] = []
    exceptions = values_of(event, "exception")[::-1]
    if brief:
        framed = (e for e in exceptions if mapping_of(e.get("stacktrace")).get("frames"))
        exceptions = [next(framed, exceptions[0])] if exceptions else []
    for exception in exceptions:
        lines += ["", f"{cell(exception.get('type') or 'Error')}: {cell(exception.get('value'))}"]
        lines += _frames(exception, brief=brief)
    if not event.get("exception"):
        message = mapping_of(event.get("logentry"))
        said = cell(message.get("formatted") or message.get("message"))
        lines += field_lines([("message", said)], lead=_LEAD) if not brief else []
        lines += _frames(event, brief=brief)
        for thread in values_of(event, "threads"):
            if thread.get("crashed") or thread.get("current"):
                name = cell(thread.get("name") or thread.get("id"))
                lines += ["", f"thread {name}", *_frames(thread, brief=brief)]
    return lines + _symbol_lines(event)


def _symbol_lines(event: dict[str, Any]) -> list[str]:
    """What keeps frames from being shown as people wrote them, and what to do about it."""
    errors = [
        error
        for error in _list(event.get("errors"))
        if isinstance(error, dict) and str(error.get("type")).startswith(_FRAME_ERRORS)
    ]
    lines = []
    for error in errors[:_MOST_ERRORS]:
        kind, value = str(error["type"]), error.get("value")
        said = f"{_UPLOADS.get(kind, kind)}{f' ({value})' if value else ''}"
        lines.append(f"  {cell(error.get('name'))[:_VALUE]}: {cell(said)[:_VALUE]}")
    if len(errors) > _MOST_ERRORS:
        lines.append(f"  and {len(errors) - _MOST_ERRORS} more")
    return ["", "frames that could not be resolved", *lines] if lines else []


def _frames(holder: dict[str, Any], *, brief: bool) -> Iterator[str]:
    """The frames of a stack trace, the crash first: the failing line, around the crash its neighbours, and variables."""
    frames = [f for f in _list(mapping_of(holder.get("stacktrace")).get("frames")) if isinstance(f, dict)][
        ::-1
    ]
    own = [frame for frame in frames if frame.get("in_app") is not False]
    shown = (own or frames)[:_BRIEF_FRAMES] if brief else frames
    for depth, frame in enumerate(shown):
        mark = "" if frame.get("in_app") is not False else "  (library)"
        yield f"  {_place(frame)} in {cell(frame.get('function') or '?')}{mark}"
        yield from _source(frame, around=depth == 0)
        if depth == 0 or frame.get("in_app") is not False:
            yield from _named_lines(mapping_of(frame.get("vars")).items(), "      ")
    if brief and len(frames) > len(shown):
        yield f"  … {len(frames) - len(shown)} more"


def _place(frame: dict[str, Any]) -> str:
    """File, line and column. A minified script is one line: there, the column is the place."""
    file = next(
        (frame[k] for k in ("filename", "module", "package", "instruction_addr") if frame.get(k)), "?"
    )
    numbers = [cell(frame[name]) for name in ("lineno", "colno") if frame.get(name) is not None]
    return ":".join([cell(file), *numbers])


def _source(frame: dict[str, Any], *, around: bool) -> list[str]:
    if frame.get("context_line") is None:
        return []
    before, after = (_list(frame.get(name)) if around else [] for name in ("pre_context", "post_context"))
    return [
        *(f"      {_code(text)}" for text in before),
        f"    > {_code(frame['context_line'])}",
        *(f"      {_code(text)}" for text in after),
    ]


def _code(text: object) -> str:
    return cell(str(text).expandtabs(4)).rstrip()


def _breadcrumb(crumb: dict[str, Any]) -> str:
    when = str(crumb.get("timestamp") or "")[11:19]
    told = crumb.get("message") or " ".join(f"{k}={v}" for k, v in mapping_of(crumb.get("data")).items())
    return f"  {cell(when):<8}  {cell(crumb.get('category') or crumb.get('type')):<12}  {cell(told)}"


def _request_line(request: dict[str, Any]) -> str:
    """Method and address with its query."""
    query = request.get("query_string")
    text = query if isinstance(query, str) else urlencode([(str(k), str(v)) for k, v in _pairs(query)])
    where = f"{request.get('url') or ''}{f'?{text}' if text else ''}"
    return " ".join(cell(part) for part in (request.get("method"), where) if part)


def _contexts(contexts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each context with its values in one line; the trace stands above."""
    for name, context in contexts.items():
        values = {k: v for k, v in mapping_of(context).items() if k != "type" and v not in (None, "")}
        if values and name != "trace":
            yield name, ", ".join(f"{k} {_text(v)}" for k, v in values.items())


def _section(title: str, named: Iterable[tuple[object, object]]) -> list[str]:
    lines = _named_lines(named, "  ")
    return ["", title, *lines] if lines else []


def _named_lines(named: Iterable[tuple[object, object]], indent: str) -> list[str]:
    """A line for each value; of long ones the beginning, of many the first."""
    found = list(named)
    shown = [(cell(name)[:_VALUE], _text(value)) for name, value in found[:_NAMED]]
    more = [f"{indent}… {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return [*(f"{indent}{name} = {text}" if name else f"{indent}{text}" for name, text in shown), *more]


def _text(value: object) -> str:
    text = cell(value if isinstance(value, str) else encoded(value).decode())
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"


def _joined(values: dict[str, Any], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {cell(values[name])}" for name in names if values.get(name) not in (None, ""))


def _pairs(value: object) -> list[tuple[Any, Any]]:
    """A mapping, or a list of pairs, as pairs."""
    if isinstance(value, dict):
        return list(value.items())
    return [(pair[0], pair[1]) for pair in _list(value) if isinstance(pair, list) and len(pair) == 2]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

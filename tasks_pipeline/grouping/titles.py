"""What people read: the title of an event, its culprit, and the parts of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks_pipeline.grouping.frames import crash_frame
from tasks_pipeline.grouping.functions import trim_function
from tasks_pipeline.grouping.security import HOSTNAME_REPORTS, csp_metadata, csp_title
from tasks_pipeline.grouping.strategies import event_stacktrace
from tasks_pipeline.grouping.values import first_line, mapping, objects, shorten, text

UNLABELED = "<unlabeled event>"

LONGEST_TITLE = 256
_LONGEST_CULPRIT = 200
_LONGEST_VALUE = 1_024


def title_and_metadata(event: Mapping[str, Any], main_exception: int | None) -> tuple[str, dict[str, str]]:
    """The title (one line, at most 256 characters) and what it was made of.

    Metadata of an error: type, value, filename and function of the frame it happened in, as far as known; of a CSP report:
    directive and uri; otherwise the title.
    """
    message = _message(event)
    exception = _titling_exception(event, main_exception)
    if exception and (
        text(exception, "type") or not message
    ):  # without a type it is a message with a stack trace
        metadata = _exception_metadata(event, exception)
        if title := _exception_title(metadata):
            return title, metadata
    csp = mapping(event, "csp")
    title = message or _security_title(event) or UNLABELED
    return title, csp_metadata(csp) if csp else {"title": title}


def culprit(event: Mapping[str, Any], main_exception: int | None) -> str:
    """The transaction, else where it happened (`module in function`, `filename in function`), else empty."""
    transaction = text(event, "transaction").strip()
    if transaction:
        return shorten(transaction, _LONGEST_CULPRIT)
    if csp := mapping(event, "csp"):
        return shorten(text(csp, "effective_directive"), _LONGEST_CULPRIT)
    frame = _frame(event, _titling_exception(event, main_exception))
    place = text(frame, "module") or text(frame, "filename")
    function = _function(event, frame) or "?"
    return shorten(f"{place} in {function}", _LONGEST_CULPRIT) if place else ""


def _titling_exception(event: Mapping[str, Any], main_exception: int | None) -> Mapping[str, Any]:
    values = objects(mapping(event, "exception"), "values")
    if not values:
        return {}
    return values[-1 if main_exception is None else main_exception]


def _exception_metadata(event: Mapping[str, Any], exception: Mapping[str, Any]) -> dict[str, str]:
    frame = _frame(event, exception)
    metadata = {
        "type": shorten(text(exception, "type"), _LONGEST_VALUE),
        "value": shorten(text(exception, "value"), _LONGEST_VALUE),
        "filename": shorten(text(frame, "filename"), _LONGEST_VALUE),
        "function": shorten(_function(event, frame), _LONGEST_VALUE),
    }
    return {key: value for key, value in metadata.items() if value}


def _exception_title(metadata: Mapping[str, str]) -> str:
    kind, value = metadata.get("type", ""), first_line(metadata.get("value", ""))
    title = f"{kind}: {value}" if kind and value else kind or value or metadata.get("function", "")
    return shorten(first_line(title), LONGEST_TITLE)


def _message(event: Mapping[str, Any]) -> str:
    entry = mapping(event, "logentry")
    return shorten(first_line(text(entry, "formatted")) or first_line(text(entry, "message")), LONGEST_TITLE)


def _security_title(event: Mapping[str, Any]) -> str:
    title = csp_title(mapping(event, "csp"))
    for kind, words in HOSTNAME_REPORTS.items():
        hostname = text(mapping(event, kind), "hostname")
        if hostname and not title:
            title = f"{words} '{hostname}'"
    return shorten(title, LONGEST_TITLE)


def _frame(event: Mapping[str, Any], exception: Mapping[str, Any]) -> Mapping[str, Any]:
    return crash_frame(mapping(exception, "stacktrace")) or crash_frame(event_stacktrace(event))


def _function(event: Mapping[str, Any], frame: Mapping[str, Any]) -> str:
    return trim_function(text(frame, "platform") or text(event, "platform"), text(frame, "function"))

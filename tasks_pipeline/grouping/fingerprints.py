"""Fingerprints: the client's wish how to group, with its variables, combined with what the event itself contributes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tasks_pipeline.grouping.components import Component, ignored, literal, node, sealed
from tasks_pipeline.grouping.frames import crash_frame
from tasks_pipeline.grouping.parameterize import parameterize
from tasks_pipeline.grouping.strategies import event_stacktrace
from tasks_pipeline.grouping.values import mapping, objects, text

_MAX_ELEMENTS = 100
_MAX_ELEMENT = 8_192  # characters of one resolved element
_EXCEPTION_VARIABLES = {
    "error.type": "type",
    "type": "type",
    "error.value": "value",
    "value": "value",
    "raw_value": "value",
    "error.raw_value": "value",
}
_FRAME_VARIABLES = {
    "stack.function": "function",
    "function": "function",
    "stack.module": "module",
    "module": "module",
    "stack.package": "package",
    "package": "package",
    "stack.abs_path": "abs_path",
    "path": "abs_path",
    "stack.filename": "filename",
    "filename": "filename",
}
_RAW = {
    "message": "raw_message",
    "error.value": "raw_value",
    "value": "raw_value",
}
_INNER_VARIABLE = re.compile(r"\{\{\s*([^\s{}]+)\s*\}\}")
_VARIABLE = re.compile(r"\s*\{\{\s*(\S+?)\s*\}\}\s*")


def client_fingerprint(event: Mapping[str, Any]) -> list[str]:
    """The client's fingerprint; `["{{ default }}"]` when it sent none."""
    value = event.get("fingerprint")
    elements = [element for element in value if isinstance(element, str)] if isinstance(value, list) else []
    return elements[:_MAX_ELEMENTS] or ["{{ default }}"]


def combine(
    event: Mapping[str, Any],
    variants: Mapping[str, Component],
    elements: Sequence[str],
    *,
    former: bool = False,
) -> dict[str, Component]:
    """The variants of the event's content as the elements of its fingerprint make them.

    Unchanged for `{{ default }}` alone; without it one `custom` variant instead of all others; in between every variant
    with its content at the place of `{{ default }}`. `former`: messages are read as the former algorithm does it.
    """
    defaults = [_variable(element) == "default" for element in elements]
    if all(defaults):
        return dict(variants)
    resolved = [
        None if default else _resolved(event, element, former)
        for element, default in zip(elements, defaults, strict=True)
    ]
    if not any(defaults):
        custom = node("fingerprint", [part for part in resolved if part is not None])
        return {"custom": custom} | {
            name: ignored(component, "the fingerprint takes precedence")
            for name, component in variants.items()
        }
    return {
        name: _salted(component, resolved) if component.contributes or name == "fallback" else component
        for name, component in variants.items()
    }


def expand(event: Mapping[str, Any], template: str) -> str:
    """A text with the variables in it replaced by their values as people know them (not parameterized)."""
    return _INNER_VARIABLE.sub(lambda match: _resolve(event, _RAW.get(match[1], match[1])), template)


def _salted(content: Component, resolved: list[Component | None]) -> Component:
    placed = sealed(node("default", (content,)))  # may be asked for many times
    return node("fingerprint", [placed if part is None else part for part in resolved])


def _resolved(event: Mapping[str, Any], element: str, former: bool) -> Component:
    name = _variable(element)
    if name is not None:
        return literal("value", _resolve(event, name, former)[:_MAX_ELEMENT], f"the value of {name[:100]}")
    if element in _messages(event):
        told = parameterize(element, former=former)
        return literal("value", told[:_MAX_ELEMENT], "a message of the event, parameterized")
    return literal("value", element[:_MAX_ELEMENT])


def _variable(element: str) -> str | None:
    match = _VARIABLE.fullmatch(element)
    return match[1] if match else None


def _resolve(event: Mapping[str, Any], name: str, former: bool = False) -> str:
    """The value of a variable; a `<no-...>` marker when the event has none, `<unrecognized-variable-...>` for unknown ones."""
    if name.startswith("tags."):
        tag = name.removeprefix("tags.")
        return text(mapping(event, "tags"), tag) or f"<no-value-for-tag-{tag}>"
    if name in ("transaction", "level", "logger"):
        return text(event, name) or f"<no-{name}>"
    if name in ("message", "raw_message"):
        message = next(filter(None, _messages(event)), "")
        return (
            message if name.startswith("raw_") else parameterize(message, former=former)
        ) or "<no-message>"
    field = _EXCEPTION_VARIABLES.get(name)
    if field is not None:
        return _exception_value(event, name, field, former)
    field = _FRAME_VARIABLES.get(name)
    if field is not None:
        return _frame_value(_crash_frame(event), field) or f"<no-{field.replace('_', '-')}>"
    return f"<unrecognized-variable-{name}>"


def _exception_value(event: Mapping[str, Any], name: str, field: str, former: bool) -> str:
    value = text(_last_exception(event), field)
    if field == "value" and "raw_" not in name:
        value = parameterize(value, former=former)
    return value or f"<no-{field}>"


def _frame_value(frame: Mapping[str, Any], field: str) -> str:
    value = text(frame, field)
    return value.replace("\\", "/").rsplit("/", 1)[-1] if field == "package" else value


def _messages(event: Mapping[str, Any]) -> list[str]:
    """The texts `{{ message }}` chooses from, best first."""
    entry = mapping(event, "logentry")
    return [text(entry, "formatted"), text(entry, "message"), text(_last_exception(event), "value")]


def _last_exception(event: Mapping[str, Any]) -> Mapping[str, Any]:
    values = objects(mapping(event, "exception"), "values")
    return values[-1] if values else {}


def _crash_frame(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return crash_frame(mapping(_last_exception(event), "stacktrace")) or crash_frame(event_stacktrace(event))

"""Fingerprint rules: their language, and the first of them that an event meets.

    type:DatabaseUnavailable module:io.example.* -> database-unavailable, {{ transaction }} title="Database is away"

Syntax and effects: docs/grouping.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.facts import family
from tasks_pipeline.grouping.functions import trim_function
from tasks_pipeline.grouping.globs import path_glob, text_glob
from tasks_pipeline.grouping.rule_text import Scanner, scanners, unquote
from tasks_pipeline.grouping.stack_rules import FAMILIES, Matcher, frame_matcher, frame_subject
from tasks_pipeline.grouping.values import mapping, objects, text

_BUNDLES = {
    "error.type": ("exception", "type"),
    "type": ("exception", "type"),
    "error.value": ("exception", "value"),
    "value": ("exception", "value"),
    "message": ("message", "message"),
    "logger": ("log", "logger"),
    "level": ("log", "level"),
    "sdk": ("sdk", "sdk"),
    "release": ("release", "release"),
    "family": ("family", "family"),
}
_ORDER = ("sdk", "release", "log", "tags", "exception", "message", "frame")  # cheapest first
_FOLDED = ("value", "level", "message")

_NAME = re.compile(r"(!?)([A-Za-z][\w.-]*(?<!-)|tags\.[^\s:\"]+):")
_BARE = re.compile(r"\S+")
_ARROW, _COMMA, _TITLE = re.compile(r"->"), re.compile(r","), re.compile(r"title *=")
_VARIABLE_TEXT = re.compile(r"\{\{\s*[^{}]+?\s*\}\}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLAIN = re.compile(r"[^\s,{\"]+")
_MAX_VALUES = 100


@dataclass(frozen=True, slots=True)
class FingerprintRule:
    """A rule that was read: conditions by what they look at, the fingerprint, and the title it gives, if any."""

    text: str
    family: tuple[Matcher, ...]
    bundles: tuple[tuple[str, tuple[Matcher, ...]], ...]
    values: tuple[str, ...]
    title: str | None


def parse_fingerprint_rules(rules: str) -> tuple[FingerprintRule, ...]:
    """The rules in a text, one a line. Raises RuleError for the first line that cannot be read."""
    return tuple(_rule(scanner) for scanner in scanners(rules))


def rules_by_family(rules: Iterable[FingerprintRule]) -> dict[str, tuple[FingerprintRule, ...]]:
    """The rules that can match events of each family of platforms, in their order."""
    rules = tuple(rules)
    return {
        name: tuple(rule for rule in rules if all(m.holds(name) for m in rule.family)) for name in FAMILIES
    }


def matching_rule(
    rules: Mapping[str, Iterable[FingerprintRule]], event: Mapping[str, Any]
) -> FingerprintRule | None:
    """The first rule, given by family, all whose bundles hold: each on one element of the event (a frame, an exception,
    a message …)."""
    known: dict[str, list[_Element]] = {}
    for rule in rules[family(text(event, "platform"))]:
        if all(_holds(bundle, matchers, event, known) for bundle, matchers in rule.bundles):
            return rule
    return None


# Reading


def _rule(scanner: Scanner) -> FingerprintRule:
    bundles: dict[str, list[Matcher]] = {}
    while not scanner.take(_ARROW):
        if scanner.at_end:
            raise scanner.error("`->` and the fingerprint are missing")
        bundle, matcher = _matcher(scanner)
        bundles.setdefault(bundle, []).append(matcher)
    if not bundles:
        raise scanner.error("a matcher is missing in front of `->`, as in `type:ValueError`", 0)
    values, title = _values(scanner)
    ordered = tuple((name, tuple(bundles[name])) for name in _ORDER if name in bundles)
    return FingerprintRule(scanner.text, tuple(bundles.get("family", ())), ordered, tuple(values), title)


def _matcher(scanner: Scanner) -> tuple[str, Matcher]:
    start = scanner.position
    name = scanner.take(_NAME)
    if name is None:
        raise scanner.error("expected a matcher, as in `type:ValueError`, or `->`", start)
    negated, word = bool(name[1]), name[2]
    pattern = scanner.pattern(_BARE)
    try:
        return _condition(word, negated, pattern)
    except ValueError as error:
        raise scanner.error(str(error), start) from error


def _condition(name: str, negated: bool, pattern: str) -> tuple[str, Matcher]:
    """The bundle a condition belongs to and the condition. Raises ValueError."""
    if name.startswith("tags.") and len(name) > len("tags."):
        return "tags", Matcher(name.removeprefix("tags."), negated, text_glob(pattern))
    subject = frame_subject(name)
    if subject is not None:
        bundle = "family" if subject == "family" else "frame"
        return bundle, frame_matcher(subject, negated, pattern)
    if name not in _BUNDLES:
        names = ", ".join(
            sorted({*_BUNDLES, "app", "function", "module", "package", "path", "stack.*", "tags.<key>"})
        )
        raise ValueError(f"unknown matcher {name!r}; there are {names}")
    bundle, subject = _BUNDLES[name]
    if subject == "sdk":
        pattern = "{" + pattern.replace(" ", "") + "}" if "," in pattern else pattern
    if subject == "release":
        return bundle, Matcher(subject, negated, path_glob(pattern))
    return bundle, Matcher(subject, negated, text_glob(pattern, folded=subject in _FOLDED))


def _values(scanner: Scanner) -> tuple[list[str], str | None]:
    values: list[str] = []
    title = None
    while not scanner.at_end:
        start = scanner.position
        if scanner.take(_TITLE):
            quoted = scanner.take(_QUOTED)
            if quoted is None or not scanner.at_end:
                raise scanner.error('the title stands in quotation marks at the end: title="…"', start)
            title = unquote(quoted[1])
            break
        quoted = scanner.take(_QUOTED)
        value = quoted or scanner.take(_VARIABLE_TEXT) or scanner.take(_PLAIN)
        if value is None:
            raise scanner.error('expected a value, as in `text`, `"text"` or `{{ transaction }}`', start)
        values.append(unquote(quoted[1]) if quoted else value[0])
        scanner.take(_COMMA)
    if not values:
        raise scanner.error("the fingerprint is missing behind `->`")
    if len(values) > _MAX_VALUES:
        raise scanner.error(f"more than {_MAX_VALUES} values")
    return values, title


# Matching. An element is what the conditions of a bundle must all hold on: the texts of each of its subjects.

_Element = Mapping[str, tuple[str, ...]]


def _holds(
    bundle: str, matchers: tuple[Matcher, ...], event: Mapping[str, Any], known: dict[str, list[_Element]]
) -> bool:
    elements = known.get(bundle)
    if elements is None:
        elements = known[bundle] = _ELEMENTS[bundle](event)
    return any(all(_meets(matcher, element) for matcher in matchers) for element in elements)


def _meets(matcher: Matcher, element: _Element) -> bool:
    return any(map(matcher.test.matches, element.get(matcher.subject, ()))) is not matcher.negated


def _texts(*values: str) -> tuple[str, ...]:
    return tuple(filter(None, values))


def _exceptions(event: Mapping[str, Any]) -> list[_Element]:
    return [
        {"type": _texts(text(one, "type")), "value": _texts(text(one, "value"))}
        for one in objects(mapping(event, "exception"), "values")
    ]


def _messages(event: Mapping[str, Any]) -> list[_Element]:
    entry = mapping(event, "logentry")
    formatted = text(entry, "formatted") or text(entry, "message")
    values = [text(one, "value") for one in objects(mapping(event, "exception"), "values")]
    return [{"message": (message,)} for message in _texts(formatted, *values)]


def _frames(event: Mapping[str, Any]) -> list[_Element]:
    platform = text(event, "platform")
    holders = [
        *objects(mapping(event, "exception"), "values"),
        *objects(mapping(event, "threads"), "values"),
        event,
    ]
    return [
        _frame(frame, platform)
        for holder in holders
        for frame in objects(mapping(holder, "stacktrace"), "frames")
    ]


def _frame(frame: Mapping[str, Any], platform: str) -> _Element:
    function = text(frame, "function")
    return {
        "path": _texts(text(frame, "abs_path"), text(frame, "filename")),
        "module": _texts(text(frame, "module")),
        "function": (
            trim_function(text(frame, "platform") or platform, function) if function else "<unknown>",
        ),
        "package": _texts(text(frame, "package")),
        "app": ("yes" if frame.get("in_app") is True else "no",),
    }


def _log(event: Mapping[str, Any]) -> list[_Element]:
    return [{"logger": _texts(text(event, "logger")), "level": _texts(text(event, "level"))}]


def _tags(event: Mapping[str, Any]) -> list[_Element]:
    tags = mapping(event, "tags")
    return [{name: (value,) for name, value in tags.items() if isinstance(value, str)}]


_ELEMENTS: dict[str, Callable[[Mapping[str, Any]], list[_Element]]] = {
    "sdk": lambda event: [{"sdk": _texts(text(mapping(event, "sdk"), "name"))}],
    "release": lambda event: [{"release": _texts(text(event, "release"))}],
    "log": _log,
    "tags": _tags,
    "exception": _exceptions,
    "message": _messages,
    "frame": _frames,
}

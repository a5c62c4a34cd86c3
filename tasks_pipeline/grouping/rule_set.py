"""The rules that a project's events are grouped by: our own and the project's, read, made ready, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from tasks_pipeline.grouping.components import ALGORITHM, FORMER_ALGORITHM
from tasks_pipeline.grouping.fingerprint_rules import (
    FingerprintRule,
    parse_fingerprint_rules,
    rules_by_family,
)
from tasks_pipeline.grouping.frames import NO_STACK, StackGrouper, StackVariants
from tasks_pipeline.grouping.stack_rules import StackRules, parse_stack_rules
from tasks_pipeline.grouping.values import mapping, objects, text

STACK_RULE_FILES = (
    "native_packages.txt",
    "apple.txt",
    "native.txt",
    "jvm.txt",
    "python.txt",
    "javascript.txt",
    "dart.txt",
    "go.txt",
    "ruby_php_dotnet.txt",
    "loggers.txt",
    "conclusions.txt",
)
"""Our own stack trace rules, in the order they are applied."""

_RULE_SETS_KEPT = 256


@dataclass(frozen=True, slots=True, eq=False)
class GroupingRules:
    """What events are grouped by. Made by `grouping_rules`; safe to hold and share, results are kept inside.

    `algorithm`: id that goes into every key. `fingerprint`: the project's rules before our own, by the family of the
    event's platform that they can match.
    """

    algorithm: str
    stacks: StackGrouper
    fingerprint: Mapping[str, tuple[FingerprintRule, ...]]

    @property
    def former(self) -> bool:
        """Whether names and messages count as in the former algorithm."""
        return self.algorithm == FORMER_ALGORITHM


@lru_cache(maxsize=_RULE_SETS_KEPT)
def grouping_rules(stack_trace_rules: str = "", fingerprint_rules: str = "") -> GroupingRules:
    """Our own rules with those of a project. Projects with the same rules share them. Raises RuleError."""
    stack = (*_built_in_stack_rules(), *parse_stack_rules(stack_trace_rules))
    fingerprint = (
        *parse_fingerprint_rules(fingerprint_rules),
        *_built_in_fingerprint_rules("fingerprints.txt"),
    )
    return GroupingRules(ALGORITHM, StackGrouper(StackRules(stack)), rules_by_family(fingerprint))


@lru_cache(maxsize=_RULE_SETS_KEPT)
def former_rules(stack_trace_rules: str = "", fingerprint_rules: str = "") -> GroupingRules:
    """What events were grouped by before: our rules as they were then, with those of a project. See docs/grouping.md, When
    the algorithm changes. Raises RuleError."""
    stack = (*_former_stack_rules(), *parse_stack_rules(stack_trace_rules))
    own = _built_in_fingerprint_rules("former_fingerprints.txt")
    fingerprint = (*parse_fingerprint_rules(fingerprint_rules), *own)
    stacks = StackGrouper(StackRules(stack), former=True)
    return GroupingRules(FORMER_ALGORITHM, stacks, rules_by_family(fingerprint))


Stacks = dict[int, StackVariants]
"""What was made of the stack traces of an event, by the id() of each stack trace object."""


def event_stacks(event: Mapping[str, Any], rules: GroupingRules) -> Stacks:
    """Apply the stack trace rules to every stack trace of an event: exceptions, threads, top level. Marks their frames."""
    platform = text(event, "platform")
    stacks: Stacks = {}
    for exception in objects(mapping(event, "exception"), "values"):
        if stacktrace := mapping(exception, "stacktrace"):
            about = {
                "type": text(exception, "type"),
                "value": text(exception, "value"),
                "mechanism": text(mapping(exception, "mechanism"), "type"),
            }
            stacks[id(stacktrace)] = rules.stacks.group(stacktrace, platform, about)
    for holder in (*objects(mapping(event, "threads"), "values"), event):
        if stacktrace := mapping(holder, "stacktrace"):
            stacks[id(stacktrace)] = rules.stacks.group(stacktrace, platform, {})
    return stacks


def stack_of(stacks: Stacks, holder: Mapping[str, Any]) -> StackVariants:
    """What was made of the stack trace of an exception, a thread or an event; an empty one where it has none."""
    return stacks.get(id(mapping(holder, "stacktrace")), NO_STACK)


@lru_cache(maxsize=1)
def _built_in_stack_rules() -> tuple[Any, ...]:
    return tuple(rule for name in STACK_RULE_FILES for rule in parse_stack_rules(_built_in_text(name)))


@lru_cache(maxsize=1)
def _former_stack_rules() -> tuple[Any, ...]:
    return parse_stack_rules(_built_in_text("former.txt"))


@lru_cache(maxsize=2)
def _built_in_fingerprint_rules(name: str) -> tuple[FingerprintRule, ...]:
    return parse_fingerprint_rules(_built_in_text(name))


def _built_in_text(name: str) -> str:
    return (files("tasks_pipeline.grouping") / "rules" / name).read_text(encoding="utf-8")

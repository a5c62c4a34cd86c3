"""Stack trace rules: their language, and what they make of the frames of one stack trace.

    family:javascript path:**/node_modules/** -app
    [ function:main ] | function:run_* category=threadbase

Syntax and effects: docs/grouping.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from tasks_pipeline.grouping.facts import FrameFacts
from tasks_pipeline.grouping.globs import Glob, path_glob, text_glob
from tasks_pipeline.grouping.rule_text import RuleError, Scanner, scanners, yes_or_no

FAMILIES = ("javascript", "native", "other")
_PATHS = ("path", "package")
_SUBJECTS = {
    "stack.abs_path": "path",
    "path": "path",
    "stack.module": "module",
    "module": "module",
    "stack.function": "function",
    "function": "function",
    "stack.package": "package",
    "package": "package",
    "family": "family",
    "app": "app",
}
_STACK_SUBJECTS = _SUBJECTS | {
    "category": "category",
    "error.type": "type",
    "type": "type",
    "error.value": "value",
    "value": "value",
    "error.mechanism": "mechanism",
    "mechanism": "mechanism",
}
_OF_EXCEPTIONS = frozenset({"type", "value", "mechanism"})
_OF_STATE = frozenset({"app", "category"})
_OF_FRAMES = frozenset({"path", "module", "function", "package"})
_NUMBERS = ("max-frames", "min-frames")
_KEPT_FRAMES = 8_192

_NAME = re.compile(r"(!?)([A-Za-z][\w.-]*):")
_BARE = re.compile(r"\S+")
_BARE_IN_BRACKETS = re.compile(r"[^\s\]]+")
_OPEN, _CLOSE, _BAR = re.compile(r"\["), re.compile(r"\]"), re.compile(r"\|")
_FLAG = re.compile(r"([\^v]?)([+-])(app|group|prefix|sentinel)(?!\S)")
_SET = re.compile(r"(max-frames|min-frames|invert-stacktrace|category) *= *(\S+)")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition: what it looks at, and the test of that text. A subject that is absent fails the test."""

    subject: str
    negated: bool
    test: Glob

    def holds(self, value: str | None) -> bool:
        """Whether the condition is met by the text of its subject (None: absent)."""
        return (value is not None and self.test.matches(value)) is not self.negated


@dataclass(frozen=True, slots=True)
class Flag:
    """`+app`, `-group`, `^-group` …: `where` is ``, `^` (frames nearer the crash) or `v` (frames further from it)."""

    what: str
    value: bool
    where: Literal["", "^", "v"]


@dataclass(frozen=True, slots=True)
class StackRule:
    """A rule that was read. `text` is what it was read from."""

    text: str
    matchers: tuple[Matcher, ...]
    caller: tuple[Matcher, ...]
    callee: tuple[Matcher, ...]
    flags: tuple[Flag, ...]
    category: str | None
    limits: Mapping[str, int]

    def about(self, subjects: Set[str]) -> tuple[Matcher, ...]:
        """The conditions on the frame itself that look at one of these subjects."""
        return tuple(matcher for matcher in self.matchers if matcher.subject in subjects)

    @property
    def needs(self) -> frozenset[str]:
        """Categories without which it matches no frame of a stack trace."""
        conditions = (*self.matchers, *self.caller, *self.callee)
        return frozenset(
            m.test.exact for m in conditions if m.subject == "category" and m.test.exact and not m.negated
        )

    @property
    def changes_frames(self) -> bool:
        """Whether it belongs to the first pass, which settles what a frame is."""
        return self.category is not None or any(flag.what == "app" for flag in self.flags)

    @property
    def changes_contribution(self) -> bool:
        """Whether it belongs to the second pass, which settles what counts."""
        return bool(self.limits) or any(flag.what == "group" for flag in self.flags)


# Reading


def parse_stack_rules(text: str) -> tuple[StackRule, ...]:
    """The rules in a text, one a line. Raises RuleError for the first line that cannot be read."""
    return tuple(_rule(scanner) for scanner in scanners(text))


def frame_matcher(subject: str, negated: bool, pattern: str) -> Matcher:
    """A condition on a subject of frames. Raises ValueError saying what is wrong with the pattern."""
    if subject == "app":
        wanted = yes_or_no(pattern)
        if wanted is None:
            raise ValueError(f"app is yes or no, found {pattern!r}")
        return Matcher(subject, negated, text_glob("yes" if wanted else "no"))
    if subject == "family":
        names = [name.strip() for name in pattern.lower().split(",")]
        unknown = [name for name in names if name not in (*FAMILIES, "all")]
        if unknown:
            raise ValueError(f"unknown family {unknown[0]!r}; there are {', '.join(FAMILIES)} and all")
        return Matcher(subject, negated, text_glob("*" if "all" in names else _either(names)))
    return Matcher(subject, negated, path_glob(pattern) if subject in _PATHS else text_glob(pattern))


def frame_subject(name: str) -> str | None:
    """What a matcher's name looks at, where that is a subject of frames by itself; else None."""
    return _SUBJECTS.get(name)


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else "{" + ",".join(names) + "}"


def _rule(scanner: Scanner) -> StackRule:
    caller = _neighbour(scanner)
    if caller and not scanner.take(_BAR):
        raise scanner.error("`|` is missing between the caller and the frame")
    matchers = _matchers(scanner, _BARE)
    if not matchers:
        raise scanner.error("a matcher is missing, as in `function:main`")
    callee: tuple[Matcher, ...] = ()
    if scanner.take(_BAR):
        callee = _neighbour(scanner)
        if not callee:
            raise scanner.error("the called frame is missing, as in `| [ function:main ]`")
    flags: list[Flag] = []
    settings: dict[str, str] = {}
    while not scanner.at_end:
        _action(scanner, flags, settings)
    if not flags and not settings:
        raise scanner.error("an action is missing, as in `-app`")
    limits = {name: int(settings[name]) for name in _NUMBERS if name in settings}
    known = [flag for flag in flags if flag.what in ("app", "group")]
    return StackRule(scanner.text, matchers, caller, callee, tuple(known), settings.get("category"), limits)


def _neighbour(scanner: Scanner) -> tuple[Matcher, ...]:
    start = scanner.position
    if not scanner.take(_OPEN):
        return ()
    matchers = _matchers(scanner, _BARE_IN_BRACKETS)
    if not matchers:
        raise scanner.error("a matcher is missing, as in `[ function:main ]`")
    if any(matcher.subject in _OF_EXCEPTIONS for matcher in matchers):
        raise scanner.error("the exception cannot be asked about in brackets, only frames", start)
    if not scanner.take(_CLOSE):
        raise scanner.error("the bracket is never closed", start)
    return matchers


def _matchers(scanner: Scanner, bare: re.Pattern[str]) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    while True:
        start = scanner.position
        name = scanner.take(_NAME)
        if name is None:
            return tuple(found)
        subject = _STACK_SUBJECTS.get(name[2])
        if subject is None:
            raise scanner.error(
                f"unknown matcher {name[2]!r}; there are {', '.join(sorted(_STACK_SUBJECTS))}", start
            )
        try:
            found.append(frame_matcher(subject, bool(name[1]), scanner.pattern(bare)))
        except RuleError:
            raise
        except ValueError as error:
            raise scanner.error(str(error), start) from error


def _action(scanner: Scanner, flags: list[Flag], settings: dict[str, str]) -> None:
    start = scanner.position
    if flag := scanner.take(_FLAG):
        where: Literal["", "^", "v"] = "^" if flag[1] == "^" else "v" if flag[1] == "v" else ""
        flags.append(Flag(flag[3], flag[2] == "+", where))
        return
    setting = scanner.take(_SET)
    if setting is None:
        raise scanner.error("expected an action, as in `-app`, `^-group` or `category=ui`", start)
    name, value = setting[1], setting[2]
    if name in _NUMBERS and not (value.isascii() and value.isdecimal() and len(value) <= 9):
        raise scanner.error(f"{name} is a whole number, found {value!r}", start)
    if name == "invert-stacktrace" and yes_or_no(value) is None:
        raise scanner.error(f"{name} is 1 or 0, found {value!r}", start)
    if name == "category" and not re.fullmatch(r"[\w-]{1,50}", value):
        raise scanner.error(f"a category is at most 50 letters, digits, `_` and `-`, found {value!r}", start)
    settings[name] = value


# Effects


@dataclass(slots=True)
class Effects:
    """What rules make of a stack trace, a value per frame. Rules are given by their text; None: no rule said so."""

    in_app: list[bool]
    in_app_by: list[str | None]
    category: list[str | None]
    off_by: list[str | None]
    limits: dict[str, tuple[int, str]] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)
    """Every category that a rule gave."""


class StackRules:
    """Rules made ready for many stack traces. Applying them gives the same result for the same input, always."""

    def __init__(self, rules: Iterable[StackRule]) -> None:
        self._rules = [_Ready(rule, rule.about(_OF_STATE), rule.needs) for rule in rules]
        about_exception = [ready.rule.about(_OF_EXCEPTIONS) for ready in self._rules]
        self._exception_rules = [(i, matchers) for i, matchers in enumerate(about_exception) if matchers]
        self._candidates = _Candidates([ready.rule for ready in self._rules])
        subjects = {matcher.subject for _, matchers in self._exception_rules for matcher in matchers}
        self._subjects = tuple(sorted(subjects))
        # Values are of any length and never the same; types and mechanisms come again and again.
        self._out = self._rules_out if "value" in subjects else lru_cache(1024)(self._rules_out)

    def gate(self, exception: Mapping[str, str]) -> frozenset[int]:
        """Rules that are out for an exception with these `type`, `value` and `mechanism`; the missing are `<unknown>`."""
        return self._out(tuple([exception.get(subject) or "<unknown>" for subject in self._subjects]))

    def _rules_out(self, texts: tuple[str, ...]) -> frozenset[int]:
        given = dict(zip(self._subjects, texts, strict=True))
        return frozenset(
            index
            for index, matchers in self._exception_rules
            if not all(m.holds(given[m.subject]) for m in matchers)
        )

    def effects(self, frames: Sequence[FrameFacts], in_app: Sequence[bool], gate: frozenset[int]) -> Effects:
        """Apply all rules, top to bottom, to the frames of a stack trace (oldest call first), with their flags."""
        count = len(frames)
        effects = Effects(list(in_app), [None] * count, [None] * count, [None] * count)
        places: dict[int, list[int]] = defaultdict(list)
        for position, facts in enumerate(frames):
            for index in self._candidates.of(facts):
                places[index].append(position)
        order = [(self._rules[index], places[index]) for index in sorted(places) if index not in gate]
        for ready, candidates in order:
            if ready.rule.changes_frames and ready.needs <= effects.categories:
                for position in candidates:  # frame by frame: the next one sees what became of this one
                    if _matches(ready, position, frames, effects):
                        _change_frame(ready.rule, position, effects)
        for ready, candidates in order:
            if ready.rule.changes_contribution and ready.needs <= effects.categories:
                matching = [p for p in candidates if _matches(ready, p, frames, effects)]
                _change_contribution(ready.rule, matching, effects)
        return effects


@dataclass(frozen=True, slots=True)
class _Ready:
    """A rule with what would otherwise be computed again for every frame."""

    rule: StackRule
    of_state: tuple[Matcher, ...]
    needs: frozenset[str]


# A text that the subject of a frame must contain, a condition on that subject, and the rule it belongs to.
_Test = tuple[str, Callable[[str], bool], int]


class _Candidates:
    """For a frame, the rules whose conditions on the frame by itself are met.

    A rule is looked for among those of the frame's family, by the one of its conditions with the longest literal, which
    most frames fail at once.
    """

    def __init__(self, rules: Sequence[StackRule]) -> None:
        self._kept: dict[FrameFacts, tuple[int, ...]] = {}
        self._others: list[tuple[Matcher, ...]] = []
        self._always: dict[str, list[int]] = defaultdict(list)
        self._tests: dict[str, dict[str, list[_Test]]] = defaultdict(lambda: defaultdict(list))
        for index, rule in enumerate(rules):
            by_itself = rule.about(_OF_FRAMES)
            anchors = [m for m in by_itself if not m.negated]
            anchor = max(anchors, key=lambda m: min(map(len, m.test.literals)), default=None)
            self._others.append(tuple(m for m in by_itself if m is not anchor))
            families = [name for name in FAMILIES if all(m.holds(name) for m in rule.about({"family"}))]
            for name in families:
                if anchor is None:
                    self._always[name].append(index)
                else:
                    self._tests[name][anchor.subject] += [
                        (literal, anchor.test.matches, index) for literal in anchor.test.literals
                    ]

    def of(self, facts: FrameFacts) -> tuple[int, ...]:
        """Indexes of the rules, in no particular order."""
        found = self._kept.get(facts)
        if found is None:
            if len(self._kept) >= _KEPT_FRAMES:
                self._kept.clear()
            found = self._kept[facts] = tuple(self._find(facts.subjects))
        return found

    def _find(self, subjects: Mapping[str, str]) -> Iterable[int]:
        family = subjects["family"]
        found = set(self._always[family])
        for subject, tests in self._tests[family].items():
            if value := subjects.get(subject):
                folded = value.replace("\\", "/").lower() if subject in _PATHS else value
                found.update([i for literal, matches, i in tests if literal in folded and matches(value)])
        return [i for i in found if all(m.holds(subjects.get(m.subject)) for m in self._others[i])]


def _matches(ready: _Ready, position: int, frames: Sequence[FrameFacts], effects: Effects) -> bool:
    """Whether the rest of the conditions holds for a candidate: state, caller and callee."""
    rule = ready.rule
    return (
        all(_holds(m, position, frames, effects) for m in ready.of_state)
        and (not rule.caller or position > 0)
        and all(_holds(m, position - 1, frames, effects) for m in rule.caller)
        and (not rule.callee or position + 1 < len(frames))
        and all(_holds(m, position + 1, frames, effects) for m in rule.callee)
    )


def _holds(matcher: Matcher, position: int, frames: Sequence[FrameFacts], effects: Effects) -> bool:
    match matcher.subject:
        case "app":
            return matcher.holds("yes" if effects.in_app[position] else "no")
        case "category":
            return matcher.holds(effects.category[position])
    return matcher.holds(frames[position].subjects.get(matcher.subject))


def _change_frame(rule: StackRule, position: int, effects: Effects) -> None:
    for flag in rule.flags:
        if flag.what == "app":
            for reached in _reach(flag, [position], len(effects.in_app)):
                if effects.in_app[reached] is not flag.value:
                    effects.in_app[reached], effects.in_app_by[reached] = flag.value, rule.text
    if rule.category is not None:
        effects.category[position] = rule.category
        effects.categories.add(rule.category)


def _change_contribution(rule: StackRule, positions: Sequence[int], effects: Effects) -> None:
    for flag in rule.flags:
        if flag.what == "group":
            for position in _reach(flag, positions, len(effects.off_by)):
                effects.off_by[position] = None if flag.value else rule.text
    if positions:
        effects.limits |= {name: (value, rule.text) for name, value in rule.limits.items()}


def _reach(flag: Flag, positions: Sequence[int], count: int) -> Iterable[int]:
    if not positions or not flag.where:
        return positions
    return range(positions[0] + 1, count) if flag.where == "^" else range(positions[-1])

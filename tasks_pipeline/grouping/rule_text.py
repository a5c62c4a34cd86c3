"""Reading the two rule languages: lines, positions, patterns and errors that name line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_RULES = 2_000

_BLANKS = re.compile(r"[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r'\\(["\\])')


class RuleError(ValueError):
    """A rule that cannot be read. The message starts with line and column, both counted from 1."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.line, self.column, self.problem = line, column, problem


class Scanner:
    """One rule being read from left to right."""

    def __init__(self, text: str, line: int) -> None:
        self.text, self.line, self.position = text, line, 0
        self.skip()

    @property
    def at_end(self) -> bool:
        """Whether nothing but blanks is left."""
        return self.position >= len(self.text)

    def skip(self) -> None:
        """Go past blanks."""
        match = _BLANKS.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What the pattern matches here, gone past together with the blanks behind it; None without moving."""
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
            self.skip()
        return match

    def pattern(self, bare: re.Pattern[str]) -> str:
        """A quoted pattern, or one that `bare` matches. Raises RuleError."""
        start = self.position
        if self.text.startswith('"', start):
            quoted = self.take(_QUOTED)
            if quoted is None:
                raise self.error("the quotation mark is never closed", start)
            return unquote(quoted[1])
        match = self.take(bare)
        if match is None or not match[0]:
            raise self.error("a pattern is missing", start)
        return match[0]

    def error(self, problem: str, position: int | None = None) -> RuleError:
        """A RuleError about what stands here, or at a position of the line."""
        return RuleError(self.line, (self.position if position is None else position) + 1, problem)


def scanners(text: str) -> Iterator[Scanner]:
    """A scanner for each rule of a text: blank lines and lines that begin with `#` are none. Raises RuleError."""
    count = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            count += 1
            if count > MAX_RULES:
                raise RuleError(number, 1, f"more than {MAX_RULES} rules")
            yield Scanner(line.rstrip(), number)


def unquote(inside: str) -> str:
    """The text between quotation marks: `\\"` and `\\\\` are the character; other backslashes belong to the pattern."""
    return _ESCAPED.sub(r"\1", inside)


def yes_or_no(text: str) -> bool | None:
    """`yes`, `true`, `1` or `no`, `false`, `0`; None for anything else."""
    word = text.lower()
    return True if word in ("yes", "true", "1") else False if word in ("no", "false", "0") else None

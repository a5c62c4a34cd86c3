"""What is said about a mistake in the configuration file, and the error that carries all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_MISTAKES = 100
"""So many are told; a file in which everything is wrong must not fill the log."""
_MAX_SAID = 2000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")

Path = tuple[str | int, ...]
"""Where something stands in the file: names of fields as the file spells them, and numbers of entries from 0."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `line` counts from 1 (0: none, the file as a whole); `found` is empty when it is not to be shown."""

    line: int
    path: Path
    said: str
    found: str = ""

    def text(self, source: str) -> str:
        """One line for people: file, line, place, what is wrong, what was found."""
        place = f"{source}:{self.line}" if self.line else source
        field = f" {dotted(self.path)}:" if self.path else ""
        found = f" (found {one_line(self.found)})" if self.found else ""
        return f"{place}:{field} {one_line(self.said)}{found}"


class ConfigError(Exception):
    """The configuration cannot be used; the message has a line per mistake: where, what was found, what is allowed.

    Neither the message nor what the error was raised from holds a secret.
    """

    def __init__(self, message: str, mistakes: Sequence[Mistake] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)


class UnreadableConfig(ConfigError):
    """The file itself cannot be read: that may pass without any change of the file."""


def config_error(source: str, mistakes: Iterable[Mistake]) -> ConfigError:
    """The error of these mistakes, in the order of the file."""
    ordered = sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line)
    lines = [mistake.text(source) for mistake in ordered[:MAX_MISTAKES]]
    if len(ordered) > MAX_MISTAKES:
        lines.append(f"{source}: and {len(ordered) - MAX_MISTAKES} more mistakes")
    return ConfigError("\n".join(lines), ordered)


def dotted(path: Path) -> str:
    """The path as people write it, `projects[0].slug`; a strange name is quoted."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            name = part if _PLAIN_NAME.fullmatch(part) else shortened(repr(part))
            out += f".{name}" if out else name
    return out


def shortened(text: str) -> str:
    """At most 60 characters of it."""
    return text if len(text) <= 60 else text[:57] + "..."


def one_line(text: str) -> str:
    """The text on one line, of bounded length, with control characters made visible."""
    words = " ".join(text.split())
    if len(words) > _MAX_SAID:
        words = words[: _MAX_SAID - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)

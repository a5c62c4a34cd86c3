"""Message: what is said to people, before any channel's form. Texts in it are cleaned and bounded, but not escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_pipeline.words import counted


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a stack trace. `lines` are (number or None, code, whether it is the line that failed). `column` counts from 1;
    on the one line of a minified file nothing else says where."""

    file: str
    line: int | None
    function: str
    lines: tuple[tuple[int | None, str, bool], ...] = ()
    column: int | None = None

    @property
    def place(self) -> str:
        """`cart.py:12`, `server.js:3:18342`."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Section:
    """More of the story, under a title: (name, value) rows."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group in a digest or a storm: what is said of it in a line or two."""

    short_id: str
    title: str
    culprit: str = ""
    note: str = ""
    events: int = 0
    before: int | None = None
    users: int = 0
    url: str = ""
    """Of its page."""

    @property
    def counts(self) -> str:
        """`SHOP-3 · 45 events (2 before) · 15 users · new`; what has no events, as a monitor, goes without."""
        before = f" ({self.before:,} before)" if self.before is not None else ""
        events = [f"{counted(self.events, 'event')}{before}"] if self.events or self.before else []
        users = [counted(self.users, "user")] if self.users else []
        return " · ".join([self.short_id, *events, *users, *([self.note] if self.note else [])])


@dataclass(frozen=True, slots=True)
class Letter:
    """The mail of a message that was made when the message was decided on, so that each attempt sends the same bytes.

    `pictures` are (Content-ID, file name, PNG), `files` (name, CSV). `unsubscribe` is where one POST ends such mails, and empty
    where nothing does.
    """

    html: str
    text: str
    made_at: datetime
    pictures: tuple[tuple[str, str, bytes], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    unsubscribe: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What a message says.

    `key` is its idempotency key, `thread` what messages about one thing share. `status`: firing, recovered, storm, digest,
    deploy, report or test. `facts` are (name, value) pairs, `sections` the rest of an event's story, `links` (label, URL), `commands` what to type. `data` holds the facts in a form for
    programs: what a webhook gets beside the texts. `letter` is its mail, where that was made beforehand.
    """

    key: str
    thread: str
    type: str
    status: str
    severity: str
    subject: str
    title: str
    project: str
    rule: str = ""
    culprit: str = ""
    changed: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    frames: tuple[Frame, ...] = ()
    sections: tuple[Section, ...] = ()
    groups: tuple[GroupLine, ...] = ()
    more_groups: int = 0
    links: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    letter: Letter | None = None

    @property
    def summary(self) -> str:
        """One line: what a phone shows."""
        if self.subject in self.title:
            return self.title
        return f"{self.subject}: {self.title}" if self.title not in self.subject else self.subject

    def text(self, *, brief: bool = False) -> str:
        """The message as plain text; a `brief` one goes without code and without the rest of the event's story."""
        out = [
            self.title,
            *([self.culprit] if self.culprit else []),
            *([self.changed] if self.changed else []),
        ]
        for frame in () if brief else self.frames:
            out += ["", f"{frame.place} in {frame.function}"]
            out += [f"  {'>' if failed else ' '} {code}" for _, code, failed in frame.lines]
        if self.facts:
            out += ["", *_aligned(self.facts)]
        for section in () if brief else self.sections:
            out += ["", section.title, *(f"  {row}" for row in _aligned(section.rows))]
        for group in self.groups:
            out += ["", group.title, f"  {group.counts}", *([f"  {group.url}"] if group.url else [])]
        if self.more_groups:
            out += ["", f"and {self.more_groups:,} more"]
        if self.links:
            out += ["", *(f"{label}: {url}" for label, url in self.links)]
        if self.commands:
            out += ["", "What to do:", *(f"  {command}" for command in self.commands)]
        return "\n".join([*out, *(["", *self.notes] if self.notes else [])])


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and values as lines in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {value}".rstrip() for name, value in rows]

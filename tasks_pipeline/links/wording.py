"""What an issue says of a group: title, body, labels and fields, bounded, and harmless in the mark-up of its tracker.

Nothing of a person is in it: whose event it was, and what they sent, stays here.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import jinja2
import jinja2.sandbox
from sqlalchemy import Row, select

from tasks_pipeline.config.integrations import PLACEHOLDER, Tracker
from tasks_pipeline.config.projects import project_name
from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.groups.lists import group_value_counts
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.notifications.composing import stored_story
from tasks_pipeline.notifications.message import Frame
from tasks_pipeline.notifications.story import Story
from tasks_pipeline.notifications.what_to_do import typed
from tasks_pipeline.storage.lake.events import newest_events
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.issue import Draft
from tasks_pipeline.trackers.markup import neutral, neutral_title
from tasks_pipeline.words import counted

log = logging.getLogger(__name__)
VALUE_LENGTH = 200
LABEL_LENGTH = 50
"""Characters that a label may have at GitHub, which takes the shortest."""
RELEASES_SHOWN = 5
LISTED = 100
"""Groups that the issue of a storm lists."""
_ROOM = 500
"""Bytes of a body that stay free for the marker."""


class Form(Protocol):
    """What a provider says of its texts."""

    title_length: int
    body_length: int
    markup: str


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a group: texts as they came, cleaned and bounded. `facts` are (name, value), `commands` what to type to see more,
    `links` (label, URL). `environment`, `release` and `tags` are those of its newest event."""

    group_id: int
    short_id: str
    project: str
    title: str
    culprit: str
    level: str
    environment: str = ""
    release: str = ""
    tags: Mapping[str, str] | None = None
    facts: tuple[tuple[str, str], ...] = ()
    frames: tuple[Frame, ...] = ()
    commands: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    times_seen: int = 0


def told_of(stores: Stores, group_id: int) -> Told | None:
    """What is told of a group, or of that which it is part of, by its newest event; None when it is not there any more."""
    found = _rows(stores, [group_id])
    if not found:
        return None
    told = found[0]
    newest = newest_events(stores.state, stores.lake, told.group_id, 1)
    event = newest[0] if newest else {}
    story = None
    if event:
        day = event["received_at"].date().isoformat()
        story = stored_story(stores, event["project_id"], day, event["event_id"])
    seen = group_value_counts(stores.state, told.group_id, RELEASES_SHOWN)
    environment, release = (clean(event.get(name) or "", VALUE_LENGTH) for name in ("environment", "release"))
    of_event = (
        ("Environment", ", ".join(name for name, _ in seen["environment"]) or environment),
        ("Releases", ", ".join(name for name, _ in seen["release"]) or release),
        ("Ran on", (story or Story()).ran_on),
    )
    return replace(
        told,
        environment=environment,
        release=release,
        tags=dict((story or Story()).tags),
        facts=(*told.facts, *((name, clean(value, 500)) for name, value in of_event if value)),
        frames=(story or Story()).frames,
        links=tuple(_links(stores, event)),
    )


def told_of_many(stores: Stores, group_ids: Sequence[int]) -> list[Told]:
    """The same of many, without their events, in the order of their numbers."""
    return _rows(stores, group_ids)


def _rows(stores: Stores, group_ids: Sequence[int]) -> list[Told]:
    found: list[Row[Any]] = []
    with stores.state.read() as connection:
        targets = merged_targets(connection, group_ids)
        wanted = sorted({targets.get(group_id, group_id) for group_id in group_ids})
        for chunk in chunks(wanted):
            query = select(groups).where(groups.c.id.in_(chunk)).order_by(groups.c.id)
            found += connection.execute(query).all()
    told = []
    for row in found:
        project = project_name(stores.slugs, row.project_id)
        short_id = format_short_id(project, row.short_id)
        facts = (
            ("Level", row.level),
            (
                "Seen",
                counted(row.times_seen, "time") + (f", by {counted(row.users, 'user')}" if row.users else ""),
            ),
            ("First seen", _when(row.first_seen, row.first_release)),
            ("Last seen", _when(row.last_seen, row.last_release)),
        )
        told.append(
            Told(
                group_id=row.id,
                short_id=short_id,
                project=project,
                title=clean(row.title, 500) or short_id,
                culprit=clean(row.culprit, 300),
                level=clean(row.level, 20),
                facts=tuple((name, clean(value, VALUE_LENGTH)) for name, value in facts if value),
                commands=(typed(stores.home, "groups", "show", short_id),),
                times_seen=row.times_seen,
            )
        )
    return told


def _when(at: datetime | None, release: str | None) -> str:
    if at is None:
        return ""
    return f"{at:%Y-%m-%d %H:%M} UTC" + (f" in {release}" if release else "")


def _links(stores: Stores, event: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Its day in Dagster, where people may open that."""
    ui, at = stores.config.notifications.ui_url, event.get("received_at")
    if ui and isinstance(at, datetime):
        yield (
            "The day in Dagster",
            f"{ui.rstrip('/')}/assets/events?view=partitions&partition={at.date().isoformat()}",
        )


def filled(text: str, told: Told) -> str:
    """A text of the configuration with what stands in braces replaced; what is not known is empty. Values are taken as they are: what
    they hold in braces stands for nothing."""
    tags = told.tags or {}

    def value(name: str) -> str:
        if name.startswith("tag:"):
            return tags.get(name[4:].strip(), "")
        return str(getattr(told, name, ""))

    return PLACEHOLDER.sub(lambda found: value(found[1]), text)


def draft_of(
    told: Told, tracker: Tracker, form: Form, *, marker: str = "", templates_dir: Path | None = None
) -> Draft:
    """The issue that is made for a group."""
    return Draft(
        title=_title(filled(tracker.title, told), form) or told.short_id,
        body=_cut(_body(told, tracker, form, templates_dir), form),
        marker=marker,
        labels=_labels(tracker, [told]),
        fields=tracker.fields,
    )


def storm_draft(told: Sequence[Told], rule: str, tracker: Tracker, form: Form, *, marker: str = "") -> Draft:
    """The one issue that is made for all groups of a storm."""
    title = f"{counted(len(told), 'group')} at once: {rule}"
    lines = [_listed(each, form.markup) for each in told[:LISTED]]
    more = [f"and {len(told) - LISTED:,} more"] if len(told) > LISTED else []
    said = f"Rule {_safe(rule, form.markup)} fired more often than its storm limit allows. It was about:"
    return Draft(
        title=_title(title, form),
        body=_cut("\n".join([said, "", *lines, *more]), form),
        marker=marker,
        labels=_labels(tracker, told),
        fields=tracker.fields,
    )


def _listed(told: Told, markup: str) -> str:
    culprit = f" in {_safe(told.culprit, markup)}" if told.culprit else ""
    return f"* {told.short_id}: {_safe(told.title, markup)}{culprit} ({counted(told.times_seen, 'event')})"


def _title(text: str, form: Form) -> str:
    return neutral_title(clean(text, form.title_length), form.markup, form.title_length)


def _labels(tracker: Tracker, told: Iterable[Told]) -> tuple[str, ...]:
    """Labels in their order, each once in any case of letters; without commas, which would make two of one."""
    found: dict[str, str] = {}
    for each in told:
        for text in tracker.labels:
            label = clean(filled(text, each).replace(",", " "), LABEL_LENGTH).strip()
            if label:
                found.setdefault(label.casefold(), label)
    return tuple(found.values())[:20]


def _body(told: Told, tracker: Tracker, form: Form, templates_dir: Path | None) -> str:
    safe = _made_safe(told, form.markup)
    if tracker.body == "default" or templates_dir is None:
        return _default(safe)
    try:
        return _templates(templates_dir).get_template(tracker.body).render(issue=safe)
    except (
        jinja2.TemplateError,
        OSError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ):
        log.exception("template %s cannot be used, ours is taken", templates_dir / tracker.body)
        return _default(safe)


def _default(told: Told) -> str:
    """Lines that read well as Markdown, as Textile and as they are. Code is indented: no fence that a text could close."""
    out = [told.title, *([f"in {told.culprit}"] if told.culprit else []), ""]
    out += [f"* {name}: {value}" for name, value in told.facts]
    for frame in told.frames:
        out += ["", f"    {frame.place} in {frame.function}"]
        out += [f"    {'>' if failed else ' '} {code}" for _, code, failed in frame.lines]
    out += ["", f"{told.short_id} in Tasks Pipeline:", ""]
    out += [f"    {command}" for command in told.commands]
    out += [f"{label}: {url}" for label, url in told.links]
    return "\n".join(out)


def _made_safe(told: Told, markup: str) -> Told:
    """The same with every text of strangers harmless in a mark-up."""
    return replace(
        told,
        title=_safe(told.title, markup),
        culprit=_safe(told.culprit, markup),
        level=_safe(told.level, markup),
        environment=_safe(told.environment, markup),
        release=_safe(told.release, markup),
        tags={_safe(name, markup): _safe(value, markup) for name, value in (told.tags or {}).items()},
        facts=tuple((name, _safe(value, markup)) for name, value in told.facts),
        frames=tuple(_safe_frame(frame, markup) for frame in told.frames),
    )


def _safe_frame(frame: Frame, markup: str) -> Frame:
    lines = tuple((number, _safe(code, markup, strip=False), failed) for number, code, failed in frame.lines)
    return replace(frame, file=_safe(frame.file, markup), function=_safe(frame.function, markup), lines=lines)


def _safe(text: str, markup: str, *, strip: bool = True) -> str:
    """One line, harmless."""
    line = text.replace("\r", " ").replace("\n", " ")
    return neutral(line.strip() if strip else line.rstrip(), markup)


def _cut(text: str, form: Form) -> str:
    """A text that a body may hold with its marker, counted in bytes: some count those."""
    room = form.body_length - _ROOM
    if len(text.encode()) <= room:
        return text
    cut = text.encode()[: room - 4].decode(errors="ignore")
    # Between lines, each of which is harmless as a whole: half of one need not be.
    return (cut.rpartition("\n")[0] or cut).rstrip() + "\n…"


@functools.cache
def _templates(folder: Path) -> jinja2.Environment:
    """Templates of bodies. What they show is made safe before: it is not HTML. In a sandbox, since others may have written them."""
    return jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip

"""Keys of queries: what each is about, what its values may be, and who answers it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum

LARGEST = 2**63 - 1
_TAG = re.compile(r"tags\[(.{1,200})\]")
_AGO = re.compile(r"([+-])([0-9]{1,6})(s|m|min|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


class Kind(Enum):
    """What values of a key are."""

    TEXT = "texts"
    CONTAINED = "texts, of which a part suffices"
    NUMBER = "numbers, with < <= > >= before them"
    TIME = "times: 2026-11-22, 2026-11-22T14:00, -24h (since then), +7d (before then), with < <= > >= before dates"
    STATUS = "states"
    PERSON = "me, nobody, an address, team:SLUG"
    RELEASE = "releases, also `latest` and >=shop@4.2"
    TRUTH = "true and false"
    GROUP = "groups: SHOP-3F, or a number"
    PROJECT = "projects: a slug, or a number"
    HAS = "names of keys and tags"


class By(Enum):
    """Who answers a key: the row of the group; what was seen with it; each event; or nothing, since it is the same of all."""

    GROUP = "group"
    VALUES = "values"
    EVENT = "event"
    TEXTS = "texts"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Key:
    """A key. `column` is the one of groups that answers it, `lake` that of events, where there are such; `of_values` its kind in
    group_values."""

    name: str
    kind: Kind
    by: By
    column: str = ""
    lake: str = ""
    of_values: str = ""

    @property
    def compares(self) -> bool:
        """Whether < and > may stand before values."""
        return self.kind in (Kind.NUMBER, Kind.TIME, Kind.RELEASE)


_KEYS = (
    Key("is", Kind.STATUS, By.GROUP, "status"),
    Key("level", Kind.TEXT, By.GROUP, "level", "level"),
    Key("project", Kind.PROJECT, By.GROUP, "project_id", "project_id"),
    Key("assigned", Kind.PERSON, By.GROUP, "assignee"),
    Key("platform", Kind.TEXT, By.GROUP, "platform", "platform"),
    Key("type", Kind.TEXT, By.GROUP, "type", "type"),
    Key("title", Kind.TEXT, By.GROUP, "title", "title"),
    Key("culprit", Kind.TEXT, By.GROUP, "culprit", "culprit"),
    Key("firstSeen", Kind.TIME, By.GROUP, "first_seen"),
    Key("lastSeen", Kind.TIME, By.GROUP, "last_seen"),
    Key("age", Kind.TIME, By.GROUP, "first_seen"),
    Key("timesSeen", Kind.NUMBER, By.GROUP, "times_seen"),
    Key("users", Kind.NUMBER, By.GROUP, "users"),
    Key("issue", Kind.GROUP, By.GROUP, "id"),
    Key("firstRelease", Kind.RELEASE, By.GROUP, "first_release"),
    Key("release", Kind.RELEASE, By.VALUES, lake="release", of_values="release"),
    Key("environment", Kind.TEXT, By.VALUES, lake="environment", of_values="environment"),
    Key("user", Kind.TEXT, By.VALUES, lake="user_key", of_values="user"),
    Key("stack", Kind.CONTAINED, By.TEXTS),
    Key("error.type", Kind.TEXT, By.EVENT, lake="exception_type"),
    Key("error.value", Kind.TEXT, By.EVENT, lake="exception_value"),
    Key("message", Kind.CONTAINED, By.EVENT, lake="title"),
    Key("transaction", Kind.TEXT, By.EVENT, lake="transaction"),
    Key("server_name", Kind.TEXT, By.EVENT, lake="server_name"),
    Key("user.id", Kind.TEXT, By.EVENT, lake="user_id"),
    Key("user.email", Kind.TEXT, By.EVENT, lake="user_email"),
    Key("user.ip", Kind.TEXT, By.EVENT, lake="user_ip"),
    Key("sdk.name", Kind.TEXT, By.EVENT, lake="sdk_name"),
    Key("sdk.version", Kind.TEXT, By.EVENT, lake="sdk_version"),
    Key("dist", Kind.TEXT, By.EVENT, lake="dist"),
    Key("handled", Kind.TRUTH, By.EVENT, lake="handled"),
    Key("trace", Kind.TEXT, By.EVENT, lake="trace_id"),
    Key("logger", Kind.TEXT, By.EVENT, lake="logger"),
    Key("id", Kind.TEXT, By.EVENT, lake="event_id"),
    Key("timestamp", Kind.TIME, By.EVENT, lake="timestamp"),
    Key("has", Kind.HAS, By.EVENT),
    Key("issue.category", Kind.TEXT, By.NOTHING),
    Key("issue.type", Kind.TEXT, By.NOTHING),
)
KEYS: Mapping[str, Key] = {key.name: key for key in _KEYS}
ALIASES = {
    "status": "is", "assignee": "assigned", "assigned_or_suggested": "assigned", "first_seen": "firstSeen", "last_seen": "lastSeen",
    "times_seen": "timesSeen", "issue.id": "issue", "group": "issue", "project.id": "project", "project.name": "project",
    "firstrelease": "firstRelease", "first_release": "firstRelease", "release.version": "release", "environment.name": "environment",
    "error.handled": "handled", "event.id": "id", "event.type": "type", "device.server_name": "server_name",
    "user.username": "tags[user.username]",
}  # fmt: skip
STATUSES = (
    "unresolved", "resolved", "ignored", "archived", "muted", "regressed", "new", "ongoing", "assigned", "unassigned", "discarded", "merged",
)  # fmt: skip
"""Values of `is:`. `new` was first seen in the last day."""
NEW_FOR = timedelta(days=1)
CATEGORY = "error"
"""The one category and type that groups have, in the words of Sentry."""


def key_of(name: str) -> Key:
    """The key of a name; of one that is none the tag of that name."""
    name = ALIASES.get(name, name)
    if (known := KEYS.get(name)) is not None:
        return known
    tag = _TAG.fullmatch(name)
    return Key(name, Kind.TEXT, By.EVENT, lake=f"tags:{tag[1] if tag else name}")


def is_tag(key: Key) -> bool:
    """Whether a key is that of a tag."""
    return key.lake.startswith("tags:")


def tag_name(key: Key) -> str:
    """The name of the tag that a key is of."""
    return key.lake.removeprefix("tags:")


def read_number(text: str) -> int:
    """A number of a query. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def read_span(text: str, comparison: str, now: datetime) -> tuple[datetime, datetime]:
    """From when on, and until before when, a moment may be, by a value of a key of times. Raises ValueError."""
    if (ago := _AGO.fullmatch(text)) and not comparison:
        moment = now - timedelta(**{_UNITS[ago[3]]: int(ago[2])})
        return (moment, _LATEST) if ago[1] == "-" else (_EARLIEST, moment)
    first, behind = _period(text)
    return {
        "": (first, behind), ">=": (first, _LATEST), ">": (behind, _LATEST), "<": (_EARLIEST, first), "<=": (_EARLIEST, behind),
    }[comparison]  # fmt: skip


def _period(text: str) -> tuple[datetime, datetime]:
    """A day, or a moment: when it begins, and when what comes behind it does."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        day = date.fromisoformat(text)
        first = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return _within(first), _within(first + timedelta(days=1))
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return _within(moment), _within(moment + timedelta(microseconds=1))


def _within(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError(moment)
    return moment

"""What values mean here and now: releases (`latest`, from a version on), users, groups and projects. Both compilers ask this."""

from __future__ import annotations

import operator
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.groups.short_id import MOST_DIGITS, ShortIdError, parse_short_id
from tasks_pipeline.protocol.release import SEARCH_WORD, parse_release
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.keys import LARGEST
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.reading.tree import Filter, Value
from tasks_pipeline.releases.known import latest_release
from tasks_pipeline.storage.state.tables import releases

MOST_VERSIONS = 5_000
_USERS = ("", "id:", "email:", "username:", "ip:")
_COMPARED: dict[str, Any] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def is_latest(value: Value) -> bool:
    """Whether a value asks for the newest release of each project."""
    return value == (SEARCH_WORD,)


def latest_releases(connection: Connection, asked: Asked) -> list[tuple[int, str]]:
    """The newest release of each project, for those that have one."""
    found = ((p, latest_release(connection, p)) for p in asked.project_ids())
    return [(project_id, latest.version) for project_id, latest in found if latest is not None]


def compared_releases(connection: Connection, asked: Asked, wanted: Filter) -> list[str]:
    """Known releases of the package before, at or behind the version that a filter names. Raises QueryError where its name tells no
    version, and when they are too many."""
    name = parse_release(wanted.values[0][0])
    if name.sort_key is None:
        raise QueryError(
            f"{wanted.values[0][0][:50]!r} tells no version to compare with, as shop@4.2 does", wanted.at
        )
    r = releases.c
    of_package = r.package.is_(None) if name.package is None else r.package == name.package
    compare = _COMPARED[wanted.comparison]
    query = select(r.version).where(
        of_package, r.version_key.is_not(None), compare(r.version_key, name.sort_key)
    )
    if asked.projects is not None:
        query = query.where(r.project_id.in_(sorted(asked.projects)))
    found = list(connection.execute(query.distinct().limit(MOST_VERSIONS + 1)).scalars())
    if len(found) > MOST_VERSIONS:
        raise QueryError(f"these are more than {MOST_VERSIONS:,} releases", wanted.at)
    return found


def user_keys(value: str) -> list[str]:
    """The keys of users that a name may be of: their id, address, name, IP address, or the key itself."""
    return [f"{kind}{value}" for kind in _USERS]


def group_named(asked: Asked, text: str) -> tuple[int | None, tuple[list[int], int] | None]:
    """What names a group: its id, or its projects and number there."""
    if text.isascii() and text.isdecimal():
        return (int(text) if len(text) < 20 and int(text) <= LARGEST else None), None
    if len(text.rpartition("-")[2]) > MOST_DIGITS:
        return None, None
    try:
        slug, number = parse_short_id(text)
    except ShortIdError:
        return None, None
    return None, ((projects_named(asked, slug), number) if number <= LARGEST else None)


def projects_named(asked: Asked, text: str) -> list[int]:
    """The numbers of projects with this slug, in any case, or number."""
    wanted = text.lower()
    named = [p for p, slug in asked.slugs.items() if slug.lower() == wanted]
    if not named and wanted.isascii() and wanted.isdecimal() and len(wanted) < 19:
        return [int(wanted)]
    return named


def assignees(asked: Asked, value: str) -> tuple[str, ...]:
    """What the column of assignees holds where a group is somebody's; empty for nobody's."""
    name = value.lower()
    if name in ("nobody", "none"):
        return ()
    if name == "me":
        return asked.me or ("",)
    return (f"team:{name[1:]}",) if name.startswith("#") else (name,)

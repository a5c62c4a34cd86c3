"""What is known of a group beside its events: the release with its fix, commits that may be the cause or are the fix, issues of trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.groups.shipped import commits_of_group, resolution_of
from tasks_pipeline.groups.suspects import author_of, suspects_of
from tasks_pipeline.links.rows import UNLINKED, Link, links_of_groups
from tasks_pipeline.reading.asked import Asked


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: what it says, by whom, and the release that brought it."""

    sha: str
    message: str
    author: str
    release: str


@dataclass(frozen=True, slots=True)
class Beside:
    """`fixed_in` is the release that has the fix, where there is one already; `suspects` the likeliest first."""

    fixed_in: str
    suspects: Sequence[Commit]
    fixes: Sequence[Commit]
    issues: Sequence[Link]


def beside(asked: Asked, group: Mapping[str, Any]) -> Beside:
    """What belongs to a group, a row as of `find_group`."""
    group_id = group["id"]
    with asked.state.read() as connection:
        resolution = resolution_of(connection, group)
        suspects = suspects_of(connection, [group_id]).get(group_id, [])
        fixes = commits_of_group(connection, group_id)
        links = links_of_groups(connection, [group_id]).get(group_id, [])
    return Beside(
        (resolution or {}).get("resolved_in") or "",
        [_commit(each, author_of(each)) for each in suspects],
        [_commit(each, author_of({"author": each["author"] or _NOBODY})) for each in fixes],
        [link for link in links if link.state != UNLINKED],
    )


_NOBODY = {"name": None, "email": None}


def _commit(commit: Mapping[str, Any], author: str) -> Commit:
    message = (commit["message"] or "").partition("\n")[0]
    return Commit(commit["sha"], message, author, commit["release"] or "")

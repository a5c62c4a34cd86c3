"""Commits and refs that are sent with a release, the repositories they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.releases.commits import LOCK, set_commits, set_refs
from tasks_pipeline.releases.repositories import (
    ORIGIN,
    any_repository,
    known_repositories,
    list_repositories,
    origin_of,
    sync_repositories,
)
from tasks_pipeline.releases.sent_commits import (
    BadCommits,
    SentCommit,
    SentRef,
    read_commits,
    read_head_commits,
    read_refs,
)
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web_api.calls import PER_PAGE, Call, FieldError
from tasks_pipeline.web_api.paging import counted_page, page_offset
from tasks_pipeline.web_api.release_json import repository_json


@dataclass(frozen=True, slots=True)
class Sent:
    """Commits and refs of a call. None leaves a release as it is; so does an empty list of commits, but not one of refs."""

    commits: Sequence[SentCommit] | None = None
    refs: Sequence[SentRef] | None = None

    def begin(self, state: StateDatabase, connection: Connection) -> None:
        """Take the lock that writing takes, before any row."""
        if self.commits or self.refs is not None:
            state.serialise(connection, LOCK)

    def write(self, state: StateDatabase, connection: Connection, version: str) -> None:
        """Make them those of a release, in the caller's transaction."""
        if self.commits:
            set_commits(state, connection, version, self.commits, self.refs)
        elif self.refs is not None:
            set_refs(state, connection, version, self.refs)


def read_sent(
    call: Call,
    projects: Sequence[Project],
    commits: Sequence[Any] | None,
    refs: Sequence[Any] | None,
    head_commits: Sequence[Any] | None,
) -> Sent:
    """What a call sent for a release of these projects. Raises FieldError: 413 for what is too much, else 400."""
    try:
        sent = Sent(
            None if commits is None else read_commits(commits),
            read_refs(refs)
            if refs is not None
            else None
            if head_commits is None
            else read_head_commits(head_commits),
        )
    except BadCommits as error:
        raise FieldError(error.field, str(error), 413 if error.too_many else 400) from error
    if not sent.commits and sent.refs is None:
        return sent
    sync_repositories(call.services.state, call.config)
    origin = origin_of(call.config, projects[0])
    named = Sent(
        [replace(c, repository=_named(c.repository, origin)) for c in sent.commits or ()],
        None if sent.refs is None else _named_refs(sent.refs, origin),
    )
    _check_known(call, named.refs or ())
    return named


def _named(repository: str | None, origin: str) -> str | None:
    return origin if repository == ORIGIN else repository


def _named_refs(refs: Sequence[SentRef], origin: str) -> list[SentRef]:
    """Refs by the names of their repositories, which still differ. Raises FieldError."""
    found: dict[str, SentRef] = {}
    for ref in refs:
        name = _named(ref.repository, origin) or ""
        if name in found:
            raise FieldError(
                "refs", f"{ORIGIN!r} and {name[:80]!r} are one repository, which has one newest commit"
            )
        found[name] = replace(ref, repository=name)
    return [*found.values()]


def _check_known(call: Call, refs: Sequence[SentRef]) -> None:
    """Refuse refs to repositories that are none of those that are known; while none is known, any may be named."""
    names = [ref.repository for ref in refs]
    with call.services.state.read() as connection:
        known = known_repositories(connection, names)
        if len(known) == len(names) or not any_repository(connection):
            return
    unknown = next(name for name in names if name not in known)
    raise FieldError(
        "refs", f"there is no repository {unknown!r} here; `repos list` has those that are known"
    )


def repositories(call: Call) -> Response:
    """The repositories that are configured, or that commits were sent of."""
    offset = page_offset(call)
    sync_repositories(call.services.state, call.config)
    with call.services.state.read() as connection:
        rows = list_repositories(connection, limit=PER_PAGE + 1, offset=offset)
    return counted_page(call, [repository_json(row) for row in rows], offset)

"""tell_deploys: the first deploy of a release into an environment, told to those who wrote its commits or want to hear of all."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Row

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import Member
from tasks_pipeline.config.projects import project_name
from tasks_pipeline.groups.of_release import new_in, resolved_by
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.notifications.deploy_content import SHOWN, DeployFacts, deploy_title
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.preferences import channel_of, preferences_of
from tasks_pipeline.notifications.quiet import quiet_until
from tasks_pipeline.releases.commit_lists import Contents, author_counts, authors_of, count_changed
from tasks_pipeline.releases.deploys import duration_of, lock_deploys
from tasks_pipeline.releases.due import first_deploy, note_told, to_tell
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.passed_over import each_alone, note_passed_over
from tasks_pipeline.storage.state.tables import deploys
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

AT_ONCE = 20
KEY_LENGTH = 400
THREAD_LENGTH = 200
AGAIN = "the release was deployed there before"


@dataclass
class Told:
    """How many deploys were decided about, how many messages are planned for them, and of how many deploys nothing can be told."""

    deploys: int = 0
    mails: int = 0
    failed: int = 0

    def add(self, other: Told) -> None:
        """Count another one."""
        self.deploys += other.deploys
        self.mails += other.mails
        self.failed += other.failed


Deploy = Sequence[Row[Any]]
"""A deploy as its row in each project."""


def tell_deploys(stores: Stores, now: datetime) -> Told:
    """Put messages of some deploys that wait into the outbox, once for each member, however often it is done.

    A deploy that raises costs itself: nobody is told of it.
    """
    told = Told()
    with stores.state.write() as connection:
        waiting = _waiting(connection, now)
        done, failed = each_alone(connection, waiting, lambda some: _tell(stores, connection, some, now))
        for each in done:
            told.add(each)
        told.failed = len(failed)
        named = [
            (f"the deploy of {rows[0].version} into {rows[0].environment}", error) for rows, error in failed
        ]
        note_passed_over(stores.state, connection, "deploys", named, now)
        note_told(connection, [row.id for rows in waiting for row in rows], now)
    return told


def _waiting(connection: Connection, now: datetime) -> list[Deploy]:
    """Some deploys that wait, oldest first. Their rows are locked before anything is read of them: commits that come meanwhile
    wait, and have them told again."""
    # A deploy to several projects is one: its rows came together, with the same digest.
    by_deploy = groupby(
        to_tell(connection, now), key=lambda row: (row.version, row.created_at, row.digest or row.id)
    )
    found = [[row.id for row in rows] for _, rows in islice(by_deploy, AT_ONCE)]
    ids = [number for numbers in found for number in numbers]
    rows = {row.id: row for some in chunks(ids) for row in lock_deploys(connection, deploys.c.id.in_(some))}
    here = ([rows[number] for number in numbers if number in rows] for numbers in found)
    return [each for each in here if each]


def _tell(stores: Stores, connection: Connection, waiting: Sequence[Deploy], now: datetime) -> Told:
    told = Told()
    for rows in waiting:
        messages = _messages(stores, connection, rows, now)
        put_notifications(stores.state, connection, messages)
        told.add(Told(1, sum(message.status == "waiting" for message in messages)))
    return told


def _messages(
    stores: Stores, connection: Connection, rows: Sequence[Row[Any]], now: datetime
) -> list[NewNotification]:
    """The messages of a deploy, given as its row in each project."""
    configured = [row for row in rows if stores.config.project(row.project_id) is not None]
    if not configured or not stores.config.members:
        return []
    first = [row for row in configured if first_deploy(connection, row) == row.id]
    contents = authors_of(connection, rows[0].version)
    wrote = {author.email.lower() for author in contents.authors if author.email}
    if not first:
        row = configured[0]
        log.info("deploy %d of %s into %s: %s", row.id, row.version, row.environment, AGAIN)
    told = first or configured
    chosen = [*_chosen(stores.config, told, wrote, "" if first else AGAIN)]
    if not chosen:
        return []
    contents.files = count_changed(connection, rows[0].version)
    data = _facts(stores, connection, told, contents).data()
    return [_to(stores.config, member, row, data, now, why_not) for member, row, why_not in chosen]


def _chosen(
    config: Config, rows: Sequence[Row[Any]], wrote: Collection[str], why_not: str
) -> Iterator[tuple[Member, Row[Any], str]]:
    """Members whom a deploy concerns, in the first project of it in which they want to hear of it; why they are not told."""
    for member in config.members:
        is_author = member.email in wrote
        row = next((row for row in rows if _wants(config, member, row.project_id, is_author)), None)
        if row is not None:
            yield member, row, why_not
        elif is_author:
            yield member, rows[0], "wants to hear of no deploys"


def _wants(config: Config, member: Member, project_id: int, is_author: bool) -> bool:
    wanted = preferences_of(config, member, project_id).deploys
    return wanted == "always" or (wanted == "committed_only" and is_author)


def _to(
    config: Config, member: Member, row: Row[Any], data: dict[str, Any], now: datetime, unwanted: str
) -> NewNotification:
    """The message to a member; skipped, with the reason, where `unwanted` says one or it has no way."""
    wanted = preferences_of(config, member, row.project_id)
    channel = channel_of(config, wanted)
    reason = unwanted
    if not reason and wanted.delivery == "none":
        reason = "wants no notifications"
    if not reason and channel is None:
        reason = "no channel: none is chosen, and no mail channel is configured"
    until = quiet_until(wanted.quiet_hours, member.timezone, now)
    address = member.address or (member.email if channel is not None and channel.type == "mail" else "")
    return NewNotification(
        key=_key(row, member.email, again=unwanted == AGAIN),
        type="deploy",
        project_id=row.project_id,
        target=f"member:{member.email}",
        channel=channel.name if channel else "",
        address=address,
        thread=f"release:{row.version}"[:THREAD_LENGTH],
        not_before=until or now,
        status="skipped" if reason else "waiting",
        reason=reason or (f"quiet hours until {until:%Y-%m-%d %H:%M} UTC" if until else ""),
        data=data,
    )


def _key(row: Row[Any], email: str, *, again: bool) -> str:
    """One message of a release and environment to a member; of all deploys after the first one entry in the log."""
    key = f"deploy:{row.project_id}:{row.version}:{row.environment}:{email}{':again' if again else ''}"
    if len(key) <= KEY_LENGTH:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[: KEY_LENGTH - len(digest) - 1]}:{digest}"


def _facts(
    stores: Stores, connection: Connection, rows: Sequence[Row[Any]], contents: Contents
) -> DeployFacts:
    row, project_ids = rows[0], [row.project_id for row in rows]
    finished = row.finished_at or row.created_at
    authors = [*author_counts(contents.authors).items()]
    resolved, resolved_count = resolved_by(connection, row.version, project_ids, SHOWN)
    new, new_count = new_in(connection, row.version, project_ids, SHOWN)
    return DeployFacts(
        version=row.version,
        environment=row.environment,
        projects=tuple(project_name(stores.slugs, project_id) for project_id in project_ids),
        finished_at=finished.isoformat(),
        title=deploy_title(row.version, row.environment),
        name=row.name,
        url=row.url and row.url[:500],
        duration_seconds=duration_of(row.started_at, finished),
        commits=contents.commits,
        files=contents.files,
        authors=tuple(authors[:SHOWN]),
        more_authors=max(0, len(authors) - SHOWN),
        groups_resolved=resolved_count,
        resolved=_named(stores, resolved),
        groups_new=new_count,
        new=_named(stores, new),
    )


def _named(stores: Stores, rows: Sequence[Row[Any]]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (format_short_id(project_name(stores.slugs, row.project_id), row.short_id), row.title[:300])
        for row in rows
    )

"""Forgetting: what groups counted of days that are gone, and groups that nothing is left of.

What was counted of events stays (`group_days`: times seen, first and last release), as long as the group does. Users, releases and
environments of a day go with its events, for they name people: the users of a group are those of the days that are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, exists, func, select, update

from tasks_pipeline.groups.counting import VALUE_LENGTH
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.storage.state.database import CHUNK, StateDatabase, chunks
from tasks_pipeline.storage.state.pieces import Rows, delete_in_pieces
from tasks_pipeline.storage.state.tables import (
    alerts,
    batches,
    group_actions,
    group_commits,
    group_days,
    group_explanations,
    group_hashes,
    group_hours,
    group_signatures,
    group_texts,
    group_values,
    groups,
    incidents,
    issue_comment_copies,
    issue_comments,
    issue_intents,
    issue_links,
    similar_groups,
    suspect_commits,
)

_OWN: tuple[Table, ...] = (
    group_hashes, group_days, group_hours, group_values, group_explanations, group_texts, group_signatures, suspect_commits,
)  # fmt: skip
"""What goes with a group."""


def forget_values(
    state: StateDatabase, before: date, *, projects: Collection[int], others: bool, held: Collection[date]
) -> int:
    """Remove the users, releases and environments that groups of projects had on days before a day, but for days that are `held`; gives
    how many rows went. `others`: of all projects but these. The users of groups follow."""
    dropped = 0
    with state.read() as connection:
        days = connection.execute(select(group_values.c.day).where(group_values.c.day < before).distinct())
        over = sorted(set(days.scalars()) - set(held))
    for day in over:
        among = groups.c.project_id.not_in(projects) if others else groups.c.project_id.in_(projects)
        of_projects = exists().where(groups.c.id == group_values.c.group_id, among)
        dropped += delete_in_pieces(
            state, group_values, group_values.c.day == day, of_projects, before=_count_users
        )  # fmt: skip
    return dropped


def forget_users(state: StateDatabase, project_id: int, values: Collection[str]) -> int:
    """Remove users from what groups of a project count, on all days; gives how many rows went. The users of groups follow."""
    with state.read() as connection:
        found = list(
            connection.execute(select(groups.c.id).where(groups.c.project_id == project_id)).scalars()
        )
    dropped = 0
    for some in chunks(found):
        theirs = group_values.c.group_id.in_(some), group_values.c.kind == "user"
        named = group_values.c.value.in_(sorted({value[:VALUE_LENGTH] for value in values}))
        while True:
            with state.write() as connection:
                gone = connection.execute(
                    select(group_values.c.group_id, group_values.c.value)
                    .where(*theirs, named)
                    .distinct()
                    .limit(CHUNK)
                ).all()
                if not gone:
                    break
                lost = Counter(group_id for group_id, _ in gone)
                for group_id, value in gone:
                    whole = (
                        group_values.c.group_id == group_id,
                        group_values.c.kind == "user",
                        group_values.c.value == value,
                    )
                    dropped += connection.execute(delete(group_values).where(*whole)).rowcount
                fewer = update(groups).where(groups.c.id == bindparam("group"))
                connection.execute(
                    fewer.values(users=groups.c.users - bindparam("lost")),
                    [{"group": group_id, "lost": n} for group_id, n in sorted(lost.items())],
                )
    return dropped


def rename_users(state: StateDatabase, project_id: int, renamed: Mapping[str, str]) -> int:
    """Have users be others in what groups of a project count; gives how many rows. The users of groups stay as many."""
    changed = 0
    with state.read() as connection:
        found = list(
            connection.execute(select(groups.c.id).where(groups.c.project_id == project_id)).scalars()
        )
    for some in chunks(found):
        with state.write() as connection:
            for old, new in sorted(renamed.items()):
                theirs = (
                    group_values.c.group_id.in_(some),
                    group_values.c.kind == "user",
                    group_values.c.value == old[:VALUE_LENGTH],
                )
                changed += connection.execute(
                    update(group_values).where(*theirs).values(value=new[:VALUE_LENGTH])
                ).rowcount
    return changed


def count_user_values(state: StateDatabase, project_id: int, values: Collection[str]) -> int:
    """How many rows `forget_users` would remove."""
    named = group_values.c.value.in_(sorted({value[:VALUE_LENGTH] for value in values}))
    with state.read() as connection:
        found = list(
            connection.execute(select(groups.c.id).where(groups.c.project_id == project_id)).scalars()
        )
        return sum(
            int(
                connection.execute(
                    select(func.count()).where(
                        group_values.c.group_id.in_(some), group_values.c.kind == "user", named
                    )
                ).scalar_one()
            )
            for some in chunks(found)
        )


def _count_users(connection: Connection, rows: Rows) -> None:
    """Take users off the groups that have them on no other day."""
    users = [row for row in rows if row["kind"] == "user"]
    lost: Counter[int] = Counter()
    other = select(group_values.c.group_id).where(
        group_values.c.group_id == bindparam("group"),
        group_values.c.kind == "user",
        group_values.c.value == bindparam("user"),
        group_values.c.day != bindparam("on"),
    )
    for row in users:
        asked = {"group": row["group_id"], "user": row["value"], "on": row["day"]}
        if connection.execute(other.limit(1), asked).first() is None:
            lost[row["group_id"]] += 1
    if lost:
        fewer = update(groups).where(groups.c.id == bindparam("group"))
        connection.execute(
            fewer.values(users=groups.c.users - bindparam("lost")),
            [{"group": group_id, "lost": n} for group_id, n in sorted(lost.items())],
        )


def empty_groups(before: date, held: Collection[date]) -> list[ColumnElement[bool]]:
    """Conditions on groups that got no event since a day, nor on one that is `held`, about which nobody decided anything, and which are
    linked with nothing. Those that somebody resolved, ignored, discarded or merged would be new groups when they come back."""
    parts = groups.alias("parts")
    linked = (
        group_actions.c.group_id,
        group_commits.c.group_id,
        alerts.c.group_id,
        incidents.c.group_id,
        parts.c.merged_into,
    )
    kept = (group_days.c.day >= before) | group_days.c.day.in_(held)
    return [
        groups.c.created_at < datetime.combine(before, time(), UTC),
        groups.c.status == Status.UNRESOLVED,
        groups.c.assignee.is_(None),
        groups.c.merged_into.is_(None),
        ~exists().where(group_days.c.group_id == groups.c.id, kept),
        *(~exists().where(column == groups.c.id) for column in linked),
    ]


def forget_groups(state: StateDatabase, conditions: Sequence[ColumnElement[bool]], now: datetime) -> int:
    """Remove groups that meet the conditions, with everything of theirs; gives how many.

    Their keys go first: from then on no batch finds them. Batches that were open before may have, so where one still is, the groups
    stay until the next time, and one that got events by it for good.
    """
    keys = exists().where(group_hashes.c.group_id == groups.c.id)
    with state.read() as connection:
        found = list(connection.execute(select(groups.c.id).where(*conditions)).scalars())
    for some in chunks(found):
        with state.write() as connection:
            still = connection.execute(
                select(groups.c.id).where(groups.c.id.in_(some), *conditions)
            ).scalars()
            connection.execute(delete(group_hashes).where(group_hashes.c.group_id.in_(list(still))))
    with state.read() as connection:
        opened = select(batches.c.id).where(batches.c.status == "open", batches.c.opened_at <= now)
        if connection.execute(opened.limit(1)).first() is not None:
            return 0
    return delete_in_pieces(state, groups, *conditions, ~keys, before=_forget_own, walk=True)


def forget_made(state: StateDatabase, ids: Collection[int]) -> int:
    """Remove those of groups that were made just now, and of which nothing was stored after all; gives how many. Others may have found one
    meanwhile: while a batch is open it stays without its keys, until the cleanup of empty groups."""
    counted = exists().where(group_days.c.group_id == groups.c.id)
    decided = exists().where(group_actions.c.group_id == groups.c.id)
    return sum(
        forget_groups(state, [groups.c.id.in_(some), ~counted, ~decided], datetime.now(UTC))
        for some in chunks(sorted(ids))
    )


def _forget_own(connection: Connection, rows: Rows) -> None:
    ids = [row["id"] for row in rows]
    either = similar_groups.c.group_id.in_(ids) | similar_groups.c.other_id.in_(ids)
    connection.execute(delete(similar_groups).where(either))
    _forget_issues(connection, ids)
    for table in _OWN:
        connection.execute(delete(table).where(table.c.group_id.in_(ids)))


def _forget_issues(connection: Connection, ids: Sequence[int]) -> None:
    """Links and comments of groups; the issues stay where they are."""
    links = select(issue_links.c.id).where(issue_links.c.group_id.in_(ids))
    of_groups = issue_comments.c.group_id.in_(ids) | issue_comments.c.link_id.in_(links)
    comments = select(issue_comments.c.id).where(of_groups)
    copies = issue_comment_copies.c.link_id.in_(links) | issue_comment_copies.c.comment_id.in_(comments)
    connection.execute(delete(issue_comment_copies).where(copies))
    connection.execute(delete(issue_intents).where(issue_intents.c.link_id.in_(links)))
    connection.execute(delete(issue_comments).where(of_groups))
    connection.execute(delete(issue_links).where(issue_links.c.group_id.in_(ids)))

"""Whether what was deleted by its number is there again: certificates say which numbers those are."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from tasks_pipeline.deletion.groups import Groups, numbers
from tasks_pipeline.deletion.projects import Project
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted

MOST = 1_000
"""Of groups and projects, the newest."""


def found_again(stores: Stores) -> list[str]:
    """What is there again, and which certificates are not what was written, for people; without names."""
    told = certificates(stores.home)
    found = [f"certificate {each['id']} is not as it was written" for each in told if not each["valid"]]
    ids = [number for each in told if Groups.kind in each["identifiers"] for number in each["groups"]]
    projects = [number for each in told if Project.kind in each["identifiers"] for number in each["projects"]]
    return [*found, *_again(stores, "group_id", ids[:MOST]), *_again(stores, "project_id", projects[:MOST])]


def _again(stores: Stores, column: str, ids: Collection[int]) -> list[str]:
    if not ids:
        return []
    rows = stores.lake.query(f"SELECT count(*) AS events FROM lake.events WHERE {column} IN ({numbers(ids)})")
    events = int(rows[0]["events"])
    known = groups.c.id if column == "group_id" else groups.c.project_id
    with stores.state.read() as connection:
        shown = sum(
            connection.execute(select(func.count()).where(known.in_(some))).scalar_one()
            for some in chunks(sorted(ids))
        )
    what = "groups" if column == "group_id" else "projects"
    if not events and not shown:
        return []
    return [f"{counted(events, 'event')} and {counted(shown, 'group')} of deleted {what} are there again"]

"""Which group a client names: by number, or by short id in any case; of one that was merged the group that it is part of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.reading.group_list import groups_by_id
from tasks_pipeline.reading.meant import group_named
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.web_api.calls import ApiError, Call

MOST_NAMED = 1000


def named_group(call: Call, text: str | None = None) -> Mapping[str, Any]:
    """The group in the path, or the one that a text names, as people see it. Raises ApiError (404) also for one that may not be seen."""
    text = call.params["issue"] if text is None else text
    number, short = group_named(call.asked, text)
    if number is None and short is not None:
        g = groups.c
        query = select(g.id).where(g.project_id.in_(short[0]), g.short_id == short[1])
        with call.services.state.read() as connection:
            number = connection.execute(query).scalar()
    if number is not None:
        found = groups_by_id(call.asked, [number])
        if number in found and found[number]["merged_into"] is not None:
            with call.services.state.read() as connection:
                number = merged_targets(connection, [number])[number]
            found = groups_by_id(call.asked, [number])
        if number in found and found[number]["project_id"] in call.asked.slugs:
            return found[number]
    raise ApiError(404, f"there is no issue {text[:80]!r} here")


def group_ids(call: Call, texts: Sequence[str]) -> list[int]:
    """The ids of the groups that texts name, of the project in the path if there is one. Raises ApiError (400, 404)."""
    if len(texts) > MOST_NAMED:
        raise ApiError(400, f"id: at most {MOST_NAMED} issues may be named")
    found = [named_group(call, text) for text in dict.fromkeys(texts)]
    if "project" in call.params:
        project = call.project().id
        if strange := [group for group in found if group["project_id"] != project]:
            raise ApiError(404, f"there is no issue {strange[0]['id']} in this project")
    return list(dict.fromkeys(group["id"] for group in found))

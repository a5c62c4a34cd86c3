"""Figures that name users, as hashes: what they say of some users goes, and all else of them stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.retention.lake import write_again
from tasks_pipeline.storage.lake.lake import Lake


def forget_users(lake: Lake, hashes: Mapping[int, Collection[int]]) -> list[Erased]:
    """Remove users from `event_users`, `session_users` and `group_stats`; few hashes, by project. Raises DayChanging."""
    if not any(hashes.values()):
        return []
    theirs = _theirs(hashes)
    gone: list[Erased] = []
    named = f"list_contains({theirs}, user_hash)"
    for name in ("event_users", "session_users"):
        days = _days(lake, name, named)
        for day in days:
            write_again(lake, day, {name: f"({named}) IS NOT TRUE"})
        if days:
            gone.append(Erased(f"lake.{name}", sum(days.values()), "deleted"))
    # How many users a group had stays, as all that was counted.
    without = (
        f"map_from_entries(list_filter(map_entries(users), lambda e: NOT list_contains({theirs}, e.key)))"
    )
    days = _days(lake, "group_stats", f"users IS NOT NULL AND list_has_any(map_keys(users), {theirs})")
    for day in days:
        write_again(
            lake, day, {"group_stats": "true"}, {"users": f"CASE WHEN users IS NOT NULL THEN {without} END"}
        )
    if days:
        gone.append(Erased("lake.group_stats", sum(days.values()), "overwritten"))
    return gone


def count_users(lake: Lake, hashes: Mapping[int, Collection[int]]) -> list[Erased]:
    """Rows of figures that name one of the users; nothing is changed."""
    if not any(hashes.values()):
        return []
    theirs = _theirs(hashes)
    conditions = {
        "event_users": f"list_contains({theirs}, user_hash)",
        "session_users": f"list_contains({theirs}, user_hash)",
        "group_stats": f"users IS NOT NULL AND list_has_any(map_keys(users), {theirs})",
    }
    found = [
        Erased(f"lake.{name}", sum(_days(lake, name, condition).values()), "overwritten" if name == "group_stats" else "deleted")
        for name, condition in conditions.items()
    ]  # fmt: skip
    return [each for each in found if each.rows]


def _theirs(hashes: Mapping[int, Collection[int]]) -> str:
    """SQL of the hashes that go of the project of a row."""
    whens = " ".join(
        f"WHEN {int(project)} THEN [{', '.join(f'({int(each)})' for each in sorted(found))}]::BIGINT[]"
        for project, found in sorted(hashes.items())
        if found
    )
    return f"(CASE project_id {whens} ELSE []::BIGINT[] END)"


def _days(lake: Lake, name: str, condition: str) -> dict[date, int]:
    rows = lake.query(
        f"SELECT day, count(*) AS rows FROM lake.{name} WHERE {condition} GROUP BY day ORDER BY day"
    )
    return {row["day"]: row["rows"] for row in rows}
